"""A medium that all nodes share by carrier sense, with collisions: the access of IEEE 802.11."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simdl.blocks.limits import whole_number
from simdl.clock import Duration, nanoseconds
from simdl.computer.bus import Bus, Line, Message, bit_rate, transfer
from simdl.computer.draws import Chances
from simdl.errors import ModelError

if TYPE_CHECKING:
    from simdl.computer.instructions import Send
    from simdl.computer.kernel import Kernel, Timer


@dataclass(frozen=True)
class Wireless(Bus):
    """Carrier sense with collision avoidance: the distributed coordination function of IEEE 802.11, basic access.

    Every processor that sends is a station with a queue. When the medium has been idle for `difs`, stations with a
    message count idle slots down from a number drawn from 0 to `window` - 1, and send at zero; while the medium is busy
    counts rest. Stations that begin in one slot collide, and nothing of theirs arrives. One that gets no answer draws
    again from a window twice as long, `doublings` times at most, and gives its message up after `tries`. A message
    takes `preamble` and (bits + `header`) / `rate`, arrives then, and keeps the medium busy for `answer` more (SIFS and
    acknowledgement, or the wait for it). error: the probability that a message is not received though nobody else
    sends. `faults` happen to what has been received and answered.

    All stations hear each other, and nothing is captured: there are no hidden nodes. A station that has waited for
    nobody draws too. Defaults are those of 802.11b at 11 Mbit/s, with long preambles.
    Raises ModelError for values that cannot be.
    """

    rate: int = 11_000_000
    slot: Duration = "20 us"
    difs: Duration = "50 us"
    answer: Duration = "258 us"
    preamble: Duration = "192 us"
    header: int = 272
    window: int = 32
    doublings: int = 5
    tries: int = 7
    error: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rate", bit_rate(self.name, self.rate))
        for what, least in (("header", 0), ("window", 1), ("doublings", 0), ("tries", 1)):
            whole_number(f"{self.name}: {what}", getattr(self, what), least)
        for what, least in (("slot", 1), ("difs", 0), ("answer", 0), ("preamble", 0)):
            if nanoseconds(getattr(self, what), f"{self.name}: {what}") < least:
                raise ModelError(f"{self.name}: {what}", f"{getattr(self, what)!r}", f"at least {least} ns")
        if not 0 <= self.error <= 1:
            raise ModelError(f"{self.name}: error", f"{self.error!r}", "a probability, 0 to 1")

    def open(self, kernel: Kernel) -> Line:
        return _Air(self, kernel)


@dataclass(eq=False)
class _Station:
    """Messages that wait, the first one being tried; count: idle slots until it is sent, from `begin` on."""

    name: str
    queue: deque[Message] = field(default_factory=deque)
    tried: int = 0
    count: int = 0
    begin: int = 0


class _Air(Line):
    bus: Wireless

    def __init__(self, bus: Wireless, kernel: Kernel) -> None:
        super().__init__(bus, kernel)
        self.stations: dict[str, _Station] = {}
        self.slot, self.difs, self.answer = nanoseconds(bus.slot), nanoseconds(bus.difs), nanoseconds(bus.answer)
        self.preamble = nanoseconds(bus.preamble)
        self.tries = Chances(kernel.seed, kernel.lane, f"access to {bus.name}", 2)
        self.tried = 0  # of all stations
        self.busy, self.idle = False, 0  # since when the medium is idle

    def time(self, message: Message, send: Send) -> int:
        message.bits = send.bits + self.bus.header
        return self.preamble + transfer(message.bits, self.bus.rate)

    def dispatch(self) -> None:
        self.dirty = False
        for message in self.waiting:
            station = self.stations.setdefault(message.sender, _Station(message.sender))
            station.queue.append(message)
            if len(station.queue) == 1:
                self._draw(station)
        self.waiting = []
        self._look()

    def _draw(self, station: _Station) -> None:
        """A number of slots for a new try, from the next slot on."""
        window = self.bus.window << min(station.tried, self.bus.doublings)
        station.count = min(int(self.tries.at(self.tried)[0] * window), window - 1)
        self.tried += 1
        first = self.idle + self.difs
        late = max(0, self.kernel.now - first)
        station.begin = first + -(-late // self.slot) * self.slot

    def _due(self, station: _Station) -> int:
        return station.begin + station.count * self.slot

    def _look(self) -> None:
        """Wait for the first station whose count ends."""
        due = [self._due(station) for station in self.stations.values() if station.queue]
        if due and not self.busy:
            self.kernel.after(min(due) - self.kernel.now, 2, self._send)

    def _send(self, timer: Timer) -> None:
        now = self.kernel.now
        ready = [station for station in self.stations.values() if station.queue and self._due(station) == now]
        if self.busy or not ready:
            return  # of a slot that another one has taken since
        self.busy = True
        for station in self.stations.values():
            if station.queue and station not in ready:
                station.count = (self._due(station) - max(now, station.begin)) // self.slot
        messages = [station.queue[0] for station in ready]
        for message in messages:
            message.begin = now if message.begin is None else message.begin
        received = len(ready) == 1 and self.tries.at(self.tried)[1] >= self.bus.error
        self.tried += 1
        frame = max(message.time for message in messages)
        said = " and ".join(message.block for message in messages)
        what = said if len(messages) == 1 else f"collision of {said}"
        self.segments.append((0, tuple(one.job for one in messages), what, now, now + frame + self.answer))
        if received:
            self.kernel.after(frame, 0, self._received, messages[0])
        self.kernel.after(frame + self.answer, 0, self._ended, (ready, received))

    def _received(self, timer: Timer) -> None:
        self.deliver(timer.of)

    def _ended(self, timer: Timer) -> None:
        """The medium is idle again: those that have sent draw anew, the others go on counting."""
        sent: tuple[Sequence[_Station], bool] = timer.of
        stations, received = sent
        self.busy, self.idle = False, self.kernel.now
        for station in self.stations.values():
            station.begin = self.idle + self.difs
        for station in stations:
            station.tried += 1
            if received or station.tried == self.bus.tries:
                message = station.queue.popleft()
                message.end = self.kernel.now if message.end is None else message.end
                station.tried = 0
            if station.queue:
                self._draw(station)
        self._look()
