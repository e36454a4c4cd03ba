"""The C file of a run whose lanes share a schedule: structures, programs, and the loop over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simdl.clock import SECOND, nanoseconds
from simdl.engine.native.layout import MEMORY, Layout, Slot
from simdl.engine.native.lower import Lowering, Program
from simdl.engine.native.program import Queue, Writer, header
from simdl.engine.native.walk import Walk

ARGUMENTS = (
    "block *restrict s, const context *restrict c, hoisted *restrict k, const int64_t *restrict lane, int64_t i, "
    "int64_t base, int64_t *restrict column, int64_t *restrict tail, double t, double tau, double h, double theta, "
    "double at, double begin, double left, double right, int64_t ns"
)
PASS = "s, c, k, lane, i, base, column, tail, t, tau, h, theta, at, begin, left, right, ns"
CONTEXT = """
typedef struct {
    int64_t count, *times;
    const char *values;
    int64_t lanes;
} input;
typedef struct {
    int64_t lanes, number, threads, count, grid;
    double max_step;
    const int64_t *ns, *ticks, *ids, *column, *mark, *ring;
    const int32_t *program;
    void **out;
    const void **shared;
    const uint64_t *streams;
    const input *inputs;
    int64_t *ring_next, *column_next, *mark_next, *place, *failed;
    int32_t *cause;
    double *accuracy;
    char *blocks, *scratch;
    int64_t *events;
    double *event_times;
    int64_t most;
    int64_t *noted;
} context;
"""
NOTE = """
static void note(const context *c, int64_t base, int guard, double t)
{
    const int64_t place = __atomic_fetch_add(c->noted, 1, __ATOMIC_RELAXED);
    if (place >= c->most) return;
    c->events[2 * place] = base;
    c->events[2 * place + 1] = guard;
    c->event_times[place] = t;
}
"""


def assembled(writer: Writer, programs: Mapping[int, Program], inputs: Sequence[str], walk: Walk | None = None) -> str:
    """The text of the file. programs: the number in the table of instants -> the program of that instant; walk: when
    lanes go their own way."""
    lowering, layout = writer.lowering, writer.layout
    keys, queues = writer.keys, list(writer.queues.values())
    layout.add("frozen", "b1", 1, "frozen")
    layout.add("reason", "i4", 1, "reason")
    states = layout.slots["y"].size if "y" in layout.slots else 0
    functions: dict[str, Program] = {}
    if walk is not None:
        functions = walk_programs(walk, states)
    else:
        if states:
            functions["p_step"] = lowering.step()
            functions["p_within"] = lowering.shown_within() if keys else Program("within")
        functions["p_shown"] = lowering.shown() if keys else Program("shown")
    for program in (*functions.values(), *programs.values()):
        program.simplify(lowering.graph)
    parts = [(program, True) for program in functions.values()]
    lane, segment = writer.hoist([*parts, *((program, False) for program in programs.values())])
    writer.hoister("p_lane", lane)
    writer.hoister("p_segment", segment)
    for name, program in functions.items():
        writer.function(name, program, inline=name in ("p_step", "p_attempt", "p_slope", "p_accept", "p_guards"))
    cases: list[str] = []
    names: dict[object, str] = {}
    for number, program in programs.items():
        signature = program.signature()
        if signature not in names:
            names[signature] = f"p_instant{len(names)}"
            writer.function(names[signature], program, inline=False, within=False)
        after = [f"column[{keys.index(key)}]++;" for key in program.records]
        for push in program.pushes:
            queue = writer.queues[push.path]
            after.append(f"ring[{queue.number}][2 + tail[{queue.number}]] = ns + INT64_C({queue.delay}); "
                         f"ring[{queue.number}][1]++;")  # fmt: skip
        before = [f"tail[{q.number}] = (ring[{q.number}][0] + ring[{q.number}][1]) % {q.capacity};" for q in queues]
        name = names[signature]
        calls = len(program.outside)
        pauses = " ".join(f"if (part == {n}) {{ {name}_{n}(PASS); part = {n + 1}; goto leave; }}" for n in range(calls))
        last = f"{name}_{calls}" if calls else name
        cases.append(f"case {number}: {' '.join(before)} {pauses} {last}(PASS); {' '.join(after)} break;")
    changing = [slot for name, slot in layout.slots.items() if name in lowering.state_names]
    assert [s.name for s in changing] == [*layout.slots][: len(changing)]
    state = layout.slots["y"].label if states else "none"
    ring = 2 + max((q.capacity for q in queues), default=0)
    macros = {
        "ARGUMENTS": ARGUMENTS, "PASS": PASS, "CLOCKS": len(lowering.model.clocks), "KEYS": len(keys),
        "QUEUES": len(queues), "RING": ring, "INPUTS": len(inputs),
        "PAUSES": int(any(program.outside for program in programs.values())), "STATES": states, "STATE": state, "WALK": int(walk is not None), "CHANGING": _bytes(changing, writer.width),
        "INSTANT": " ".join(cases), "PUBLISH": _publish(queues, layout), "LOAD": _load(lowering, layout, inputs),
        "FINITE": _finite(changing), "CAUSE": _cause(changing),
        "RESTORE": " ".join(f"for (int e = 0; e < {s.size}; e++) s->{s.label}[e][l] = saved->{s.label}[e][l];"
                            for s in changing),
        "MEND": _mend(lowering, keys),
    }  # fmt: skip
    if walk is not None:
        macros |= walk_macros(walk, writer, functions)
    text = [f"#define W {writer.width}", header("mathematics.h"), header("kernels.h"),
            "#ifdef _OPENMP\n#include <omp.h>\n#endif", CONTEXT, "typedef struct {", *layout.declarations(), "} block;",
            "typedef struct {", *writer.members, "  char none;", "} hoisted;", *writer.unit.maps]  # fmt: skip
    text += [f"#define {name} {' '.join(str(value).split(chr(10)))}" for name, value in macros.items()]
    ways = [NOTE, header("walk.h")] if walk is not None else []
    return "\n".join([*text, *writer.functions, *ways, header("loop.h")])


def walk_programs(walk: Walk, states: int) -> dict[str, Program]:
    """The programs of a lane's own way, by the names of their C functions."""
    found: dict[str, Program] = {}
    if states:
        found |= {"p_slope": walk.slope(), "p_attempt": walk.attempt(), "p_accept": walk.accept(), "p_dense": walk.dense()}
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
    slots = {f"hit:{i}": f"next_hit:{i}" for i in range(len(model.hits))} | {f"edge:{i}": f"next_edge:{i}" for i in edges}
    earliest = " ".join(f"if (s->{label(name)}[0][0] < first) first = s->{label(name)}[0][0];" for name in slots.values())
    hits, fire_edges = "", ""
    if model.hits:
        due = " || ".join(f"s->{label(f'next_hit:{i}')}[0][0] == now" for i in range(len(model.hits)))
        jump = ("{ _Bool low[GUARDS + 1], any_ = 0; double g[GUARDS + 1]; read_guards(GIVE, g); for (int q = 0; q < GUARDS; "
                "q++) { low[q] = w->armed[q] && g[q] <= 0; any_ |= low[q]; } if (any_) { fire(GIVE, low); arm(GIVE, low); } }"
                ) if guards else ""  # fmt: skip
        hits = f"if ({due}) {{ t = (double)now / 1e9; ns = now; p_hits(PASS); ns = w->end; refresh(GIVE); {jump} }}"
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
        "NEXT": label("work:next"), "ARMED": layout.add("armed", "b1", max(1, guards)).label,
        "FIRST_STEP": 0.0 if first_step is None else nanoseconds(first_step, "first_step") / SECOND,
    }  # fmt: skip


