"""A network that was trained at another rate than the loop's, at its own samples inside the loop's ticks."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import Clock, Duration, clock, rate_text
from simdl.declarations import Input, Output, State
from simdl.errors import NetworkError
from simdl.iterate import repeat
from simdl.methods import Tick, reading
from simdl.networks.call import is_traced
from simdl.networks.copying import with_its_class
from simdl.networks.network import Network
from simdl.networks.ports import check_free, run_dtype

Between = Literal["linear", "hold"]
BETWEEN = ("linear", "hold")
MOST = 10_000  # samples in a tick


class Resampled(Block):
    """A network at another rate than its own: at a tick it is given the samples that fell due since the tick before.

    network: a Network, Recurrent or the like with the period that it was trained at, such as Recurrent.from_card(path):
    its ports, units, scales and memory are this block's. Sample j is due at j times its period after the first tick. A
    slower loop gives it several samples a tick, a faster one none at most ticks; periods need not divide each other.
    between: what an input is at a sample between two ticks: "linear", a straight line through both, or "hold", the
    earlier one. Whole numbers and arrays are held. No input is looked at before its tick, so nothing is delayed; its
    outputs are those of its last sample, held.

    An input that is straight between ticks gives what the network would say at its own rate; what is faster than the
    loop is lost, and where the loop is faster, what is between samples is not seen: filter it before.

    Raises NetworkError for a network with reset= or x0="input", for open shapes, and for networks without a period.

    >>> from simdl.networks import Recurrent
    >>> net = Recurrent(torch.nn.GRU(2, 8, batch_first=True), inputs=("v", "i"), outputs=("y",), period="10 ms")
    >>> slow = Resampled(net, period="25 ms")
    >>> slow.ratio, list(slow.declared())[:4]
    (Fraction(5, 2), ['v', 'i', 'y', 'ok'])
    """

    if TYPE_CHECKING:
        network: ClassVar[Network]
        ratio: ClassVar[Fraction]
        between: ClassVar[Between]
        _ports: ClassVar[tuple[list[str], list[str], list[str]]]
        _made_from: ClassVar[type[Resampled]]

        def __getattr__(self, name: str) -> Any: ...

    else:
        network = ratio = between = module = card = trained = None

        def __new__(cls, network=None, **options):
            if "_made_from" in vars(cls):  # a copy of a block whose class exists
                return object.__new__(cls)
            if not isinstance(network, Network):
                raise NetworkError(cls.__name__, f"{network!r:.60}", "a network with a period of its own",
                                   "Resampled(Recurrent.from_card(path), period=…)")  # fmt: skip
            return object.__new__(_class_of(cls, network))

        def __init__(self, network, *, between="linear", period=None, rate=None, **values):
            self._assign({"period": period, "rate": rate, **values})
            self._start(network, between, period, rate)

    def _start(self, network: Network, between: Between, period: Duration | None, rate: Duration | None) -> None:
        where, own, trained = str(self), clock(period, rate, where=str(self)), network.clock
        if between not in BETWEEN:
            raise NetworkError(where, f"between={between!r}", "one of", names=BETWEEN, wrong=str(between))
        if own is None:
            raise NetworkError(where, "no period", "period= or rate= of the loop")
        if trained is None:
            raise NetworkError(where, f"{network} has no period", "that which it was trained at")
        ratio = _seconds(own) / _seconds(trained)
        if network.clock is not None and network.clock.offset or network.latency is not None:
            raise NetworkError(where, f"{network} has an offset or a latency", "a network without",
                               "offset= and latency= of the Resampled")  # fmt: skip
        if ratio > MOST:
            found = f"every {rate_text(own)}: {float(ratio):.0f} samples of a network that was trained every"
            raise NetworkError(where, f"{found} {rate_text(trained)}", f"at most {MOST}", "a shorter period")
        vars(self).update(network=network, ratio=ratio, between=between, module=network.module, card=network.card)
        vars(self)["trained"] = f"{rate_text(trained)} {network.window or ''}".strip()  # a model's hash counts it

    def remarks(self) -> list[str]:
        how = "lines between ticks" if self.between == "linear" else "inputs held"
        return [f"given samples every {self.trained}, as trained: {how}", *self.network.remarks()]

    def _step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """One tick: all samples that are due at it."""
        inputs, outputs, states = self._ports
        ticks, parts = self.ratio.numerator, self.ratio.denominator  # a tick and a sample, in parts of both
        count, most = values["count"], -(-ticks // parts)
        # From the last sample to the tick before; the first tick is a sample, as if one had been a period ago.
        phase = torch.where(count == 0, parts - ticks, ((count - 1) * ticks) % parts)

        def sample(held: tuple[Tensor, ...], k: int) -> tuple[Tensor, ...]:
            after = (k + 1) * parts - phase  # the tick before
            due = after <= ticks
            if not is_traced(due) and due.device.type == "cpu" and not bool(due.any()):  # only to save time
                return held
            share = (after.to(run_dtype([values[name] for name in inputs])) / ticks).clamp(max=1.0)
            given = {name: self._between(values[f"before_{name}"], values[name], share) for name in inputs}
            found = self.network._step({**given, **dict(zip(states, held))})
            names = (*states, *outputs)
            return tuple(_where(due, found[name].to(old), old) for name, old in zip(names, held))

        held = tuple(values[name] for name in (*states, *(f"held_{name}" for name in outputs)))
        held = repeat(most, sample, held) if most > 1 else sample(held, 0)
        said = dict(zip(outputs, held[len(states) :]))
        return {
            **dict(zip(states, held)), **said, **{f"held_{name}": value for name, value in said.items()},
            **{f"before_{name}": values[name] for name in inputs}, "count": count + 1,
        }  # fmt: skip

    def _between(self, before: Tensor, now: Tensor, share: Tensor) -> Tensor:
        """An input at a part of the way from the tick before to this one; share: (lanes,), in (0, 1]."""
        part = share.reshape(-1, *(1,) * (now.ndim - 1))
        held = torch.where(part >= 1.0, now, before)
        if self.between == "hold" or not now.is_floating_point() or now.ndim > 2:
            return held
        return torch.where(part >= 1.0, now, (1.0 - part) * before + part * now)

    __deepcopy__ = with_its_class

    def __reduce__(self) -> Any:
        return _remade, (self._made_from, self.network), self.__getstate__()


def _class_of(base: type[Resampled], network: Network) -> type[Resampled]:
    """The class of one network: its ports, its memory, and what is remembered of the tick before."""
    where, kind = base.__name__, cast(Any, type(base))
    plan, declared = network._plan, type(network).declared()
    if plan.extra_inputs:  # an edge between two samples would be lost
        raise NetworkError(where, f"{network} with an input {next(iter(plan.extra_inputs))}", "a network without",
                           "a resettable subsystem around the Resampled")  # fmt: skip
    inputs = {name: copy(one) for name, one in declared.items() if isinstance(one, Input)}
    states = {name: copy(one) for name, one in declared.items() if isinstance(one, State)}
    others = [name for name in declared if name not in inputs and name not in states]
    outputs: dict[str, Output] = {}
    for name in others:
        one = declared[name]
        if not isinstance(one, Output):
            raise NetworkError(f"{where}.{name}", f"a {type(one).__name__} of {network}", "inputs, outputs and states")
        outputs[name] = copy(one)
    for name, put in inputs.items():
        if put.shape is None:
            raise NetworkError(f"{where}.{name}", "an input of open shape", "its shape",
                               f"inputs={{{name!r}: Input(shape=(n,))}} of the network")  # fmt: skip
    found = _tried(network, inputs, states)
    memory: dict[str, Any] = {"count": State(0, dtype="int64", doc="ticks since the start or the last reset")}
    for name, put in inputs.items():
        memory[f"before_{name}"] = State(0.0, shape=put.shape, dtype=_kind(put.dtype), doc=f"{name} at the tick before")
    for name, out in outputs.items():
        value = found[name]
        dtype = None if value.is_floating_point() else value.dtype
        out.shape = tuple(value.shape[1:])
        doc = f"{name} of the last sample"
        memory[f"held_{name}"] = State(out.initial, shape=out.shape, dtype=_kind(dtype), doc=doc)
    ports: dict[str, Any] = {**inputs, **outputs, **states, **memory}
    check_free([*inputs, *outputs, *states, *memory], base, where)
    for name, port in ports.items():
        port.name = name
    body = {**ports, "step": Tick(reading(_stepped, [*inputs, *states, *memory])), "_made_from": base,
            "_ports": (list(inputs), list(outputs), list(states)), "__module__": base.__module__,
            "__doc__": base.__doc__, "__qualname__": base.__qualname__}  # fmt: skip
    return cast(type[Resampled], kind(base.__name__, (base,), body))


def _tried(network: Network, inputs: Mapping[str, Input], states: Mapping[str, State]) -> dict[str, Tensor]:
    """What the network says of two lanes of zeros."""
    values = {name: torch.zeros((2, *(one.shape or ())), dtype=one.dtype or torch.float64)
              for name, one in inputs.items()}  # fmt: skip
    for name, one in states.items():
        first = torch.as_tensor(one.initial, dtype=one.dtype or torch.float64)
        values[name] = first.expand((2, *(one.shape or ()))).clone()
    with torch.no_grad():
        return network._step(values)


def _stepped(self: Resampled, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return self._step(values)


def _kind(dtype: torch.dtype | None) -> str | None:
    return None if dtype is None else str(dtype).removeprefix("torch.")


def _seconds(ticking: Clock) -> Fraction:
    return Fraction(ticking.numerator, ticking.denominator)


def _where(mask: Tensor, value: Tensor, other: Tensor) -> Tensor:
    """By lane: mask (lanes,), values (lanes, *shape)."""
    return torch.where(mask.reshape(-1, *(1,) * (value.ndim - 1)), value, other)


def _remade(base: type[Resampled], network: Network) -> Resampled:
    """A block read back from a pickle; its state follows."""
    return object.__new__(_class_of(base, network))
