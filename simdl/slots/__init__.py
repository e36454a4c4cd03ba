"""Slots: places in a diagram for a network, with a contract, so that one's own network drops into a stock loop.

    slot        Slot, the contract, and its place in a diagram
    filling     fill and swap: blocks, modules, cards, .pt2 files or "package:function" into slots
    adapter     the adapter to paste when a network does not fit
    copying     copies of diagrams that share their weights

A scenario declares `SENSOR = Slot("sensor", inputs={...}, outputs={...}, period="10 s")` and puts it into its diagram
with what stands there by default: `self.sensor = SENSOR.place(CoulombCounting(period="10 s"))`. The place is a diagram
with the slot's ports; wires outside go to those ports, so that filling it anew changes no wire.
"""

from simdl.slots.copying import copied as copied
from simdl.slots.filling import Filling as Filling, fill as fill, filling as filling, slots_of as slots_of, swap as swap
from simdl.slots.slot import Place as Place, Slot as Slot

__all__ = ["Filling", "Place", "Slot", "copied", "fill", "filling", "slots_of", "swap"]
