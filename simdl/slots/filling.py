"""Filling slots: from what a user has (a module, a file, a block) to a block that keeps the contract."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import nn

from simdl.block import Block
from simdl.declarations import Input
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.errors import NetworkError
from simdl.networks.imported import Imported
from simdl.slots.adapter import adapter, difference, readable, unit_text
from simdl.slots.copying import copied
from simdl.slots.slot import Place, Slot

_FILES = 'a card\'s folder, "x.safetensors", .pt2, .onnx, .keras, .h5, .nnet, .polar or "package:function"'
Model = TypeVar("Model", bound=Diagram)
Filling = Declared | nn.Module | Imported | str | Path
"""What goes into a slot: a block or diagram, a module, a path that `open_network` reads, an opened network, or
"package:function"."""


def fill(slot: Slot, given: Filling, *, allow_rate: bool = False) -> Declared:
    """The block for a slot: a copy of a given one (with its own state, and the same weights), or a new one around a
    module, for the slot's ports and at its rate.

    Raises one NetworkError for everything in which it differs from the contract, with the adapter to paste.
    """
    block = _block(slot, given, allow_rate)
    faults = _faults(slot, block, allow_rate)
    if faults:
        name = type(block).__name__
        text = "\n    ".join(faults)
        raise NetworkError(f"slot {slot.name}", f"{name} does not fit:\n    {text}", str(slot), adapter(slot, block))
    return block


def swap(diagram: Model, *, allow_rate: bool = False, **networks: Filling) -> Model:
    """A copy of a diagram with other networks in its slots; the diagram itself stays as it is.

    Names are those of slots, or the last part of a path, or a path with dots as `__`. Weights are shared, not copied.
    Raises NetworkError for unknown names, and for each network that does not fit its slot.
    """
    made = copied(diagram)
    places = _places(made)
    for name, given in networks.items():
        place = places.get(name) or places.get(name.replace("__", "."))
        if place is None:
            raise NetworkError(f"{diagram}", f"no slot {name!r}", "a slot", names=places, wrong=name)
        place._fill(fill(type(place).slot, given, allow_rate=allow_rate))
    return made


def slots_of(diagram: Declared) -> dict[str, Slot]:
    """The slots of a diagram by name (by path where two have one name)."""
    return {name: type(place).slot for name, place in _places(diagram).items()}


def filling(diagram: Declared) -> dict[str, Declared]:
    """What is in each slot."""
    return {name: cast(Declared, vars(place)["inside"]) for name, place in _places(diagram).items()}


def _places(diagram: Declared) -> dict[str, Place]:
    found: list[Place] = []
    waiting: list[Declared] = [diagram]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, Place):
            found.append(one)
        if isinstance(one, Diagram):
            waiting += list(one.children())
    names = [type(place).slot.name for place in found]
    return {name if names.count(name) == 1 else place.path: place for name, place in zip(names, found)}


def _block(slot: Slot, given: Filling, allow_rate: bool) -> Declared:
    where = f"slot {slot.name}"
    if isinstance(given, str) and ":" in given and not Path(given).exists():
        from simdl.networks.architecture import import_factory

        made = import_factory(given, where)()
        if not isinstance(made, Declared | nn.Module):
            raise NetworkError(where, f"{given} returned {type(made).__name__}", "a block or an nn.Module")
        given = made
    if isinstance(given, str | Path):
        return _opened(slot, Path(given), allow_rate)
    if isinstance(given, Imported):
        return _imported(slot, given, allow_rate)
    if isinstance(given, Declared):
        return copied(given)
    if isinstance(given, nn.Module):
        return _wrapped(slot, given)
    raise NetworkError(where, f"{given!r}", "a block, an nn.Module, a path or text", _FILES)


def _wrapped(slot: Slot, module: nn.Module, recurrent: bool | None = None, window: int | None = None) -> Declared:
    """A network around a module that is taken to keep the contract: all inputs in order, outputs without default."""
    from simdl.networks import Network, Recurrent, Window

    if slot.clock is None:
        raise NetworkError(f"slot {slot.name}", "a module without a period, in a slot without one", "a block",
                           f"swap({slot.name}=Network(module, period=...))")  # fmt: skip
    if recurrent is None:
        recurrent = any(isinstance(part, nn.RNNBase | nn.RNNCellBase) for part in module.modules())
    own = {"ok"} if recurrent or window else set()
    outputs = {name: one for name, one in slot.outputs.items() if name not in {*slot.defaults, *own}}
    kind: Any = Recurrent if recurrent else Network
    options: dict[str, Any] = {"period": slot.period, "rate": slot.rate}
    if window is not None:
        options["window"] = Window(window)
    if (classes := _classes(slot)) and recurrent is False and window is None:
        return _classifier(slot, module, classes, options)
    try:
        return cast(Declared, kind(module, inputs=dict(slot.inputs), outputs=outputs, **options))
    except NetworkError as error:
        raise NetworkError(f"slot {slot.name}", f"{type(module).__name__} does not fit: {error.found}", f"{slot}",
                           error.fix, error.names) from error  # fmt: skip


def _classes(slot: Slot) -> tuple[str, ...]:
    """The names of the classes, where a slot is for a classifier."""
    predicted = slot.outputs.get("predicted")
    return predicted.labels if predicted is not None and "scores" in slot.outputs else ()


def _classifier(slot: Slot, module: nn.Module, labels: tuple[str, ...], options: dict[str, Any]) -> Declared:
    """A classifier around a module that gives a logit for each class. Pictures without colour are scaled to 0 to 1."""
    from simdl.networks import Classifier, Layout

    if [len(one.shape or ()) for one in slot.inputs.values()] == [2]:
        options = {**options, "layout": Layout("hw")}
    try:
        made: Any = Classifier(module, labels=labels, inputs=dict(slot.inputs), **options)
    except NetworkError as error:
        raise NetworkError(
            f"slot {slot.name}", f"{type(module).__name__} does not fit: {error.found}",
            f"{slot}: a logit for each of {', '.join(labels)}", f"fill it with simdl.networks.Classifier(module, "
            f"labels={labels!r}, inputs=..., layout=Layout(...), period=...): {error.fix}",
        ) from error  # fmt: skip
    return cast(Declared, made)


def _opened(slot: Slot, path: Path, allow_rate: bool) -> Declared:
    from simdl.networks.opening import open_network

    if not path.exists():
        raise NetworkError(f"slot {slot.name}", f"{path}: no such file or folder", "a network", _FILES)
    return _imported(slot, open_network(path), allow_rate)


def _imported(slot: Slot, found: Imported, allow_rate: bool) -> Declared:
    """A network from a file: by the names of its ports where they are the slot's, else by their order."""
    card = found.options.get("card")
    if card is not None or found.described is not None:
        free = allow_rate or (card is None and found.described is not None and found.described.clock is None)
        return found.block(allow_rate=allow_rate, **({"period": slot.period, "rate": slot.rate} if free else {}))
    sizes = {name: math.prod(one.shape or ()) for name, one in slot.offered.items()}
    same = {name: math.prod(one.shape or ()) == sizes.get(name) for name, one in found.inputs.items()}
    if len(same) > 1 or all(same.values()):
        inputs = {
            name: Input(slot.offered[name].shape or ()) if same[name] else one for name, one in found.inputs.items()
        }
        return found.block(inputs=inputs, period=slot.period, rate=slot.rate)
    (shape,) = (one.shape for one in found.inputs.values())
    features = sum(math.prod(one.shape or ()) for one in slot.inputs.values())
    windowed = shape is not None and len(shape) == 2 and shape[1] == features and not found.recurrent
    plain = all(len(one.shape or ()) < 2 for one in slot.inputs.values())
    return _wrapped(slot, found.module, found.recurrent, shape[0] if shape and windowed and plain else None)


