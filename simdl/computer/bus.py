"""Buses: an ideal delay, CAN and TDMA; what every bus shares."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from simdl.clock import SECOND, Duration, nanoseconds
from simdl.computer.draws import Chances
from simdl.computer.loss import Channel, Fault
from simdl.errors import ModelError, RunError

if TYPE_CHECKING:
    from simdl.computer.instructions import Send
    from simdl.computer.job import Job
    from simdl.computer.kernel import Kernel, Timer


def bit_rate(where: str, value: float) -> int:
    """A rate in whole bit/s. Raises ModelError."""
    if isinstance(value, bool) or not isinstance(value, Real) or not (value > 0 and value == value // 1):
        raise ModelError(f"{where}: rate", f"{value!r}", "whole bit/s above 0: 500_000")
    return int(value)


def transfer(bits: int, rate: int) -> int:
    """The time of so many bits at a rate in bit/s, ns, rounded up."""
    return -(-bits * SECOND // rate)


@dataclass(eq=False)
class Message:
    """A message; times in ns. captured: when what it carries was read; begin, end: of its transfer; arrivals: one for
    each copy, none when it was lost. newest: as in Send; stale: how many of the copies were dropped for it."""

    block: str
    bits: int
    sender: str
    identifier: int
    to: str
    sent: int
    captured: int
    which: int
    job: Job
    newest: bool = False
    stale: int = 0
    time: int = 0
    begin: int | None = None
    end: int | None = None
    arrivals: tuple[int, ...] = ()

    @property
    def lost(self) -> bool:
        """Whether it was carried and no copy of it arrives."""
        return self.end is not None and not self.arrivals


@dataclass(frozen=True)
class Bus:
    """What carries messages between processors. faults: what happens to what it has carried: a lost message has used
    the bus all the same."""

    name: str
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        faults = self.faults
        if not isinstance(faults, tuple | list) or not all(isinstance(one, Fault) for one in faults):
            raise ModelError(f"{self.name}: faults", f"{faults!r}", "faults of messages, in a tuple", "(Loss(0.01),)")

    def open(self, kernel: Kernel) -> Line:
        raise NotImplementedError


class Line:
    """The bus of one lane: a queue of messages, one under way at a time."""

    rank = 2

    def __init__(self, bus: Bus, kernel: Kernel) -> None:
        self.bus, self.kernel, self.name = bus, kernel, bus.name
        self.channel = Channel(tuple(bus.faults))
        self.chances = Chances(kernel.seed, kernel.lane, f"bus {bus.name}", 2 * len(bus.faults)) if bus.faults else None
        self.streams: tuple[object, ...] | None = None  # the lanes of its segments, where they are known before
        self.waiting: list[Message] = []
        self.segments: list[tuple[object, tuple[Job, ...], str, int, int]] = []
        self.carried = 0
        self.dirty = False

    def send(self, job: Job, send: Send, which: int) -> None:
        """A job sends what its block computed at read number `which`."""
        kernel = self.kernel
        if send.bits < 0:
            raise RunError(self.name, f"{send.bits} bits of {send.block!r}", "at least 0")
        identifier = job.priority if send.identifier is None else send.identifier
        message = Message(send.block, send.bits, job.task.on.name, identifier, send.to, kernel.now,
                          kernel.reads[send.block][which], which, job, send.newest)  # fmt: skip
        if job.silent:
            return
        message.time = self.time(message, send)
        kernel.messages.append(message)
        self.waiting.append(message)
        kernel.touch(self)

    def time(self, message: Message, send: Send) -> int:
        """How long the bus is busy with a message, ns."""
        raise NotImplementedError

    def dispatch(self) -> None:
        """Begin what can begin now."""
        raise NotImplementedError

    def carry(self, message: Message, lane: object = 0) -> None:
        """Begin to transfer a message."""
        now = self.kernel.now
        message.begin = now if message.begin is None else message.begin
        self.segments.append((lane, (message.job,), message.block, now, now + message.time))
        self.kernel.after(message.time, 0, self.done, message)

    def done(self, timer: Timer) -> None:
        """The transfer of a message ends."""
        self.deliver(timer.of)
        self.kernel.touch(self)

    def deliver(self, message: Message) -> None:
        """A message has been carried: it arrives, unless something happens to it."""
        now = message.end = self.kernel.now
        draws = self.chances.at(self.carried) if self.chances is not None else []
        self.carried += 1
        delays = self.channel.delays(draws)
        message.arrivals = tuple(now + delay for delay in delays)
        for delay in delays:
            if delay:
                self.kernel.after(delay, 0, self._late, message)
            else:
                self._arrive(message)

    def _late(self, timer: Timer) -> None:
        self._arrive(timer.of)

    def _arrive(self, message: Message) -> None:
        shown = self.kernel.writes.get(message.block) if message.newest else None
        if shown and shown[-1][1] >= message.which:
            message.stale += 1
        elif self.kernel.publish(message.job, message.block, message.which):
            self.kernel.happen(message.block)


@dataclass(frozen=True)
class Ideal(Bus):
    """Every message takes the same time, however many there are."""

    delay: Duration = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if nanoseconds(self.delay, f"{self.name}: delay") < 0:
            raise ModelError(self.name, f"delay={self.delay!r}", "at least 0")

    def open(self, kernel: Kernel) -> Line:
        return _IdealLine(self, kernel)


class _IdealLine(Line):
    bus: Ideal

    def time(self, message: Message, send: Send) -> int:
        return nanoseconds(self.bus.delay)

    def dispatch(self) -> None:
        self.dirty = False
        for message in self.waiting:
            self.carry(message)
        self.waiting = []


@dataclass(frozen=True)
class CAN(Bus):
    """Controller Area Network with 11-bit identifiers: the smallest identifier that waits goes first, uninterrupted.

    A frame of n bytes has 47 + 8n bits, the 3 of the intermission included, and stuff bits: "worst" case
    floor((34 + 8n - 1) / 4), "none", or "exact" from the identifier and the payload's bytes (`Send(data=)`). A message
    arrives at the end of the intermission.
    """

    rate: int = 500_000
    stuffing: str = "worst"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rate", bit_rate(self.name, self.rate))
        if self.stuffing not in ("worst", "none", "exact"):
            raise ModelError(f"{self.name}: stuffing", f"{self.stuffing!r}", '"worst", "none" or "exact"')

    def open(self, kernel: Kernel) -> Line:
        return _CANLine(self, kernel)

    def frame(self, size: int, identifier: int = 0, data: bytes | None = None) -> int:
        """The bits of a frame with `size` bytes, stuff bits included."""
        stuff = {"worst": (34 + 8 * size - 1) // 4, "none": 0}
        return 47 + 8 * size + (stuffed(identifier, data or bytes(size)) if self.stuffing == "exact"
                                else stuff[self.stuffing])  # fmt: skip


class _CANLine(Line):
    bus: CAN
    busy = False

    def time(self, message: Message, send: Send) -> int:
        size = -(-send.bits // 8)
        if not 0 <= size <= 8 or not 0 <= message.identifier < 2048:
            raise RunError(self.name, f"{send.bits} bits with identifier {message.identifier} of {send.block!r}",
                           "at most 64 bits, and an identifier of 11 bits")  # fmt: skip
        message.bits = self.bus.frame(size, message.identifier, send.data)
        return transfer(message.bits, self.bus.rate)

    def dispatch(self) -> None:
        self.dirty = False
        if self.waiting and not self.busy:
            first = min(self.waiting, key=lambda message: message.identifier)  # of equal ones the one sent first
            self.waiting.remove(first)
            self.busy = True
            self.carry(first)

    def done(self, timer: Timer) -> None:
        self.busy = False
        super().done(timer)


def stuffed(identifier: int, data: bytes) -> int:
    """How many stuff bits a CAN 2.0A data frame has: after five equal bits, from its start to the end of its CRC."""
    bits = [0, *((identifier >> k) & 1 for k in range(10, -1, -1)), 0, 0, 0]
    bits += [(len(data) >> k) & 1 for k in range(3, -1, -1)]
    bits += [(byte >> k) & 1 for byte in data for k in range(7, -1, -1)]
    crc = 0
    for bit in bits:
        crc = ((crc << 1) & 0x7FFF) ^ (0x4599 if bit ^ (crc >> 14) else 0)
    bits += [(crc >> k) & 1 for k in range(14, -1, -1)]
    count, run, last = 0, 0, -1
    for bit in bits:
        run = run + 1 if bit == last else 1
        last = bit
        if run == 5:
            count, run, last = count + 1, 1, 1 - bit  # the stuff bit begins the next run
    return count


@dataclass(frozen=True)
class TDMA(Bus):
    """Slots of equal length in turn, each of one processor by name; a message begins if its slot has room for it."""

    rate: int = 1_000_000
    slots: tuple[str, ...] = ()
    slot: Duration = "1 ms"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rate", bit_rate(self.name, self.rate))
        if not self.slots or isinstance(self.slots, str) or nanoseconds(self.slot, f"{self.name}: slot") <= 0:
            raise ModelError(self.name, f"slots={self.slots!r}, slot={self.slot!r}",
                             "names of processors, a positive time")  # fmt: skip

    def open(self, kernel: Kernel) -> Line:
        return _TDMALine(self, kernel)


class _TDMALine(Line):
    bus: TDMA
    busy = False

    def time(self, message: Message, send: Send) -> int:
        time = transfer(send.bits, self.bus.rate)
        if message.sender not in self.bus.slots or time > nanoseconds(self.bus.slot):
            raise RunError(self.name, f"{send.bits} bits of {message.sender!r}", "a slot of that sender, long enough",
                           names=self.bus.slots)  # fmt: skip
        return time

    def dispatch(self) -> None:
        self.dirty = False
        if self.busy or not self.waiting:
            return
        slot, now = nanoseconds(self.bus.slot), self.kernel.now
        turn, into = now // slot, now % slot
        owner = self.bus.slots[turn % len(self.bus.slots)]
        mine = [message for message in self.waiting if message.sender == owner]
        if mine and into + mine[0].time <= slot:
            self.waiting.remove(mine[0])
            self.busy = True
            self.carry(mine[0])
        else:
            self.kernel.after((turn + 1) * slot - now, 2, self._look)

    def done(self, timer: Timer) -> None:
        self.busy = False
        super().done(timer)

    def _look(self, timer: Timer) -> None:
        self.kernel.touch(self)
