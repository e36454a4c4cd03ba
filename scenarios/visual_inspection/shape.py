"""Signed distances: how far a point is from the edge of a part, negative inside.

Joining, cutting and folding as in I. Quilez, "2D distance functions" (iquilezles.org); exact for single shapes, a bound
where shapes are joined or cut.
"""

import math

import torch

from simdl.scenarios.visual_inspection.look import Entries


def length(x, y):
    """Of vectors; with a gradient of zero instead of NaN at zero."""
    return torch.sqrt(x * x + y * y + 1e-12)


def box(x, y, half_width, half_height, corner):
    """A rectangle with round corners about the origin."""
    corner = torch.minimum(corner, torch.minimum(half_width, half_height).clamp(min=0.0))
    right, down = x.abs() - half_width + corner, y.abs() - half_height + corner
    outside = length(right.clamp(min=0.0), down.clamp(min=0.0))
    return outside + torch.maximum(right, down).clamp(max=0.0) - corner


def bearing(x, y):
    """The angle of vectors; with a gradient at zero."""
    return torch.atan2(y, x + 1e-9)


def folded(angle, count):
    """An angle turned into the first of `count` equal sectors, whose middle is zero."""
    sector = 2 * math.pi / count.clamp(min=1.0)
    return angle - sector * torch.round(angle / sector)


def blank(away, angle, it: Entries):
    """The round, polygonal or toothed outline, about the origin."""
    along = torch.where(it.sides > 2.5, away * torch.cos(folded(angle, it.sides)), away)
    return along - it.radius - it.tooth * (2.5 * torch.sin(it.teeth * angle)).clamp(-1.0, 1.0)


def whole(x, y, it: Entries):
    """Distance (n, ...) of points in the frame of the part from the edge of the part without a chip."""
    away, angle = length(x, y), bearing(x, y)
    outline = blank(away, angle, it)
    for name in ("box1", "box2"):
        left, up = it.pair(name)
        wide, high, corner = (getattr(it, f"{name}_{what}") for what in ("w", "h", "corner"))
        outline = torch.minimum(outline, box(x - left, y - up, wide, high, corner))
    turned = folded(angle - it.ring_phase, it.ring_count)
    hole = length(away * torch.cos(turned) - it.ring_at, away * torch.sin(turned)) - it.ring_radius
    cut = torch.minimum(away - it.bore, hole)
    for name in ("hole1", "hole2"):
        left, up = it.pair(name)
        cut = torch.minimum(cut, length(x - left, y - up) - getattr(it, f"{name}_radius"))
    left, up = it.pair("slot")
    cut = torch.minimum(cut, box(x - left, y - up, it.slot_w, it.slot_h, torch.minimum(it.slot_w, it.slot_h)))
    return torch.maximum(outline, -cut)


def chip(x, y, it: Entries):
    """Distance from the ragged edge of what has broken off, negative within it."""
    left, up = it.pair("chip")
    right, down = x - left, y - up
    ragged = 1 + 0.15 * torch.sin(3 * bearing(right, down) + it.phase)
    return length(right, down) - it.chip * ragged
