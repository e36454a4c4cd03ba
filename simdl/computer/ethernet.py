"""Switched Ethernet: a full-duplex link for each port, store and forward, first in first out at both ends."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simdl.blocks.limits import whole_number
from simdl.clock import Duration, nanoseconds
from simdl.computer.bus import Bus, Line, Message, bit_rate, transfer
from simdl.errors import ModelError, RunError

if TYPE_CHECKING:
    from simdl.computer.instructions import Send
    from simdl.computer.kernel import Kernel, Timer

OVERHEAD, LEAST, PREAMBLE, GAP = 18, 64, 8, 12  # bytes: header and check sequence, frame, preamble, gap (IEEE 802.3)
MOST = 1500  # bytes of payload


@dataclass(frozen=True)
class SwitchedEthernet(Bus):
    """A switch with a port for each processor; messages go from the sender's port to the port `Send(to=)`.

    A frame has max(64, payload + 18) bytes and 8 of preamble; 12 bytes of gap follow before the next on a link. It
    waits for the sender's link, is received whole, waits `switch` and for the receiver's link, and arrives with the
    last bit of its frame. room: frames that wait at an output port at most; what comes then is lost. ports: the names
    that a message may go to; any when none is given.
    """

    rate: int = 100_000_000
    switch: Duration = 0
    room: int = 1000
    ports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rate", bit_rate(self.name, self.rate))
        whole_number(f"{self.name}: room", self.room)
        if nanoseconds(self.switch, f"{self.name}: switch") < 0:
            raise ModelError(f"{self.name}: switch", f"{self.switch!r}", "a time of at least 0")

    def open(self, kernel: Kernel) -> Line:
        return _Switch(self, kernel)


class _Switch(Line):
    bus: SwitchedEthernet

    def __init__(self, bus: SwitchedEthernet, kernel: Kernel) -> None:
        super().__init__(bus, kernel)
        self.links: dict[str, deque[Message]] = {}  # "from a" and "to b": what waits, the one under way first
        self.gap = transfer(8 * GAP, bus.rate)
        self.delay = nanoseconds(bus.switch)

    def time(self, message: Message, send: Send) -> int:
        size = -(-send.bits // 8)
        if not send.to or size > MOST:
            raise RunError(self.name, f"{size} bytes of {send.block!r} to {send.to!r}",
                           f"at most {MOST} bytes and a receiver", "Send(..., to=)")  # fmt: skip
        if self.bus.ports and send.to not in self.bus.ports:
            raise RunError(self.name, f"{send.block!r} to {send.to!r}", "one of its ports", names=self.bus.ports,
                           wrong=send.to)  # fmt: skip
        message.bits = 8 * (max(LEAST, size + OVERHEAD) + PREAMBLE)
        return transfer(message.bits, self.bus.rate)

    def dispatch(self) -> None:
        self.dirty = False
        for message in self.waiting:
            self._enter(f"from {message.sender}", message)
        self.waiting = []

    def _enter(self, link: str, message: Message) -> None:
        queue = self.links.setdefault(link, deque())
        queue.append(message)
        if len(queue) == 1:
            self._begin(link)

    def _begin(self, link: str) -> None:
        message, now = self.links[link][0], self.kernel.now
        message.begin = now if message.begin is None else message.begin
        self.segments.append((link, (message.job,), message.block, now, now + message.time))
        self.kernel.after(message.time, 0, self._received, (link, message))
        self.kernel.after(message.time + self.gap, 0, self._clear, link)

    def _received(self, timer: Timer) -> None:
        link, message = timer.of
        if link.startswith("to "):
            self.deliver(message)
        else:
            self.kernel.after(self.delay, 0, self._forward, message)

    def _forward(self, timer: Timer) -> None:
        message: Message = timer.of
        link = f"to {message.to}"
        if len(self.links.get(link, ())) > self.bus.room:
            message.end = self.kernel.now
            return
        self._enter(link, message)

    def _clear(self, timer: Timer) -> None:
        queue = self.links[timer.of]
        queue.popleft()
        if queue:
            self._begin(timer.of)
