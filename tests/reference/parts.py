"""Random leaves: sampled blocks, flows, plants with crossings, sources, hits and triggered blocks.

Everything stays of order one and forgets its past, so that rounding is not amplified: gains are at most about one,
states decay, and what may grow goes through tanh, sin or limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.reference.choices import Choices
from tests.reference.expression import Expression
from tests.reference.spec import Crossing, Leaf

MS = 1_000_000
ONE: Expression = ("const", 1.0)
PERIODS = (20 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 7 * MS)
RATES = (30, 90, 7, 60)
LATENCIES = (10 * MS, 5 * MS, 13 * MS, 25 * MS, 40 * MS, 120 * MS, 20 * MS, 333_333)


def read(name: str) -> Expression:
    return ("read", name)


def const(value: float) -> Expression:
    return ("const", value)


def bounded(c: Choices, inner: Expression) -> Expression:
    """Something of order one, however large the inner value."""
    return c.pick([
        ("tanh", inner), ("sin", inner), ("max", ("const", -1.25), ("min", inner, ("const", 1.25))),
    ])  # fmt: skip


def term(c: Choices, names: Sequence[str], smooth: bool) -> Expression:
    """A gain of at most one from the names; smooth: without jumps."""
    a = ("scale", c.number(-1.0, 1.0), read(c.pick(names)))
    kind = c.integer(0, 6)
    if kind == 1:
        return bounded(c, a)
    if kind == 2:
        return ("mul", bounded(c, a), bounded(c, read(c.pick(names))))
    if kind == 3:
        return (c.pick(["min", "max"]), a, const(c.number(-0.5, 0.5)))
    if kind == 4:
        return (c.pick(["min", "max"]), a, ("scale", c.number(-1.0, 1.0), read(c.pick(names))))
    if kind == 5 and not smooth:
        return ("where", ("gt", read(c.pick(names)), const(c.number(-0.7, 0.7))), a, const(c.number(-0.5, 0.5)))
    return a


def blend(c: Choices, names: Sequence[str], smooth: bool = False, most: int = 3) -> Expression:
    """A sum of terms, at times bounded; a number when there is nothing to read."""
    if not names:
        return const(c.number(-1.0, 1.0))
    total = term(c, names, smooth)
    for _ in range(c.integer(0, most - 1)):
        total = ("add", total, term(c, names, smooth))
    return bounded(c, total) if c.chance(40) else total


def _named(letter: str, count: int) -> list[str]:
    return [f"{letter}{index}" for index in range(count)]


def _inputs(c: Choices, least: int, most: int) -> dict[str, float | None]:
    return {name: c.number(-1, 1) if c.chance(15) else None for name in _named("u", c.integer(least, most))}


def _params(c: Choices, most: int = 1) -> dict[str, Expression]:
    return {name: const(c.number(-1, 1)) for name in _named("p", c.integer(0, most))}


def _step(c: Choices, states: dict[str, float], names: list[str], outputs: Sequence[str]) -> dict[str, Expression]:
    """What a tick returns: decaying states and blended outputs, at times one left out."""
    step: dict[str, Expression] = {}
    for name in states:
        if not c.chance(10):
            decay = ("scale", c.number(-0.85, 0.85), read(name))
            step[name] = ("add", decay, bounded(c, blend(c, names))) if names else decay
    for name in outputs:
        if name == outputs[0] or not c.chance(8):
            step[name] = blend(c, names)
    return step


def _ticking(c: Choices, name: str) -> tuple[dict[str, object], list[str]]:
    """The declarations of a block that ticks, and what its methods may read."""
    inputs, params = _inputs(c, 0, 3), _params(c)
    states = {state: c.number(-1, 1) for state in _named("x", c.integer(0, 3))}
    noises = {"w0": c.pick(["normal", "uniform"])} if c.chance(25) else {}
    outputs = {output: c.number(-1, 1) if c.chance(50) else 0.0 for output in _named("y", 1 + c.integer(0, 2))}
    names = [*inputs, *states, *params, *(["t"] if c.chance(10) else []), *(["dt"] if c.chance(10) else [])]
    step = _step(c, states, [*names, *noises], list(outputs))
    stream = f"stream of {name}" if noises and c.chance(30) else None
    fields = dict(
        name=name, inputs=inputs, params=params, states=states, noises=noises, outputs=outputs, stream=stream, tick=step
    )
    return fields, names


def _methods(c: Choices, names: list[str], outputs: dict[str, float]) -> dict[str, object]:
    """Output methods of a block that ticks: each with its initial value, and one for two declared outputs."""
    methods = {f"z{k}": (blend(c, names), c.number(-1, 1)) for k in range(c.integer(0, 1))}
    joint = {}
    if c.chance(15):
        outputs |= {"j0": 0.0, "j1": c.number(-1, 1)}
        joint = {"j0": blend(c, names), "j1": blend(c, names)}
    return dict(methods=methods, joint=joint)


def sampled(c: Choices, name: str) -> Leaf:
    """A block with a period or a rate."""
    fields, names = _ticking(c, name)
    fields |= _methods(c, names, fields["outputs"])  # type: ignore[arg-type]
    if c.chance(20):
        fields["rate"] = c.pick(RATES)
    else:
        fields["period"] = period = c.pick(PERIODS)
        fields["offset"] = c.integer(1, period // (5 * MS)) * 5 * MS % period if c.chance(30) else 0
    if c.chance(35):
        fields["latency"] = c.pick(LATENCIES)
    return Leaf(**fields)  # type: ignore[arg-type]


def triggered(c: Choices, name: str) -> Leaf:
    """A block that ticks without a clock of its own: a condition must make it."""
    fields, names = _ticking(c, name)
    fields["methods"] = {"z0": (blend(c, names), c.number(-1, 1))} if c.chance(20) else {}
    return Leaf(**fields)  # type: ignore[arg-type]


def hitting(c: Choices, name: str) -> Leaf:
    """A block that says when it runs next."""
    fields, names = _ticking(c, name)
    wait = const(c.number(0.01, 0.08))
    if names and c.chance(50):
        wait = ("add", wait, ("scale", 0.004, ("tanh", read(c.pick(names)))))
    step = fields.pop("tick")
    return Leaf(**fields, hit={**step, "next": wait}, first=c.pick([0.0, 0.004, 0.02, 0.0301]))  # type: ignore


def flowing(c: Choices, name: str) -> Leaf:
    """Stable differential equations of low order, with outputs that see the inputs or do not."""
    inputs, params = _inputs(c, 0, 2), _params(c)
    states = {state: c.number(-1, 1) for state in _named("x", 1 + c.integer(0, 2))}
    drives = [*inputs, *params, *(["t"] if c.chance(15) else [])]
    flow: dict[str, Expression] = {}
    for state in states:
        pull = ("add", ("scale", -c.number(1.0, 8.0), read(state)), bounded(c, blend(c, list(states), smooth=True)))
        flow[state] = ("add", pull, ("scale", c.number(0.5, 3.0), blend(c, drives, smooth=True))) if drives else pull
    initial: dict[str, Expression] = {}
    if params and c.chance(40):
        initial = {"x0": ("scale", c.number(-1, 1), read("p0"))}
    elif inputs and c.chance(20):
        initial = {"x0": ("add", ("tanh", read("u0")), const(c.number(-0.5, 0.5)))}
    methods: dict[str, tuple[Expression, float | None]] = {}
    for output in _named("z", c.integer(0, 2)):
        seen = [*states, *params, *(inputs if c.chance(50) else [])]
        methods[output] = (blend(c, seen, smooth=not c.chance(10)), None)
    return Leaf(
        name, inputs=inputs, params=params, states=states, derivative=flow, initial=initial, methods=methods
    )  # fmt: skip


def static(c: Choices, name: str) -> Leaf:
    """Outputs of inputs alone, in continuous time."""
    inputs, params = _inputs(c, 1, 3), _params(c)
    outputs = {"y0": 0.0, "y1": 0.0} if c.chance(40) else {}
    names = [*inputs, *params]
    smooth = not c.chance(15)
    joint = {output: blend(c, names, smooth) for output in outputs}
    methods: dict[str, tuple[Expression, float | None]] = {}
    if not outputs or c.chance(40):
        methods = {"z0": (blend(c, names, smooth), None)}
    return Leaf(name, inputs=inputs, params=params, outputs=outputs, joint=joint, methods=methods)


def source(c: Choices, name: str) -> Leaf:
    """A piecewise smooth function of time with declared edges."""
    edges = [c.integer(1, 30) * 0.0073 + 0.0011 for _ in range(1 + c.integer(0, 2))]
    edges = sorted({round(edge, 6) for edge in edges})
    pieces = [c.number(-1, 1) for _ in range(len(edges) + 1)]
    value: Expression = const(pieces[-1])
    after: Expression = const(float("inf"))
    for edge, piece in reversed(list(zip(edges, pieces))):
        value = ("where", ("gt", const(edge), read("t")), const(piece), value)
        after = ("where", ("gt", const(edge), read("t")), const(edge), after)
    if c.chance(50):
        value = ("add", value, ("sin", ("scale", c.number(1, 9), read("t"))))
    return Leaf(name, methods={"z0": (value, None)}, edges=after)


PARTS: tuple[Callable[[Choices, str], Leaf], ...] = (sampled, flowing, static, sampled, flowing)


def _guard(name: Expression, level: float, rising: bool) -> Expression:
    """Falls to zero when the value rises (falls) through the level."""
    return ("sub", const(level), name) if rising else ("sub", name, const(level))


def ball(c: Choices, name: str) -> Leaf:
    """A ball on a floor, pushed a little."""
    inputs = _inputs(c, 0, 1)
    fall: Expression = const(-c.number(5.0, 12.0))
    if inputs:
        fall = ("add", fall, ("tanh", read("u0")))
    bounce = {"x1": ("scale", -c.number(0.8, 0.98), read("x1"))}
    return Leaf(
        name, inputs=inputs, states={"x0": c.number(0.15, 0.6), "x1": c.number(-1, 1)},
        derivative={"x0": read("x1"), "x1": fall}, crossings={"c0": Crossing(read("x0"), bounce)},
    )  # fmt: skip


def ramp(c: Choices, name: str) -> Leaf:
    """Rises and starts again: from zero, from where it was less a turn, or goes on unchanged (a detector)."""
    inputs = _inputs(c, 0, 1)
    rise: Expression = const(c.number(3.0, 20.0))
    if inputs:
        rise = ("add", rise, ("tanh", read("u0")))
    level: Expression = read("x0")
    if inputs and c.chance(30):
        level = ("add", level, ("scale", 0.2, ("tanh", read("u0"))))
    again = c.pick([("const", 0.0625), ("sub", read("x0"), ONE), ("scale", 0.125, read("x0"))])
    crossings = {"c0": Crossing(("sub", ONE, level), {"x0": again})}
    if c.chance(40):
        crossings["d0"] = Crossing(_guard(read("x0"), c.number(0.2, 0.8), True), None)
    return Leaf(
        name, inputs=inputs, states={"x0": c.number(0, 0.9)}, derivative={"x0": rise}, crossings=crossings,
        methods={"z0": (("sin", ("scale", 3.0, read("x0"))), None)} if c.chance(30) else {},
    )  # fmt: skip


def relay(c: Choices, name: str) -> Leaf:
    """A heater that two crossings switch on and off by a mode."""
    low, high = c.number(-0.6, -0.1), c.number(0.1, 0.6)
    on = ("gt", read("m0"), const(0.5))
    pull = ("where", on, const(c.number(1.0, 2.0)), const(-c.number(1.0, 2.0)))
    inputs = _inputs(c, 0, 1)
    if inputs:
        pull = ("add", pull, ("scale", 0.25, ("tanh", read("u0"))))
    crossings = {
        "c0": Crossing(("where", on, _guard(read("x0"), high, True), ONE), {"m0": const(0.0)}),
        "c1": Crossing(("where", on, ONE, _guard(read("x0"), low, False)), {"m0": const(1.0)}),
    }
    return Leaf(
        name, inputs=inputs, states={"x0": c.number(-0.05, 0.05), "m0": c.pick([0.0, 1.0])}, crossings=crossings,
        derivative={"x0": ("scale", c.number(4.0, 12.0), ("sub", pull, read("x0")))},
    )  # fmt: skip


def latch(c: Choices, name: str) -> Leaf:
    """A mode that follows a signal with hysteresis, whatever drives it: a jump of the signal may fire it at once."""
    low, high = c.number(-0.6, -0.1), c.number(0.1, 0.6)
    on = ("gt", read("m0"), const(0.5))
    crossings = {
        "c0": Crossing(("where", on, ONE, _guard(read("u0"), high, True)), {"m0": const(1.0)}),
        "c1": Crossing(("where", on, _guard(read("u0"), low, False), ONE), {"m0": const(0.0)}),
    }
    methods: dict[str, tuple[Expression, float | None]] = {"z0": (("mul", read("m0"), ("sin", read("u0"))), None)}
    return Leaf(name, inputs={"u0": None}, states={"m0": 0.0}, crossings=crossings, methods=methods)


CROSSERS: tuple[Callable[[Choices, str], Leaf], ...] = (ramp, ball, relay, latch)


def leaf(c: Choices, name: str) -> Leaf:
    """Any leaf that needs no condition to run."""
    kind = c.integer(0, 10)
    if kind < 5:
        return PARTS[kind](c, name)
    if kind < 9:
        return CROSSERS[kind - 5](c, name)
    return (source, hitting)[kind - 9](c, name)