def _faults(slot: Slot, block: Declared, allow_rate: bool) -> list[str]:
    declared = type(block).declared()
    inputs = {name: one for name, one in declared.items() if isinstance(one, Input)}
    outputs = readable(block)
    faults = []
    for name, one in inputs.items():
        offered = slot.offered.get(name)
        if offered is None:
            if one.default is None and name not in block.wires:
                offers = ", ".join(offer + unit_text(port) for offer, port in slot.inputs.items())
                faults.append(f"input {name}{unit_text(one)}: not offered; the slot has {offers}")
        else:
            faults += difference(f"input {name}", offered, one)
    for name, needed in slot.outputs.items():
        given = outputs.get(name)
        if given is None:
            if name not in slot.defaults:
                faults.append(f"output {name}{unit_text(needed)}: missing; it has {', '.join(outputs) or 'none'}")
        else:
            faults += difference(f"output {name}", needed, given)
    wanted, ticking = slot.clock, getattr(block, "clock", None) if isinstance(block, Block) else None
    if wanted is not None and isinstance(block, Block) and not allow_rate:
        if ticking is None or (ticking.numerator, ticking.denominator) != (wanted.numerator, wanted.denominator):
            faults.append(f"rate: every {ticking or 'nothing (no period)'}, the slot runs every {wanted}")
    return faults
