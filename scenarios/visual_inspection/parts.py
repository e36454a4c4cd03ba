"""What a part is: families of parts with tolerances, and what can be wrong with one.

A part is drawn as a look (LOOK,), see `look`. Sizes and strengths of defects reach down to what can hardly be seen.
"""

import math

import numpy as np
import torch

from simdl.scenarios.visual_inspection import shape
from simdl.scenarios.visual_inspection.look import LOOK, PLACE, Entries, look

DEFECTS = ("ok", "scratch", "dent", "chip", "stain")
OK, SCRATCH, DENT, CHIP, STAIN = range(len(DEFECTS))
CANDIDATES = 192  # points tried for the place of a defect

__all__ = ["CHIP", "DEFECTS", "DENT", "FAMILIES", "LOOK", "OK", "SCRATCH", "SOURCES", "STAIN", "draw", "place"]


def _washer(some):
    return {"radius": some(0.7, 0.8), "bore": some(0.28, 0.38), "turned": 1.0}


def _flange(some):
    at = some(0.48, 0.56)
    return {"radius": some(0.75, 0.83), "bore": some(0.16, 0.24), "ring_count": some.of(4, 5, 6), "ring_at": at,
            "ring_radius": some(0.09, 0.12), "ring_phase": some(0, 1), "step": some(-0.35, 0.35), "step_at": 0.34,
            "turned": some.of(0.0, 1.0)}  # fmt: skip


def _gear(some):
    teeth = some.of(10, 12, 14)
    return {"radius": some(0.69, 0.77), "teeth": teeth, "tooth": some(0.05, 0.075), "bore": some(0.15, 0.22),
            "step": some(0.1, 0.4), "step_at": some(0.36, 0.46)}  # fmt: skip


def _nut(some):
    return {"radius": some(0.64, 0.72), "sides": 6, "bore": some(0.3, 0.38), "step": some(0.2, 0.4), "step_at": 0.58}


def _plate(some):
    wide, high = some(0.7, 0.78), some(0.44, 0.54)
    left, up, radius = wide - some(0.16, 0.2), some(-0.2, 0.2), some(0.08, 0.12)
    return {"box1_w": wide, "box1_h": high, "box1_corner": some(0.04, 0.14), "hole1_x": -left, "hole1_y": up,
            "hole1_radius": radius, "hole2_x": left, "hole2_y": -up, "hole2_radius": radius}  # fmt: skip


def _link(some):
    wide, high = some(0.76, 0.86), some(0.24, 0.32)
    at, radius = wide - high, high * some(0.42, 0.55)
    return {"box1_w": wide, "box1_h": high, "box1_corner": high, "hole1_x": -at, "hole1_radius": radius,
            "hole2_x": at, "hole2_radius": radius, "slot_w": some(0.12, 0.22), "slot_h": 0.07}  # fmt: skip


def _cross(some):
    long, wide = some(0.7, 0.78), some(0.26, 0.34)
    return {"box1_w": long, "box1_h": wide, "box2_w": wide, "box2_h": long, "box1_corner": 0.1, "box2_corner": 0.1,
            "bore": some(0.12, 0.2), "ring_count": 4, "ring_at": long - 0.18,
            "ring_radius": some(0.06, 0.09)}  # fmt: skip


def _collar(some):
    """A disc with a slot from its bore, for a key."""
    radius = some(0.7, 0.8)
    return {"radius": radius, "bore": some(0.22, 0.29), "slot_x": some(0.3, 0.38), "slot_w": 0.18, "slot_h": 0.07,
            "step": some(-0.4, 0.4), "step_at": radius - 0.17, "turned": some.of(0.0, 1.0)}  # fmt: skip


def _bracket(some):
    """An angle with a long and a short leg, a hole in each and a slot between: no family above is like it."""
    leg, foot, wide = some(0.68, 0.76), some(0.52, 0.6), some(0.22, 0.27)
    return {"box1_x": -foot + wide, "box1_w": wide, "box1_h": leg, "box1_corner": some(0.03, 0.1),
            "box2_y": leg - wide, "box2_w": foot, "box2_h": wide, "box2_corner": some(0.03, 0.1),
            "hole1_x": -foot + wide, "hole1_y": -leg + some(0.22, 0.28), "hole1_radius": some(0.09, 0.12),
            "hole2_x": foot - some(0.22, 0.28), "hole2_y": leg - wide, "hole2_radius": some(0.09, 0.12),
            "slot_x": -foot + wide, "slot_y": some(-0.1, 0.1), "slot_w": 0.06, "slot_h": some(0.14, 0.22)}  # fmt: skip


