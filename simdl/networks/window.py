"""The last samples of a network's inputs, for networks that look at a stretch of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from simdl.errors import NetworkError

Fill = Literal["zeros", "hold", "not_ready"]
FILLS = ("zeros", "hold", "not_ready")


@dataclass(frozen=True)
class Window:
    """A tapped delay of the inputs: the network sees (lanes, length, features), the newest sample last.

    length: samples, one a tick, the present one included.
    hop: the network is evaluated every `hop` ticks and its outputs are held between.
    fill: what stands in the window before `length` samples were taken: "zeros" (in the units of the ports), "hold" (the
    first sample), or "not_ready": the network is not evaluated and its outputs keep their initial values until the
    window is full. The output `ok` is true once it is. With "zeros" and "hold" the first evaluation is at the first
    tick, with "not_ready" at tick `length`.
    flat: give the network (lanes, length * features).
    """

    length: int
    hop: int = 1
    fill: Fill = "not_ready"
    flat: bool = False

    def __post_init__(self) -> None:
        for name, value in (("length", self.length), ("hop", self.hop)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise NetworkError("Window", f"{name}={value!r}", "a whole number, at least 1")
        if self.fill not in FILLS:
            raise NetworkError("Window", f"fill={self.fill!r}", "one of", names=FILLS, wrong=str(self.fill))

    @property
    def holds(self) -> bool:
        """Whether there are ticks at which the network is not evaluated."""
        return self.hop > 1 or self.fill == "not_ready"

    def push(self, history: Tensor, row: Tensor, ticks: Tensor) -> Tensor:
        """The window (lanes, length, features) with a row (lanes, features) added after `ticks` (lanes,) others."""
        if self.fill == "hold":
            history = torch.where((ticks == 0)[:, None, None], row.unsqueeze(1), history)
        return torch.cat((history[:, 1:], row.unsqueeze(1)), 1)

    def due(self, ticks: Tensor) -> Tensor:
        """The lanes (lanes,) whose network is evaluated at this tick."""
        seen = ticks + 1
        if self.fill == "not_ready":
            return (seen >= self.length) & ((seen - self.length) % self.hop == 0)
        return ticks % self.hop == 0

    def full(self, ticks: Tensor) -> Tensor:
        return ticks + 1 >= self.length