def _bytes(slots: Sequence[Slot], width: int) -> int:
    part = Layout()
    for slot in slots:
        part.add(slot.name, slot.type, slot.size)
    return part.dtype(width).itemsize if slots else 0


def _publish(queues: Sequence[Queue], layout: Layout) -> str:
    """Values due take their places; equal times keep their order."""
    lines = []
    for q in queues:
        n, ring = q.number, f"ring[{q.number}]"
        lines.append(f"while ({ring}[1] > 0 && {ring}[2 + {ring}[0]] <= ns) {{ const int64_t from = {ring}[0];")
        for j, key in enumerate(q.keys):
            held, kept = layout.slots[f"held:{key}"], layout.slots[f"queue:{n}:{j}"]
            value = f"s->{kept.label}[from * {held.size} + e][l]"
            if q.masked:
                mask = layout.slots[f"queue:{n}:mask"].label
                value = f"s->{mask}[from][l] ? {value} : s->{held.label}[e][l]"
            lines.append(f"for (int e = 0; e < {held.size}; e++) LANES s->{held.label}[e][l] = {value};")
        lines.append(f"{ring}[0] = ({ring}[0] + 1) % {q.capacity}; {ring}[1]--; }}")
    return " ".join(lines)


def _load(lowering: Lowering, layout: Layout, inputs: Sequence[str]) -> str:
    """The pieces that external inputs are in."""
    lines = []
    for n, key in enumerate(inputs):
        smooth = lowering.setup.inputs[key].smooth
        names = [f"start:{key}", f"stop:{key}"] if smooth else [f"input:{key}"]
        slots = [layout.slots.get(name) for name in names]
        size = next((slot.size for slot in slots if slot is not None), 0)
        kind = next((MEMORY[slot.type][0] for slot in slots if slot is not None), "double")
        last = f"c->inputs[{n}].count - {2 if smooth else 1}"
        lines.append(f"{{ int64_t at_ = piece[{n}] < 0 ? 0 : piece[{n}]; while (at_ < {last} && "
                     f"c->inputs[{n}].times[at_ + 1] <= ns) at_++; if (at_ != piece[{n}]) {{ piece[{n}] = at_;")  # fmt: skip
        for shift, slot in enumerate(slots):
            if slot is None:
                continue
            lines.append(f"for (int e = 0; e < {size}; e++) for (int l = 0; l < W; l++) s->{slot.label}[e][l] = "
                         f"((const {kind} *)c->inputs[{n}].values)[((at_ + {shift}) * {size} + e) * c->inputs[{n}].lanes + "
                         f"(c->inputs[{n}].lanes > 1 ? base + l : 0)];")  # fmt: skip
        lines.append("}")
        if smooth:
            since, length = (layout.slots.get(f"{word}:{key}") for word in ("since", "length"))
            time = f"c->inputs[{n}].times"
            if since is not None:
                lines.append(f"for (int l = 0; l < W; l++) s->{since.label}[0][l] = (double)(ns - {time}[at_]) / 1e9;")
            if length is not None:
                lines.append(f"for (int l = 0; l < W; l++) s->{length.label}[0][l] = "
                             f"(double)({time}[at_ + 1] - {time}[at_]) / 1e9;")  # fmt: skip
        lines.append("}")
    return " ".join(lines)


