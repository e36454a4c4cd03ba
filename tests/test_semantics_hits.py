"""Hits of a lane's own inside a subsystem that is switched off."""

import torch

from simdl import Block, Diagram, Output, State, enabled, hit, simulate, tick


class Beat(Block):
    """Counts its hits, every 0.3 s."""

    count, seen = State(0.0), Output()

    @hit(first=0.25)
    def beat(self, count):
        return dict(count=count + 1, seen=count + 1, next=torch.full_like(count, 0.3))


class Switch(Block):
    """On during the first second and after the third."""

    on = Output(dtype="bool", initial=True)

    @tick
    def look(self, t):
        return dict(on=(t < 1.0) | (t >= 3.0))


class Switched(Diagram):
    seen = Output()

    def __init__(self) -> None:
        self.switch = Switch(period="1 s")
        self.beat = enabled(Beat(), when=self.switch.on)
        self.seen = self.beat.seen


class Free(Diagram):
    seen = Output()

    def __init__(self) -> None:
        self.beat = Beat()
        self.seen = self.beat.seen


def test_hits_that_fall_due_while_disabled_are_skipped_and_the_schedule_goes_on() -> None:
    run = simulate(Switched(), 4.0, record=["seen"], every=0.1)
    values = run["seen"].values[0]
    # 0.25, 0.55 and 0.85 count; 1.15 ... 2.95 do not; 3.25, 3.55 and 3.85 do.
    assert values[9].item() == 3 and values[30].item() == 3 and values[-1].item() == 6


def test_hits_run_without_any_condition() -> None:
    assert simulate(Free(), 4.0, record=["seen"], every=0.1)["seen"].values[0, -1].item() == 13
