"""The test that goes with an export: random inputs, and what the native engine made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.clock import seconds
from simdl.declarations import as_tensor
from simdl.engine.native.expressions import literal
from simdl.engine.native.ir import TYPES
from simdl.engine.native.layout import MEMORY
from simdl.errors import LoweringError, ModelError
from simdl.export.c.assemble import Written
from simdl.export.c.part import Part, Terminal
from simdl.export.c.prelude import plain
from simdl.simulate import simulate

Signals = dict[str, Tensor]
"""Values by port, (ticks, *shape)."""

TEST = """\
/* Written by simdl: {ticks} ticks of random inputs, and the bits that the native engine gave. Build with
   cc -std=c99 -ffp-contract=off {name}_test.c {name}.c -lm */
#include <math.h>
#include <stdio.h>
#include "{name}.h"
#ifdef __cplusplus
#define _Bool bool
#endif

static int same_f8(double a, double b) {{ return (a != a && b != b) || (a == b && !signbit(a) == !signbit(b)); }}
static int same_i8(int64_t a, int64_t b) {{ return a == b; }}

{arrays}

int main(void)
{{
    static {name}_state state;
    {name}_in in;
    {name}_out out;
    int wrong = 0;
    (void)same_f8;
    (void)same_i8;
    {name}_init(&state);
    for (int k = 0; k < {ticks}; k++) {{
{given}
        {name}_step(&in, &out, &state);
{compared}
    }}
    printf("%d differences in {ticks} ticks\\n", wrong);
    return wrong != 0;
}}
"""


def random_inputs(part: Part, ticks: int, seed: int = 0) -> Signals:
    """Inputs of a part: normal numbers, of integers 0 to 3, and of booleans either."""
    generator = torch.Generator().manual_seed(seed)
    found: Signals = {}
    for t in part.inputs:
        shape = (ticks, *t.shape)
        if t.dtype.is_floating_point:
            found[t.name] = torch.randn(shape, generator=generator, dtype=torch.float64).to(t.dtype)
        else:
            most = 2 if t.dtype == torch.bool else 4
            found[t.name] = torch.randint(0, most, shape, generator=generator).to(t.dtype)
    return found


def native_outputs(part: Part, inputs: Signals) -> Signals:
    """What the native engine makes of inputs that change at the part's ticks, seen at its ticks."""
    ticks = len(next(iter(inputs.values()))) if inputs else 64
    times = torch.tensor([seconds(part.start + k * part.base) for k in range(ticks)], dtype=torch.float64)
    names = [t.name for t in part.inputs]
    given: dict[Any, Any] = {name: (times, inputs[name]) for name in names}
    spare = {k: torch.zeros((), dtype=v.dtype or part.setup.dtype) for k, v in part.model.values.items()
             if k in part.model.externals and k not in given}  # fmt: skip
    keys = [t.name for t in part.outputs]
    run = simulate(part.model, seconds(part.start + (ticks - 1) * part.base), inputs={**given, **spare},
                   set={k: v for k, v in part.setup.initial.items()}, record=keys,
                   every=seconds(part.base) if not part.start else None,
                   dtype=part.setup.dtype, engine="native", threads=1)  # fmt: skip
    failed = run.status[0][0] if run.status else float("inf")
    times = times[times < failed]  # from there on the run is frozen, and the C is not
    if not len(times):
        raise LoweringError(part.path or part.model.name, f"the part fails at its first tick: {run.status[0][1]}",
                            "inputs that it can take", "give export_c(samples=) signals of your own")  # fmt: skip
    found: Signals = {}
    for name in keys:
        trace = run[name]
        at = torch.searchsorted(trace.t, times, right=True) - 1
        found[name] = trace.values[0, at]
    return found


def expected(part: Part, ticks: int, samples: Mapping[str, Any]) -> tuple[Signals, Signals]:
    """Inputs, random where they are not given, and the outputs that belong to them."""
    inputs = random_inputs(part, ticks)
    known = {t.name: t for t in part.inputs}
    for name, values in samples.items():
        if name not in known:
            raise ModelError("export_c: samples", f"no input {name!r}", names=known, wrong=name)
        tensor = as_tensor(values)
        if tuple(tensor.shape[1:]) != known[name].shape or not len(tensor):
            raise ModelError(f"export_c: samples[{name!r}]", f"the shape {tuple(tensor.shape)}",
                             f"(ticks, {', '.join(map(str, known[name].shape))})")  # fmt: skip
        ticks = min(ticks, len(tensor))
        inputs[name] = tensor.to(known[name].dtype)
    inputs = {name: values[:ticks] for name, values in inputs.items()}
    outputs = native_outputs(part, inputs or {"": torch.zeros(ticks)})
    return inputs, outputs


def test_program(name: str, part: Part, text: Written, inputs: Signals, outputs: Signals) -> str:
    """A C program that returns 0 if an export gives these outputs for these inputs, to the last bit."""
    ticks = len(next(iter(outputs.values())))
    arrays, given, compared = [], [], []
    for t in part.inputs:
        member = text.inputs[t.name]
        arrays.append(_array(f"in_{member}", t, inputs[t.name][:ticks]))
        place = f"in.{member}" if t.shape == () else f"in.{member}[e]"
        given.append(f"        for (int e = 0; e < {t.size}; e++) {place} = in_{member}[k * {t.size} + e];")
    for t in part.outputs:
        member = text.outputs[t.name]
        arrays.append(_array(f"out_{member}", t, outputs[t.name]))
        place = f"out.{member}" if t.shape == () else f"out.{member}[e]"
        same = "same_f8" if t.dtype.is_floating_point else "same_i8"
        compared.append(f"        for (int e = 0; e < {t.size}; e++) wrong += "
                        f"!{same}({place}, out_{member}[k * {t.size} + e]);")  # fmt: skip
    if not part.inputs:
        given.append("        in.none = 0;")
    return TEST.format(name=name, ticks=ticks, arrays="\n".join(arrays), given="\n".join(given),
                       compared="\n".join(compared))  # fmt: skip


def _array(label: str, terminal: Terminal, values: Tensor) -> str:
    kind = TYPES[terminal.dtype]
    items = [plain(literal(x, kind)) for x in np.asarray(values).reshape(-1).tolist()]
    rows = [", ".join(items[i : i + 8]) for i in range(0, len(items), 8)]
    return f"static const {MEMORY[kind][0]} {label}[] = {{\n    " + ",\n    ".join(rows) + "};"
