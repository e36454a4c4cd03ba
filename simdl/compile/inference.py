"""The inference of shapes and types: every node is evaluated on guesses until what they give settles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.compile.call import LANES, Args, as_lanes, called
from simdl.compile.graph import raw
from simdl.compile.node import CONDITIONS, Node
from simdl.declarations import as_tensor
from simdl.errors import ProbeError, SimdlError

if TYPE_CHECKING:
    from simdl.compile.model import Model


class Inference:
    """Guesses of all values of a model by key, (LANES, *shape), in `env`. What is learned goes into its values."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.env: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(1)
        self.nodes = self._sequence()
        self._start()

    def settle(self) -> list[tuple[Node, SimdlError]]:
        """Evaluate the nodes until no shape or type changes; those that failed the last time."""
        nodes = self.nodes
        for _ in range(4 + len(nodes)):
            changed, failed = False, []
            for node in nodes:
                moved, error = self._evaluate(node)
                changed |= moved
                if error is not None:
                    failed.append((node, error))
            if not changed:
                return failed
        return failed or [(nodes[0], ProbeError(self.model.name, "shapes that keep growing", "shapes that settle"))]

    def args(self, node: Node) -> Args:
        """What a node reads, by argument name."""
        env = self.env
        args: Args = {}
        for name, key in node.reads:
            if name == "dt":
                args[name] = torch.full((LANES,), 0.01, dtype=torch.float64)
            else:
                args[name] = tuple(env[k] for k in key) if isinstance(key, tuple) else env[key]
        return args

    def unready(self, node: Node) -> bool:
        """Whether it reads what nothing has given yet."""
        return any(key not in self.env and not key.startswith("dt:") for key in node.keys)

    def _start(self) -> None:
        """The values that are there before any node runs."""
        model, env = self.model, self.env
        dtype = torch.float64
        for key in model.params:
            env[key] = _lanes(model.setting(key, dtype))
            model.values[key].shape = tuple(env[key].shape[1:])
        for key, value in model.values.items():
            if value.kind == "constant":
                env[key] = _lanes(value.initial.to(value.dtype or dtype))
            elif value.kind == "noise":
                env[key] = torch.rand((LANES, *(value.shape or ())), generator=self.generator, dtype=dtype)
            elif value.kind in ("held", "continuous", "discrete", "mode", "external"):
                start = value.initial if value.initial is not None else 0.0
                if value.kind == "external":
                    start = value.declaration.default if value.declaration.default is not None else 0.0
                tensor = as_tensor(start)
                if tensor.dtype == torch.bool and value.dtype is None and not isinstance(start, float):
                    value.dtype = torch.bool
                if value.shape and tuple(tensor.shape) != tuple(value.shape):
                    tensor = tensor.expand(value.shape)
                if value.kind != "held" and value.kind != "external" and value.shape is None:
                    value.shape = tuple(tensor.shape)
                env[key] = _lanes(tensor.to(value.dtype or dtype))
                if value.kind == "discrete":
                    env[raw(key)] = env[key]
        env["t"] = torch.zeros(LANES, dtype=torch.float64)

    def _sequence(self) -> list[Node]:
        """Every node once, sources first where there is an order."""
        graph = self.model.graph
        done: dict[Node, None] = {}
        everything = [
            *graph.initials.values(),
            *graph.nodes,
            *graph.derivatives,
            *graph.crossings,
            *graph.resets.values(),
            *graph.edges,
        ]
        for start in everything:
            stack = [start]
            while stack:
                node = stack[-1]
                more = [n for n in graph.needs(node) if n not in done and n not in stack]
                if more:
                    stack.append(more[0])
                else:
                    done[stack.pop()] = None
        return list(done)

    def _evaluate(self, node: Node) -> tuple[bool, SimdlError | None]:
        """Run a node on the present guesses; (whether a shape or type changed, the fault if it failed)."""
        if self.unready(node):
            return False, ProbeError(node.path, "reads a value that nothing gives", "a connected model")
        try:
            found = called(node, self.args(node))
        except SimdlError as error:
            return False, error
        changed = False
        if node.kind in CONDITIONS:
            return False, None
        for key, value in found.items():
            try:
                changed |= self._learn(node, key, value)
            except SimdlError as error:
                return changed, error
        return changed, None

    def _learn(self, node: Node, key: str, found: Any) -> bool:
        value = self.model.values.get(key)
        tensor = as_lanes(node, key, found)
        if node.kind in ("derivative", "crossing", "edges"):
            declared = value.shape if value is not None and node.kind == "derivative" else ()
            if declared is not None and tuple(tensor.shape[1:]) != tuple(declared or ()):
                raise ProbeError(node.path, f"gives {key} the shape {tuple(tensor.shape[1:])}", f"{tuple(declared)}")
            return False
        state = value is not None and value.kind in ("continuous", "discrete", "mode")
        name = raw(key) if state and value is not None and value.kind == "discrete" and node.kind != "hold" else key
        if state and node.kind == "hold":
            name = key
        old = self.env.get(name)
        shape = tuple(tensor.shape[1:])
        if value is not None:
            tensor = tensor.to(self._type(node, value, tensor))
            if state and node.kind == "initial" and value.declaration.shape is None:
                value.shape = shape
            if value.shape is not None and tuple(value.shape) != shape:
                if shape == ():
                    tensor = tensor.reshape(LANES, *(1,) * len(value.shape)).expand(LANES, *value.shape)
                elif value.declaration is not None and getattr(value.declaration, "shape", None) is None and not state:
                    value.shape = shape
                else:
                    raise ProbeError(f"{node.path}: {key}", f"the shape {shape}", f"the declared {tuple(value.shape)}")
            elif value.shape is None:
                value.shape = shape
        if old is not None and old.shape == tensor.shape and old.dtype == tensor.dtype:
            if node.kind in ("formula", "output", "hold") and not torch.equal(old, tensor):
                self.env[name] = tensor
            return False
        self.env[name] = tensor
        return True

    def _type(self, node: Node, value: Any, tensor: Tensor) -> torch.dtype:
        float_type = torch.float64
        if value.dtype is None:
            if tensor.dtype == torch.bool and value.kind in ("held", "free"):
                value.dtype = torch.bool
                return torch.bool
            if not tensor.is_floating_point() and tensor.dtype != torch.bool and value.kind in ("held", "free"):
                value.dtype = tensor.dtype
                return tensor.dtype
            return float_type
        wanted: torch.dtype = value.dtype
        if tensor.is_floating_point() and not wanted.is_floating_point:
            raise ProbeError(
                f"{node.path}: {value.key}",
                f"{type_name(tensor.dtype)} into a port of {type_name(wanted)}",
                f"{type_name(wanted)}",
                f"convert with .to(torch.{type_name(wanted)}), or declare the port float",
            )
        return wanted


def _lanes(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(0).expand(LANES, *tensor.shape).clone()


def type_name(dtype: torch.dtype) -> str:
    """A type as declarations name it."""
    return str(dtype).removeprefix("torch.")
