"""Buses: many signals in one wire, by name."""

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from simdl import Block, Input, ModelError, Output
from simdl.methods import OutputsMethod, reading
from simdl.port import Formula, Port, Signal


class Bus(Block):
    """Named signals in one vector signal. Derive from it and declare the fields as inputs, with shapes and units.

    An instance packs: wire its fields, take its output `bus`. Fields are read by name, `port.gps.position`, from that
    output and from ports for the bus on diagrams: `Gps.input()`, `Gps.output()`; `Gps.read(signal)` reads them from any
    other signal, such as a held bus. The signal is a vector of floats, so that it can be held, delayed, recorded and
    passed on like any other; a field of dtype "bool" is read back as a condition. Buses nest: `gps = Gps.input()`.
    A field that does not exist, one that is not wired, or one of another shape is an error when the model is built.

    >>> from simdl import Diagram, simulate
    >>> class Gps(Bus):
    ...     position = Input(shape=(2,), unit="m")
    ...     valid = Input(dtype="bool")
    >>> class Vehicle(Bus):
    ...     speed = Input(unit="m/s")
    ...     gps = Gps.input()
    >>> class Car(Diagram):
    ...     north, speed = Output(unit="m"), Output(unit="m/s")
    ...     def __init__(self):
    ...         self.gps, self.vehicle = Gps(), Vehicle()
    ...         self.gps.position, self.gps.valid = torch.tensor([3.0, 4.0]), True
    ...         self.vehicle.speed, self.vehicle.gps = 20.0, self.gps.bus
    ...         self.north, self.speed = self.vehicle.bus.gps.position[1], self.vehicle.bus.speed
    >>> run = simulate(Car(), 0)
    >>> float(run["north"].at(0)), float(run["speed"].at(0))
    (4.0, 20.0)
    """

    bus: ClassVar[Any] = Output()
    pack: ClassVar[OutputsMethod]

    def __init_subclass__(cls, **options):
        fields = [n for base in reversed(cls.__mro__) for n, d in vars(base).items() if isinstance(d, Input)]
        for name in fields:
            if name in dir(BusPort):
                raise ModelError(
                    f"{cls.__name__}.{name}", f"{name!r}, which every port has", "another name for the field"
                )
            field = getattr(cls, name)
            field.shape = field.shape or ()  # a field without a shape is a number
        shown = BusOutput(cls)
        shown.__set_name__(cls, "bus")
        cls.bus, cls.pack = shown, OutputsMethod(reading(packed, fields), (shown,))
        cls.pack.__set_name__(cls, "pack")
        super().__init_subclass__(**options)

    @classmethod
    def layout(cls) -> dict[str, slice]:
        """The fields, and where they lie in the vector."""
        found, start = {}, 0
        for name, field in cls.declared().items():
            if isinstance(field, Input):
                found[name] = slice(start, start := start + math.prod(field.shape or ()))
        return found

    @classmethod
    def size(cls) -> int:
        """The length of the vector."""
        return max((part.stop for part in cls.layout().values()), default=0)

    @classmethod
    def input(cls, doc: str = "") -> "BusInput":
        """An input that takes this bus, of a diagram or as a field of an outer bus."""
        return BusInput(cls, doc)

    @classmethod
    def output(cls, doc: str = "") -> "BusOutput":
        """An output of a diagram that shows this bus."""
        return BusOutput(cls, doc)

    @classmethod
    def read(cls, signal: Signal) -> "BusPort | BusFormula":
        """A signal as this bus, its fields as attributes. Raises ModelError for a port of another bus."""
        kind = signal.bus if isinstance(signal, BusPort | BusFormula) else cls
        if kind is not cls:
            raise ModelError(f"{cls.__name__}.read", f"{signal}, the bus {kind.__name__}", f"the bus {cls.__name__}")
        if isinstance(signal, Port):
            return BusPort(signal.owner, signal.name, signal.kind, cls)
        return BusFormula(cls, "getitem", signal, slice(0, None))


def packed(bus: Bus, fields: dict[str, Tensor]) -> Tensor:
    """The values of a bus's fields in one vector of floats."""
    parts = [value.reshape(len(value), -1) for value in fields.values()]
    return torch.cat([part if part.is_floating_point() else part.double() for part in parts], dim=1)


class BusInput(Input):
    """An input that takes a bus; its port has the fields as attributes."""

    def __init__(self, bus: type[Bus], doc: str = "") -> None:
        super().__init__(shape=(bus.size(),), doc=doc or f"the bus {bus.__name__}")
        self.bus = bus

    def port(self, block):
        return BusPort(block, self.name, self.kind, self.bus)

    if TYPE_CHECKING:

        def __get__(self, block: Any, owner: type) -> Any: ...


class BusOutput(Output):
    """An output that shows a bus; its port has the fields as attributes."""

    def __init__(self, bus: type[Bus], doc: str = "") -> None:
        super().__init__(doc=doc or f"the bus {bus.__name__}")
        self.bus = bus

    def port(self, block):
        return BusPort(block, self.name, self.kind, self.bus)

    if TYPE_CHECKING:

        def __get__(self, block: Any, owner: type) -> Any: ...


class BusPort(Port):
    """A port with the fields of a bus as attributes."""

    __slots__ = ("bus",)

    def __init__(self, owner, name, kind, bus: type[Bus]) -> None:
        super().__init__(owner, name, kind)
        self.bus = bus

    def __getattr__(self, name: str) -> Any:
        return field_of(self, name)


class BusFormula(Formula):
    """A part of a bus that is a bus itself."""

    __slots__ = ("bus",)

    def __init__(self, bus: type[Bus], *args) -> None:
        super().__init__(*args)
        self.bus = bus

    def __getattr__(self, name: str) -> Any:
        return field_of(self, name)


class UnknownField(AttributeError, ModelError):
    """A misspelt field of a bus."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)


def field_of(signal: BusPort | BusFormula, name: str):
    """A field of a bus signal, as a formula."""
    if name.startswith("_") or name == "bus":
        raise AttributeError(name)
    layout = signal.bus.layout()
    if name not in layout:
        error = ModelError(f"{signal}, the bus {signal.bus.__name__}", f"no field {name!r}", names=layout, wrong=name)
        raise UnknownField(*error.args)
    field, place = getattr(signal.bus, name), layout[name]
    if isinstance(field, BusInput):
        return BusFormula(field.bus, "getitem", signal, place)
    if len(field.shape) > 1:
        raise ModelError(f"{signal.bus.__name__}.{name}", f"the shape {field.shape}", "a number or a vector")
    value = signal[place] if field.shape else signal[place.start]
    return value > 0.5 if field.dtype == torch.bool else value
