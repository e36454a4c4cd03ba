"""Roots of guards inside one step, for all lanes at once.

A guard g maps theta (lanes,), the fraction of a step, to (lanes,); it is armed (g > 0) at `lo` and has fallen to
g <= 0 at `hi`. Nothing here is differentiated: event times are re-attached to the graph by the caller. Decisions are
masks; the only question asked of the data is whether every lane is done.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Guard = Callable[[Tensor], Tensor]
"""theta (lanes,) -> g (lanes,), differentiable or not."""

EPS = 2.0**-52


def first_root(
    g: Guard, lo: Tensor, hi: Tensor, g_lo: Tensor, g_hi: Tensor, xtol: float = EPS, ftol: float = 0.0, limit: int = 100
) -> Tensor:
    """The theta in [lo, hi] at which g falls through zero, (lanes,).

    Chandrupatla's method (Advances in Engineering Software 28 (1997) 145-149): inverse quadratic interpolation where
    it is safe, bisection elsewhere. A lane stops when |g| <= ftol, or its bracket is no wider than
    `2 eps |theta| + xtol / 2`; the end of the bracket with the smaller |g| is returned. Lanes that are not armed at
    `lo` or have not fallen at `hi` get `hi` and are evaluated there only. A g that is not a number ends its lane's
    search, at the bracket reached.
    """
    with torch.no_grad():
        dtype = torch.promote_types(lo.dtype, torch.float32)
        eps = torch.finfo(dtype).eps
        b, fb = lo.to(dtype).expand_as(g_lo), g_lo
        a, fa = hi.to(dtype).expand_as(g_hi), g_hi
        c, fc, t = b, fb, torch.full_like(a, 0.5)
        active = (fb > 0) & (fa < -ftol)
        root = a
        for _ in range(limit):
            if not bool(active.any()):
                break
            x = torch.where(active, torch.addcmul(a, b - a, t), root)
            fx = g(x)
            same = (fx > 0) == (fa > 0)
            c, fc = torch.where(same, a, b), torch.where(same, fa, fb)
            b, fb = torch.where(same, b, a), torch.where(same, fb, fa)
            a, fa = x, fx
            nearer = fa.abs() <= fb.abs()
            root = torch.where(active, torch.where(nearer, a, b), root)
            width = (b - a).abs()
            room = root.abs() * (2 * eps) + 0.5 * max(xtol, eps)
            least = torch.where(nearer, fa.abs(), fb.abs())
            active = active & (width > room) & (least > ftol) & torch.isfinite(fx)
            # Bisect unless the inverse parabola through the three points is monotone over the bracket.
            xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
            inside = (phi * phi < xi) & ((1 - phi) * (1 - phi) < 1 - xi)
            inverse = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
            near = (0.5 * room / width).clamp(max=0.5)
            t = torch.where(inside, torch.minimum(torch.maximum(inverse, near), 1 - near), 0.5)
        return root


def rising_start(g: Guard, hi: Tensor, halvings: int = 48) -> tuple[Tensor, Tensor, Tensor]:
    """A left end for a guard that is zero at theta = 0, up to rounding, and rising: a ball leaving the floor.

    Returns `(theta, g(theta), missing)`, each (lanes,): theta = hi * 2**-k with the smallest k for which g > 0.
    Where no k up to `halvings` gives one, `missing` is true and theta is the last one tried: the guard does not rise.
    """
    with torch.no_grad():
        theta = hi
        value = g(theta)
        missing = ~(value > 0)
        for _ in range(halvings):
            if not bool(missing.any()):
                break
            theta = torch.where(missing, 0.5 * theta, theta)
            value = torch.where(missing, g(theta), value)
            missing = ~(value > 0)
        return theta, value, missing


def two_stage(
    dense: Guard, true: Guard, lo: Tensor, hi: Tensor, g_lo: Tensor, g_hi: Tensor, xtol: float = EPS, limit: int = 40
) -> Tensor:
    """The root of the true step map, found first on the dense output, (lanes,).

    `dense` is cheap and close to `true`, which costs a whole step: theta -> g(state after theta h). `g_lo` and `g_hi`
    belong to both. The polish starts at the dense root with the dense slope, follows secants inside the bracket, and
    ends at an exact zero, when the next step would be below the resolution of theta, or where |g| stops falling (the
    rounding of the map itself); three to five evaluations of `true` when the dense output is good.
    """
    with torch.no_grad():
        x: Tensor = first_root(dense, lo, hi, g_lo, g_hi, xtol)
        a, b, fa, fb = lo.to(x.dtype).expand_as(x), hi.to(x.dtype).expand_as(x), g_lo, g_hi
        active = (g_lo > 0) & (g_hi < 0)
        eps = torch.finfo(x.dtype).eps
        # The dense guard's slope, one-sided into the longer half, on the scale of the root: it may be a millionth.
        nudge = 1e-4 * torch.minimum(x, b - a)
        ahead = torch.where(b - x > x - a, x + nudge, x - nudge)
        slope = (dense(ahead) - dense(x)) / (ahead - x)
        fx = true(x)
        step = -fx / slope
        settled = torch.zeros_like(active)
        for turn in range(limit):
            low, high = active & (fx > 0), active & (fx <= 0)
            a, fa = torch.where(low, x, a), torch.where(low, fx, fa)
            b, fb = torch.where(high, x, b), torch.where(high, fx, fb)
            resolution = 2 * eps * x.abs() + 0.5 * xtol
            rough = (fx != 0) & ~(step.abs() <= resolution) & (b - a > resolution) & torch.isfinite(fx)
            active = active & rough & ~settled
            if not bool(active.any()):
                break
            best = torch.minimum(fa, fb.abs())
            ahead = x + step
            inside = (ahead > a) & (ahead < b) & (turn % 6 < 5)
            ahead = torch.where(active, torch.where(inside, ahead, 0.5 * (a + b)), x)
            f_ahead = true(ahead)
            # A secant step this small that no longer halves |g| has met the rounding of the map.
            settled = inside & (f_ahead.abs() > 0.5 * best) & ((ahead - x).abs() < 1e-7 * x)
            step = -f_ahead * (ahead - x) / (f_ahead - fx)
            x, fx = ahead, f_ahead
        return torch.where(fa < fb.abs(), a, b)
