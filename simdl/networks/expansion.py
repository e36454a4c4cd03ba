"""A network taken apart: a diagram with a block for every layer, to look into, and to try with fewer bits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import copy, deepcopy
from fractions import Fraction
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from simdl.clock import SECOND
from simdl.declarations import Input, Output
from simdl.diagram import Diagram
from simdl.errors import NetworkError
from simdl.networks.call import kind_of, training
from simdl.networks.fixed import Fixed
from simdl.networks.layer import Layer
from simdl.networks.network import Network
from simdl.networks.operation import LANES, filled, followed, is_signal, template_of, tensors_of, values_of


class Expanded(Diagram):
    """The diagram of a network's layers: the same ports, the same period, a block for each layer.

    network: a Network or Classifier without memory, whose module torch.fx can follow: no Python decision on values.
    Blocks: `entry` scales and stacks the inputs, `exit` gives the outputs back their names and units; between them each
    layer has the name of its path ("0" is `layer_0`, "enc.act" is `enc_act`, used once more `enc_act_use2`) and each
    function that forward calls its own; their output is `y`. `layers`: what they are, by name. They tick one after the
    other at the same instant: what the loop sees is what the network says, up to rounding.
    fixed: how the layers' weights and results are rounded, all or by name of the block.

    For looking, not for running: every layer is a block with a call of its own. Raises NetworkError for networks with
    memory, and for a module that cannot be followed.

    >>> net = Network(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), inputs=("a", "b"), outputs=("y",),
    ...               period="10 ms")
    >>> Expanded(net).layers
    {'layer_0': '0', 'layer_1': '1', 'layer_2': '2'}
    """

    if TYPE_CHECKING:
        layers: dict[str, str]
        _remake: Any

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __new__(cls, network=None, fixed=None):
            if "_made_from" in vars(cls):
                return object.__new__(cls)
            return object.__new__(_class_of(cls, network))

        def __init__(self, network, fixed=None):
            self._build(network, fixed)

    def _build(self, network: Network, fixed: Fixed | Mapping[str, Fixed] | None) -> None:
        where, plan = f"Expanded({network})", network._plan
        module = cast(nn.Module, network.module)
        inputs, outputs = plan.inputs, plan.outputs
        dtype, device = kind_of(module)
        zeros = [[torch.zeros((lanes, *(one.shape or ())), dtype=one.dtype or torch.float64, device=device)
                  for one in inputs.values()] for lanes in LANES]  # fmt: skip
        graph = followed(module, where)
        entry = _Entry(network, dtype)
        clocked = _timing(network)
        with torch.no_grad(), training(module, False):
            arguments = [entry(*given) for given in zeros]
            values = [values_of(graph, given) for given in arguments]
        made: dict[Any, Any] = {}
        first = [name for name, _ in zip(_names("given", inputs), arguments[0])]
        own = {name: copy(one) for name, one in inputs.items()}
        self.entry = _layer(entry, own, arguments[0], first, "scales and stacks", None, clocked)
        for name in inputs:
            setattr(self.entry, name, getattr(self, name))
        holders = [node for node in graph.graph.nodes if node.op == "placeholder"]
        made.update({node: getattr(self.entry, name) for node, name in zip(holders, first)})
        named: dict[str, str] = {}
        for node in graph.graph.nodes:
            if node.op in ("placeholder", "output", "get_attr") or not is_signal(node, values):
                continue
            template, sources = template_of(node, made, graph)
            if not sources:
                continue
            text = str(node.target).replace(".", "_") if node.op == "call_module" else node.name
            name = _block_name(text, {*named, *inputs, *outputs}, type(self))
            rule = fixed.get(name) if isinstance(fixed, Mapping) else fixed
            part = _Part(template, rule)
            ports = {n: Input(tuple(values[0][source].shape[1:]), dtype=_kind(values[0][source]))
                     for n, source in zip(_names("x"), sources)}  # fmt: skip
            what = node.target if node.op == "call_module" else f"{getattr(node.target, '__name__', node.target)}"
            block = _layer(part, ports, (values[0][node],), ["y"], f"{what}", module, clocked, network.mode)
            setattr(self, name, block)
            for port, source in zip(ports, sources):
                setattr(block, port, made[source])
            made[node] = block.y
            named[name] = str(what)
        unknown = sorted(set(fixed) - set(named)) if isinstance(fixed, Mapping) else []
        if unknown:
            raise NetworkError(where, f"fixed for a layer {unknown[0]!r}", "a layer", names=named, wrong=unknown[0])
        (last,) = [node for node in graph.graph.nodes if node.op == "output"]
        template, sources = template_of(last, made, graph)
        ports = {n: Input(tuple(values[0][source].shape[1:]), dtype=_kind(values[0][source]))
                 for n, source in zip(_names("result", outputs), sources)}  # fmt: skip
        leave = _Exit(network, template)
        given = leave(*(values[0][source] for source in sources))
        late = {**clocked, **({"latency": network.latency} if network.latency is not None else {})}
        self.exit = _layer(leave, ports, given, list(outputs), "names and units", None, late, outputs=outputs)
        for port, source in zip(ports, sources):
            setattr(self.exit, port, made[source])
        for name in outputs:
            setattr(self, name, getattr(self.exit, name))
        vars(self)["layers"] = named

    def __reduce__(self) -> Any:
        return _remade, (type(self)._made_from, type(self)._network), self.__getstate__()  # type: ignore[attr-defined]


class _Entry:
    """What a module is called with, from the ports of its network."""

    def __init__(self, network: Network, dtype: torch.dtype | None) -> None:
        self.network, self.dtype = network, dtype

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        given = self.network._arguments(list(values))
        cast_to = [v.to(self.dtype) if self.dtype and v.dtype not in (torch.int64, torch.int32) else v for v in given]
        return tuple(self.network._plan.prepared(cast_to))


class _Exit:
    """The outputs of a network, from what its layers returned."""

    def __init__(self, network: Network, template: Any) -> None:
        self.network, self.template = network, template

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        result = filled(self.template, values)
        tensors = self.network._plan.returned(result, values[0].shape[0])
        return tuple(self.network._named(tensors, list(values)).values())


class _Part:
    """A layer or a function as a function of its signals."""

    def __init__(self, template: Any, fixed: Fixed | None) -> None:
        self.template = template if fixed is None else deepcopy(template)
        self.fixed = fixed
        if fixed is not None:
            with torch.no_grad():
                for tensor in tensors_of(self.template):
                    tensor.copy_(fixed.rounded(tensor))

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        found = filled(self.template, values)
        return (found if self.fixed is None else self.fixed.rounded(found),)


def _layer(
    body: Any, inputs: dict[str, Input], values: tuple[Tensor, ...], names: list[str], what: str,
    module: nn.Module | None, timing: dict[str, Any], mode: Any = "exact", outputs: Mapping[str, Output] | None = None,
) -> Layer:  # fmt: skip
    """A block whose outputs are like these values of some lanes."""
    given = {name: copy(one) for name, one in (outputs or {}).items()}
    for name, value in zip(names, values):
        if name not in given:
            given[name] = Output(tuple(value.shape[1:]), dtype=_kind(value))
        given[name].shape = tuple(value.shape[1:])
    make: Any = Layer
    found: Layer = make(body, inputs, given, what=what, module=module, mode=mode, **timing)
    return found


def _timing(network: Network) -> dict[str, Any]:
    ticking = network.clock
    if ticking is None:
        return {}
    exact = Fraction(ticking.numerator, ticking.denominator * SECOND)
    timing: dict[str, Any] = {"rate": 1 / exact} if ticking.rational else {"period": exact}
    return {**timing, **({"offset": network.offset} if network.offset is not None else {})}


def _names(word: str, taken: Collection[str] = ()) -> Iterator[str]:
    """Names of ports that are free: word, word1, …"""
    yield from (name for name in (f"{word}{k or ''}" for k in count()) if name not in taken)


def _block_name(text: str, taken: set[str], kind: type[Diagram]) -> str:
    """A name of a block that is free: "0" becomes `layer_0`, the second use of a layer `layer_0_use2`."""
    name = text.strip("_")
    name = f"layer_{name}" if not name[:1].isalpha() or hasattr(kind, name) or name in ("entry", "exit") else name
    return next(one for one in (name, *(f"{name}_use{k}" for k in range(2, len(taken) + 3))) if one not in taken)


def _kind(value: Tensor) -> str | None:
    return None if value.is_floating_point() else str(value.dtype).removeprefix("torch.")


def _class_of(base: type[Expanded], network: Network) -> type[Expanded]:
    where = base.__name__
    if not isinstance(network, Network):
        raise NetworkError(where, f"{network!r:.60}", "a network")
    plan = network._plan
    if plan.memory or plan.extra_inputs or plan.taps or plan.recurrence is not None:
        what = "activations" if plan.taps else "memory"
        fix = "all layers are ports there" if plan.taps else "Network(module, …) of a module without memory"
        raise NetworkError(where, f"{network} with {what}", "a network without", fix)
    if network.clock is None:
        raise NetworkError(where, f"{network} has no period", "period= of the network")
    for name, one in plan.inputs.items():
        if one.shape is None:
            raise NetworkError(f"{where}.{name}", "an input of open shape", "its shape",
                               f"inputs={{{name!r}: Input(shape=(n,))}} of the network")  # fmt: skip
    ports: dict[str, Any] = {name: copy(one) for name, one in (*plan.inputs.items(), *plan.outputs.items())}
    for name, one in ports.items():
        one.name = name
    kind: Any = type(base)
    body = {**ports, "_made_from": base, "_network": network, "__module__": base.__module__, "__doc__": base.__doc__,
            "__qualname__": base.__qualname__}  # fmt: skip
    return cast(type[Expanded], kind(base.__name__, (base,), body))


def _remade(base: type[Expanded], network: Network) -> Expanded:
    return object.__new__(_class_of(base, network))
