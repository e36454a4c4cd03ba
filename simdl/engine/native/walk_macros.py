"""The programs of a walk by the names of their C functions, and what walk.h asks of a model."""

from __future__ import annotations

from collections.abc import Mapping

from simdl.clock import SECOND, nanoseconds
from simdl.engine.native.lower import Program
from simdl.engine.native.program import Writer
from simdl.engine.native.walk import Walk


def walk_programs(walk: Walk, states: int) -> dict[str, Program]:
    """The programs of a lane's own way, by the names of their C functions."""
    found: dict[str, Program] = {}
    if states:
        found |= {
            "p_slope": walk.slope(),
            "p_attempt": walk.attempt(),
            "p_accept": walk.accept(),
            "p_dense": walk.dense(),
        }
        if walk.adaptive:
            found |= {"p_control": walk.control(), "p_first": walk.first()}
    found["p_within"] = walk.within() if walk.low.recorder.keys else Program("within")
    if walk.model.crossings:
        found |= {"p_guards": walk.guards(), "p_rates": walk.rates()}
        if states:
            found["p_ahead"] = walk.guards_ahead()
    for k in range(len(walk.model.crossings)):
        found[f"p_on_dense{k}"], found[f"p_on_step{k}"] = walk.guard_on_dense(k), walk.guard_on_step(k)
        found[f"p_reset{k}"] = walk.reset(k)
        trigger = walk.trigger(k)
        if trigger is not None:
            found[f"p_trigger{k}"] = trigger
    if walk.model.hits:
        found["p_hits"] = walk.hits()
    for i in walk.low.segments.lane_edges:
        found[f"p_edge{i}"] = walk.edge(i)
    return found


def walk_macros(walk: Walk, writer: Writer, functions: Mapping[str, Program]) -> dict[str, object]:
    """What walk.h asks of a model."""
    model, layout, solver = walk.model, writer.layout, walk.solver
    edges, guards = walk.low.segments.lane_edges, len(model.crossings)

    def label(name: str) -> str:
        return layout.slots[name].label if name in layout.slots else "none"

    able, rest, resets = [], [], []
    for q, node in enumerate(model.crossings):
        declared = model.values[node.path].declaration
        mode = f"raw:{node.block}.{declared.rest.name}" if declared.rest is not None and node.block else ""
        if declared.rest is not None and not node.block:
            mode = f"raw:{declared.rest.name}"
        terms = [f"s->{label(mode)}[0][0] == 0"] if mode else []
        if node.enable is not None:
            terms.append(f"s->{label(f'before:{node.enable.condition}')}[0][0]")
        able.append(f"(q_) == {q} ? {' && '.join(terms) or '1'}")
        rest.append(f"(q_) == {q} ? (s->{label(mode)}[0][0] = 1, 1)" if mode else f"(q_) == {q} ? 0")
        calls = f"p_reset{q}(PASS);" + (f" refresh(GIVE); p_trigger{q}(PASS);" if f"p_trigger{q}" in functions else "")
        resets.append(f"case {q}: {calls} break;")
    slots = {f"hit:{i}": f"next_hit:{i}" for i in range(len(model.hits))} | {
        f"edge:{i}": f"next_edge:{i}" for i in edges
    }
    earliest = " ".join(
        f"if (s->{label(name)}[0][0] < first) first = s->{label(name)}[0][0];" for name in slots.values()
    )
    hits, fire_edges = "", ""
    if model.hits:
        due = " || ".join(f"s->{label(f'next_hit:{i}')}[0][0] == now" for i in range(len(model.hits)))
        jump = "pushed(GIVE);" if guards else ""
        hits = f"if ({due}) {{ t = (double)now / 1e9; ns = now; p_hits(PASS); ns = w->end; refresh(GIVE); "
        hits += f"show(GIVE, next); {jump} }}"
    for i in edges:
        fire_edges += (f"if (s->{label(f'next_edge:{i}')}[0][0] == now) {{ ns = now; p_edge{i}(PASS); ns = w->end; "
                       f"w->behind = (double)now / 1e9; }} ")  # fmt: skip
    keep = ""
    if "work:f1" in layout.slots and "work:k0" in layout.slots:
        size = layout.slots["work:k0"].size
        keep = f"for (int e = 0; e < {size}; e++) s->{label('work:k0')}[e][0] = s->{label('work:f1')}[e][0];"
        if "carry" in layout.slots:
            keep = "w->slope = 0;"
    first_step = getattr(solver, "first_step", None)
    return {
        "ADAPTIVE": int(walk.adaptive), "GUARDS": guards, "SLOPE_AT_END": int(walk.slope_at_end and bool(keep)),
        "EVENTS": int(bool(slots)), "LANE_EDGES": int(bool(edges)), "MAX_STEPS": getattr(solver, "max_steps", 0),
        "ABLE(q_)": f"({' : '.join([*able, '1'])})", "REST(q_)": f"({' : '.join([*rest, '0'])})",
        "ON_DENSE": " ".join(f"case {q}: p_on_dense{q}(PASS); break;" for q in range(guards)),
        "ON_STEP": " ".join(f"case {q}: p_on_step{q}(PASS); break;" for q in range(guards)),
        "RESETS": " ".join(resets), "NEXT_EVENT": earliest, "HITS": hits, "EDGES": fire_edges, "KEEP_SLOPE": keep,
        "GUARD": label("work:g"), "ONE": label("work:one"), "NORM": label("work:norm"), "LAST": label("work:last"),
        "NOW": label("work:now"), "NEXT": label("work:next"),
        "ARMED": layout.add("armed", "b1", max(1, guards)).label,
        "FIRST_STEP": 0.0 if first_step is None else nanoseconds(first_step, "first_step") / SECOND,
    }  # fmt: skip
