"""Pieces of the time loop that depend on the model, as text for the macros of loop.h."""

from __future__ import annotations

from collections.abc import Sequence

from simdl.engine.native.layout import MEMORY, Layout, Slot
from simdl.engine.native.lower import Lowering
from simdl.engine.native.program import Queue


def bytes_of(slots: Sequence[Slot], width: int) -> int:
    """The size of the first slots of a block: those that a run changes."""
    part = Layout()
    for slot in slots:
        part.add(slot.name, slot.type, slot.size)
    return part.dtype(width).itemsize if slots else 0


def publish(queues: Sequence[Queue], layout: Layout) -> str:
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


def load(lowering: Lowering, layout: Layout, inputs: Sequence[str]) -> str:
    """The pieces that external inputs are in."""
    lines = []
    for n, key in enumerate(inputs):
        smooth = lowering.setup.inputs[key].smooth
        names = [f"start:{key}", f"stop:{key}"] if smooth else [f"input:{key}"]
        slots = [layout.slots.get(name) for name in names]
        size = next((slot.size for slot in slots if slot is not None), 0)
        kind = next((MEMORY[slot.type][0] for slot in slots if slot is not None), "double")
        last = f"c->inputs[{n}].count - {2 if smooth else 1}"
        lines.append(
            f"{{ int64_t at_ = piece[{n}] < 0 ? 0 : piece[{n}]; "
            f"while (at_ < {last} && c->inputs[{n}].times[at_ + 1] <= ns) at_++; "
            f"if (at_ != piece[{n}]) {{ piece[{n}] = at_;"
        )
        for shift, slot in enumerate(slots):
            if slot is None:
                continue
            row = f"((at_ + {shift}) * {size} + e) * c->inputs[{n}].lanes"
            lane = f"(c->inputs[{n}].lanes > 1 ? base + l : 0)"
            lines.append(
                f"for (int e = 0; e < {size}; e++) for (int l = 0; l < W; l++) s->{slot.label}[e][l] = "
                f"((const {kind} *)c->inputs[{n}].values)[{row} + {lane}];"
            )
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


def finite(slots: Sequence[Slot]) -> str:
    """A sum for each lane that is zero as long as all states are finite."""
    return " ".join(f"for (int e = 0; e < {s.size}; e++) LANES sum[l] += (double)s->{s.label}[e][l] * 0.0;"
                    for s in _watched(slots))  # fmt: skip


def restore(slots: Sequence[Slot]) -> str:
    """A lane as it was saved."""
    return " ".join(f"for (int e = 0; e < {s.size}; e++) s->{s.label}[e][l] = saved->{s.label}[e][l];" for s in slots)


def cause(slots: Sequence[Slot]) -> str:
    """The number of the first state that is not finite, element by element."""
    lines, number = ["c->cause[base + l] = -1;"], 0
    for s in _watched(slots):
        lines.append(f"for (int e = 0; e < {s.size} && c->cause[base + l] < 0; e++) "
                     f"if (!(__builtin_fabs((double)s->{s.label}[e][l]) < __builtin_inf())) "
                     f"c->cause[base + l] = {number} + e;")  # fmt: skip
        number += s.size
    return " ".join(lines)


def mend(lowering: Lowering, keys: Sequence[str]) -> str:
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
