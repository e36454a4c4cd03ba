"""The C file of a run whose lanes share a schedule: structures, programs, and the loop over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simdl.engine.native.layout import MEMORY, Layout, Slot
from simdl.engine.native.lower import Lowering, Program
from simdl.engine.native.program import Queue, Writer, header

ARGUMENTS = (
    "block *restrict s, const context *restrict c, hoisted *restrict k, const int64_t *restrict lane, int64_t i, "
    "int64_t base, int64_t *restrict column, int64_t *restrict tail, double t, double tau, double h, double theta, "
    "double at, double begin, double left, int64_t ns"
)
PASS = "s, c, k, lane, i, base, column, tail, t, tau, h, theta, at, begin, left, ns"
CONTEXT = """
typedef struct {
    int64_t count, *times;
    const char *values;
    int64_t lanes;
} input;
typedef struct {
    int64_t lanes, number, threads, start, count, grid, checked;
    double max_step;
    const int64_t *ns, *ticks, *ids, *column;
    const int32_t *program;
    void **out;
    const void **shared;
    const uint64_t *streams;
    const input *inputs;
    int64_t *ring, *failed;
    int32_t *cause;
    double *accuracy;
    char *blocks, *scratch;
} context;
"""


def assembled(writer: Writer, programs: Mapping[int, Program], inputs: Sequence[str]) -> str:
    """The text of the file. programs: the number in the table of instants -> the program of that instant."""
    lowering, layout = writer.lowering, writer.layout
    keys, queues = writer.keys, list(writer.queues.values())
    layout.add("frozen", "b1", 1, "frozen")
    step = lowering.step() if lowering.model.continuous else None
    shown = lowering.shown() if keys else Program("shown")
    within = lowering.shown_within() if keys and step is not None else Program("within")
    parts = [(program, True) for program in (step, shown, within) if program is not None]
    lane, segment = writer.hoist([*parts, *((program, False) for program in programs.values())])
    writer.hoister("p_lane", lane)
    writer.hoister("p_segment", segment)
    writer.function("p_shown", shown)
    if step is not None:
        writer.function("p_within", within, inline=False)
        writer.function("p_step", step)
    cases: list[str] = []
    names: dict[object, str] = {}
    for number, program in programs.items():
        signature = program.signature()
        if signature not in names:
            names[signature] = f"p_instant{len(names)}"
            writer.function(names[signature], program, inline=False)
        after = [f"column[{keys.index(key)}]++;" for key in program.records]
        for push in program.pushes:
            queue = writer.queues[push.path]
            after.append(f"ring[{queue.number}][2 + tail[{queue.number}]] = ns + INT64_C({queue.delay}); "
                         f"ring[{queue.number}][1]++;")  # fmt: skip
        before = [f"tail[{q.number}] = (ring[{q.number}][0] + ring[{q.number}][1]) % {q.capacity};" for q in queues]
        cases.append(f"case {number}: {' '.join(before)} {names[signature]}(PASS); {' '.join(after)} break;")
    changing = [slot for name, slot in layout.slots.items() if name in lowering.state_names]
    state = layout.slots["y"].label if step is not None else "none"
    ring = 2 + max((q.capacity for q in queues), default=0)
    macros = {
        "ARGUMENTS": ARGUMENTS, "PASS": PASS, "CLOCKS": len(lowering.model.clocks), "KEYS": len(keys),
        "QUEUES": len(queues), "RING": ring, "INPUTS": len(inputs),
        "STATES": layout.slots["y"].size if step is not None else 0, "STATE": state, "CHANGING": _bytes(changing, writer.width),
        "INSTANT": " ".join(cases), "PUBLISH": _publish(queues, layout), "LOAD": _load(lowering, layout, inputs),
        "FINITE": _finite(changing), "CAUSE": _cause(changing),
        "RESTORE": " ".join(f"for (int e = 0; e < {s.size}; e++) s->{s.label}[e][l] = saved->{s.label}[e][l];"
                            for s in changing),
        "MEND": _mend(lowering, keys),
    }  # fmt: skip
    text = [f"#define W {writer.width}", header("mathematics.h"), header("kernels.h"),
            "#ifdef _OPENMP\n#include <omp.h>\n#endif", CONTEXT, "typedef struct {", *layout.declarations(), "} block;",
            "typedef struct {", *writer.members, "  char none;", "} hoisted;", *writer.unit.maps]  # fmt: skip
    text += [f"#define {name} {' '.join(str(value).split(chr(10)))}" for name, value in macros.items()]
    return "\n".join([*text, *writer.functions, header("loop.h")])


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
