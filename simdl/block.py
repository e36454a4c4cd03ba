"""Blocks: the leaves of a diagram, each declaring its ports, parameters, states and methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from simdl.clock import Clock, Duration, clock, nanoseconds
from simdl.declarations import Declaration, Input, Inputs, Noise, Output, Param, State
from simdl.declared import Declared
from simdl.errors import ModelError, SimdlError
from simdl.methods import Crossing, Method, OutputMethod

_READABLE: dict[str, tuple[type[Declaration], ...]] = {
    "initial": (Input, Inputs, Param),
    "derivative": (Input, Inputs, State, Param),
    "output": (Input, Inputs, State, Param),
    "crossing": (Input, Inputs, State, Param),
    "reset": (Input, Inputs, State, Param),
    "tick": (Input, Inputs, State, Param, Noise),
    "hit": (Input, Inputs, State, Param, Noise),
    "edges": (Param,),
}


class Block(Declared):
    """A block: declarations, and methods whose argument names are what they read.

    period or rate (one of them), offset: its clock; latency: the time after a tick at which its outputs appear;
    stream: a name for its noise that survives renaming (its path when not given).

    >>> from simdl import Block, Input, Output, Param, tick
    >>> class Gain(Block):
    ...     x, y = Input(), Output()
    ...     k: Param = Param(1.0)
    ...     @tick
    ...     def step(self, x, k): return dict(y=k * x)
    >>> Gain(k=2, period="10 ms").clock
    Clock(numerator=10000000, denominator=1, offset=0)
    """

    period: Duration | None = None
    rate: Duration | None = None
    offset: Duration | None = None
    latency: Duration | None = None
    stream: str | None = None

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return ("period", "rate", "offset", "latency", "stream")

    def drive(self, name: str, source: Any) -> None:
        if isinstance(self._declared[name], Output):
            found = "assigned, but it is an output, which its block computes"
            self.faults.append(ModelError(f"{self}.{name}", found, "an input"))
        else:
            super().drive(name, source)

    def leaves(self) -> Iterator[Block]:
        yield self

    @property
    def clock(self) -> Clock | None:
        """The clock it ticks on, None for a block in continuous time."""
        return clock(self.period, self.rate, self.offset, str(self))

    @property
    def latency_ns(self) -> int:
        """The latency in ns."""
        return nanoseconds(self.latency, f"{self}: latency") if self.latency is not None else 0

    @property
    def until_ns(self) -> int | None:
        """The time to which it can be run, in ns, where it ends: times of a table do. None for any."""
        return None

    def lane_settings(self, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        """Parameters that a run's lanes decide, by name: (lanes, *shape) for the lanes `ids` of the run's seed. What
        `set=` says goes before them."""
        return {}

    def lane_failures(self, ids: Tensor, seed: int) -> Mapping[int, str]:
        """Which of a run's lanes cannot begin, by their place in `ids`, and why: they fail at t = 0."""
        return {}

    def hashed(self) -> Sequence[Any]:
        """What a model's hash counts of this block beside its parameters and the text of its methods: values and
        functions that decide what it does."""
        return ()

    def remarks(self) -> Sequence[str]:
        """What `describe()` says of this block beside its schedule, a line each: casts, what is done to its inputs."""
        return ()

    def _repr_html_(self) -> str:
        from simdl.draw import picture

        return picture(type(self), repr(self))._repr_html_()

    @classmethod
    def _check(cls) -> None:
        faults: list[SimdlError] = []
        names = cls._declared
        methods: list[tuple[str, Method]] = [(m.kind, m) for m in cls._methods if m.kind != "method"]
        for declaration in names.values():
            if isinstance(declaration, OutputMethod):
                methods.append(("output", declaration.method))
            elif isinstance(declaration, Crossing):
                methods.append(("crossing", declaration.method))
                if declaration.resets is not None:
                    methods.append(("reset", declaration.resets))
        for kind, method in methods:
            allowed = [n for n, d in names.items() if isinstance(d, _READABLE[kind])]
            allowed += ["t"] if kind != "initial" else []
            allowed += ["dt"] if kind in ("tick", "hit", "output") else []
            for name in method.reads:
                if name not in allowed:
                    found = f"reads {name!r}"
                    if isinstance(names.get(name), Noise):
                        found += ", noise, which only a tick may read"
                    faults.append(
                        ModelError(
                            f"{cls.__name__}.{method.name}", found, f"what a {kind} may read", names=allowed, wrong=name
                        )
                    )
        for kind in ("initial", "tick", "edges"):
            if len(cls.methods(kind)) > 1:
                both = " and ".join(m.name for m in cls.methods(kind))
                faults.append(ModelError(cls.__name__, f"{both} are both @{kind}", f"one @{kind} method"))
        hits = cls.methods("hit")
        for method in hits:
            first = getattr(method, "first", 0.0)
            if isinstance(first, str) and not isinstance(names.get(first), Param):
                known = [n for n, d in names.items() if isinstance(d, Param)]
                faults.append(ModelError(f"{cls.__name__}.{method.name}", f"first={first!r}", "a parameter, or seconds",
                                         names=known, wrong=first))  # fmt: skip
        if len(hits) > 1 and sum(not m.returns for m in hits) > 1:
            both = " and ".join(m.name for m in hits if not m.returns)
            faults.append(ModelError(cls.__name__, f"{both} are both @hit", "one @hit method",
                                     "say which outputs each returns: @hit(outputs=(y,))"))  # fmt: skip
        if cls.methods("tick") and cls.methods("hit"):
            faults.append(
                ModelError(cls.__name__, "both @tick and @hit", "one of them: its own clock, or its own times")
            )
        computed = [name for m in cls.methods("derivative") for name in m.returns]
        for name in {n for n in computed if computed.count(n) > 1}:
            faults.append(ModelError(f"{cls.__name__}.{name}", "two derivatives", "one derivative for a state"))
        if computed and (cls.period is not None or cls.rate is not None):
            faults.append(_both(cls.__name__))
        if faults:
            raise ModelError.collect(cls.__name__, faults)

    def _finish(self) -> None:
        if self.clock is not None and self.methods("derivative"):
            raise _both(type(self).__name__)
        if self.latency_ns < 0:
            raise ModelError(str(self), f"latency={self.latency!r}", "zero or more")
        if self.latency_ns and self.clock is None and not self.methods("tick"):
            raise ModelError(str(self), f"latency={self.latency!r} without a period", "a block that ticks")
        for name, declaration in self._declared.items():
            if isinstance(declaration, Param) and name not in self.settings:
                if declaration.value is None:
                    raise ModelError(f"{self}.{name}", "no value", "a number", f"{type(self).__name__}({name}=...)")
                setattr(self, name, declaration.value)


def _both(name: str) -> ModelError:
    return ModelError(
        name, "both a period and a @derivative", "one of them", "split it into a continuous block and a sampled one"
    )
