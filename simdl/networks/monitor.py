"""Watching a network at run time, and what to use instead of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.block import Block
from simdl.declarations import Input, Inputs, Output, Param, State
from simdl.declared import Declared
from simdl.errors import NetworkError
from simdl.methods import initial, tick
from simdl.networks.levels import check_levels, width_of
from simdl.networks.ood.scorer import Scorer

if TYPE_CHECKING:
    from simdl.networks.monitored import Monitored

LARGEST = 1e30  # a score that is not finite, so that what reads it stays finite


class Cause(IntFlag):
    """What a Monitor found, as bits of its outputs `cause` and `found`."""

    NAN = 1
    BOX = 2
    SCORE = 4
    BOUNDS = 8
    SLOPE = 16
    AGE = 32
    NOT_OK = 64


class Monitor(Block):
    """Checks what goes into a network and comes out of it at every tick, and switches to a fallback.

    inputs: the network's inputs or activations, joined to one row in their order. result: its output, (m,) or a number.
    fallback: used instead while the monitor has tripped; without one the last value stays. ok: such as that of a
    Recurrent. age: of the result in s; or captured: the time at which what it is about was measured. rearm: lets a
    latched monitor go back.

    Checks, each a bit of `Cause`: the result or an input is not finite; the row is outside of `box` (an InputBox); the
    score of `scorer` is above `threshold` (by default the scorer's); the result is below `low`, above `high`, or moved
    faster than `slope` (1/s) since the last tick; it is older than `oldest`; `ok` is false.

    It trips after `trip` ticks in a row with a finding, and at once for NAN, AGE and NOT_OK, which no noise explains.
    It goes back after `release` seconds without one (0: at the first such tick), where the score counts as
    found until it is below threshold - hysteresis; with latch=True only while `rearm` is true as well.

    value: the result, or the fallback after a trip. A switch leaves a difference to the value before it, which fades
    linearly in `blend` seconds towards the fallback (inf: never, so that the fallback goes on from the last trusted
    value) or `blend_back` seconds towards the result, or shrinks by `slew` (1/s), whichever is longer. lookback: the
    difference kept at a trip is that of so many ticks before, when the network was not yet misled.
    healthy; score; cause: what was found since the trip; found: at this tick; since: seconds since the trip.
    start: the value when nothing finite has been seen; a vector result needs a vector.

    >>> from simdl import Diagram, simulate
    >>> from simdl.blocks import Ramp
    >>> class Watched(Diagram):
    ...     def __init__(self):
    ...         self.network, self.monitor = Ramp(), Monitor(high=0.5, trip=2, period="1 s")
    ...         self.monitor.inputs, self.monitor.result, self.monitor.fallback = [self.network.y], self.network.y, -1.0
    >>> run = simulate(Watched(), 3, record=["monitor.value", "monitor.cause"])
    >>> run["monitor.value"].values.tolist(), run["monitor.cause"].values.tolist()  # twice above 0.5 at 2 s
    ([[0.0, 1.0, -1.0, -1.0]], [[0, 0, 8, 8]])
    """

    inputs = Inputs(doc="rows that the network sees")
    result = Input(doc="what the network says")
    fallback = Input(default=math.nan, doc="what to use instead; the last value when nothing is wired")
    ok = Input(dtype="bool", shape=(), default=True, doc="whether the network says that it may be used")
    age = Input(shape=(), unit="s", default=0.0, doc="of the result")
    captured = Input(shape=(), unit="s", default=math.inf, doc="when what the result is about was measured")
    rearm = Input(dtype="bool", shape=(), default=False, doc="lets a latched monitor go back")
    healthy = Output(dtype="bool", initial=True)
    score = Output()
    cause, found = Output(dtype="int64", initial=0), Output(dtype="int64", initial=0)
    value = Output()
    since = Output(unit="s")

    threshold: Param = Param(math.inf)
    hysteresis: Param = Param(0.0, low=0.0)
    trip: Param = Param(1.0, low=1.0, doc="ticks in a row")
    release: Param = Param(0.0, unit="s", low=0.0)
    low: Param = Param(-math.inf)
    high: Param = Param(math.inf)
    slope: Param = Param(math.inf, unit="1/s", low=0.0)
    oldest: Param = Param(math.inf, unit="s", low=0.0)
    blend: Param = Param(0.0, unit="s", low=0.0)
    blend_back: Param = Param(0.0, unit="s", low=0.0)
    slew: Param = Param(math.inf, unit="1/s", low=0.0)
    start: Param = Param(0.0)

    tripped, begun = State(0, dtype="bool"), State(0, dtype="bool")
    bad = State(0.0, doc="ticks in a row with a finding")
    good = State(0.0, unit="s", doc="time without one")
    down = State(0.0, unit="s", doc="time since the trip")
    causes = State(0, dtype="int64")
    last, before = State(0.0, doc="the value"), State(0.0, doc="the last finite result")
    gap = State(0.0, doc="the difference left by the last switch")
    moved = State(0.0, unit="s", doc="time since it")
    past = State(0.0, doc="result - fallback at the last ticks, the oldest first")

    def __init__(
        self, scorer: Scorer | None = None, box: Scorer | None = None, *, latch: bool = False, lookback: int = 0,
        **options: Any,
    ) -> None:  # fmt: skip
        if isinstance(lookback, bool) or not isinstance(lookback, int) or not 0 <= lookback <= 1000:
            raise NetworkError("Monitor", f"lookback={lookback!r}", "a whole number of ticks, 0 to 1000")
        for name, one in (("scorer", scorer), ("box", box)):
            if one is not None and (not isinstance(one, Scorer) or not one.features):
                raise NetworkError(f"Monitor: {name}", f"{one!s:.100}", "a fitted scorer of simdl.networks.ood")
        if scorer is not None and "threshold" not in options:
            if not math.isfinite(float(scorer.threshold)):
                raise NetworkError("Monitor", f"{scorer} without a threshold", "one to compare its score with",
                                   "scorer.calibrate(rows, per_sample=0.001), or Monitor(threshold=...)")  # fmt: skip
            options["threshold"] = float(scorer.threshold)
        if scorer is not None and box is not None and scorer.features != box.features:
            raise NetworkError("Monitor", f"a scorer of {scorer.features} features and a box of {box.features}",
                               "both of the row that `inputs` makes", "fit both on the same columns")  # fmt: skip
        check_levels(options, scorer)
        vars(self).update(scorer=scorer, box=box, latch=bool(latch), lookback=lookback)
        self._assign(options)

    def drive(self, name: str, source: Any) -> None:
        if name == "fallback" and isinstance(source, float) and not math.isfinite(source):
            raise NetworkError(f"{self}.fallback", f"{source}", "a finite number or a signal",
                               "leave it unwired: then the last value stays")  # fmt: skip
        super().drive(name, source)
        if name == "inputs":
            widths = [width_of(one) for one in (source if isinstance(source, tuple) else (source,))]
            if None not in widths:
                self.check_width(sum(width or 0 for width in widths), f"{self}.inputs")

    def check_width(self, width: int, where: str) -> None:
        """Raise NetworkError unless rows of this many features are those that the scorer and the box were fitted on."""
        for name in ("scorer", "box"):
            one = vars(self)[name]
            if one is not None and one.features != width:
                raise NetworkError(where, f"rows of {width} features", f"{one.features}, on which the {name} {one} was "
                                   "fitted", "watch the columns of the rows given to fit, in their order")  # fmt: skip

    @classmethod
    def around(
        cls, network: Declared, fallback: Declared | float | None = None, *, watch: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None, **options: Any,
    ) -> Monitored:  # fmt: skip
        """A network with its monitor and fallback as one diagram, with the network's ports and those of the monitor.

        fallback: a block or diagram with outputs of the same names, a number, or None: the last value stays.
        watch: ports of the network that make the row, its inputs by default; activations and states too.
        outputs: those that are checked and replaced, together; all of a network by default. options: of Monitor; its
        clock is the network's. A Recurrent's `ok` is wired when it has one.
        """
        from simdl.networks.monitored import monitored

        return monitored(cls, network, fallback, watch, outputs, options)

    @initial
    def begin(self, start: Tensor) -> Mapping[str, Tensor]:
        zero = torch.zeros_like(start)
        past = zero.unsqueeze(1).expand(-1, max(1, vars(self)["lookback"]), *start.shape[1:])
        return dict(last=start, before=start, gap=zero, past=past)

    @tick
    def watch(
        self, inputs: tuple[Tensor, ...], result: Tensor, fallback: Tensor, ok: Tensor, age: Tensor, captured: Tensor,
        rearm: Tensor, tripped: Tensor, begun: Tensor, bad: Tensor, good: Tensor, down: Tensor, causes: Tensor,
        last: Tensor, before: Tensor, gap: Tensor, moved: Tensor, past: Tensor, t: Tensor, dt: Tensor,
        threshold: Tensor, hysteresis: Tensor, trip: Tensor, release: Tensor, low: Tensor, high: Tensor,
        slope: Tensor, oldest: Tensor, blend: Tensor, blend_back: Tensor, slew: Tensor,
    ) -> Mapping[str, Tensor]:  # fmt: skip
        scorer, box, lookback = (vars(self)[name] for name in ("scorer", "box", "lookback"))
        like = last  # the shape of the result
        row = _row(inputs, age)
        self.check_width(int(row.shape[1]), f"{self}.inputs")
        result = result.to(last.dtype)

        usable = _every(result.isfinite())
        score = torch.zeros_like(age) if scorer is None else _bounded(scorer(row))
        level = torch.where(tripped, threshold - hysteresis, threshold)
        outside = (result < _like(low, like)) | (result > _like(high, like))
        fast = ((result - before).abs() > _like(slope * _like(dt, slope), like)) & _like(begun, like)
        late = torch.maximum(age, torch.as_tensor(t, dtype=age.dtype) - captured)
        found = {
            Cause.NAN: ~usable | ~_every(row.isfinite()),
            Cause.SCORE: score > level,
            Cause.BOUNDS: _any(outside),
            Cause.SLOPE: _any(fast),
            Cause.AGE: late > oldest,
            Cause.NOT_OK: ~ok,
        }
        if box is not None:
            found[Cause.BOX] = _bounded(box(row)) > float(box.threshold)
        bits = torch.zeros_like(causes)
        for one, mask in found.items():
            bits = bits + mask.to(bits.dtype) * int(one)

        faulty = bits > 0
        bad = torch.where(faulty, bad + 1, 0.0)
        good = torch.where(faulty, 0.0, good + dt)
        at_once = found[Cause.NAN] | found[Cause.AGE] | found[Cause.NOT_OK]
        trips = ~tripped & (at_once | (bad >= trip))
        # Sums of periods may miss a time by a rounding.
        back = tripped & ~faulty & (good >= release - 1e-6 * dt)
        back = back & rearm if vars(self)["latch"] else back
        now = (tripped | trips) & ~back
        causes = torch.where(now, torch.where(tripped, causes | bits, bits), 0)
        down = torch.where(now & tripped, down + dt, 0.0)

        instead = _like(fallback.to(last.dtype), like) + torch.zeros_like(like)
        difference = result - instead
        known = _like(_every(difference.isfinite()), difference)
        if lookback:
            oldest_difference = past[:, 0]
            newest = torch.where(known, difference, past[:, -1])
            pushed = torch.cat((past[:, 1:], newest.unsqueeze(1)), 1)
            fresh = newest.unsqueeze(1).expand_as(past)
            past = torch.where(_like(back | ~begun, past), fresh, torch.where(_like(now, past), past, pushed))
        target = torch.where(_like(now, like), instead, result)
        left = last - target
        if lookback:
            left = torch.where(_like(trips, like), oldest_difference, left)
        changed = trips | back
        gap = torch.where(_like(changed & begun, like), left, torch.where(_like(begun, like), gap, 0.0))
        gap = torch.where(gap.isfinite(), gap, 0.0)
        moved = torch.where(changed, 0.0, moved) + dt
        value = target + _remaining(gap, moved, torch.where(now, blend, blend_back), slew)
        value = torch.where(_like(_every(value.isfinite()), like), value, last)
        return dict(
            healthy=~now, score=score, cause=causes, found=bits, value=value, since=down, tripped=now,
            begun=begun | usable, bad=bad, good=good, down=down, causes=causes, last=value,
            before=torch.where(_like(usable, like), result, before),
            gap=gap, moved=moved, past=past,
        )  # fmt: skip


def _row(inputs: tuple[Tensor, ...], like: Tensor) -> Tensor:
    """Signals of any shape as one row of features in the run's type."""
    parts = [one.flatten(1) if one.ndim > 1 else one.unsqueeze(1) for one in inputs]
    return torch.cat(parts, 1).to(like.dtype) if parts else like.unsqueeze(1)[:, :0]


def _remaining(gap: Tensor, moved: Tensor, blend: Tensor, slew: Tensor) -> Tensor:
    """What is left of a difference `moved` seconds after a switch."""
    fade = torch.where(blend > 0, (1.0 - moved / blend.clamp(min=1e-9)).clamp(min=0.0), 0.0)
    size = gap.abs()
    most = torch.maximum(size * _like(fade, size), (size - _like(slew * moved, size)).clamp(min=0.0))
    return torch.where(gap < 0, -most, most)


def _bounded(score: Tensor) -> Tensor:
    return torch.where(score.isfinite(), score, LARGEST)


def _like(x: Tensor, other: Tensor) -> Tensor:
    """x (lanes,) or (lanes, *shape) with axes added behind, to go with `other`."""
    return x.reshape(*x.shape, *(1,) * (other.ndim - x.ndim))


def _every(mask: Tensor) -> Tensor:
    return mask if mask.ndim == 1 else mask.flatten(1).all(1)


def _any(mask: Tensor) -> Tensor:
    return mask if mask.ndim == 1 else mask.flatten(1).any(1)
