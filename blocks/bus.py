"""Buses: many signals in one wire, by name."""

import inspect
import math
from typing import ClassVar

import torch
from torch import Tensor

from simdl import Block, Input, ModelError, Output
from simdl.methods import OutputsMethod
from simdl.port import Port, Signal


class BusInput(Input):
    """An input that takes a bus."""

    bus: "type[Bus]"


class BusOutput(Output):
    """An output that shows a bus."""

    bus: "type[Bus]"


class Bus(Block):
    """Named signals in one vector signal. Derive from it and declare the fields as inputs, with shapes and units.

    An instance packs: wire its fields, take its output `bus`. `read` unpacks: it gives the fields of a bus signal by
    name. The signal is a vector of floats, so that it can be held, delayed, recorded and passed through diagrams like
    any other; a field of dtype "bool" is read back as a condition. Buses nest: `gps = Gps.input()`. Ports for a bus on
    diagrams: `Gps.input()`, `Gps.output()`. A field that does not exist, one that is not wired, or one of another
    shape is an error when the model is built, with the near names.

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
    ...         signals = Vehicle.read(self.vehicle.bus)
    ...         self.north, self.speed = signals.gps.position[1], signals.speed
    >>> run = simulate(Car(), 0)
    >>> float(run["north"].at(0)), float(run["speed"].at(0))
    (4.0, 20.0)
    """

    bus = Output()
    pack: ClassVar[OutputsMethod]

    def __init_subclass__(cls, **options):
        fields = [n for base in reversed(cls.__mro__) for n, d in vars(base).items() if isinstance(d, Input)]
        for name in fields:
            field = getattr(cls, name)
            field.shape = field.shape or ()  # a field without a shape is a number

        def pack(self, **values: Tensor) -> Tensor:
            parts = [value.reshape(len(value), -1) for value in values.values()]
            return torch.cat([part if part.is_floating_point() else part.double() for part in parts], dim=1)

        named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", *fields)]
        pack.__dict__["__signature__"] = inspect.Signature(named)
        cls.pack = OutputsMethod(pack, (cls.bus,))
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
    def input(cls, doc: str = "") -> BusInput:
        """An input that takes this bus, of a diagram or as a field of an outer bus."""
        port = BusInput(shape=(cls.size(),), doc=doc or f"the bus {cls.__name__}")
        port.bus = cls
        return port

    @classmethod
    def output(cls, doc: str = "") -> BusOutput:
        """An output of a diagram that shows this bus."""
        port = BusOutput(shape=(cls.size(),), doc=doc or f"the bus {cls.__name__}")
        port.bus = cls
        return port

    @classmethod
    def read(cls, signal):
        """The fields of a bus signal, as attributes. Raises ModelError for a port of another bus."""
        if isinstance(signal, Port):
            owner = type(signal.owner)
            kind = owner if issubclass(owner, Bus) else getattr(owner.declared().get(signal.name), "bus", cls)
            if kind is not cls:
                raise ModelError(f"{cls.__name__}.read", f"{signal}, the bus {kind.__name__}", f"a bus {cls.__name__}")
        return _Fields(cls, signal)


class _Fields:
    """What `Bus.read` gives: every field of a bus signal as a formula."""

    def __init__(self, kind: type[Bus], signal: Signal) -> None:
        self._kind, self._signal = kind, signal

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        layout = self._kind.layout()
        if name not in layout:
            raise ModelError(self._kind.__name__, f"no field {name!r}", names=layout, wrong=name)
        field, place = getattr(self._kind, name), layout[name]
        if isinstance(field, BusInput):
            return field.bus.read(self._signal[place])
        if len(field.shape) > 1:
            raise ModelError(f"{self._kind.__name__}.{name}", f"the shape {field.shape}", "a number or a vector")
        value = self._signal[place] if field.shape else self._signal[place.start]
        return value > 0.5 if field.dtype == torch.bool else value
