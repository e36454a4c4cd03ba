"""Looking into a module: its layers, the arguments it needs, how wide its input is, what its layers return and keep."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from simdl.errors import NetworkError


def find_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The parts of a module by their paths, without itself."""
    return {name: part for name, part in module.named_modules() if name}


def forward_names(module: nn.Module, optional: bool = False) -> list[str]:
    """The positional arguments that a module's forward needs; with `optional` also those it can do without."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in kinds and (optional or p.default is inspect.Parameter.empty)]


def first_width(module: nn.Module) -> int | None:
    """The number of features that a module takes, as its first layer with weights says; None if it does not say."""
    for part in module.modules():
        width = getattr(part, "in_features", None) or getattr(part, "input_size", None)
        if isinstance(width, int):
            return width
        if any(True for _ in part.parameters(recurse=False)):
            return None
    return None


def static_lanes(module: nn.Module) -> int | None:
    """The only number of lanes that an exported program takes; None for any."""
    lanes = getattr(module, "simdl_lanes", None)
    return lanes if isinstance(lanes, int) else None


def refuse_dropout(module: nn.Module, where: str) -> None:
    """Raise NetworkError for noise that no seed of the run decides: a lane would not be the same when it runs alone."""
    for part in module.modules():
        p = part.dropout if isinstance(part, nn.RNNBase) else part.p if isinstance(part, _DropoutNd) else 0.0
        if p:
            raise NetworkError(where, f"dropout {p} in training mode, whose noise no seed of the run decides",
                               "train=False", "set its probability to 0")  # fmt: skip


@contextmanager
def tapped(module: nn.Module, taps: Mapping[str, str]) -> Iterator[dict[str, Tensor]]:
    """What layers return while the module is called, by port."""
    seen: dict[str, Tensor] = {}

    def keep(port: str, path: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: Any, result: Any) -> None:
            if not isinstance(result, Tensor):
                raise NetworkError(f"activations {path!r}", f"the layer returns {type(result).__name__}", "a tensor")
            seen[port] = result

        return hook

    handles = [module.get_submodule(path).register_forward_hook(keep(port, path)) for port, path in taps.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def carried(
    layers: Mapping[str, nn.RNNBase], states: Sequence[Tensor] | None
) -> Iterator[tuple[list[Tensor | None], list[Tensor]]]:
    """Give recurrent layers their states while a module is called, and collect what they become.

    states: in the order of the layers, (h, c) of an LSTM; None leaves what the module gives. Yields two lists, filled
    when the block is left: the states that the module gave (None for zeros) and those after the call.
    """
    own: dict[str, list[Tensor | None]] = {}
    after: dict[str, list[Tensor]] = {}
    counts = {name: 2 if isinstance(layer, nn.LSTM) else 1 for name, layer in layers.items()}
    mine: dict[str, list[Tensor]] = {}
    left = list(states or ())
    for name, count in counts.items():
        mine[name], left = left[:count], left[count:]

    def before(name: str) -> Callable[..., Any]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if name in own:
                raise NetworkError(name, "the layer is used twice in one call", "each recurrent layer once")
            x, given = (*args, kwargs.get("hx"))[:2]
            own[name] = [None] * counts[name] if given is None else list(given) if counts[name] == 2 else [given]
            if states is None:
                return None
            return (x, tuple(mine[name]) if counts[name] == 2 else mine[name][0]), {}

        return hook

    def keep(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: Any, result: Any) -> None:
            after[name] = list(result[1]) if counts[name] == 2 else [result[1]]

        return hook

    handles: list[Any] = []
    for name, layer in layers.items():
        handles.append(layer.register_forward_pre_hook(before(name), with_kwargs=True))
        handles.append(layer.register_forward_hook(keep(name)))
    starts: list[Tensor | None] = []
    ends: list[Tensor] = []
    try:
        yield starts, ends
    finally:
        for handle in handles:
            handle.remove()
    for name in layers:
        if name not in after:
            raise NetworkError(name, "the layer was not used", "each recurrent layer once in a call")
        starts += own[name]
        ends += after[name]
