"""A detector of objects, by its statistics."""

import math

import torch

from simdl import Block, Input, ModelError, Noise, Output, Param, tick
from simdl.blocks.limits import whole_number
from simdl.blocks.vector import direction

CLUTTER = 8  # places for false alarms
SLOTS = 32  # objects and false alarms together


class StatisticalDetector(Block):
    """What a radar, lidar or camera reports of objects at `targets` (n, 2), x forward and y left, without its signals.

    An object at distance r is seen with probability (1 - miss) / (1 + exp((r - reach) / fade)), if it is `present` and
    within `view` of straight ahead. Its distance errs by range_noise + range_growth r (rms), its angle likewise. Of 8
    places each holds a false alarm with probability alarms / 8, anywhere in view up to 2 reach: in the mean `alarms`
    of them, nearly Poisson. The forms of these laws are chosen: fit them to a real detector.

    Outputs are padded to `maximum` detections: distance, angle and mask (maximum,), true objects first; `source` is the
    number of the object, -1 for a false alarm and for padding; `count` how many there are. What exceeds it is lost.

    >>> from simdl import Diagram, simulate
    >>> from simdl.blocks import Constant
    >>> class Scene(Diagram):
    ...     def __init__(self):
    ...         self.cars = Constant(value=[[30.0, 40.0], [-5.0, 0.0], [20.0, 0.0]])
    ...         exact = dict(miss=0.0, alarms=0.0, range_noise=0.0, angle_noise=0.0)
    ...         self.radar = StatisticalDetector(maximum=4, period="50 ms", **exact)
    ...         self.radar.targets = self.cars.y
    >>> run = simulate(Scene(), 0, record=["radar.distance", "radar.source"])
    >>> run["radar.distance"].at(0)[0].tolist(), run["radar.source"].at(0)[0].tolist()
    ([50.0, 20.0, 0.0, 0.0], [0, 2, -1, -1])
    """

    targets, present = Input(unit="m"), Input(dtype="bool", default=True)
    distance, angle = Output(unit="m"), Output(unit="rad")
    mask, source, count = Output(dtype="bool"), Output(dtype="int64"), Output(dtype="int64")
    miss: Param = Param(0.05, low=0.0, high=1.0)
    reach: Param = Param(150.0, unit="m", low=1e-12)
    fade: Param = Param(10.0, unit="m", low=1e-12)
    view: Param = Param(math.pi / 3, unit="rad", low=0.0)
    range_noise: Param = Param(0.1, unit="m", low=0.0)
    range_growth: Param = Param(0.0, low=0.0)
    angle_noise: Param = Param(0.01, unit="rad", low=0.0)
    angle_growth: Param = Param(0.0, unit="rad/m", low=0.0)
    alarms: Param = Param(0.2, low=0.0, high=float(CLUTTER))
    w, luck = Noise(shape=(SLOTS, 2)), Noise(shape=(SLOTS, 3), distribution="uniform")

    def __init__(self, maximum: int = 16, **settings):
        super().__init__(**settings)
        self.maximum = whole_number("StatisticalDetector.maximum", maximum)

    @tick
    def detect(self, targets, present, w, luck, miss, reach, fade, view, range_noise, range_growth, angle_noise,
               angle_growth, alarms):  # fmt: skip
        if targets.ndim != 3 or targets.shape[2] != 2:
            raise ModelError(
                f"{self}.targets", f"the shape {tuple(targets.shape[1:])}", "(n, 2): x and y of each object"
            )
        n = targets.shape[1]
        if n + CLUTTER > SLOTS:
            raise ModelError(f"{self}.targets", f"{n} objects", f"at most {SLOTS - CLUTTER}", "use two detectors")
        miss, reach, fade, view, range_noise, range_growth, angle_noise, angle_growth, alarms = (
            one.unsqueeze(1)
            for one in (miss, reach, fade, view, range_noise, range_growth, angle_noise, angle_growth, alarms)
        )
        x, y = targets.unbind(dim=2)
        r, phi = torch.sqrt((x**2 + y**2).clamp(min=1e-24)), direction(x, y)  # with a finite gradient of r at 0
        chance = (1 - miss) / (1 + torch.exp((r - reach) / fade))
        inside = (phi.abs() <= view) & (present if present.ndim == 2 else present.unsqueeze(1))
        seen = inside & (luck[:, :n, 0] < chance)
        away = r + (range_noise + range_growth * r) * w[:, :n, 0]
        aside = phi + (angle_noise + angle_growth * r) * w[:, :n, 1]
        false, far, where = luck[:, n : n + CLUTTER].unbind(dim=2)
        found = torch.cat([seen, false < alarms / CLUTTER], dim=1)
        away, aside = torch.cat([away, 2 * reach * far], dim=1), torch.cat([aside, view * (2 * where - 1)], dim=1)
        return packed(found, away, aside, n, self.maximum)


def packed(found, away, aside, n: int, maximum: int) -> dict[str, torch.Tensor]:
    """The found ones of (lanes, slots), in order, in the first of `maximum` places; the rest is zero."""
    order = torch.arange(found.shape[1])
    before = (found.unsqueeze(1) & (order.unsqueeze(1) > order)).sum(dim=2)  # how many found ones come before
    taken = (before.unsqueeze(1) == torch.arange(maximum).unsqueeze(1)) & found.unsqueeze(1)  # (lanes, place, slot)
    mask = taken.any(dim=2)
    number = torch.where(order < n, order, -1)
    return dict(
        distance=torch.where(taken, away.unsqueeze(1), 0.0).sum(dim=2),
        angle=torch.where(taken, aside.unsqueeze(1), 0.0).sum(dim=2),
        mask=mask,
        source=torch.where(mask, torch.where(taken, number, 0).sum(dim=2), -1),
        count=mask.sum(dim=1),
    )
