"""What torch.fx finds in a module, as operations that can be done again one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, fx, nn

from simdl.errors import NetworkError
from simdl.networks.call import training

LANES = (2, 3)  # what begins with both numbers of lanes is a signal; all else is computed where it is used


@dataclass(frozen=True)
class Place:
    """Where a signal goes in the arguments of an operation."""

    number: int


@dataclass(frozen=True, eq=False)
class Operation:
    """What torch.fx found, to be done again."""

    op: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Watched(fx.Interpreter):
    """Runs a graph and keeps what every node gave."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.seen[n] = found = super().run_node(n)
        return found


def filled(template: Any, values: tuple[Tensor, ...]) -> Any:
    if isinstance(template, Place):
        return values[template.number]
    if isinstance(template, Operation):
        args = [filled(one, values) for one in template.args]
        kwargs = {name: filled(one, values) for name, one in template.kwargs.items()}
        if template.op == "call_method":
            return getattr(args[0], template.target)(*args[1:], **kwargs)
        return template.target if template.op == "get_attr" else template.target(*args, **kwargs)
    if isinstance(template, tuple | list):
        return type(template)(filled(one, values) for one in template)
    if isinstance(template, dict):
        return {name: filled(one, values) for name, one in template.items()}
    return template


def template_of(node: fx.Node, made: Mapping[Any, Any], graph: fx.GraphModule) -> tuple[Any, list[fx.Node]]:
    """How a node is computed, and from which signals; for the output, what is returned."""
    sources: list[fx.Node] = []

    def taken(one: Any) -> Any:
        if isinstance(one, fx.Node):
            if one in made:
                if one not in sources:
                    sources.append(one)
                return Place(sources.index(one))
            return operation(one)
        if isinstance(one, list):  # fx has lists and dicts of its own
            return [taken(part) for part in one]
        if isinstance(one, tuple):
            return tuple(taken(part) for part in one)
        return {name: taken(part) for name, part in one.items()} if isinstance(one, dict) else one

    def operation(one: fx.Node) -> Operation:
        target = one.target
        if one.op == "call_module":
            target = cast(Any, graph.get_submodule(cast(str, target)))
        elif one.op == "get_attr":
            target = cast(Any, _attribute(graph, cast(str, target)))
        return Operation(one.op, target, taken(tuple(one.args)), taken(dict(one.kwargs)))

    return (taken(node.args[0]) if node.op == "output" else operation(node)), sources


def followed(module: nn.Module, where: str) -> fx.GraphModule:
    try:
        with training(module, False):
            return fx.symbolic_trace(module)
    except Exception as error:  # torch.fx raises what the module raises on its stand-ins for tensors
        raise NetworkError(where, f"torch.fx cannot follow {type(module).__name__}: {str(error).splitlines()[0]:.200}",
                           "a forward that decides nothing by its values", "the network as it is, activations=(...)",
                           ) from error  # fmt: skip


def values_of(graph: fx.GraphModule, given: tuple[Tensor, ...]) -> dict[fx.Node, Any]:
    watched = Watched(graph)
    watched.run(*given)
    return watched.seen


def is_signal(node: fx.Node, values: list[dict[fx.Node, Any]]) -> bool:
    found = [value[node] for value in values]
    if not all(isinstance(one, Tensor) and one.ndim for one in found):
        return False
    return tuple(one.shape[0] for one in found) == LANES and found[0].shape[1:] == found[1].shape[1:]


def tensors_of(template: Any) -> list[Tensor]:
    """The weights and buffers of an operation."""
    if isinstance(template, Operation):
        own = template.target
        found = [own] if isinstance(own, Tensor) else []
        found += [*own.parameters(), *own.buffers()] if isinstance(own, nn.Module) else []
        return [*found, *(one for part in (template.args, template.kwargs) for one in tensors_of(part))]
    if isinstance(template, dict):
        template = list(template.values())
    return [one for part in template for one in tensors_of(part)] if isinstance(template, tuple | list) else []


def _attribute(graph: fx.GraphModule, path: str) -> Any:
    found: Any = graph
    for name in path.split("."):
        found = getattr(found, name)
    return found
