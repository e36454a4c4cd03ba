"""The contract of a slot, and its place in a diagram."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from simdl.clock import Clock, Duration, clock
from simdl.declarations import Input, Output
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.errors import NetworkError
from simdl.port import Number, Port

if TYPE_CHECKING:
    from simdl.slots.filling import Filling


@dataclass(frozen=True)
class Slot:
    """The contract of a place for a network.

    inputs: what the loop offers; a network may leave some of them. outputs: what the loop needs. Both by name, with
    unit, shape and type. period or rate: of a single block (a diagram may have several clocks inside); None for any.
    defaults: values of outputs that a network may lack, such as `ok`. truth: what no deployed network can know, offered
    to blocks that serve as a bound; a wrapped module never gets it.

    >>> sensor = Slot("sensor", {"voltage": Input(unit="V")}, {"soc": Output()}, period="10 s")
    >>> print(sensor)
    voltage [V] -> soc every 10 s
    """

    name: str
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    period: Duration | None = None
    rate: Duration | None = None
    defaults: Mapping[str, Number] = field(default_factory=dict)
    truth: Mapping[str, Input] = field(default_factory=dict)
    doc: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise NetworkError("Slot", f"the name {self.name!r}", "an identifier: swap(diagram, name=network)")
        for what, ports, kind in (("inputs", self.inputs, Input), ("outputs", self.outputs, Output)):
            wrong = [name for name, one in ports.items() if not isinstance(one, kind)]
            if wrong or not ports:
                found = f"{what}: {wrong[0]!r} is {ports[wrong[0]]!r}" if wrong else f"no {what}"
                raise NetworkError(f"Slot {self.name}", found, f"{what}={{name: {kind.__name__}(...)}}")
        for what in ("inputs", "outputs", "truth"):  # own copies that know their names
            ports = {name: copy.copy(one) for name, one in getattr(self, what).items()}
            for name, one in ports.items():
                one.name = name
            object.__setattr__(self, what, ports)
        unknown = [name for name in self.defaults if name not in self.outputs]
        if unknown:
            raise NetworkError(f"Slot {self.name}", f"a default for {unknown[0]!r}", "an output", names=self.outputs)

    @property
    def offered(self) -> dict[str, Input]:
        """All that a block in the slot may read."""
        return {**self.inputs, **self.truth}

    @property
    def clock(self) -> Clock | None:
        return clock(self.period, self.rate, where=f"slot {self.name}")

    def place(self, default: Filling) -> Place:
        """A place in a diagram, with what stands in it until somebody swaps it."""
        from simdl.slots.filling import fill

        return _class_of(self)(fill(self, default))

    def __str__(self) -> str:
        sides = [", ".join(n + (f" [{d.unit}]" if d.unit else "") for n, d in side.items())
                 for side in (self.inputs, self.outputs)]  # fmt: skip
        ticking = self.clock
        return f"{sides[0]} -> {sides[1]}" + (f" every {ticking}" if ticking else "")


class Place(Diagram):
    """A slot in a diagram: its ports are those of the contract, `inside` is what fills it."""

    if TYPE_CHECKING:
        slot: ClassVar[Slot]

        def __init__(self, inside: Declared) -> None: ...

        def __getattr__(self, name: str) -> Port: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    else:
        slot = None

        def __init__(self, inside):
            self._fill(inside)

    def _fill(self, inside: Declared) -> None:
        """Wire a block that keeps the contract between the ports of the slot."""
        slot = type(self).slot
        vars(self).update(inside=inside)
        vars(inside).update(parent=self, label="inside")
        wired = type(inside).declared()
        for name, one in slot.offered.items():
            if isinstance(wired.get(name), Input):
                inside.wires.pop(name, None)
                inside.drive(name, Port(self, name, one.kind))
        for name, out in slot.outputs.items():
            found = wired.get(name)
            self.wires[name] = slot.defaults[name] if found is None else Port(inside, name, found.kind or out.kind)

    def __deepcopy__(self, memo: dict[int, Any]) -> Place:
        made = object.__new__(type(self))
        memo[id(self)] = made
        vars(made).update(copy.deepcopy(vars(self), memo))
        return made

    def __reduce__(self) -> Any:
        return _replaced, (type(self).slot,), self.__getstate__()


def _class_of(slot: Slot) -> type[Place]:
    ports = {name: copy.copy(one) for name, one in (*slot.offered.items(), *slot.outputs.items())}
    kind: Any = type(Place)
    return cast(type[Place], kind("Place", (Place,), {**ports, "slot": slot, "__module__": Place.__module__}))


def _replaced(slot: Slot) -> Place:
    """A place read back from a pickle; its wires follow."""
    made = _class_of(slot)
    return made.__new__(made)
