"""Operators against the onnx package's own tests of each: inputs and outputs that its authors wrote down."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.onnx.graph import graph_of
from simdl.networks.onnx.operators import OPERATORS
from simdl.networks.onnx.program import Program

TOLERANCE = {"float64": 1e-10, "float32": 1e-4, "float16": 2e-3, "bfloat16": 2e-2}
AT_LEAST = 1250
# Why a test of an operator that is converted is refused: part of the error, and what it is about.
REFUSED = {
    "training mode": "training", "depends on what the network is given": "sizes computed from values of an input",
    "lengths of padded keys": "Attention over padded keys", "_window_size": "Attention over a window",
    "mode 'cubic'": "cubic Resize", "antialias 1": "antialiased Resize", "tf_crop_and_resize": "cropping Resize",
    "an aspect ratio to keep": "Resize by an aspect ratio", "positions of the maxima": "MaxPool with positions",
    "reduction '": "ScatterND with a reduction other than add", "not implemented for 'UInt": "unsigned types in torch",
    "its condition is computed": "If on a value", "opset 1\n": "an opset of 2015",
    "values of ONNX type": "4-bit, 8-bit float, text or complex values", "is no tensor": "sequences and optionals",
}  # fmt: skip
# Expected numbers that are written down with four digits.
ROUNDED = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-3}


def tensor(value: Any) -> Tensor:
    if str(value.dtype) == "bfloat16":
        return torch.as_tensor(value.astype(np.float32)).bfloat16()
    return torch.tensor(value)


def array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def computed(case: Any, inputs: list[Any]) -> tuple[Tensor, ...]:
    """The outputs; an input that holds sizes becomes a constant of the model, as it is in files."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    names = [one.name for one in model.graph.input]
    baked: set[str] = set()
    while True:
        if len(baked) == len(names):
            model.graph.input.append(onnx.helper.make_tensor_value_info("lanes", 1, [1]))
            names, inputs = [*names, "lanes"], [*inputs, np.zeros(1, np.float32)]
        program = Program(graph_of(model, case.name, None, OPERATORS), case.name)
        given = [tensor(x) for x, name in zip(inputs, names) if name not in baked]
        try:
            with torch.no_grad():
                return program(*given)
        except NetworkError as error:
            name = error.found.split("'")[1] if "depends on" in error.found else ""
            if name not in names or name in baked:
                raise
            baked.add(name)
            model.graph.initializer.append(numpy_helper.from_array(inputs[names.index(name)], name))


def check(case: Any) -> None:
    for given, wanted in case.data_sets:
        found = computed(case, [array(x) for x in given])
        assert len(found) == len(wanted)
        for ours, theirs in zip(found, map(array, wanted)):
            kind = str(theirs.dtype)
            assert tuple(ours.shape) == theirs.shape and str(ours.dtype) == f"torch.{kind}"
            if kind not in TOLERANCE:
                assert np.array_equal(ours.detach().numpy(), theirs)
                continue
            tolerance = ROUNDED.get(case.name, TOLERANCE[kind])
            np.testing.assert_allclose(
                ours.detach().double().numpy(), theirs.astype(np.float64), tolerance, tolerance * 1e-2
            )


@pytest.mark.slow
def test_the_tests_of_the_onnx_package_pass() -> None:
    """Of every operator that is converted; what is refused is refused for a reason that is named above."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    passed, wrong = 0, []
    for case in cases:
        nodes = case.model.graph.node
        if any(node.op_type not in {*OPERATORS, "Constant", "If"} or node.domain for node in nodes):
            continue
        try:
            check(case)
            passed += 1
        except NetworkError as error:
            if not any(reason in str(error) for reason in REFUSED):
                wrong.append(f"{case.name}: {error}")
        except Exception as error:
            wrong.append(f"{case.name}: {type(error).__name__} {error!s:.300}")
    assert not wrong, "\n".join(wrong)
    assert passed >= AT_LEAST, passed


def test_operators_that_are_not_converted_are_all_named_at_once() -> None:
    nodes = [onnx.helper.make_node("Det", ["x"], ["a"], "first"), onnx.helper.make_node("STFT", ["a"], ["y"], "second")]
    x, y = (onnx.helper.make_tensor_value_info(name, 1, ["n", 2, 2]) for name in "xy")
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y]),
                                   opset_imports=[onnx.helper.make_opsetid("", 18)])  # fmt: skip
    with pytest.raises(NetworkError, match=r"Det 'first', STFT 'second'"):
        graph_of(model, "net.onnx", None, OPERATORS)
