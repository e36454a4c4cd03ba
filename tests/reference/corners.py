"""Experiments made by hand, where random ones never come: exact coincidences, ties, rest, the first instant."""

from __future__ import annotations

from tests.reference.expression import Expression
from tests.reference.spec import Condition, Crossing, Experiment, Held, Leaf, Nest

MS = 1_000_000


def r(name: str) -> Expression:
    return ("read", name)


def k(value: float) -> Expression:
    return ("const", value)


def _run(
    *children: Leaf | Nest, until: int = 500, step: int = 125, wires: dict[str, Expression] | None = None,
    given: dict[str, float | Held] | None = None,
) -> Experiment:  # fmt: skip
    """An experiment on these children; until and the longest step in ms."""
    given = given or {}
    root = Nest("", inputs=tuple(given), children=children, wires=wires or {})
    return Experiment(root, until * MS, step * MS, inputs=given)


CLOCK = Leaf("tick", states={"n": 0.0}, outputs={"y": 0.0}, period=250 * MS,
             tick={"n": ("add", r("n"), k(1.0)), "y": ("add", r("n"), k(1.0))})  # fmt: skip


def _falling(name: str = "b", rate: float = -1.0, start: float = 0.25, **crossings: Crossing) -> Leaf:
    """A straight line: exact in floats when rate, start and steps are dyadic."""
    return Leaf(name, states={"x": start, "m": 0.0}, derivative={"x": k(rate)}, crossings=crossings)


def _ball(start: float, bounce: float) -> Leaf:
    moving = ("where", ("gt", r("rest"), k(0.5)), k(0.0), k(1.0))
    return Leaf(
        "ball", states={"h": start, "v": 0.0, "rest": 0.0},
        derivative={"h": ("mul", r("v"), moving), "v": ("scale", -9.81, moving)},
        crossings={"floor": Crossing(r("h"), {"v": ("scale", -bounce, r("v"))}, rest="rest")},
    )  # fmt: skip


def _watch(name: str, when: str, what: str, **condition: str) -> tuple[Leaf, dict[str, Expression]]:
    """A block that a crossing triggers and that notes a value."""
    rule = Condition("triggered", r(when), **condition)
    leaf = Leaf(name, inputs={"u": None}, states={"n": 0.0}, outputs={"y": -1.0, "dt_": 0.0}, conditions=(rule,),
                tick={"y": r("u"), "n": ("add", r("n"), k(1.0)), "dt_": r("dt")})  # fmt: skip
    return leaf, {f"{name}.u": r(what)}