_SHAPES = {
    "washer": _washer, "flange": _flange, "gear": _gear, "nut": _nut, "plate": _plate, "link": _link,
    "cross": _cross, "collar": _collar, "bracket": _bracket,
}  # fmt: skip
FAMILIES = tuple(_SHAPES)
SOURCES = tuple(range(len(FAMILIES) - 1))  # all but the bracket, which is kept for transfer


class _Some:
    """Random numbers of a part."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def __call__(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def of(self, *among: float) -> float:
        return float(among[int(self.random.integers(len(among)))])

    def spread(self, low: float, high: float) -> float:
        """Evenly on a logarithmic scale."""
        return float(math.exp(self.random.uniform(math.log(low), math.log(high))))


def draw(random: np.random.Generator, family: int, defect: int) -> np.ndarray:
    """The look (LOOK,) of a part of FAMILIES[family] with DEFECTS[defect]: geometry within tolerances, pose, surface,
    light, and the place and size of the defect."""
    some = _Some(random)
    turn = 2 * math.pi
    values = {
        "bevel": some(0.05, 0.1), **_SHAPES[FAMILIES[family]](some),
        "x": some(-0.08, 0.08), "y": some(-0.08, 0.08), "angle": some(0, turn),
        "albedo": some(0.42, 0.64), "brush": some(0.01, 0.06), "brush_angle": some(0, turn), "grain": some(0.005, 0.04),
        "shine": some(0.04, 0.2), "phase": some(0, 50), "light": some(0.85, 1.15), "light_angle": some(0, turn),
        "light_height": some(0.75, 1.15), "falloff": some(0.0, 0.22), "falloff_angle": some(0, turn),
        "belt": some(0.08, 0.16), "weave": some(0.05, 0.2), "belt_phase": some(0, 50), "dust": some(0.0, 0.12),
    }  # fmt: skip
    made = look(values)
    if defect != OK:
        for name, value in _defect(some, made, defect).items():
            made[PLACE[name]] = value
    return made


def place(made: np.ndarray, defect: int) -> tuple[float, float]:
    """Where in the picture the defect of a look is; the middle without one."""
    if defect == OK:
        return 0.0, 0.0
    name = DEFECTS[defect]
    x, y, left, up, angle = (made[PLACE[one]] for one in (f"{name}_x", f"{name}_y", "x", "y", "angle"))
    cos, sin = math.cos(angle), math.sin(angle)
    return float(left + cos * x - sin * y), float(up + sin * x + cos * y)


def _defect(some: _Some, made: np.ndarray, defect: int) -> dict[str, float]:
    turn = 2 * math.pi
    if defect == SCRATCH:
        x, y = _place(some, made, -1.0, -0.06)
        return {"scratch_x": x, "scratch_y": y, "scratch_angle": some(0, turn),
                "scratch_length": some.spread(0.2, 0.5), "scratch_bend": some(-0.8, 0.8),
                "scratch_width": some(0.025, 0.045), "scratch": some.spread(0.3, 0.9) * some.of(-0.8, 1.0)}  # fmt: skip
    if defect == DENT:
        x, y = _place(some, made, -1.0, -0.07)
        size = some(0.08, 0.15)
        return {"dent_x": x, "dent_y": y, "dent_size": size, "dent": size * some.spread(0.9, 2.6)}
    if defect == CHIP:
        x, y = _place(some, made, -0.02, 0.02)
        return {"chip_x": x, "chip_y": y, "chip": some.spread(0.16, 0.3)}
    x, y = _place(some, made, -1.0, -0.05)
    return {"stain_x": x, "stain_y": y, "stain_size": some.spread(0.12, 0.26), "stain_angle": some(0, turn),
            "stain_long": some(1.0, 1.8), "stain": some.spread(0.35, 0.8)}  # fmt: skip


def _place(some: _Some, made: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """A point whose distance from the edge of the part, negative inside, is between low and high; or nearly."""
    points = some.random.uniform(-0.8, 0.8, (2, 1, 1, CANDIDATES))
    x, y = torch.from_numpy(points)
    distance = shape.whole(x, y, Entries(torch.from_numpy(made)[None])).numpy()[0, 0]
    best = int(np.argmin(np.maximum(low - distance, distance - high).clip(0.0)))  # the first that fits
    return float(points[0, 0, 0, best]), float(points[1, 0, 0, best])
