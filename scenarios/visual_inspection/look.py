"""A look: the numbers that say how a part is shaped, lies, shines and what is wrong with it.

Lengths are in half pictures: a picture spans -1 to 1, x to the right and y down. Angles are in radians. Shapes and
defects are in the frame of the part. A size below zero, or a strength of zero, means that there is no such thing.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

NOTHING = -2.0  # as a size: so far inside out that nothing is left

ENTRIES: dict[str, float] = {
    # the outline: a round or polygonal blank, toothed or not, and two rounded rectangles, all joined
    "radius": NOTHING, "sides": 0.0, "teeth": 0.0, "tooth": 0.0,
    "box1_x": 0.0, "box1_y": 0.0, "box1_w": NOTHING, "box1_h": NOTHING, "box1_corner": 0.05,
    "box2_x": 0.0, "box2_y": 0.0, "box2_w": NOTHING, "box2_h": NOTHING, "box2_corner": 0.05,
    # what is cut out: a bore, a ring of holes, two holes, a slot with round ends
    "bore": NOTHING, "ring_count": 1.0, "ring_at": 0.0, "ring_radius": NOTHING, "ring_phase": 0.0,
    "hole1_x": 0.0, "hole1_y": 0.0, "hole1_radius": NOTHING,
    "hole2_x": 0.0, "hole2_y": 0.0, "hole2_radius": NOTHING,
    "slot_x": 0.0, "slot_y": 0.0, "slot_w": NOTHING, "slot_h": NOTHING,
    # a step of the surface at a radius, and the bevel along every edge
    "step_at": 0.0, "step": 0.0, "bevel": 0.08,
    # where it lies
    "x": 0.0, "y": 0.0, "angle": 0.0,
    # its surface: brightness, brushing (straight or turned), grain, shine; phase tells one surface from another
    "albedo": 0.5, "brush": 0.0, "turned": 0.0, "brush_angle": 0.0, "grain": 0.0, "shine": 0.2, "phase": 0.0,
    # light: level, where it comes from (in the picture) and how high, and how much it falls off across the picture
    "light": 1.0, "light_angle": 0.0, "light_height": 1.0, "falloff": 0.0, "falloff_angle": 0.0,
    # the belt, and dust on everything
    "belt": 0.12, "weave": 0.0, "belt_phase": 0.0, "dust": 0.0,
    # defects
    "scratch_x": 0.0, "scratch_y": 0.0, "scratch_angle": 0.0, "scratch_length": 0.3, "scratch_bend": 0.0,
    "scratch_width": 0.03, "scratch": 0.0,
    "dent_x": 0.0, "dent_y": 0.0, "dent_size": 0.1, "dent": 0.0,
    "chip_x": 0.0, "chip_y": 0.0, "chip": NOTHING,
    "stain_x": 0.0, "stain_y": 0.0, "stain_size": 0.15, "stain_angle": 0.0, "stain_long": 1.0, "stain": 0.0,
}  # fmt: skip

PLACE = {name: place for place, name in enumerate(ENTRIES)}
LOOK = len(ENTRIES)


def look(values: Mapping[str, float]) -> np.ndarray:
    """The vector (LOOK,) of these entries; the others have their usual values. KeyError for a name that is none."""
    made = np.array(list(ENTRIES.values()))
    for name, value in values.items():
        made[PLACE[name]] = value
    return made


class Entries:
    """The entries of looks (n, LOOK) by name, as columns (n, 1, 1) that go with pictures (n, rows, columns)."""

    def __init__(self, looks: Tensor) -> None:
        self._columns = looks[:, :, None, None]  # (n, LOOK, 1, 1)

    def __getattr__(self, name: str) -> Tensor:
        return self._columns[:, PLACE[name]]

    def pair(self, name: str) -> tuple[Tensor, Tensor]:
        """x and y of a thing."""
        return self._columns[:, PLACE[f"{name}_x"]], self._columns[:, PLACE[f"{name}_y"]]
