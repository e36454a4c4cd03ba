"""The C file of a run whose lanes share a schedule: structures, programs, and the loop over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simdl.engine.native import macro
from simdl.engine.native.lower import Program
from simdl.engine.native.program import Writer, header
from simdl.engine.native.walk import Walk
from simdl.engine.native.walk_macros import walk_macros, walk_programs

INLINE = ("p_step", "p_attempt", "p_slope", "p_accept", "p_control", "p_guards", "p_ahead")  # called for every step
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
    volatile int32_t *stop;
    int64_t watched;
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
        writer.function(name, program, inline=name in INLINE)
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
    macros: dict[str, object] = {
        "ARGUMENTS": ARGUMENTS,
        "PASS": PASS,
        "WALK": int(walk is not None),
        "PAUSES": int(any(program.outside for program in programs.values())),
        "CLOCKS": len(lowering.model.clocks),
        "KEYS": len(keys),
        "QUEUES": len(queues),
        "RING": 2 + max((q.capacity for q in queues), default=0),
        "INPUTS": len(inputs),
        "STATES": states,
        "STATE": layout.slots["y"].label if states else "none",
        "CHANGING": macro.bytes_of(changing, writer.width),
        "INSTANT": " ".join(cases),
        "PUBLISH": macro.publish(queues, layout),
        "LOAD": macro.load(lowering, layout, inputs),
        "FINITE": macro.finite(changing),
        "CAUSE": macro.cause(changing),
        "RESTORE": macro.restore(changing),
        "MEND": macro.mend(lowering, keys),
    }
    if walk is not None:
        macros |= walk_macros(walk, writer, functions)
    text = [
        f"#define W {writer.width}",
        header("mathematics.h"),
        header("kernels.h"),
        "#ifdef _OPENMP\n#include <omp.h>\n#endif",
        CONTEXT,
        "typedef struct {",
        *layout.declarations(writer.width),
        "} block;",
        "typedef struct {",
        *writer.members,
        "  char none;",
        "} hoisted;",
        *writer.unit.maps,
    ]
    text += [f"#define {name} {' '.join(str(value).split(chr(10)))}" for name, value in macros.items()]
    ways = [NOTE, header("walk.h")] if walk is not None else []
    ways.insert(0, header("stop.h"))
    return "\n".join([*text, *writer.functions, *ways, header("loop.h")])
