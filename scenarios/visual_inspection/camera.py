"""The camera above the belt: from light to numbers."""

import torch

from simdl import Block, Input, Noise, Output, Param, crossing, tick
from simdl.scenarios.visual_inspection.look import LOOK
from simdl.scenarios.visual_inspection.rendering import PIXEL, SIZE, render

STRETCH = 0.02  # m: half of what the camera sees of the belt, the unit of a look: washers of 30 mm are 0.75 of it
TAPS = 3  # pixels to each side that a blur reaches


class Barrier(Block):
    """A light barrier: `broken` fires when something comes into its beam, at that time and in that lane alone."""

    blocked = Input(doc="1 while a part is in the beam, else 0")

    @crossing
    def broken(self, blocked):
        return 0.5 - blocked


class Camera(Block):
    """One picture whenever it ticks, and held: at a job that a light barrier releases, or `triggered` by a `Barrier`.

    The picture is blurred by its lens (`defocus`, deviation in pixels) and by what the belt moves during `exposure`;
    its brightness is that of the scene times `gain`. The sensor counts `electrons` at full scale, and reading them adds
    noise (`reading`, of full scale): variance = signal / electrons + reading². Then eight bits.
    """

    look = Input((LOOK,))
    number = Input(dtype="int64", default=0)
    speed = Input(unit="m/s", default=0.0)
    gain: Param = Param(1.0, low=0.0)
    exposure: Param = Param(5e-4, unit="s", low=0.0)
    defocus: Param = Param(0.45, low=0.05, doc="pixels")
    electrons: Param = Param(4000.0, low=1.0)
    reading: Param = Param(0.008, low=0.0)
    image = Output((SIZE, SIZE), dtype="uint8")
    taken = Output(dtype="int64", initial=-1, doc="the number of the part in the picture")
    w = Noise(shape=(SIZE, SIZE))

    @tick
    def shoot(self, look, number, speed, gain, exposure, defocus, electrons, reading, w):
        scene = render(look)
        moved = (speed * exposure / (STRETCH * PIXEL)).abs()  # pixels along the belt, which runs to the right
        sharp = _blurred(_blurred(scene, defocus * defocus + moved * moved / 12, 2), defocus * defocus, 1)
        light = sharp * gain[:, None, None]
        noise = torch.sqrt(light / electrons[:, None, None] + (reading * reading)[:, None, None]) * w
        numbers = torch.round((light + noise).clamp(0.0, 1.0) * 255.0)
        return dict(image=numbers.to(torch.uint8), taken=number)


def _blurred(picture, variance, axis: int):
    """A Gaussian of this variance (n,), in pixels squared, along an axis; edges go on as they are."""
    first, last = picture.narrow(axis, 0, 1), picture.narrow(axis, picture.shape[axis] - 1, 1)
    wide = torch.cat([first] * TAPS + [picture] + [last] * TAPS, axis)
    weights = [torch.exp(-(k * k) / (2 * variance + 1e-9)) for k in range(TAPS + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    blurred = torch.zeros_like(picture)
    for k in range(-TAPS, TAPS + 1):
        weight = (weights[abs(k)] / total)[:, None, None]
        blurred = blurred + weight * wide.narrow(axis, TAPS + k, picture.shape[axis])
    return blurred
