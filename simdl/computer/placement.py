"""How a block is mapped to a task, and what gives its times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from simdl.declarations import Shape


class Timetable(Protocol):
    """What gives the times of mapped blocks to the lanes of a run. horizon: how far they reach, ns."""

    horizon: int | None

    def tables(self, path: str, ids: Tensor, seed: int) -> Mapping[str, Tensor]: ...

    def failures(self, ids: Tensor, seed: int) -> Mapping[int, str]: ...


@dataclass(frozen=True)
class Placement:
    """How one block is mapped.

    immediate: every job takes no time, so outputs appear as they are computed; shapes: of the outputs; dtypes: None for
    the run's float type; within: outputs that other blocks of the same job read at once; jobs, writes: the lengths of
    the tables; pending: how many jobs may be on their way; period: the nominal time between jobs, s; drift, shift:
    local time is t * (1 + drift) + shift. live: a block says the times as the loop goes; there are no tables.
    initial: what outputs show before the first write, where it is not what they declare. by: " of task x". instead: the
    variants of jobs in which another block runs in place of this one; codes: those in which this one does of another.
    """

    path: str
    timetable: Timetable
    immediate: bool
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, torch.dtype | None]
    within: tuple[str, ...]
    jobs: int
    writes: int
    pending: int
    period: float
    drift: float = 0.0
    shift: float = 0.0
    live: bool = False
    initial: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    instead: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()

    @property
    def varied(self) -> bool:
        """Whether it does not run in every job."""
        return bool(self.instead or self.codes)
