"""Wires of a diagram that a bus carries, sampled at one end and held at the other: a network without tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from simdl.block import Block
from simdl.clock import Duration, clock, nanoseconds
from simdl.computer.bus import Bus
from simdl.computer.computer import Computer
from simdl.computer.instructions import Read, Send, Sleep
from simdl.computer.processor import Processor
from simdl.computer.task import Task
from simdl.computer.times import Distribution
from simdl.declarations import Input, Output, State
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.errors import ModelError, SimdlError
from simdl.methods import OutputMethod, output
from simdl.port import Formula, Port

Whole = TypeVar("Whole", bound=Diagram)


class Carried(Block):
    """y = u: what a link has sampled, shown when its message arrives."""

    u = Input()

    @output
    def y(self, u):  # type: ignore[no-untyped-def]
        return u


@dataclass(frozen=True)
class Frames:
    """Messages of others on a bus, released as the jobs of a task are: one of period=, rate=, arrivals=.

    sender: the name of their node, or its Processor; the rest as in Send.
    """

    name: str
    bus: Bus
    period: Duration | None = None
    rate: Duration | None = None
    arrivals: Sequence[Duration] | Distribution | None = None
    offset: Duration = 0
    jitter: Duration | Distribution | None = None
    bits: int = 64
    identifier: int | None = None
    sender: str | Processor = ""
    to: str = ""


@dataclass(frozen=True)
class Link:
    """One wire over a bus, in no time at either end.

    wire: the path of an input ("controller.e": what it reads is sampled, a formula included, and it alone gets the
    messages), or of an output or state ("plant.y": all blocks that read it do; outputs of the whole keep the true
    value). Sampled every period=, at a rate=, or when an event happens (trigger=: a task, an event raised, the wire of
    another link whose message arrives). With delta= it is looked at every period, and sent when it is by delta or more
    away from what was sent last; that needs the values, so such a run is live. initial: shown before the first message.
    sender: the name of the sending node (a slot's in TDMA), or its Processor, whose clock then counts.
    bits, identifier, to: as in Send; identifiers are the places in the list of links when none is given. newest: a
    message that was overtaken, or arrives again, is dropped; otherwise whatever arrives is shown.
    """

    wire: str
    bus: Bus
    period: Duration | None = None
    rate: Duration | None = None
    trigger: str | None = None
    delta: float | None = None
    offset: Duration = 0
    jitter: Duration | Distribution | None = None
    bits: int = 64
    identifier: int | None = None
    sender: str | Processor = ""
    to: str = ""
    initial: Any = 0.0
    newest: bool = True

    @property
    def block(self) -> str:
        """The name of the block, in the whole diagram, that shows what arrives: "car.plant.y" -> "car_plant_y_link"."""
        return f"{self.wire.replace('.', '_')}_link"


@dataclass(frozen=True)
class _Sending:
    """The body of a link's task; delta: it goes on for ever, and sends what has changed."""

    block: str
    of: Link | Frames
    raises = ()  # no event

    def __call__(self, job: Any) -> Iterator[Any]:
        of, last = self.of, None
        newest = isinstance(of, Link) and of.newest
        send = Send(of.bus, self.block, of.bits, of.identifier, of.to, newest=newest)
        if not isinstance(of, Link) or of.delta is None:
            yield Read(self.block)
            yield send
            return
        while True:
            value = yield Read(self.block)
            if last is None or _distance(value, last) >= of.delta:
                last = value
                yield send
            yield Sleep(of.period if of.period is not None else 0)


def _distance(a: Any, b: Any) -> float:
    a, b = (one if isinstance(one, tuple | list) else (one,) for one in (a, b))
    return max(abs(float(x) - float(y)) for x, y in zip(a, b))


class Traffic:
    """The links of a diagram and what else is on their buses: other frames, and the tasks of a computer.

    `on` gives a copy of a diagram in which the wires go over the buses. A wire "plant.y" is shown by the block
    `plant_y_link`, and `plant_y_link_age.age` is how old it is, unless every message takes no time. computer: the whole
    as a Computer, for its schedules. Raises ModelError for paths that do not exist, and for links that cannot be.

    >>> from simdl.computer import CAN
    >>> can = CAN("can", rate=125_000)
    >>> link = Link("plant.y", can, period="10 ms", identifier=5)
    >>> traffic = Traffic([link, Frames("others", can, period="2 ms", identifier=0)])
    >>> traffic.computer.schedule("10 ms").accesses("plant_y_link")[1].tolist()  # two frames of 135 bits at 8 us
    [2160000]
    """

    def __init__(self, parts: Sequence[Link | Frames], tasks: Sequence[Task] = ()) -> None:
        self.parts = tuple(parts)
        self.links = tuple(one for one in self.parts if isinstance(one, Link))
        faults: list[SimdlError] = [fault for one in self.parts for fault in _faults(one)]
        for name in sorted({one.wire for one in self.links if [two.wire for two in self.links].count(one.wire) > 1}):
            faults.append(ModelError("traffic", f"two links of {name!r}", "one", "name the inputs that read it"))
        if faults:
            raise ModelError.collect("traffic", faults)
        nodes = {task.on.name: task.on for task in tasks}
        blocks = {link.wire: link.block for link in self.links}
        made = [self._task(one, place, nodes, blocks) for place, one in enumerate(self.parts)]
        self.computer = Computer([*tasks, *made])

    @property
    def live(self) -> bool:
        """Whether what is sent depends on values."""
        return any(link.delta is not None for link in self.links)

    def on(
        self, diagram: Whole, horizon: Duration | None = None, most: int | None = None, pending: int | None = None
    ) -> Whole:  # fmt: skip
        """A copy of a diagram whose wires go over the buses; horizon: how long it can run, without need where live."""
        return self.computer.on(self.wired(diagram), horizon, most, pending, live=self.live)

    def wired(self, diagram: Whole) -> Whole:
        """A copy of a diagram with the blocks of the links, which show what they read until something runs them."""
        from simdl.slots.copying import copied

        made = copied(diagram)
        for link in self.links:
            _insert(made, link)
        return made

    def _task(self, one: Link | Frames, place: int, nodes: dict[str, Processor], blocks: dict[str, str]) -> Task:
        name = one.wire if isinstance(one, Link) else one.name
        node = one.sender if isinstance(one.sender, Processor) else Processor(one.sender or name)
        node = nodes.setdefault(node.name, node)
        block = blocks[one.wire] if isinstance(one, Link) else one.name
        ways: dict[str, Any] = {"period": one.period, "rate": one.rate, "offset": one.offset, "jitter": one.jitter}
        if isinstance(one, Frames):
            ways["arrivals"] = one.arrivals
        elif one.delta is not None:
            ways = {"arrivals": [one.offset]}
        elif one.trigger is not None:
            ways["trigger"] = blocks.get(one.trigger, one.trigger)
        runs = [block] if isinstance(one, Link) else []
        return Task(f"send {name}", node, priority=place, body=_Sending(block, one), runs=runs, **ways)


def _faults(one: Any) -> list[SimdlError]:
    if not isinstance(one, Link | Frames):
        return [ModelError("traffic", f"{one!r}", "a Link, or Frames")]
    where = f"link {one.wire!r}" if isinstance(one, Link) else f"frames {one.name!r}"
    if not isinstance(one.bus, Bus):
        return [ModelError(where, f"bus={one.bus!r}", "a bus, such as CAN or Ideal")]
    if isinstance(one, Link) and one.delta is not None and (
        one.period is None or nanoseconds(one.period, where) < 1 or not one.delta >= 0 or one.jitter is not None
    ):  # fmt: skip
        return [ModelError(where, f"delta={one.delta!r}, period={one.period!r}, jitter={one.jitter!r}",
                           "a distance of at least 0, a period, and no jitter")]  # fmt: skip
    return []


def _insert(made: Diagram, link: Link) -> None:
    """Put the block of a link into a diagram, and let it be read instead of the wire."""
    owner, name = _found(made, link)
    timing = clock(link.period, link.rate, where=link.wire)
    block = Carried(period=link.period, rate=link.rate, offset=link.offset) if timing else Carried()
    vars(block)["_initial"] = {"y": link.initial}
    if hasattr(made, link.block):
        raise ModelError(f"link {link.wire!r}", f"{link.block!r} is there already", "a name that is free")
    setattr(made, link.block, block)
    shown = Port(block, "y", "output")
    declared = type(owner).declared()[name]
    if isinstance(declared, Input):
        if name not in owner.wires:
            raise ModelError(f"link {link.wire!r}", "an input that nothing drives", "a wire")
        block.wires["u"], owner.wires[name] = owner.wires[name], shown
        return
    wire = Port(owner, name, "state" if isinstance(declared, State) else "output")
    readers = 0
    for one in made.leaves():
        for port, source in one.wires.items():
            parts = source if isinstance(source, tuple) else (source,)
            new = tuple(_over(part, wire, shown) for part in parts)
            if any(a is not b for a, b in zip(parts, new)):
                readers += 1
                one.wires[port] = new if isinstance(source, tuple) else new[0]
    if not readers:
        raise ModelError(f"link {link.wire!r}", "no block reads it", "a wire between two blocks")
    block.wires["u"] = wire


def _over(source: Any, wire: Port, shown: Port) -> Any:
    """What reads the far end of a link instead of its wire, through borders of diagrams too."""
    if isinstance(source, Formula):
        args = [_over(arg, wire, shown) for arg in source.args]
        return Formula(source.op, *args) if any(a is not b for a, b in zip(args, source.args)) else source
    if not isinstance(source, Port):
        return source
    if source == wire:
        return shown
    if source.name in source.owner.wires:
        behind = source.owner.wires[source.name]
        through = _over(behind, wire, shown)
        return source if through is behind else through
    return source


def _found(made: Diagram, link: Link) -> tuple[Declared, str]:
    """The block or diagram of a wire, and the name of the port."""
    path, _, name = link.wire.rpartition(".")
    all_of = list(_within(made))
    owner = next((one for one in all_of if one.path == path), None)
    fit = Input | Output | OutputMethod | State
    if owner is None or not isinstance(type(owner).declared().get(name), fit):
        names = [f"{one.path}.{port}" for one in all_of if one is not made
                 for port, kind in type(one).declared().items() if isinstance(kind, fit)]  # fmt: skip
        raise ModelError(f"link {link.wire!r}", "no such wire", "the path of an input, an output or a state",
                         names=names, wrong=link.wire)  # fmt: skip
    if owner is made:
        raise ModelError(f"link {link.wire!r}", "a port of the whole diagram", "a wire inside")
    return owner, name


def _within(one: Declared) -> Iterator[Declared]:
    yield one
    if isinstance(one, Diagram):
        for child in one.children():
            yield from _within(child)
