"""Where everything of a lane lives in memory: slots in a block of W lanes, as the C program and numpy see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MEMORY = {
    "f8": ("double", "f8"), "f4": ("float", "f4"), "i8": ("int64_t", "i8"), "i4": ("int32_t", "i4"),
    "i2": ("int16_t", "i2"), "i1": ("int8_t", "i1"), "u1": ("uint8_t", "u1"), "b1": ("uint8_t", "u1"),
}  # fmt: skip
ALIGNED = 64


@dataclass(frozen=True)
class Slot:
    """`size` numbers of each lane, under a name that C may see."""

    name: str
    label: str
    type: str
    size: int

    def alignment(self, width: int) -> int:
        """Whole vectors begin where vectors are read fastest; single numbers lie close together."""
        return ALIGNED if np.dtype(MEMORY[self.type][1]).itemsize * self.size * width >= ALIGNED else 8

    @property
    def declaration(self) -> str:
        return f"{MEMORY[self.type][0]} {self.label}[{self.size}][W];"


class Layout:
    """The slots of a block, by name; those that a run changes come first, so that they can be saved as one piece."""

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}

    def add(self, name: str, type: str, size: int, label: str = "") -> Slot:
        """The slot of this name, made when it is new."""
        if name not in self.slots:
            self.slots[name] = Slot(name, label or f"s{len(self.slots)}", type, size)
        return self.slots[name]

    def dtype(self, width: int) -> np.dtype[Any]:
        """The numpy type of a block."""
        names, formats, offsets, at, most = [], [], [], 0, 8
        for slot in self.slots.values():
            kind, unit = np.dtype(MEMORY[slot.type][1]), slot.alignment(width)
            at = -(-at // unit) * unit
            names.append(slot.label)
            formats.append((kind, (slot.size, width)))
            offsets.append(at)
            at += kind.itemsize * slot.size * width
            most = max(most, unit)
        return np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": max(1, -(-at // most)) * most}
        )

    def declarations(self, width: int) -> list[str]:
        """The members of the C structure."""
        return [
            f"  {slot.declaration[:-1]} __attribute__((aligned({slot.alignment(width)})));"
            for slot in self.slots.values()
        ]
