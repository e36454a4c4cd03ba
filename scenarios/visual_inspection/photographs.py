"""Pictures with labels, taken by the camera of the line: what networks are trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from simdl import Diagram, Output, simulate, triggered
from simdl.computer import Process
from simdl.scenarios.visual_inspection import parts
from simdl.scenarios.visual_inspection.camera import Barrier, Camera
from simdl.scenarios.visual_inspection.rendering import SIZE

LANES = 64
PERIOD = Fraction(1, 100)  # s from part to part
SPEED = 0.5  # m/s of the belt


@dataclass(frozen=True)
class Feeder:
    """A process that lays one part after another before the camera."""

    families: tuple[int, ...]
    defective: float

    def __call__(self, env, ports):
        number = 0
        while True:
            family = int(ports.random.choice(self.families))
            faulty = ports.random.uniform() < self.defective
            defect = int(ports.random.integers(1, len(parts.DEFECTS))) if faulty else parts.OK
            yield env.timeout(0.1 * float(PERIOD))  # away from multiples of the period, when pictures are taken up
            look = parts.draw(ports.random, family, defect)
            ports["look"], ports["defect"], ports["number"] = look, defect, number
            ports["place"] = np.array(parts.place(look, defect))
            yield env.timeout(0.4 * float(PERIOD))
            ports["barrier"] = 1.0
            yield env.timeout(0.4 * float(PERIOD))
            ports["barrier"] = 0.0
            yield env.timeout(0.1 * float(PERIOD))
            number += 1


class Studio(Diagram):
    """The camera of the line above parts that are laid there, with its picture and the label of the part."""

    image = Output((SIZE, SIZE), dtype="uint8")
    defect = Output(labels=parts.DEFECTS)
    place = Output((2,))

    def __init__(self, families: tuple[int, ...], defective: float, camera: Mapping[str, Any]) -> None:
        seen = {"look": Output((parts.LOOK,)), "barrier": Output(), "number": Output(dtype="int64"),
                "defect": Output(dtype="int64"), "place": Output((2,))}  # fmt: skip
        self.feeder = Process(Feeder(families, defective), outputs=seen)
        self.barrier = Barrier()
        self.barrier.blocked = self.feeder.barrier
        self.camera = triggered(Camera(**camera), when=self.barrier.broken)
        self.camera.look, self.camera.number = self.feeder.look, self.feeder.number
        self.camera.speed = SPEED
        self.image, self.defect, self.place = self.camera.image, self.feeder.defect, self.feeder.place


def photographs(
    count: int, families: tuple[int, ...] | int = 0, seed: int = 0, defective: float = 0.5,
    camera: Mapping[str, float] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """`count` pictures (count, SIZE, SIZE) uint8 of parts of these families, and their labels (count,) int64.

    defective: the part that is not ok; the kinds of defects are equally frequent. The same seed gives the same
    pictures, and more of them begin with those of fewer. camera: settings of the `Camera`, such as {"reading": 0.01}.
    """
    images, labels, _ = located(count, families, seed, defective, camera)
    return images, labels


def located(
    count: int, families: tuple[int, ...] | int = 0, seed: int = 0, defective: float = 0.5,
    camera: Mapping[str, float] | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """`photographs`, and where the defects are (count, 2): x and y from -1 to 1, NaN where there is none."""
    some = (families,) if isinstance(families, int) else tuple(families)
    rounds = -(-count // LANES)
    run = simulate(
        Studio(some, defective, camera or {}), until=rounds * PERIOD, lanes=LANES, every=PERIOD, seed=seed,
        record=["image", "defect", "place"], dtype=torch.float32,
        strict=True,
    )  # fmt: skip
    seen = (run[name].values[:, 1:].transpose(0, 1) for name in ("image", "defect", "place"))  # (rounds, lanes, ...)
    images, labels, places = (values.flatten(0, 1)[:count].contiguous() for values in seen)
    return images, labels, torch.where((labels == parts.OK).unsqueeze(1), torch.nan, places)
