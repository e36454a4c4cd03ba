"""Running exported files by who runs such files elsewhere: ONNX Runtime, torch, and a C compiler."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simdl.errors import NetworkError
from simdl.export.formats import function_name
from simdl.export.kind import FORMATS, need
from simdl.export.step import FilePort
from simdl.networks.described import NEXT

Arrays = Mapping[str, np.ndarray[Any, Any]]
_C_TYPES = {torch.float32: "float", torch.float64: "double", torch.int64: "int64_t", torch.int32: "int32_t",
            torch.bool: "_Bool", torch.uint8: "uint8_t"}  # fmt: skip


class Executor:
    """A function from inputs and states by name (lanes, *shape) to outputs and states by name.

    A copy is the same one: files are opened once; a pickled one opens its file anew.
    """

    by = ""

    def __init__(
        self, path: str | Path, inputs: Sequence[FilePort], outputs: Sequence[FilePort], states: Sequence[FilePort]
    ) -> None:
        self.path, self.inputs, self.outputs, self.states = Path(path), tuple(inputs), tuple(outputs), tuple(states)
        self._open()

    @property
    def taken(self) -> tuple[FilePort, ...]:
        return (*self.inputs, *self.states)

    @property
    def given(self) -> tuple[FilePort, ...]:
        return (*self.outputs, *self.states)

    def _open(self) -> None:
        raise NotImplementedError

    def _run(self, values: list[np.ndarray[Any, Any]]) -> Sequence[np.ndarray[Any, Any]]:
        raise NotImplementedError

    def __call__(self, values: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        given = [np.ascontiguousarray(values[one.name], dtype=numpy_type(one)) for one in self.taken]
        return {one.name: value for one, value in zip(self.given, self._run(given))}

    def __deepcopy__(self, memo: Any) -> Executor:
        return self

    def __reduce__(self) -> Any:
        return type(self), (self.path, self.inputs, self.outputs, self.states)


class OnnxRuntime(Executor):
    by = "ONNX Runtime"

    def _open(self) -> None:
        need("onnxruntime", "onnx")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        self.wanted = [one.name for one in self.session.get_inputs()]  # unused ones may be gone

    def _run(self, values: list[np.ndarray[Any, Any]]) -> Sequence[np.ndarray[Any, Any]]:
        named = {one.name: value for one, value in zip(self.taken, values)}
        names = [*(one.name for one in self.outputs), *(one.name + NEXT for one in self.states)]
        found: Sequence[Any] = self.session.run(names, {name: named[name] for name in self.wanted})
        return found


class TorchProgram(Executor):
    by = "torch"

    def _open(self) -> None:
        from simdl.networks.exported import load_exported

        self.module = load_exported(self.path)

    def _run(self, values: list[np.ndarray[Any, Any]]) -> Sequence[np.ndarray[Any, Any]]:
        with torch.no_grad():
            found = self.module(*(torch.from_numpy(value) for value in values))
        return [one.numpy() for one in ((found,) if isinstance(found, torch.Tensor) else found)]


class Compiled(Executor):
    """The C of a file, built by this machine's compiler, called lane by lane."""

    by = "the C compiler"

    def _open(self) -> None:
        from simdl.engine.native.compiler import find_compiler, why_no_compiler

        compiler = find_compiler()
        if compiler is None:
            raise NetworkError(str(self.path), f"no C compiler to try it with: {why_no_compiler()}", "a C compiler",
                               "export(..., check=False) writes it untried")  # fmt: skip
        self.folder = tempfile.TemporaryDirectory(prefix="simdl-")
        source, library = Path(self.folder.name) / "lanes.c", Path(self.folder.name) / "lanes.so"
        source.write_text(self._source(), encoding="utf-8")
        command = [*compiler.argv, "-std=c99", "-O2", "-ffp-contract=off", "-fPIC", "-shared", str(source), "-o",
                   str(library), "-lm"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NetworkError(str(self.path), f"it does not compile: {done.stderr.strip()[:500]}", "C99 that builds")
        self.function = ctypes.CDLL(str(library)).simdl_lanes
        self.function.restype = None
        self.function.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * (len(self.taken) + len(self.given))]

    def _source(self) -> str:
        """The file, and a loop over lanes around its function."""
        ports = [*(("const ", one) for one in self.taken), *(("", one) for one in self.given)]
        arguments = ", ".join(f"{const}{_C_TYPES[one.dtype]} *p{i}" for i, (const, one) in enumerate(ports))
        passed = ", ".join(f"(void *)(p{i} + lane * {_size(one)})" for i, (_, one) in enumerate(ports))
        return (
            f'#include "{self.path.resolve()}"\n#include <stdint.h>\n'
            f"void simdl_lanes(int64_t lanes, {arguments}) {{\n"
            f"    for (int64_t lane = 0; lane < lanes; ++lane) {function_name(self.path)}({passed});\n}}\n"
        )

    def _run(self, values: list[np.ndarray[Any, Any]]) -> Sequence[np.ndarray[Any, Any]]:
        lanes = values[0].shape[0]
        found = [np.empty((lanes, *one.shape), dtype=numpy_type(one)) for one in self.given]
        self.function(lanes, *(value.ctypes.data for value in (*values, *found)))
        return found


def open_executor(
    path: Path, inputs: Sequence[FilePort], outputs: Sequence[FilePort], states: Sequence[FilePort]
) -> Executor:
    """Who runs a file of this format."""
    kinds: dict[str, type[Executor]] = {"ONNX": OnnxRuntime, "torch.export": TorchProgram, "C99": Compiled}
    return kinds[FORMATS[path.suffix.lower()]](path, inputs, outputs, states)


def numpy_type(one: FilePort) -> Any:
    return torch.empty(0, dtype=one.dtype).numpy().dtype


def _size(one: FilePort) -> int:
    size = 1
    for n in one.shape:
        size *= n
    return size