def _watched(slots: Sequence[Slot]) -> list[Slot]:
    """Continuous and discrete states: what must stay finite."""
    return [s for s in slots if s.type in ("f8", "f4") and (s.name == "y" or s.name.startswith("raw:"))]


def _finite(slots: Sequence[Slot]) -> str:
    return " ".join(f"for (int e = 0; e < {s.size}; e++) LANES sum[l] += (double)s->{s.label}[e][l] * 0.0;"
                    for s in _watched(slots))  # fmt: skip


def _cause(slots: Sequence[Slot]) -> str:
    """The number of the first state that is not finite, element by element."""
    lines, number = ["c->cause[base + l] = -1;"], 0
    for s in _watched(slots):
        lines.append(f"for (int e = 0; e < {s.size} && c->cause[base + l] < 0; e++) "
                     f"if (!(__builtin_fabs((double)s->{s.label}[e][l]) < __builtin_inf())) "
                     f"c->cause[base + l] = {number} + e;")  # fmt: skip
        number += s.size
    return " ".join(lines)


def _mend(lowering: Lowering, keys: Sequence[str]) -> str:
    """Recorded values of the cycle in which a lane failed are its last good ones."""
    lines = []
    for n, key in enumerate(keys):
        value = lowering.model.values[key] if key in lowering.model.values else None
        size = 1
        for d in (value.shape or ()) if value is not None else ():
            size *= d
        kind = MEMORY[lowering.type_of(key)][0]
        place = f"(({kind} *)c->out[{n}])[(%s * {size} + e) * c->lanes + base + l]"
        lines.append(f"for (int64_t q = mark[{n}]; q < column[{n}]; q++) for (int e = 0; e < {size}; e++) "
                     f"{place % 'q'} = mark[{n}] > 0 ? {place % f'(mark[{n}] - 1)'} : 0;")  # fmt: skip
    return " ".join(lines)
