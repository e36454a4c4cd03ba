"""What is kept of a surrogate: weights as safetensors and, as JSON beside them, all that it takes to use them again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from simdl.clock import SECOND, Clock, rate_text
from simdl.compile import compile_model
from simdl.data.durable import write_file
from simdl.data.jsonl import loads
from simdl.declarations import Input, Output, State
from simdl.diagram import Diagram
from simdl.errors import DataError, ModelError, NetworkError
from simdl.networks.card import LARGEST, Weights
from simdl.networks.feature import Strict
from simdl.networks.state_space import NeuralStateSpace
from simdl.networks.weights import read_file, read_weights, save_weights
from simdl.surrogate.comparison import Difference
from simdl.surrogate.exchange import replaced
from simdl.surrogate.part import Element, Part, part_of
from simdl.surrogate.training import Affine, Training

CARD, WEIGHTS = "card.json", "model.safetensors"
WIDEST, DEEPEST = 65_536, 64  # what a card may ask for


class Signal(Strict):
    """A state, input or output. key, index: where it was in the diagram; mean, std: what it is normalised by; low,
    high: what it went through while it was excited; initial: of a state, where the network begins."""

    name: str = Field(max_length=100, pattern=r"^[^\W\d_]\w*$")
    key: str = Field(max_length=1000)
    index: int | None = Field(default=None, ge=0)
    unit: str = Field(default="", max_length=100)
    mean: float
    std: float = Field(gt=0)
    low: float
    high: float
    initial: float | None = None

    @property
    def element(self) -> Element:
        return Element(self.key, self.index, self.name, self.unit)


class Error(Strict):
    """How far a signal of the loop was off on unseen lanes: see `Difference`; None where all lanes failed."""

    path: str
    unit: str
    rms: float | None
    worst: float | None
    range: float | None


class SurrogateCard(Strict):
    """What a surrogate stands for, and how it was made. model: the scenario it was learnt from; best, linear: errors of
    free runs relative to standard deviations, None where they left all bounds; errors: in the closed loop, empty before
    it was compared."""

    format: Literal["simdl-surrogate-1"] = "simdl-surrogate-1"
    model: str = Field(default="", max_length=1000)
    path: str = Field(max_length=1000)
    sample_time_ns: int = Field(gt=0)
    sample_time_divisor: int = Field(default=1, gt=0)
    through: bool
    hidden: tuple[int, ...] = Field(max_length=DEEPEST)
    states: tuple[Signal, ...] = Field(min_length=1, max_length=10_000)
    inputs: tuple[Signal, ...] = Field(max_length=10_000)
    outputs: tuple[Signal, ...] = Field(max_length=10_000)
    best: float | None
    linear: float | None
    seconds: float
    lanes: int
    samples: int
    stopped: str
    errors: tuple[Error, ...] = ()
    weights: Weights | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [one.name for one in (*self.states, *self.inputs, *self.outputs)]
        if len(set(names)) < len(names):
            raise ValueError("two ports of one name")
        if any(not 1 <= width <= WIDEST for width in self.hidden):
            raise ValueError(f"hidden {self.hidden}, not from 1 to {WIDEST}")
        return self

    @classmethod
    def of(
        cls, part: Part, clock: Clock, hidden: Sequence[int], data: Mapping[str, Tensor],
        scales: Mapping[str, tuple[float, float]], training: Training,
    ) -> SurrogateCard:  # fmt: skip
        """Of a part, what it went through (lanes, samples) by name, and how it was trained."""

        def signal(one: Element, state: bool = False) -> Signal:
            values, (mean, std) = data[one.name], scales[one.name]
            first = float(values[:, 0].mean()) if state else None
            return Signal(name=one.name, key=one.key, index=one.index, unit=one.unit, mean=mean, std=std,
                          low=float(values.min()), high=float(values.max()), initial=first)  # fmt: skip

        kept = ("best", "linear", "seconds", "lanes", "samples", "stopped")
        learnt = {name: _finite(getattr(training, name)) for name in kept}
        return cls(
            path=part.path, sample_time_ns=clock.numerator, sample_time_divisor=clock.denominator, through=part.through,
            hidden=tuple(hidden), states=tuple(signal(one, True) for one in part.states),
            inputs=tuple(map(signal, part.inputs)), outputs=tuple(map(signal, part.outputs)), **learnt,
        )  # fmt: skip

    @property
    def clock(self) -> Clock:
        exact = Fraction(self.sample_time_ns, self.sample_time_divisor)
        return Clock(exact.numerator, exact.denominator)

    def network(self, f: Affine, g: Affine | None) -> NeuralStateSpace:
        """The block of a learnt step and of what is read from it."""
        exact = Fraction(self.sample_time_ns, self.sample_time_divisor * SECOND)
        timing: dict[str, Any] = {"rate": 1 / exact} if self.clock.rational else {"period": exact}
        make: Any = NeuralStateSpace
        found: NeuralStateSpace = make(
            f, {one.name: State(one.initial or 0.0, unit=one.unit) for one in self.states},
            {one.name: Input((), unit=one.unit) for one in self.inputs},
            {one.name: Output((), unit=one.unit) for one in self.outputs}, g, through=self.through,
            scales={one.name: (one.mean, one.std) for one in (*self.states, *self.inputs, *self.outputs)}, **timing,
        )  # fmt: skip
        return found

    def compared(self, differences: Sequence[Difference]) -> SurrogateCard:
        """With the errors in the closed loop."""
        errors = tuple(Error(**{n: _finite(getattr(one, n)) for n in Error.model_fields}) for one in differences)
        return self.model_copy(update={"errors": errors})

    def __str__(self) -> str:
        ports = " -> ".join(", ".join(one.name for one in side) for side in (self.inputs, self.states))
        return f"surrogate of {self.path}: {ports} every {rate_text(self.clock)}"


def save_surrogate(folder: str | Path, network: NeuralStateSpace, card: SurrogateCard) -> SurrogateCard:
    """Write the weights and then the card, each whole or not at all; returns the card with the hash of the weights."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        digest = save_weights(_parts(network.module, network.output), folder / WEIGHTS)
        size = (folder / WEIGHTS).stat().st_size
        done = card.model_copy(update={"weights": Weights(file=WEIGHTS, sha256=digest, size=size)})
        write_file(folder / CARD, (done.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        raise NetworkError(str(folder), found, "a folder to write to") from error
    except DataError as error:
        raise NetworkError(error.where, error.found, error.expected, error.fix) from error
    return done


def load_surrogate(folder: str | Path) -> tuple[NeuralStateSpace, SurrogateCard]:
    """The block and the card in a folder that `save_surrogate` wrote. Raises NetworkError for anything else."""
    path = Path(folder) / CARD
    if not path.is_file():
        raise NetworkError(str(folder), f"no {CARD} in it", "a folder that simdl surrogate wrote")
    try:
        card = SurrogateCard.model_validate(loads(read_file(path, LARGEST), str(path), NetworkError))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()]
        raise NetworkError(str(path), "; ".join(faults[:5]), "a card of format simdl-surrogate-1") from None
    if card.weights is None:
        raise NetworkError(str(path), "a card without weights", "a card that simdl surrogate wrote")
    place = path.parent / card.weights.file
    if not place.is_file():
        raise NetworkError(str(place), "no such file", "the weights that the card names")
    data = read_file(place, card.weights.size)
    if len(data) != card.weights.size or hashlib.sha256(data).hexdigest() != card.weights.sha256:
        raise NetworkError(str(place), "other weights than the card says", f"SHA-256 {card.weights.sha256[:16]}…",
                           "restore both files from one copy")  # fmt: skip
    states, inputs, outputs = len(card.states), len(card.inputs), len(card.outputs)
    with torch.device("meta"):  # nothing as large as a card asks for before its weights are seen to be
        f = Affine(states + inputs, torch.ones(states), card.hidden)
        seen = states + inputs * card.through
        g = Affine(seen, torch.ones(outputs), card.hidden) if outputs else None
    wanted, weights = _parts(f, g).state_dict(), read_weights(data, str(place))
    for name in (*wanted, *weights):
        shapes = [tuple(side[name].shape) if name in side else None for side in (wanted, weights)]
        if shapes[0] != shapes[1] or weights[name].dtype != torch.float64:
            raise NetworkError(str(place), f"{name}: {shapes[1]}", f"{shapes[0]} of float64, as the card says")
    _parts(f, g).load_state_dict(weights, assign=True)
    return card.network(f, g), card


def place(diagram: Diagram, folder: str | Path) -> Diagram:
    """A copy of a diagram in which the surrogate in a folder stands for the part it was learnt from.

    Raises ModelError where the diagram has another part there, and NetworkError for what is no surrogate.
    """
    network, card = load_surrogate(folder)
    where, model = f"surrogate of {card.path}", compile_model(diagram)
    names = [f"{one.key.removeprefix(f'{card.path}.')}{'' if one.index is None else f'[{one.index}]'}"
             for one in card.states]  # fmt: skip
    part = part_of(model, card.path, names, (), card.clock, card.through)
    for what, own, theirs in (("input", part.inputs, card.inputs), ("output", part.outputs, card.outputs)):
        known = {(one.key, one.index) for one in theirs}
        for one in own:
            if (one.key, one.index) not in known:
                raise ModelError(where, f"its {what} {one.name} is not in the card", "the diagram it was learnt from, "
                                 "or one of the same ports", names=[signal.name for signal in theirs], wrong=one.name,
                                 )  # fmt: skip
    missing = sorted({one.name for one in card.inputs} - {one.name for one in part.inputs})
    if missing:
        raise ModelError(where, f"nothing drives its input {missing[0]}", "what drove it when it was learnt")
    full = replace(part, outputs=tuple(one.element for one in card.outputs))
    return replaced(diagram, model, full, network)


def _finite(value: Any) -> Any:
    """What JSON can hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parts(f: nn.Module, g: nn.Module | None) -> nn.ModuleDict:
    return nn.ModuleDict({"step": f} if g is None else {"step": f, "read": g})
