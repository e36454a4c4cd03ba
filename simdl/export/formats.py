"""Writing one tick of a network as ONNX, as a program of torch.export, and as C99."""

from __future__ import annotations

import io
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from simdl.data.durable import write_file
from simdl.errors import NetworkError
from simdl.export.kind import check_format
from simdl.export.step import Step
from simdl.networks.described import KEY

_PLAIN = {"__and__": "bitwise_and", "__or__": "bitwise_or", "__xor__": "bitwise_xor"}  # the same operators


def write(step: Step, path: Path) -> None:
    """Write a step; the format is that of the name. Raises NetworkError for what a format cannot hold."""
    check_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {".onnx": _onnx, ".pt2": _program, ".c": _c}[path.suffix.lower()](step, path)
    write_file(path, content)


def function_name(path: Path) -> str:
    """The name of the C function in a file, made of the file's.

    >>> function_name(Path("out/soc-sensor 2.c"))
    'soc_sensor_2'
    """
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    return name if name and not name[0].isdigit() else f"net_{name}"


def _onnx(step: Step, path: Path) -> bytes:
    return _converted(step, str(path), True)


def _c(step: Step, path: Path) -> bytes:
    """For one lane, with no heap and every weight in the file."""
    from emx_onnx_cgen.cli import run_cli_command  # its Compiler takes the same options, without their defaults

    content = _plain(_converted(step, str(path), False))
    with tempfile.TemporaryDirectory(prefix="simdl-") as folder:
        model = Path(folder) / "model.onnx"
        model.write_bytes(content)
        command = ["compile", "--color", "never", "--large-temp-threshold", "0", "--large-weight-threshold", "0",
                   "--model-name", function_name(path), str(model)]  # fmt: skip
        with _quiet():
            done = run_cli_command(command)
    if done.exit_code or not done.generated:
        said = (done.result or "").strip().splitlines() or ["no reason given"]
        raise NetworkError(str(path), f"emx-onnx-cgen cannot write it: {said[-1][:300]}",
                           "operators that it knows", "export to .onnx or .pt2")  # fmt: skip
    return re.sub(r"(?m)^ \* Command.*\n", "", done.generated).encode()


def _program(step: Step, path: Path) -> bytes:
    example = step.example(2)
    axes = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
    with torch.no_grad(), _quiet():
        try:
            step(*example)
            program = torch.export.export(step, tuple(example), dynamic_shapes=_axes(step, axes), strict=False)
        except Exception as error:
            raise NetworkError(str(path), f"torch.export cannot trace {step.where}: {_first(error)}",
                               "a module of torch operators for any number of lanes") from error  # fmt: skip
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:  # checks of types, which no reader needs
            graph.erase_node(node)
        elif getattr(node.target, "_opname", "") in _PLAIN:
            packet = getattr(torch.ops.aten, _PLAIN[node.target._opname])
            node.target = getattr(packet, node.target._overloadname)
    program.graph_module.recompile()
    out = io.BytesIO()
    torch.export.save(program, out, extra_files={f"{KEY}.json": step.description()})
    return out.getvalue()


def _converted(step: Step, where: str, any_lanes: bool) -> bytes:
    import onnx

    example = step.example(2 if any_lanes else 1)
    axes = tuple({0: "lanes"} for _ in example) if any_lanes else None
    options: dict[str, Any] = {} if axes is None else {"dynamic_shapes": _axes(step, axes)}
    operators: Any = {torch.ops.aten.searchsorted.Tensor: _searchsorted}
    with torch.no_grad(), _quiet():
        try:
            step(*example)
            made: Any = torch.onnx.export(
                step, tuple(example), dynamo=True, verbose=False, optimize=True, input_names=step.input_names,
                output_names=step.output_names, custom_translation_table=operators, **options,
            )  # fmt: skip
            model = made.model_proto
        except Exception as error:
            raise NetworkError(where, f"torch.onnx cannot convert {step.where}: {_first(error)}",
                               "operators that ONNX has", "export to .pt2, which holds any") from error  # fmt: skip
    onnx.helper.set_model_props(model, {KEY: step.description()})
    model.producer_name, model.producer_version = "simdl", ""
    for one in (*model.graph.node, *(node for f in model.functions for node in f.node)):
        del one.metadata_props[:]  # names and paths of Python sources
        one.doc_string = ""
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _plain(content: bytes) -> bytes:
    """A model without what emx-onnx-cgen does not take: the direction of recurrent layers where it is the usual one."""
    import onnx

    model = onnx.load_from_string(content)
    for node in model.graph.node:
        if node.op_type in ("GRU", "LSTM", "RNN"):
            kept = [one for one in node.attribute if not (one.name == "direction" and one.s == b"forward")]
            del node.attribute[:]
            node.attribute.extend(kept)
    return bytes(model.SerializeToString())


def _searchsorted(boundaries: Any, value: Any, out_int32: bool = False, right: bool = False, side: Any = None,
                  sorter: Any = None) -> Any:  # fmt: skip
    """torch.searchsorted over one row, which ONNX has not: how many boundaries lie below each value."""
    from onnx import TensorProto
    from onnxscript import opset18

    op: Any = opset18

    if len(boundaries.shape) != 1 or sorter is not None:
        raise NotImplementedError("searchsorted over several rows")
    column = op.Unsqueeze(value, [-1])
    below = op.LessOrEqual(boundaries, column) if right or side == "right" else op.Less(boundaries, column)
    kind = TensorProto.INT32 if out_int32 else TensorProto.INT64
    return op.ReduceSum(op.Cast(below, to=kind), [-1], keepdims=0)


def _axes(step: Step, axes: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(step.input_names, axes))


def _first(error: Exception) -> str:
    """What an exporter complains about: its innermost cause, in a line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return (lines[0] if lines else type(cause).__name__)[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' own remarks."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export", "emx_onnx_cgen")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels):
            one.setLevel(level)
