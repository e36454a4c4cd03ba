"""The model card: what must travel with the weights of a network so that it is used as it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from simdl.clock import SECOND, Clock, rate_text
from simdl.data.jsonl import loads
from simdl.declarations import DTYPES, Input, Output
from simdl.errors import NetworkError, SimdlError
from simdl.networks.boxes import Boxes
from simdl.networks.classes import Classes
from simdl.networks.feature import CardLayout, Feature, Number, Strict
from simdl.networks.window import Window

if TYPE_CHECKING:
    from simdl.networks.network import Network

LARGEST = 1024 * 1024  # bytes of JSON


class Weights(Strict):
    """The file of weights beside the card."""

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)

    @field_validator("file")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        if not value or "/" in value or "\\" in value or "\0" in value or value.startswith("."):
            raise ValueError(f"{value!r} is not the name of a file beside the card")
        return value


class CardWindow(Strict):
    length: int = Field(ge=1)
    hop: int = Field(default=1, ge=1)
    fill: Literal["zeros", "hold", "not_ready"] = "not_ready"
    flat: bool = False


class CardClasses(Strict):
    """Of a classifier: see `Classes`."""

    labels: tuple[str, ...] = Field(min_length=2, max_length=100_000)
    probabilities: bool = False


class CardBoxes(Strict):
    """Of a detector: see `Boxes`."""

    most: int = Field(ge=1, le=10_000)
    form: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    gives: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    threshold: float = 0.5
    overlap: float | None = 0.5
    candidates: int = Field(default=100, ge=1, le=10_000)
    classes: tuple[str, ...] = Field(default=(), max_length=100_000)


class ModelCard(Strict):
    """What a network is, how it was trained, and how it must be run.

    kind: "network" or "recurrent"; factory: a registered architecture ("gru") or "package:function", called with
    `kwargs`; sample_time_ns / sample_time_divisor: the time between samples in ns (the divisor is for rates such as
    30 Hz); warmup_ns: time until the outputs of a recurrent network may be used; stack: whether scalar inputs are
    stacked to one row of features; data_hash: of the manifest it was trained on; metrics: numbers by name; versions: of
    what trained it; weights: filled in by `save`.
    """

    format: Literal["simdl-card-1"] = "simdl-card-1"
    name: str = "network"
    kind: Literal["network", "recurrent"] = "network"
    factory: str
    kwargs: dict[str, Any] = {}
    inputs: tuple[Feature, ...] = Field(min_length=1)
    outputs: tuple[Feature, ...] = Field(min_length=1)
    sample_time_ns: int = Field(gt=0)
    sample_time_divisor: int = Field(default=1, gt=0)
    warmup_ns: int = Field(default=0, ge=0)
    window: CardWindow | None = None
    classes: CardClasses | None = None
    boxes: CardBoxes | None = None
    stack: bool = True
    dtype: str = "float32"
    data_hash: str = ""
    metrics: dict[str, float] = {}
    versions: dict[str, str] = {}
    notes: str = ""
    weights: Weights | None = None

    @model_validator(mode="after")
    def _one_name_each(self) -> Self:
        names = [feature.name for feature in (*self.inputs, *self.outputs)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: two ports of one name")
        try:
            self.result()
        except SimdlError as error:
            raise ValueError(str(error)) from None
        return self

    @classmethod
    def of(
        cls, network: Network, factory: str, kwargs: Mapping[str, Any] | None = None, *,
        scales: Mapping[str, tuple[Number, Number]] | None = None,
        boxes: Mapping[str, tuple[Number, Number]] | None = None, **more: Any,
    ) -> ModelCard:  # fmt: skip
        """The card of a network as it stands in a loop: its ports, rate, window and warm-up.

        scales: port -> (mean, std) in its unit; boxes: port -> (low, high). more: name, metrics, data_hash, notes, …
        Raises NetworkError for a network without a clock, with ports of open shape, for names it does not have, and
        for one that says how sure it is (Gaussian, Ensemble, MCDropout, Quantile): take that of its plain Network.
        """
        plan, ticking = network._plan, network.clock
        if ticking is None:
            raise NetworkError(f"{network}", "no clock", "a network with a period, which its card states")
        if isinstance(plan.recurrence, tuple):
            raise NetworkError(f"{network}", "a module that is given its states", "a Network or Recurrent",
                               "a card does not say which arguments are states: keep the file")  # fmt: skip
        if not isinstance(plan.result, Classes | Boxes | None):
            kind = type(network).__name__
            outs = ", ".join(repr(name) for name in plan.outputs)
            raise NetworkError(
                f"{network}", f"a {kind}: its outputs are made from what its module returns",
                "a plain Network with the same ports", f"take the card of a Network whose outputs are ({outs}) and "
                f"whose module returns as many columns, and give it to {kind}(module, card=card)",
            )  # fmt: skip
        ports: dict[str, Input | Output] = {**plan.inputs, **plan.outputs}
        for name in (*(scales or {}), *(boxes or {})):
            if name not in ports:
                raise NetworkError(f"{network}", f"no port {name!r}", "an input or output", names=ports, wrong=name)
        types = {dtype: name for name, dtype in DTYPES.items() if name != "int"}

        def feature(name: str, one: Input | Output) -> Feature:
            if one.shape is None:
                raise NetworkError(f"{network}.{name}", "an open shape", "its shape", f"{name}: Input(shape=(n,))")
            mean, std = (scales or {}).get(name, (0.0, 1.0))
            low, high = (boxes or {}).get(name, (None, None))
            dtype = types[one.dtype] if one.dtype is not None else None
            numbers: dict[str, Any] = {"mean": mean, "std": std, "low": low, "high": high}
            layout = plan.layouts.get(name)
            if layout is not None:
                numbers["layout"] = CardLayout(**asdict(layout))
            return Feature(name=name, unit=one.unit, shape=one.shape, dtype=dtype, **numbers)

        window = plan.window
        warmup = Fraction(getattr(network, "warmup_ticks", 0) * ticking.numerator, ticking.denominator)
        given: dict[str, Any] = {
            "kind": "network" if plan.recurrence is None else "recurrent",
            "inputs": tuple(feature(name, one) for name, one in plan.inputs.items()),
            "outputs": tuple(feature(name, one) for name, one in plan.outputs.items()),
            "sample_time_ns": ticking.numerator,
            "sample_time_divisor": ticking.denominator,
            "warmup_ns": int(warmup),
            "window": None if window is None else CardWindow(**asdict(window)),
            "stack": plan.stack,
        }
        if isinstance(plan.result, Classes):
            given["classes"] = CardClasses(**asdict(plan.result))
        elif isinstance(plan.result, Boxes):
            given["boxes"] = CardBoxes(**asdict(plan.result))
        try:
            return cls(factory=factory, kwargs=dict(kwargs or {}), **{**given, **more})
        except ValidationError as error:
            raise _invalid(error, f"{network}") from None

    @property
    def clock(self) -> Clock:
        exact = Fraction(self.sample_time_ns, self.sample_time_divisor)
        return Clock(exact.numerator, exact.denominator)

    @property
    def period(self) -> Fraction:
        """The sample time in seconds."""
        return Fraction(self.sample_time_ns, self.sample_time_divisor * SECOND)

    def windowed(self) -> Window | None:
        w = self.window
        return None if w is None else Window(w.length, w.hop, w.fill, w.flat)

    def result(self) -> Classes | Boxes | None:
        """What the module returns is made into."""
        if self.classes is not None and self.boxes is not None:
            raise NetworkError(self.name, "classes and boxes", "one of them")
        if self.classes is not None:
            return Classes(**self.classes.model_dump())
        return None if self.boxes is None else Boxes(**self.boxes.model_dump())

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "model card") -> ModelCard:
        """Read a card. Raises NetworkError for what is not one: NaN, duplicate or unknown names, wrong types, bombs."""
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > LARGEST:
            raise NetworkError(where, f"more than {LARGEST} bytes", "a model card")
        data = loads(raw, where, NetworkError)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _invalid(error, where) from None

    def __str__(self) -> str:
        ports = " -> ".join(", ".join(f.name for f in side) for side in (self.inputs, self.outputs))
        return f"{self.name} ({self.kind} {self.factory}): {ports} every {rate_text(self.clock)}"


def _invalid(error: ValidationError, where: str) -> NetworkError:
    faults = [f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()]
    return NetworkError(where, "; ".join(faults[:10]), "a model card of format simdl-card-1")
