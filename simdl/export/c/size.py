"""How much of a target a step takes: stack, flash, RAM, multiplications."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simdl.engine.native.compiler import find_compiler, why_no_compiler
from simdl.engine.native.folder import usable
from simdl.engine.native.process import run, search_path
from simdl.engine.native.work import work
from simdl.errors import CompileError
from simdl.export.c.assemble import Written

FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-pedantic", "-Wall", "-Wextra", "-Werror")
"""How exported C is compiled here: with every warning an error."""


@dataclass(frozen=True)
class Size:
    """Sizes in bytes, and multiply-adds of matrix products in the busiest step.

    code, constants, stack: of this machine's compiler with -O2, None where it does not tell; stack: the deepest chain
    of calls below `step`, without libm. parameters: constants as written."""

    state: int
    input: int
    output: int
    parameters: int
    macs: int
    code: int | None = None
    constants: int | None = None
    stack: int | None = None
    compiler: str = ""

    def fields(self) -> dict[str, Any]:
        """By name, for JSON."""
        return asdict(self)

    def table(self) -> str:
        """As text."""
        rows = [("code", self.code, "bytes of flash"), ("constants", self.constants, "bytes of flash (.rodata)"),
                ("parameters", self.parameters, "bytes of constants as written"), ("state", self.state, "bytes of RAM"),
                ("stack", self.stack, "bytes, deepest chain of calls below step"), ("input", self.input, "bytes"),
                ("output", self.output, "bytes"), ("multiply-adds", self.macs, "in matrix products")]  # fmt: skip
        lines = [f"{name:14}{'unknown' if n is None else n:>10}  {text}" for name, n, text in rows]
        return "\n".join([*lines, f"measured with {self.compiler}" if self.compiler else ""]).rstrip()


def measured(name: str, text: Written) -> Size:
    """The sizes of an export, compiled here. Raises CompileError when its C does not compile without a warning."""
    known = Size(text.state.itemsize, text.inside.itemsize, text.outside.itemsize, text.parameters, text.macs)
    compiler = find_compiler()
    if compiler is None:
        raise CompileError("export_c", why_no_compiler(), "a C compiler that works", "see `simdl doctor`")
    with work(usable()) as place:
        (place / f"{name}.h").write_text(text.header, encoding="ascii")
        (place / f"{name}.c").write_text(text.source, encoding="ascii")
        usage = ["-fstack-usage"] if "clang" not in compiler.version else []
        run([*compiler.argv, *FLAGS, *usage, "-c", "-o", "part.o", f"{name}.c"], place, 300.0)
        code, constants = _sections(place / "part.o", place)
        stack = None
        reports = [*place.glob("*.su")]
        if reports:
            stack = _deepest(reports[0].read_text(), text.source, f"{name}_step")
    return Size(known.state, known.input, known.output, known.parameters, known.macs, code, constants, stack,
                compiler.version)  # fmt: skip


def _sections(path: Path, place: Path) -> tuple[int | None, int | None]:
    program = shutil.which("size", path=search_path())
    if program is None:
        return None, None
    with suppress(CompileError):
        sizes: dict[str, int] = {}
        for line in run([program, "-A", str(path)], place, part=slice(None)).splitlines():
            words = line.split()
            if len(words) >= 2 and words[1].isdecimal():
                sizes[words[0]] = int(words[1])
        code = sum(n for name, n in sizes.items() if name.startswith(".text"))
        return code, sum(n for name, n in sizes.items() if name.startswith((".rodata", ".data")))
    return None, None


def _deepest(report: str, source: str, start: str) -> int:
    """Bytes of the deepest chain of calls: functions that the compiler kept, with their frames, and who calls whom."""
    frames: dict[str, int] = {}
    for line in report.splitlines():
        words = line.split("\t")
        frames[re.split(r"[: ]", words[0])[-1].split(".")[0]] = int(words[1])
    calls: dict[str, set[str]] = {}
    for match in re.finditer(r"^[a-z][^\n;=#]*?\b(\w+)\([^;]*?\)\s*\n\{\n(.*?)^\}", source, re.M | re.S):
        calls[match[1]] = set(re.findall(r"\b(\w+)\(", match[2])) - {match[1]}
    for match in re.finditer(r"^static inline [\w ]*?\b(\w+)\([^)]*\) \{(.*)\}$", source, re.M):
        calls[match[1]] = set(re.findall(r"\b(\w+)\(", match[2]))

    def depth(name: str) -> int:
        return frames.get(name, 0) + max((depth(n) for n in calls.get(name, ()) if n in calls), default=0)

    return depth(start)
