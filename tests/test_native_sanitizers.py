"""The generated C under AddressSanitizer and UndefinedBehaviorSanitizer, as a program of its own."""
# ruff: noqa: E501 (a table)

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simdl import repeat
from simdl.engine.native.compiler import find_compiler
from simdl.engine.native.layout import MEMORY
from tests import (
    native_cases_layers as layers,
    native_cases_linear as linear,
    native_cases_moves as moves,
    native_cases_pointwise as pointwise,
)
from tests.native_cases import Case, Numbers, case
from tests.native_function import Functions, assert_agrees, blocked, flat, unblocked

SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O0")
D = torch.float64


def hostile() -> dict[str, Case]:
    """Indices far outside, numbers that are none, sizes that end in the middle of a vector."""
    far = torch.tensor([-(2**62), -9, -1, 0, 4, 5, 2**62])[torch.arange(13) % 7]
    odd = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e300, -1e300, 0.0])[torch.arange(13) % 6].to(D)
    table, n = torch.arange(20.0, dtype=D).reshape(5, 4), Numbers(1)
    return {
        "rows far outside": case(lambda k: (table[k], table[:, k % 4].T, table[k, 1], table[k[:, None]]), far),
        "gather far outside": case(lambda k, x: (x.gather(1, k[:, None]), x.gather(1, k[:, None].expand(-1, 3))), far, n.normal(5)),
        "gather of many far outside": case(lambda k, x: x.gather(1, k[:, None].expand(-1, 30)), far, n.normal(300)),
        "wide rows far outside": case(lambda k: torch.arange(400.0, dtype=D).reshape(10, 40)[k], far),
        "casts of what does not fit": case(lambda x: (x.long(), x.int(), x.to(torch.uint8), x.bool()), odd),
        "shifts": case(lambda k: (k << k, k >> k, k // k, k % k, -k, k * k, k // -1), far),
        "turns": case(lambda x: repeat(9, lambda s, k: s + x[:, k : k + 1], x[:, :1]), n.normal(9)),
        "singular": case(lambda x: torch.linalg.solve((x[:, :, None] * x[:, None]), x), n.normal(3)),
    }  # fmt: skip


def ordinary() -> dict[str, Case]:
    chosen = ("LSTM step", "max pool of special", "window by turn", "nested", "large weights", "windows through weights",
              "ties", "solve of one", "gather many", "wide table", "many at random", "scatter", "uint8 wraps", "int64 extremes",
              "int32 wraps", "empty", "own rows by index")  # fmt: skip
    every = {**layers.recurrent(), **layers.layers(), **layers.derivatives(), **layers.loops(), **linear.products(),
             **linear.reductions(), **linear.systems(), **moves.cases(), **moves.changed(), **pointwise.whole_cases(),
             **pointwise.cases(D)}  # fmt: skip
    return {name: every[name] for name in chosen}


@cache
def lowered() -> tuple[dict[str, Case], Functions]:
    cases, functions = {**hostile(), **ordinary()}, Functions()
    for name, one in cases.items():
        functions.add(name, one.function, one.inputs)
    return cases, functions


def main_of(functions: Functions, arrays: dict[str, tuple[list[Any], list[int]]], tables: list[Any], blocks: int) -> str:
    """A program that reads inputs and tables, calls every function, and writes what they give."""
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "static void *got(size_t n) { char *p = malloc(n ? n : 1);",
             "if (fread(p, 1, n, stdin) != n) exit(9); return p; }", "int main(void) {",
             f"const void *shared[{len(tables) + 1}]; context c = {{shared}};"]  # fmt: skip
    lines += [f"shared[{i}] = got({t.nbytes});" for i, t in enumerate(tables)]
    for name, (given, sizes) in arrays.items():
        lines.append("{")
        lines.append(f"void *in[{len(given) + 1}], *out[{len(sizes) + 1}];")
        lines += [f"in[{i}] = got({a.nbytes});" for i, a in enumerate(given)]
        lines += [f"out[{i}] = malloc({max(1, n)});" for i, n in enumerate(sizes)]
        lines.append(f"{functions.lowered[name].label}(in, out, &c, {blocks});")
        lines += [f"fwrite(out[{i}], 1, {n}, stdout); free(out[{i}]);" for i, n in enumerate(sizes)]
        lines += [f"free(in[{i}]);" for i in range(len(given))]
        lines.append("}")
    return "\n".join([*lines, *(f"free((void *)shared[{i}]);" for i in range(len(tables))), "return 0; }"])


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 8])
def test_generated_c_has_no_undefined_behaviour(width: int, tmp_path: Path) -> None:
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    flags = [f for f in compiler.flags if f not in ("-shared", "-fPIC", "-O3")]
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }")
    trial = subprocess.run([*compiler.argv, *SANITIZED, "-o", "empty", "empty.c"], cwd=tmp_path, capture_output=True)
    if trial.returncode or subprocess.run([tmp_path / "empty"], capture_output=True).returncode:
        pytest.skip(f"{compiler.name} has no sanitizers that run here")
    cases, functions = lowered()
    unit, text = functions.source(width)
    tables, lanes = functions.tables(unit), 13
    blocks = -(-lanes // width)
    arrays = {
        name: ([blocked(x, width) for x in one.inputs],
               [blocks * v.size * width * np.dtype(MEMORY[v.type][1]).itemsize for v in functions.lowered[name].outputs])
        for name, one in cases.items()
    }  # fmt: skip
    (tmp_path / "source.c").write_text(text + "\n" + main_of(functions, arrays, tables, blocks))
    subprocess.run([*compiler.argv, *flags, *SANITIZED, "-o", "program", "source.c", "-lm"], cwd=tmp_path, check=True)
    data = b"".join(a.tobytes() for a in (*tables, *(a for given, _ in arrays.values() for a in given)))
    run = subprocess.run([tmp_path / "program"], input=data, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()[:3000]
    at = 0
    for name, one in cases.items():
        found = []
        for v, shape, kind, n in zip(functions.lowered[name].outputs, functions.lowered[name].shapes,
                                     functions.lowered[name].types, arrays[name][1]):  # fmt: skip
            array = np.frombuffer(run.stdout[at : at + n], dtype=MEMORY[v.type][1]).copy()
            found.append(unblocked(array, lanes, width, shape, kind))
            at += n
        if name in ordinary():
            for one_found, expected in zip(found, flat(one.function(*one.inputs)), strict=True):
                assert_agrees(one_found, expected.detach(), 1e-10, name)
    assert at == len(run.stdout)


def test_indices_are_kept_inside() -> None:
    """From the end where negative, and never beyond either end."""
    cases, functions = lowered()
    k = cases["rows far outside"].inputs[0]
    table = torch.arange(20.0, dtype=D).reshape(5, 4)
    inside = torch.where(k < 0, k + 5, k).clamp(0, 4)
    assert torch.equal(functions.call("rows far outside", [k], 8)[0], table[inside])
    x = cases["gather far outside"].inputs[1]
    found = functions.call("gather far outside", [k, x], 8)[0]
    assert torch.equal(found, x.gather(1, inside[:, None]))
