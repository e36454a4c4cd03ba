"""`export_c`: a sampled part of a diagram as freestanding C99, with a test and a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.clock import period_text
from simdl.declarations import as_tensor
from simdl.declared import Declared
from simdl.engine.native.ir import TYPES
from simdl.errors import ModelError, UsageError
from simdl.export.c.assemble import Written, written
from simdl.export.c.check import expected, test_program
from simdl.export.c.names import prefix
from simdl.export.c.part import Part, Terminal, isolated
from simdl.export.c.size import Size, measured

TYPE_NAMES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Exported:
    """What was written: `folder/<name>.h`, `.c`, `_test.c` and `.json`.

    path: of the part in its diagram; base, start: ns between steps, and of the first one; size: the report.
    """

    name: str
    path: str
    folder: Path
    dtype: torch.dtype
    inputs: tuple[Terminal, ...]
    outputs: tuple[Terminal, ...]
    base: int
    start: int
    size: Size
    written: Written = field(repr=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files written."""
        return tuple(self.folder / f"{self.name}{end}" for end in (".h", ".c", "_test.c", ".json"))

    def table(self) -> str:
        """The report as text."""
        return self.size.table()


def export_c(
    diagram: Declared, path: str = "", folder: str | Path = ".", *, dtype: str | torch.dtype = "float32",
    name: str | None = None, set: Mapping[Any, Any] | None = None, ticks: int = 64,
    samples: Mapping[str, Any] | None = None,
) -> Exported:  # fmt: skip
    """Write the part of a diagram at `path` (all of it for "") as C99: `<name>_init(state)` and
    `<name>_step(in, out, state)`, which is one tick of the base period.

    The part may hold whatever ticks: networks, filters, windows, state machines, formulas. Its inputs become `in`, its
    outputs `out`; parameters are those of the diagram, or of `set`, and are written into the file. The C needs math.h,
    stdint.h and string.h, allocates nothing, and gives the same bits as the native engine. `<name>_test.c` steps it
    through `ticks` ticks of `samples` (input -> values (ticks, *shape); random where there are none) and compares with
    what the native engine gave.
    Raises LoweringError naming what cannot be a step: continuous states, noise, crossings, hits, calls into Python.
    """
    kind = TYPE_NAMES.get(str(dtype).removeprefix("torch."))
    if kind is None:
        raise UsageError("export_c: dtype", f"{dtype!r}", "one of", names=TYPE_NAMES, wrong=str(dtype))
    if not isinstance(diagram, Declared):
        raise ModelError("export_c", f"{diagram!r}", "a Diagram or a Block")
    word = prefix(name, path)
    part = isolated(diagram, path, set or {}, kind)
    text = written(part, word)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    inputs, outputs = expected(part, ticks, samples or {})
    test = test_program(word, part, text, inputs, outputs)
    size = measured(word, text)
    found = Exported(word, part.path, place, kind, part.inputs, part.outputs, part.base, part.start, size, text)
    (place / f"{word}.h").write_text(text.header, encoding="ascii")
    (place / f"{word}.c").write_text(text.source, encoding="ascii")
    (place / f"{word}_test.c").write_text(test, encoding="ascii")
    (place / f"{word}.json").write_text(json.dumps(_described(found, part), indent=1), encoding="ascii")
    return found


def _described(found: Exported, part: Part) -> dict[str, Any]:
    """The side file: all that users wrote, and what a reader of the C must know."""

    def ports(terminals: tuple[Terminal, ...], members: dict[str, str]) -> list[dict[str, Any]]:
        return [{"name": t.name, "member": members[t.name], "type": TYPES[t.dtype], "shape": list(t.shape),
                 "unit": t.unit} for t in terminals]  # fmt: skip

    model = part.model
    return {
        "schema": "simdl-export-c-1", "name": found.name, "path": found.path, "part": model.name,
        "dtype": str(found.dtype).removeprefix("torch."), "period_ns": found.base, "period": period_text(found.base),
        "start_ns": found.start, "clocks": [{"period_ns": c.numerator, "offset_ns": c.offset} for c in model.clocks],
        "inputs": ports(found.inputs, found.written.inputs), "outputs": ports(found.outputs, found.written.outputs),
        "parameters": {k: _numbers(v) for k, v in part.setup.params.items() if v[0].numel() <= 64},
        "build": "cc -std=c99 -O2 -ffp-contract=off -c " + found.name + ".c",
        "size": found.size.fields(),
    }  # fmt: skip


def _numbers(tensor: Tensor) -> Any:
    return np.asarray(as_tensor(tensor)[0].detach().cpu().double()).tolist()
