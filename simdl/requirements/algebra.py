"""Three ways to evaluate the same logic: truth, the exact margin, and a smooth margin.

Each has a `meet` (and, always) and a `join` (or, eventually); everything temporal follows from these two.
Signals are (lanes, time); each operator's result is as long as its windows fit into the trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from simdl.requirements.windows import Combine, Signals, slide, suffix

BEYOND = 1e30
"""What a boolean's infinite margin is to a smooth margin, whose sums of exponentials need finite numbers."""


class Algebra:
    """What `and`, `or`, `not` and the temporal operators do to signals."""

    overlap = True  # whether meet and join of a thing with itself is that thing

    def atom(self, holds: Tensor, margin: Tensor | None) -> Tensor:
        """The signal of a comparison, or of a boolean, which has no margin."""
        raise NotImplementedError

    def meet(self, a: Tensor, b: Tensor) -> Tensor:
        raise NotImplementedError

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        raise NotImplementedError

    def negate(self, a: Tensor) -> Tensor:
        return -a

    def both(self, *xs: Tensor) -> Tensor:
        return reduce(self.meet, cropped(xs))

    def either(self, *xs: Tensor) -> Tensor:
        return reduce(self.join, cropped(xs))

    def always(self, x: Tensor, first: int, last: int | None) -> Tensor:
        """At k: the meet of samples k + first … k + last, or to the end."""
        (result,) = self._window((x,), first, last, lambda a, b: (self.meet(a[0], b[0]),), self.overlap)
        return result

    def eventually(self, x: Tensor, first: int, last: int | None) -> Tensor:
        (result,) = self._window((x,), first, last, lambda a, b: (self.join(a[0], b[0]),), self.overlap)
        return result

    def until(self, left: Tensor, right: Tensor, first: int, last: int | None) -> Tensor:
        """At k: right at some sample of the window, left at every sample from k to just before.

        One sample is the function u -> right or (left and u) of what follows; these compose to functions of the same
        form, u -> a or (b and u), so the fold over a window is a fold of pairs (a, b).
        """

        def compose(x: Signals, y: Signals) -> Signals:
            return self.join(x[0], self.meet(x[1], y[0])), self.meet(x[1], y[1])

        left, right = cropped((left, right))
        result, _ = self._window((right, left), first, last, compose, False)
        if first == 0:
            return result
        return self.both(result, self.always(left, 0, first - 1))

    def previous(self, x: Tensor, before: bool) -> Tensor:
        """At k: x at k - 1; at 0, what was before the trace."""
        first = self.atom(torch.full_like(x[:, :1], before, dtype=torch.bool), None)
        return torch.cat([first.to(x.dtype), x[:, :-1]], dim=1)

    def _window(self, xs: Signals, first: int, last: int | None, combine: Combine, overlap: bool) -> Signals:
        xs = tuple(x[:, first:] for x in xs)
        return suffix(xs, combine) if last is None else slide(xs, last - first + 1, combine, overlap)


class Truth(Algebra):
    """Whether it holds: boolean tensors."""

    def atom(self, holds: Tensor, margin: Tensor | None) -> Tensor:
        return holds

    def meet(self, a: Tensor, b: Tensor) -> Tensor:
        return a & b

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        return a | b

    def negate(self, a: Tensor) -> Tensor:
        return ~a


class Exact(Algebra):
    """By how much it holds: the robustness of Donzé and Maler (FORMATS 2010). A boolean holds by an infinite margin."""

    def atom(self, holds: Tensor, margin: Tensor | None) -> Tensor:
        return _signed(holds, math.inf) if margin is None else margin

    def meet(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.minimum(a, b)

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)


@dataclass(frozen=True)
class Smooth(Algebra):
    """As Exact, with every minimum replaced by -T log Σ exp(-x/T) and every maximum by T log Σ exp(x/T).

    The minimum comes out too low and the maximum too high, each by at most T log n over n values.
    """

    temperature: float
    overlap = False

    def atom(self, holds: Tensor, margin: Tensor | None) -> Tensor:
        return _signed(holds, BEYOND) if margin is None else margin

    def meet(self, a: Tensor, b: Tensor) -> Tensor:
        return -self.join(-a, -b)

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        return self.temperature * torch.logaddexp(a / self.temperature, b / self.temperature)


def cropped(xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Signals cut to the length of the shortest: where all are known."""
    length = min(x.shape[1] for x in xs)
    return tuple(x[:, :length] for x in xs)


def _signed(holds: Tensor, size: float) -> Tensor:
    return holds.double().mul(2).sub(1).mul(size)