def _corners() -> dict[str, Experiment]:
    up = {"x": k(0.25), "m": ("add", r("m"), k(1.0))}
    reader = Leaf("see", inputs={"u": None}, outputs={"y": 9.0}, period=250 * MS, tick={"y": r("u")})
    first, second = Crossing(r("x"), {"m": ("add", r("m"), k(1.0))}), Crossing(r("x"), {"m": ("scale", 3.0, r("m"))})
    zero = Crossing(r("x"), {"m": k(1.0)})
    jump: Held = ((0.0, 0.25, 0.375), (0.0, 1.0, 0.0))
    level = Leaf("b", inputs={"u": None}, states={"m": 0.0}, crossings={
        "c": Crossing(("sub", k(0.5), r("u")), {"m": ("add", r("m"), k(1.0))})})  # fmt: skip
    pair = Leaf("b", inputs={"u": None}, states={"m": 0.0, "n": 0.0}, crossings={
        "c": Crossing(("sub", k(0.5), r("u")), {"m": ("add", r("m"), k(1.0))}),
        "d": Crossing(("sub", k(0.75), r("u")), {"m": ("scale", 3.0, r("m")), "n": ("add", r("m"), k(10.0))}),
    })  # fmt: skip
    chain = Leaf("b", inputs={"u": None}, states={"m": 0.0, "n": 0.0}, crossings={
        "c": Crossing(("sub", k(0.5), r("n")), {"n": k(0.25), "m": ("add", r("m"), k(1.0))}),
        "d": Crossing(("sub", k(0.75), r("u")), {"n": k(1.0)}),
    })  # fmt: skip
    watch, wire = _watch("see", "b.c", "b.x")
    other, wires = _watch("two", "b.c", "see.y")
    rise = Condition("triggered", ("gt", r("r"), k(0.5)), edge="either")
    off = Condition("enabled", ("gt", r("r"), k(0.5)))
    masked = Condition("enabled", ("gt", r("r"), k(0.5)), outputs="initial")
    flow = Leaf("f", inputs={"u": None}, states={"x": 1.0}, derivative={"x": r("u")}, methods={
        "z": (("add", r("x"), r("u")), None)})  # fmt: skip
    again = Condition("resettable", ("gt", r("r"), k(0.5)), edge="either")
    hit = Leaf("hit", inputs={"u": None}, outputs={"y": -1.0}, first=0.25, hit={"y": r("u"), "next": k(0.125)})
    once = Leaf("hit", inputs={"u": None}, outputs={"y": -1.0}, hit={"y": r("u"), "next": k(float("inf"))})
    counted = Leaf("tick", states={"n": 0.0}, outputs={"y": 5.0}, period=125 * MS, latency=250 * MS,
                   tick={"n": ("add", r("n"), k(1.0)), "y": r("n")})  # fmt: skip
    step = Leaf("s", edges=("where", ("gt", k(0.25), r("t")), k(0.25), k(float("inf"))), methods={
        "z": (("where", ("gt", k(0.25), r("t")), k(1.0), k(-1.0)), None)})  # fmt: skip
    counter = Leaf("count", states={"n": 0.0}, outputs={"y": -1.0}, period=10 * MS,
                   tick={"n": ("add", r("n"), k(1.0)), "y": r("n")})  # fmt: skip
    ticking = Leaf("hit", states={"n": 0.0}, outputs={"y": -1.0}, first=0.03,
                   hit={"n": ("add", r("n"), k(1.0)), "y": r("n"), "next": k(0.02)})  # fmt: skip
    count = Leaf("see", states={"n": 0.0}, outputs={"y": 0.0},
                 tick={"y": ("add", r("n"), r("dt")), "n": ("add", r("n"), k(1.0))})  # fmt: skip
    thrown = Leaf("b", states={"x": 0.0, "v": 1.0, "m": 0.0}, derivative={"x": r("v"), "v": k(-8.0)},
                  crossings={"c": zero})  # fmt: skip
    noisy = Leaf("see", outputs={"y": 9.0}, noises={"w": "uniform"}, tick={"y": ("add", r("w"), r("dt"))})
    saw = _falling(rate=-4.0, start=0.25, c=Crossing(r("x"), {"x": k(0.25)}))
    beat = Leaf("hit", noises={"w": "normal"}, outputs={"y": -1.0}, first=0.03, hit={
        "y": ("add", r("w"), r("dt")), "next": ("add", k(0.04), ("scale", 0.01, ("sin", r("w"))))})  # fmt: skip
    on: dict[str, float | Held] = {"r": jump}

    def by(leaf: Leaf, *conditions: Condition) -> Leaf:
        return Leaf(**{**vars(leaf), "conditions": conditions})

    late = Leaf("b", inputs={"u": None}, states={"n": 0.0}, outputs={"y": 7.0, "never": 6.0, "p": 8.0, "q": 9.0},
                period=250 * MS, latency=125 * MS, tick={"n": ("add", r("n"), k(1.0)), "y": r("n")},
                joint={"p": r("u"), "q": r("n")})  # fmt: skip

    return {
        "two delayed methods of one block": _run(late, wires={"b.u": k(2.0)}),
        "a crossing at an instant is before it": _run(
            _falling(c=Crossing(r("x"), up)), reader, wires={"see.u": r("b.m")}
        ),
        "a crossing at the end is before until": _run(_falling(c=Crossing(r("x"), up)), until=250),
        "ties fire in path order": _run(_falling(start=0.2, c=first, d=second)),
        "ties fire in path order, the other way": _run(_falling(start=0.2, c=second, d=first)),
        "a guard below zero at the start waits": _run(_falling(rate=1.0, start=-0.25, c=zero)),
        "a guard at zero and falling does not fire": _run(_falling(start=0.0, c=zero)),
        "a guard at zero and rising is armed": _run(thrown),
        "an instant pushes a guard": _run(level, wires={"b.u": r("r")}, given=on),
        "an instant pushes two guards": _run(pair, wires={"b.u": r("r")}, given=on),
        "a reset pushes a guard": _run(chain, wires={"b.u": r("r")}, given=on),
        "a jump at t = 0 fires nothing": _run(level, CLOCK, wires={"b.u": r("tick.y")}),
        "a ball comes to rest": _run(_ball(0.1, 0.5), until=1000, step=10),
        "a ball comes to rest between samples": _run(_ball(0.05, 0.3), CLOCK, until=1000, step=7),
        "a triggered block notes the reset state": _run(_falling(c=Crossing(r("x"), up)), watch, wires=wire),
        "two triggered blocks run in order": _run(
            other, _falling(start=0.2, c=Crossing(r("x"), up)), watch, wires={**wire, **wires}
        ),
        "an edge at the first instant": _run(by(count, rise), given={"r": 1.0}),
        "edges of a held input": _run(by(count, rise), given=on),
        "disabled from the start, held": _run(by(flow, off), wires={"f.u": ("add", r("r"), k(0.5))}, given=on),
        "disabled from the start, masked": _run(by(flow, masked), wires={"f.u": ("add", r("r"), k(0.5))}, given=on),
        "a disabled queue": _run(by(counted, off), given=on),
        "a disabled queue, masked": _run(by(counted, masked), given=on),
        "a disabled guard": _run(by(_falling(start=0.3, c=Crossing(r("x"), up)), off), given=on),
        "a disabled guard is passed": _run(by(level, off), wires={"b.u": r("r")}, given=on),
        "reset pushes a guard from outside": _run(
            by(_falling(rate=1.0, start=-0.25, c=zero), again), given={"r": ((0.0, 0.375), (0.0, 1.0))}
        ),
        "a reset reaches readers at its instant": _run(
            by(flow, again),
            Leaf("see", inputs={"u": None}, outputs={"y": 9.0}, period=125 * MS, tick={"y": r("u")}),
            wires={"f.u": r("r"), "see.u": r("f.x")},
            given=on,
        ),
        "a hit at a tick is ordered": _run(CLOCK, hit, wires={"hit.u": r("tick.y")}),
        "a tick at a hit is ordered": _run(hit, reader, CLOCK, wires={"hit.u": r("tick.n"), "see.u": r("hit.y")}),
        "a hit at t = 0 and never again": _run(CLOCK, once, wires={"hit.u": r("tick.y")}),
        "a hit at a crossing": _run(_falling(c=Crossing(r("x"), up)), hit, wires={"hit.u": r("b.m")}),
        "a hit at a grid point with a crossing": _run(
            _falling(c=Crossing(r("x"), up)), hit, wires={"hit.u": r("b.m")}, step=25, until=490
        ),
        "a hit pushes a guard": _run(
            CLOCK,
            Leaf(
                "hit",
                states={"n": 0.0},
                outputs={"y": 0.0},
                first=0.1,
                hit={"n": ("add", r("n"), k(1.0)), "y": ("add", r("n"), k(1.0)), "next": k(0.11)},
            ),
            level,
            wires={"b.u": r("hit.y")},
            step=30,
        ),  # fmt: skip
        "a hit begins the budget of firings anew": _run(
            _falling(start=2**-8, c=Crossing(r("x"), {"x": k(2**-8)})), hit, wires={"hit.u": r("b.x")}, step=25
        ),
        "a step of a source is seen from the left": _run(step, flow, wires={"f.u": r("s.z")}, step=100, until=400),
        "a guard on a source fires at its edge": _run(
            step,
            Leaf("b", inputs={"u": None}, states={"m": 0.0}, crossings={"c": Crossing(r("u"), {"m": k(1.0)})}),
            wires={"b.u": r("s.z")},
        ),  # fmt: skip
        "a disabled block is reset all the same": _run(
            by(counter, off, Condition("resettable", ("gt", k(0.5), r("r")), edge="either")), given=on, step=10
        ),
        "a crossing triggers a disabled block: its noise and dt run on": _run(
            Nest("g", inputs=("r",), children=(by(noisy, off),), conditions=(Condition("triggered", r("b.c")),)),
            saw,
            wires={"g.r": r("r")},
            given={"r": ((0.0, 0.15), (0.0, 1.0))},
            until=480,
            step=30,
        ),
        "an edge triggers a disabled block: its noise and dt run on": _run(
            Nest(
                "g",
                inputs=("r", "e"),
                children=(by(noisy, off),),
                conditions=(Condition("triggered", ("gt", r("e"), k(0.5)), edge="either"),),
            ),
            wires={"g.r": r("r"), "g.e": r("e")},
            given={"r": ((0.0, 0.3), (0.0, 1.0)), "e": ((0.0, 0.1, 0.2, 0.35), (0.0, 1.0, 0.0, 1.0))},
        ),
        "hits of a disabled block: their noise and dt run on": _run(
            by(beat, off), CLOCK, given={"r": ((0.0, 0.15, 0.3), (0.0, 1.0, 0.0))}, step=25
        ),
        "a condition on the output of a hit": _run(
            ticking, by(counter, Condition("enabled", ("gt", r("hit.y"), k(4.5)))), until=300, step=10
        ),
        "a trigger on the output of a hit": _run(
            ticking, by(count, Condition("triggered", ("gt", r("hit.y"), k(4.5)))), CLOCK, until=300, step=10
        ),
        "wires in a disabled diagram are wires": _run(
            Nest(
                "g",
                inputs=("r",),
                outputs={"o": ("scale", 2.0, r("f.x")), "p": ("add", r("r"), r("f.z"))},
                children=(flow,),
                wires={"f.u": r("r")},
                conditions=(off,),
            ),
            CLOCK,
            wires={"g.r": ("sin", r("tick.y"))},
            given=on,
            until=300,
        ),
        "a held input that begins late": _run(
            counter, flow, wires={"f.u": r("r")}, given={"r": ((0.1, 0.2), (1.0, 0.0))}
        ),
        "steps that divide exactly in decimal": _run(flow, wires={"f.u": ("sin", r("f.x"))}, step=7, until=70),
    }


CORNERS = _corners()
