"""Models as plain data: what a random model is, whoever runs it.

A name read in a leaf's method is one of its inputs, states, parameters or noises, or `t` or `dt`. A name read in a
nest's wire is one of the nest's inputs or parameters, or a path such as "b0.y" to a port of what is inside.
All times are whole nanoseconds. `repr` of any of these is Python that makes it again.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from functools import cached_property

from tests.reference.expression import Expression


class _Plain:
    """Data that prints without what is as it would be anyway."""

    def __repr__(self) -> str:
        shown = []
        for one in fields(self):  # type: ignore[arg-type]
            default = one.default_factory() if one.default_factory is not MISSING else one.default
            value = getattr(self, one.name)
            if value != default:
                shown.append(f"{one.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class Condition(_Plain):
    """What the running of a leaf or nest depends on; the signal is read where the conditioned thing is named."""

    kind: str  # enabled, triggered or resettable
    signal: Expression
    period: int | None = None
    outputs: str = "hold"
    edge: str = "rising"


@dataclass(frozen=True, repr=False)
class Crossing(_Plain):
    """A guard that fires on falling to zero, its reset map, and the mode it comes to rest in."""

    guard: Expression
    reset: dict[str, Expression] | None = None
    rest: str | None = None


@dataclass(frozen=True, repr=False)
class Leaf(_Plain):
    """A block. `outputs` are declared with their initial value and computed by the tick, the hit or `joint`."""

    name: str
    inputs: dict[str, float | None] = field(default_factory=dict)  # with the default when nothing drives it
    params: dict[str, Expression] = field(default_factory=dict)  # read where the leaf is named
    states: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, float] = field(default_factory=dict)
    noises: dict[str, str] = field(default_factory=dict)
    initial: dict[str, Expression] = field(default_factory=dict)
    derivative: dict[str, Expression] = field(default_factory=dict)
    tick: dict[str, Expression] = field(default_factory=dict)
    hit: dict[str, Expression] = field(default_factory=dict)
    first: float = 0.0
    edges: Expression | None = None
    methods: dict[str, tuple[Expression, float | None]] = field(default_factory=dict)  # with initial=
    joint: dict[str, Expression] = field(default_factory=dict)  # one @output(...) for several declared outputs
    crossings: dict[str, Crossing] = field(default_factory=dict)
    period: int | None = None
    rate: int | None = None  # in Hz, in place of a period
    offset: int = 0
    latency: int = 0
    stream: str | None = None
    conditions: tuple[Condition, ...] = ()

    @cached_property
    def clocked(self) -> Fraction | None:
        """The exact period in ns of a leaf with a clock."""
        if self.rate is not None:
            return Fraction(1_000_000_000, self.rate)
        return Fraction(self.period) if self.period is not None else None

    @cached_property
    def step(self) -> dict[str, Expression]:
        """What one tick or hit computes."""
        return self.tick or self.hit

    @cached_property
    def computed(self) -> dict[str, Expression]:
        """The outputs that output methods compute."""
        return {**{name: method[0] for name, method in self.methods.items()}, **self.joint}

    @cached_property
    def ports(self) -> tuple[str, ...]:
        """What others can read."""
        return (*self.outputs, *self.methods, *self.states)

    def before(self, output: str) -> float:
        """An output's value before anything computed it."""
        if output in self.outputs:
            return self.outputs[output]
        return self.methods[output][1] or 0.0


@dataclass(frozen=True, repr=False)
class Nest(_Plain):
    """A diagram: children, the wires to their inputs by path, and what its own outputs show."""

    name: str
    inputs: tuple[str, ...] = ()
    outputs: dict[str, Expression] = field(default_factory=dict)
    params: dict[str, Expression] = field(default_factory=dict)  # read where the nest is named; numbers in the root
    children: tuple[Leaf | Nest, ...] = ()
    wires: dict[str, Expression] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


Held = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, repr=False)
class Experiment(_Plain):
    """One run: a root nest, its external inputs (a number, or times and held values), and what is set from outside."""

    root: Nest
    until: int
    max_step: int
    inputs: dict[str, float | Held] = field(default_factory=dict)
    set: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    lane: int = 0
