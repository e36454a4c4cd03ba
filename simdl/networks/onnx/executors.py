"""Who else can run an ONNX file: ONNX Runtime, or the slow reference of the onnx package."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from simdl.errors import NetworkError
from simdl.networks.onnx.graph import Graph
from simdl.networks.onnx.layout import Layout, placed


class Session:
    """A file's bytes in ONNX Runtime: one thread, no custom operators, no profile, nothing written."""

    def __init__(self, data: bytes, graph: Graph, where: str, folder: str | None = None) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise NetworkError(where, "the package onnxruntime is not installed", "it, to run the file as it is",
                               "pip install 'simdl[onnx]'")  # fmt: skip
        import onnxruntime

        self.version, self.graph, self.where = f"ONNX Runtime {onnxruntime.__version__}", graph, where
        self.tolerance: float | None = None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        try:
            self.session: Any = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own tree, whose names differ between versions
            raise NetworkError(where, f"ONNX Runtime cannot run it: {error!s:.300}", "a model for the CPU") from None

    def __call__(self, values: list[Tensor]) -> list[Tensor]:
        given = {one.name: x.detach().to("cpu", one.dtype).contiguous().numpy()
                 for one, x in zip(self.graph.inputs, values)}  # fmt: skip
        try:
            return [torch.as_tensor(one) for one in self.session.run([o.name for o in self.graph.outputs], given)]
        except Exception as error:
            raise NetworkError(self.where, f"ONNX Runtime fails: {error!s:.300}", "inputs that fit") from None


class Evaluator:
    """The reference of the onnx package."""

    def __init__(self, data: bytes, graph: Graph, where: str) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        self.version, self.graph = f"onnx.reference {onnx.__version__}", graph
        # In float64 it still rounds constants of functions such as Gelu to float32.
        self.tolerance: float | None = 1e-6 if any(one.dtype == torch.float64 for one in graph.outputs) else None
        self.evaluator: Any = ReferenceEvaluator(onnx.load_model_from_string(data))

    def __call__(self, values: list[Tensor]) -> list[Tensor]:
        given = {one.name: x.numpy() for one, x in zip(self.graph.inputs, values)}
        return [torch.as_tensor(one) for one in self.evaluator.run([o.name for o in self.graph.outputs], given)]


class Executed(nn.Module):
    """A file run by ONNX Runtime for each call: no gradients, and no native engine."""

    def __init__(self, session: Session, layout: Layout) -> None:
        super().__init__()
        self.session, self.layout = session, layout
        self.simdl_lanes = layout.batch
        kinds = [one.dtype for one in session.graph.inputs if one.dtype.is_floating_point]
        self.register_buffer("float_type", torch.zeros(0, dtype=kinds[0] if kinds else torch.float32))

    def forward(self, *values: Tensor) -> Any:
        shaped = [v.reshape(v.shape[0], *(n or 1 for n in s)) if None not in s else v
                  for v, s in zip(values, self.layout.shapes)]  # fmt: skip
        found = self.session(placed(shaped, self.layout.axes))
        results = tuple(y.movedim(e, 0).to(values[0].device) for y, e in zip(found, self.layout.ends))
        return results[0] if len(results) == 1 else results

    def __deepcopy__(self, memo: dict[int, Any]) -> Executed:
        return Executed(self.session, self.layout)
