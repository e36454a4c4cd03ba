"""The C file of a run's gradients: programs that keep what their back programs need, and the way back through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from simdl.engine.native import macro
from simdl.engine.native.assemble import ARGUMENTS, CONTEXT, PASS
from simdl.engine.native.backward import Back, Gradients, Joint
from simdl.engine.native.layout import MEMORY
from simdl.engine.native.lower import Program
from simdl.engine.native.program import header
from simdl.engine.native.tape import Record, Tape, aligned, bare

BACKWARD = """
typedef struct {
    int64_t start, stretches, ranges, room;
    const int64_t *cuts, *columns;
    char *tape, *checks, *sums;
    const void **shown;
    void **inputs;
} backward;
"""


@dataclass(frozen=True)
class Sizes:
    """Bytes of the tape: of the head of an instant, an instant by its number, a segment and its end, a step; of a
    checkpoint, and of the totals of a range of blocks."""

    head: int
    instants: Mapping[int, int]
    segment: int
    step: int
    check: int
    sums: int


class Adjoint:
    """The programs of a run's gradients, and their text."""

    def __init__(self, tape: Tape, lowering: Gradients, instants: Mapping[int, Joint], inputs: Sequence[str]) -> None:
        self.tape, self.lowering, self.instants, self.inputs = tape, lowering, instants, inputs
        self.queues = list(tape.queues.values())
        self.states = "y" in tape.layout.slots
        self.grid = lowering.recorder.step is not None and bool(tape.keys)
        nothing = Joint(Program("nothing"), Back("back"))
        self.step = lowering.joint(lowering.step) if self.states else nothing
        self.within = lowering.joint(lowering.shown_within) if self.states and self.grid else nothing
        self.shown = lowering.joint(lowering.shown) if self.grid else nothing
        self.counted: list[Back] = []  # back programs whose totals are distinct
        self.text, self.sizes = self._text()

    def _hoist(self) -> tuple[list[str], list[str]]:
        """What is computed once for lanes and segments; the slots that a segment needs."""
        tape = self.tape
        segment_parts = (self.step, self.within, self.shown)
        forward = [(bare(self.step.program), True), *((bare(j.program), False) for j in self.instants.values())]
        backward = [*((j.back, True) for j in segment_parts), *((j.back, False) for j in self.instants.values())]
        for part, ends in ((forward, ("p_lane", "p_segment")), (backward, ("p_lane_back", "p_segment_back"))):
            lane, segment = tape.hoist(part)
            for name, values in zip(ends, (lane, segment)):
                tape.hoister(name, [v for v in values if v.index not in tape.hoisted])
                if name.startswith("p_segment"):
                    self._segment_values = [*getattr(self, "_segment_values", []), *values]
        moving = ("y", "carry")
        once = tape.reads(self._segment_values, set(), False, hoisted=False)
        for joint in segment_parts:
            once += [name for name in tape.reads(joint.back.values(), set(), True) if name not in moving]
        once += [n for n in tape.reads(bare(self.step.program).values(), set(), True) if n not in moving]
        end = [name for name in tape.reads(self.shown.back.values(), set(), True) if name in moving]
        return list(dict.fromkeys(once)), end

    def _text(self) -> tuple[str, Sizes]:
        tape, layout = self.tape, self.tape.layout
        segment, end = self._hoist()
        step_slots = tape.reads([*self.step.back.values(), *self.within.back.values()], set(), True)
        step = tape.record(self.step, True, [n for n in step_slots if n in ("y", "carry")])
        tape.taped("p_step", self.step, step, True)
        tape.back("b_step", self.step, step, True)
        for name, joint in (("b_within", self.within), ("b_shown", self.shown)):
            tape.back(name, joint, Record(), True)
        self.counted = [self.step.back, self.within.back, self.shown.back]
        forward, backward, instants = self._instants()
        masks = [f"queue:{q.number}:mask" for q in self.queues if q.masked]
        fixed = 16 * 2 * (len(self.queues) + 1) + 8 * (len(self.inputs) + 1)
        head = aligned(fixed) + sum(aligned(tape.bytes_of(name)) for name in masks)
        changing = [*tape.lowering.state_names]
        changing = [n for n in changing if n in layout.slots]
        changing += [
            n for n in layout.slots if n.partition(":")[0] in ("queue", "input", "start", "stop", "since", "length")
        ]
        check = sum(aligned(tape.bytes_of(name)) for name in changing)
        ring = 2 + max((q.capacity for q in self.queues), default=0)
        whole = aligned(check + 8 * ring * (len(self.queues) + 1) + 8 * (len(self.inputs) + 1))
        sizes = Sizes(
            head,
            instants,
            sum(aligned(tape.bytes_of(n)) for n in segment),
            step.bytes if self.states else 0,
            whole,
            tape.sums,
        )
        ends = sum(aligned(tape.bytes_of(n)) for n in end)
        unpublish, unload = self._unpublish(), self._unload()
        macros = {
            "ARGUMENTS": ARGUMENTS,
            "PASS": PASS,
            "CLOCKS": max(1, len(tape.lowering.model.clocks)),
            "KEYS": len(tape.keys),
            "QUEUES": len(self.queues),
            "RING": ring,
            "INPUTS": len(self.inputs),
            "STEPS": int(self.states),
            "GRID": int(self.grid),
            "HEAD": head,
            "SEGMENT": sizes.segment,
            "STEP": step.bytes,
            "END": ends,
            "CHECK": whole,
            "CHECKED": check,
            "SUMS": tape.sums,
            "SAVE_SEGMENT": tape.moves(segment, "z", True),
            "LOAD_SEGMENT": tape.moves(segment, "z", False),
            "SAVE_STEP": tape.moves(step.slots, "z", True),
            "LOAD_STEP": tape.moves(step.slots, "z", False),
            "SAVE_END": tape.moves(end, "z", True),
            "LOAD_END": tape.moves(end, "z", False),
            "SAVE_CHECK": tape.moves(changing, "z", True),
            "LOAD_CHECK": tape.moves(changing, "z", False),
            "SAVE_HEAD": tape.moves(masks, f"z + {aligned(fixed)}", True),
            "LOAD_HEAD": tape.moves(masks, f"z + {aligned(fixed)}", False),
            "FORWARD": forward,
            "BACKWARD": backward,
            "PUBLISH": macro.publish(self.queues, layout),
            "LOAD": macro.load(self.lowering, layout, self.inputs),
            "UNPUBLISH": unpublish,
            "UNLOAD": unload,
        }
        sizes = replace(sizes, segment=sizes.segment + ends)
        members = [*tape.members, "  char *z, *sums;", "  const backward *d;"]
        text = [
            f"#define W {tape.width}",
            header("mathematics.h"),
            header("kernels.h"),
            header("outer.h"),
            "#ifdef _OPENMP\n#include <omp.h>\n#endif",
            CONTEXT,
            BACKWARD,
            "typedef struct {",
            *layout.declarations(tape.width),
            "} block;",
            "typedef struct {",
            *members,
            "} hoisted;",
            *tape.unit.maps,
        ]
        text += [f"#define {name} {' '.join(str(value).split(chr(10)))}" for name, value in macros.items()]
        return "\n".join([*text, *tape.functions, header("stop.h"), header("adjoint.h")]), sizes

    def _instants(self) -> tuple[str, str, dict[int, int]]:
        """The switches over instants, forward and backward, and the bytes of each instant's record."""
        tape, names = self.tape, dict[object, tuple[int, Record]]()
        forward, backward, sizes = [], [], {}
        for number, joint in self.instants.items():
            signature = bare(joint.program).signature(), joint.back.signature()
            if signature not in names:
                record = tape.record(joint, False)
                names[signature] = len(names), record
                tape.taped(f"p_instant{len(names) - 1}", joint, record, False)
                tape.back(f"b_instant{len(names) - 1}", joint, record, False)
                self.counted.append(joint.back)
            place, record = names[signature]
            tails = " ".join(
                f"tail[{q.number}] = (ring[{q.number}][0] + ring[{q.number}][1]) % {q.capacity};" for q in self.queues
            )
            after = ""
            for push in joint.program.pushes:
                n = tape.queues[push.path].number
                after += f" ring[{n}][2 + tail[{n}]] = ns + INT64_C({push.delay}); ring[{n}][1]++;"
            forward.append(
                f"case {number}: {{ {tape.moves(record.slots, 'z', True)} k->z = z; {tails} p_instant{place}(PASS);"
                f"{after} z += keep * {record.bytes}; }} break;"
            )
            tails = " ".join(
                f"tail[{q.number}] = (head_at->after[{q.number}][0] + head_at->after[{q.number}][1]) % {q.capacity};"
                for q in self.queues
            )
            counts = " ".join(f"column[{tape.keys.index(key)}]--;" for key in joint.program.records)
            backward.append(
                f"case {number}: {{ z -= {record.bytes}; const head_ *const head_at = (const head_ *)(z - HEAD); "
                f"(void)head_at; {tape.moves(record.slots, 'z', False)} k->z = z; "
                f"{tails} {counts} b_instant{place}(PASS); }} break;"
            )
            sizes[number] = record.bytes
        return " ".join(forward), " ".join(backward), sizes

    def _unpublish(self) -> str:
        """The opposite of publishing: cotangents of held values go back to the queue, the last one first."""
        tape, layout, lines = self.tape, self.tape.layout, []
        for q in self.queues:
            n = q.number
            lines.append(
                f"for (int64_t p = head->ring[{n}][1] - head->after[{n}][1] - 1; p >= 0; p--) {{ "
                f"const int64_t from = (head->ring[{n}][0] + p) % {q.capacity};"
            )
            for key in q.keys:
                held = layout.slots[f"held:{key}"]
                if held.type not in ("f8", "f4"):
                    continue
                label, bar = tape.pushed(q.path, key, held.type, held.size)[0], layout.slots[f"bar:held:{key}"].label
                on = f"s->{layout.slots[f'queue:{n}:mask'].label}[from][l]" if q.masked else "1"
                lines.append(
                    f"for (int e = 0; e < {held.size}; e++) LANES {{ "
                    f"const {MEMORY[held.type][0]} bar_ = s->{bar}[e][l]; "
                    f"s->{label}[from * {held.size} + e][l] = {on} ? bar_ : 0; "
                    f"s->{bar}[e][l] = {on} ? 0 : bar_; }}"
                )
            lines.append("}")
        return " ".join(lines)

    def _unload(self) -> str:
        """The opposite of loading inputs: where a piece began, its cotangents go to the given values."""
        layout, lines = self.tape.layout, []
        for n, key in enumerate(self.inputs):
            smooth = self.lowering.setup.inputs[key].smooth
            names = [f"start:{key}", f"stop:{key}"] if smooth else [f"input:{key}"]
            lines.append(f"if (piece[{n}] != head->piece[{n}]) {{ if (piece[{n}] >= 0) {{")
            for shift, name in enumerate(names):
                slot = layout.slots.get(f"bar:{name}")
                if slot is None:
                    continue
                kind = MEMORY[slot.type][0]
                lines.append(
                    f"if (d->inputs[{n}]) for (int e = 0; e < {slot.size}; e++) for (int l = 0; l < W; l++) "
                    f"(({kind} *)d->inputs[{n}])[((piece[{n}] + {shift}) * {slot.size} + e) * c->lanes + base + l] += "
                    f"s->{slot.label}[e][l]; memset(s->{slot.label}, 0, sizeof s->{slot.label});"
                )
            lines.append(f"}} piece[{n}] = head->piece[{n}]; }}")
        return " ".join(lines)
