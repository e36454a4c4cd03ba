"""Gradients through long runs: blocks of instants whose intermediate values the backward pass computes again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute, set_checkpoint_early_stop

from simdl.engine.state import flat

if TYPE_CHECKING:
    from simdl.engine.simulator import Simulator


def recomputed(simulator: Simulator, end: int) -> None:
    """Go on by `checkpoint` instants, not past `end`, ns."""
    before, mark = simulator.state, simulator.recorder.mark()
    tensors, build = flat(before)
    frozen_before = before.frozen
    done = False
    sizes: dict[str, int] = {}
    count, rebuild = 0, build

    def block(*given: Tensor) -> tuple[Tensor, ...]:
        nonlocal done
        if not done:
            done = True
            return forward(given)
        kept = simulator.state, simulator.seen, simulator.recorder.fork()  # the backward pass leaves no trace
        try:
            return forward(given)
        finally:
            simulator.state, simulator.seen = kept[:2]
            simulator.recorder.join(kept[2])

    def forward(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        nonlocal count, rebuild
        simulator.state = build(given)
        simulator.recorder.rollback(mark)
        for _ in range(simulator.checkpoint):
            if simulator.state.ns >= end or (simulator.state.frozen is not None and bool(simulator.state.frozen.all())):
                break
            simulator._advance(min(simulator.next_instant(), end))
        after, rebuild = flat(simulator.state)
        columns = [c for key, n in mark[0].items() for c in simulator.recorder.columns[key][n:]]
        count = len(after)
        sizes.update({key: len(simulator.recorder.columns[key]) - n for key, n in mark[0].items()})
        return (*after, *columns)

    with set_checkpoint_early_stop(False):  # it stops by an exception that blocks may not see
        out = recompute(block, *tensors, use_reentrant=False)
    state = simulator.state
    simulator.state = rebuild(out[:count])
    simulator.state.frozen = state.frozen if state.frozen is not None else frozen_before
    rest = list(out[count:])
    for key, n in sizes.items():
        if n:
            simulator.recorder.columns[key][-n:] = rest[:n]
            rest = rest[n:]
