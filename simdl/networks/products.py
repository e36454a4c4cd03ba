"""Multiply-accumulates of what torch runs, and of the calls inside a graph that has no layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from simdl.networks.onnx.executors import Executed
from simdl.networks.onnx.program import RECURRENT, Program

Graphs = (fx.GraphModule, Program, Executed)
_RECURRENT = re.compile(r"(?:quantized_)?(lstm|gru|rnn_tanh|rnn_relu)(_cell)?")
_UNKNOWN = re.compile(
    r"_?(linalg|fft|cdist|mkldnn|int_mm|weight|scaled_mm|scaled_grouped|grouped_mm|thnn|cudnn|miopen|trilinear|cholesky"
    r"|lu_|triangular|sparse|addr|ormqr|geqrf|quantized).*|.*(lstm|gru|rnn).*"
)  # fmt: skip
_SMALL: dict[str, Callable[..., int]] = {
    "mv": lambda a, b: a.numel(), "addmv": lambda c, a, b: a.numel(), "dot": lambda a, b: a.numel(),
    "vdot": lambda a, b: a.numel(), "addbmm": lambda c, a, b: a.numel() * b.shape[-1],
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A call in a graph: its name or the path of its weights, its operator, its results, the parameters that stand in
    no row before, and its products for all lanes (None: not counted). samples: of a sequence that it goes along."""

    name: str
    kind: str
    results: tuple[Tensor, ...]
    parameters: int
    macs: int | None
    samples: int | None = None


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what runs inside it. unknown: operators with products whose number is not known."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.more, self.unknown = 0, set[str]()
        self.flops = FlopCounterMode(display=False)

    @property
    def macs(self) -> int:
        return int(self.flops.get_total_flops()) // 2 + self.more

    def __enter__(self) -> Counter:
        super().__enter__()  # type: ignore[no-untyped-call]
        # It comes first, and hands on what it has decomposed.
        self.flops.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self.flops.__exit__(*error)  # type: ignore[no-untyped-call]
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = getattr(func, "_overloadpacket", None)
        name = getattr(packet, "__name__", str(func))
        if packet not in flop_registry:
            if name in _SMALL:
                self.more += _SMALL[name](*args)
            elif _UNKNOWN.fullmatch(name):
                self.unknown.add(f"aten.{name}")
        return func(*args, **(kwargs or {}))


def weight_products(weights: Iterable[Tensor], samples: int) -> int:
    """Products W x and U h of a recurrent layer: every matrix is used once a sample (that of a projection, too)."""
    return samples * sum(w.numel() for w in weights if w.ndim == 2)


class _Calls(fx.Interpreter):
    """Runs a graph and keeps a row for each call that uses weights or makes products."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.rows: list[Row] = []
        self.unknown: set[str] = set()
        self.weights: dict[fx.Node, dict[str, Any]] = {}  # what is made of weights alone, and of which
        self.seen: set[str] = set()

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "get_attr":
            result = super().run_node(n)
            self.weights[n] = {str(n.target): result}
            return result
        if n.op != "call_function":
            return super().run_node(n)
        made = [self.weights.get(one) for one in n.all_input_nodes]
        used = {name: value for one in made if one for name, value in one.items()}
        kind = str(n.target) if isinstance(n.target, torch._ops.OpOverload) else getattr(n.target, "__name__", "call")
        with Counter() as counter:
            result = super().run_node(n)
        macs, samples, unknown = self._closed(n) or (counter.macs, _samples(n, self.env), counter.unknown)
        if isinstance(n.target, torch._ops.HigherOrderOperator):
            unknown = unknown | {kind}
        self.unknown |= unknown
        if made and all(one is not None for one in made) and not macs and not unknown:
            self.weights[n] = used
            return result
        parameters = {name: value for name, value in used.items() if isinstance(value, nn.Parameter)}
        if parameters or macs or unknown:
            paths = {name.rpartition(".")[0] for name in parameters}
            new = sum(value.numel() for name, value in parameters.items() if name not in self.seen)
            self.seen |= parameters.keys()
            path = paths.pop() if len(paths) == 1 else ""
            count = None if unknown else macs
            self.rows.append(Row(path or n.name, kind, tuple(_tensors(result)), new, count, samples))
        return result

    def _closed(self, n: fx.Node) -> tuple[int, int | None, set[str]] | None:
        """Of aten.lstm, gru and rnn, whose kernels differ between machines: by their weights."""
        name = getattr(getattr(n.target, "_overloadpacket", None), "__name__", "")
        found = _RECURRENT.fullmatch(name)
        if found is None:
            return None
        args, _ = self.fetch_args_kwargs_from_env(n)
        x = args[0]
        weights = [one for one in _tensors(args[1:]) if one.ndim == 2]
        if found[2]:  # (x, state, w_ih, w_hh, ...): states are matrices too
            states = 2 if found[1] == "lstm" else 1
            return weight_products(weights[states:], x.shape[0] if x.ndim == 2 else 1), None, set()
        if name.startswith("quantized") or getattr(n.target, "_overloadname", "") != "input":
            return 0, None, {f"aten.{name}"}
        params, batch_first = args[2], bool(args[8])
        size = x.shape[0] * x.shape[1] if x.ndim == 3 else x.shape[0]
        along = x.shape[1] if x.ndim == 3 and batch_first else x.shape[0]
        return weight_products(params, size), int(along), set()


def graph_rows(part: fx.GraphModule, args: Any) -> tuple[list[Row], set[str]]:
    """The calls of a traced program for these arguments, and the operators whose products are not counted."""
    calls = _Calls(part)
    with torch.no_grad():
        calls.run(*args)
    return calls.rows, calls.unknown


@contextmanager
def node_rows(module: nn.Module) -> Iterator[tuple[list[Row], set[str]]]:
    """Rows of the nodes of ONNX graphs inside a module, for what it is called with meanwhile."""
    rows: list[Row] = []
    unknown: set[str] = set()
    seen: set[str] = set()
    programs = [part for part in module.modules() if isinstance(part, Program)]

    def observed(program: Program, run: Callable[[], Any], operands: Any, values: Any) -> None:
        with Counter() as counter:
            run()
        node = operands.node
        own = {name: program.names[name] for name in node.inputs if name in program.names}
        parameters = {name: p for name, one in own.items() if isinstance(p := getattr(program, one), nn.Parameter)}
        unknown.update(counter.unknown)
        if parameters or counter.macs or counter.unknown:
            new = sum(p.numel() for name, p in parameters.items() if name not in seen)
            seen.update(parameters)
            results = tuple(v for name in node.outputs if isinstance(v := values.get(name), Tensor))
            samples = None
            if node.op in RECURRENT:
                swapped = bool(operands.attribute("layout", 0))
                samples = int(operands.tensor(0).shape[1 if swapped else 0])
                results = results if swapped else tuple(v.movedim(-2, 0) for v in results)  # lanes first
            rows.append(Row(node.name or node.outputs[0], node.op, results, new,
                            None if counter.unknown else counter.macs, samples))  # fmt: skip

    for program in programs:
        program.observer = observed
    try:
        yield rows, unknown
    finally:
        for program in programs:
            program.observer = None


def _samples(n: fx.Node, env: dict[fx.Node, Any]) -> int | None:
    """The length that a convolution along one axis goes along."""
    if "conv1d" not in str(n.target) or not n.all_input_nodes:
        return None
    value = env.get(n.all_input_nodes[0])
    return int(value.shape[-1]) if isinstance(value, Tensor) else None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)
