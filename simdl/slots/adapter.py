"""The adapter that an error proposes: a diagram between a slot's ports and a network's."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simdl.block import Block
from simdl.declarations import DTYPES, Input, Output, State
from simdl.declared import Declared
from simdl.methods import OutputMethod

if TYPE_CHECKING:
    from simdl.slots.slot import Slot

Readable = Output | OutputMethod | State
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# Known conversions for the adapter: (from, to) -> what to append to the signal.
_UNITS = {
    ("V", "mV"): " * 1e3", ("mV", "V"): " / 1e3", ("A", "mA"): " * 1e3", ("mA", "A"): " / 1e3",
    ("degC", "K"): " + 273.15", ("K", "degC"): " - 273.15", ("%", "1"): " / 100", ("1", "%"): " * 100",
    ("%", ""): " / 100", ("", "%"): " * 100", ("rad", "deg"): " * 57.29577951308232",
    ("deg", "rad"): " / 57.29577951308232", ("km", "m"): " * 1e3", ("m", "km"): " / 1e3", ("s", "ms"): " * 1e3",
    ("ms", "s"): " / 1e3", ("m/s", "km/h"): " * 3.6", ("km/h", "m/s"): " / 3.6", ("W", "kW"): " / 1e3",
    ("kW", "W"): " * 1e3", ("A s", "A h"): " / 3600", ("A h", "A s"): " * 3600",
}  # fmt: skip


def readable(block: Declared) -> dict[str, Readable]:
    """What can be read from a block: outputs and states."""
    return {name: one for name, one in type(block).declared().items() if isinstance(one, Readable)}


def unit_text(one: Input | Readable) -> str:
    return f" [{one.unit}]" if one.unit else ""


def difference(what: str, slot: Input | Output, block: Input | Readable) -> list[str]:
    """In which ways a port of a network is not that of its slot."""
    faults = []
    if slot.unit and block.unit and slot.unit != block.unit:
        faults.append(f"{what}: in {block.unit}, the slot in {slot.unit}")
    if slot.shape is not None and block.shape is not None and tuple(slot.shape) != tuple(block.shape):
        faults.append(f"{what}: shape {tuple(block.shape)}, the slot {tuple(slot.shape)}")
    if slot.dtype is not None and block.dtype is not None and slot.dtype != block.dtype:
        faults.append(f"{what}: {_NAMES.get(block.dtype)}, the slot {_NAMES.get(slot.dtype)}")
    return faults


def adapter(slot: Slot, block: Declared) -> str:
    """A diagram with the slot's ports around the block, wired as far as names and units tell; text to paste."""
    inputs = {name: one for name, one in type(block).declared().items() if isinstance(one, Input)}
    outputs = readable(block)
    lines = ["from simdl import Diagram, Input, Output", "", "class Adapter(Diagram):"]
    lines += [f"    {name} = {_declaration(one, 'Input')}" for name, one in slot.inputs.items()]
    lines += [f"    {name} = {_declaration(one, 'Output')}" for name, one in slot.outputs.items()]
    lines += ["", "    def __init__(self, network):", "        self.network = network"]
    taken: set[str] = set()
    for name, one in inputs.items():
        source = _nearest(name, one, slot.inputs, taken)
        if source is None:
            value = f"...  # one of: {', '.join(slot.inputs)}"
        else:
            taken.add(source)
            value = _converted(f"self.{source}", slot.inputs[source].unit, one.unit)
        lines.append(f"        self.network.{name} = {value}")
    for name, needed in slot.outputs.items():
        absent = name in slot.defaults and name not in outputs
        source = None if absent else _nearest(name, needed, outputs, set())
        if source is not None:
            value = _converted(f"self.network.{source}", outputs[source].unit, needed.unit)
        else:
            value = repr(slot.defaults[name]) if name in slot.defaults else f"...  # one of: {', '.join(outputs)}"
        lines.append(f"        self.{name} = {value}")
    wanted = slot.clock
    if wanted is not None and isinstance(block, Block) and block.clock != wanted:
        lines.append(f"        # the slot runs every {wanted}: give the network that period if it was trained for it")
    lines += ["", f"swap(diagram, {slot.name}=Adapter(network))"]
    return "give the slot an adapter around it:\n" + "\n".join(f"    {line}".rstrip() for line in lines)


def _nearest(name: str, one: Any, among: Mapping[str, Any], taken: set[str]) -> str | None:
    """The port of the same name, of a similar one, or the only one left of the same unit."""
    left = [other for other in among if other not in taken]
    if name in left:
        return name
    near = [other for other in left if other.startswith(name) or name.startswith(other)]
    near = near or difflib.get_close_matches(name, left, n=1)
    same = [other for other in left if one.unit and among[other].unit == one.unit]
    return near[0] if near else same[0] if len(same) == 1 else left[0] if len(left) == 1 == len(among) else None


def _converted(signal: str, unit: str, wanted: str) -> str:
    scale = _UNITS.get((unit, wanted), "")
    if unit == wanted or not unit or not wanted:
        return signal + scale
    return f"{signal}{scale}  # [{unit}] -> [{wanted}]" if scale else f"{signal}  # convert [{unit}] to [{wanted}]"


def _declaration(one: Input | Output, kind: str) -> str:
    parts = []
    if one.shape is not None:
        parts.append(f"shape={one.shape}")
    if one.unit:
        parts.append(f"unit={one.unit!r}")
    if one.dtype is not None:
        parts.append(f"dtype={_NAMES[one.dtype]!r}")
    return f"{kind}({', '.join(parts)})"
