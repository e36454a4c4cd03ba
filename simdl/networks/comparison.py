"""Comparing a converted network with what it was converted from, on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simdl.errors import NetworkError

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""The largest difference, relative to the largest output, that counts as equal: sums are taken in another order."""


@dataclass(frozen=True)
class Comparison:
    """The worst difference between two ways to compute the same outputs.

    against: what computed the reference; samples: how many inputs were tried; worst: the largest absolute difference;
    relative: the same divided by the largest absolute reference value; output: where it was found.
    """

    against: str
    samples: int
    worst: float
    relative: float
    output: str
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.relative <= self.tolerance

    def __str__(self) -> str:
        verdict = "agrees" if self.agrees else "DIFFERS"
        return (
            f"{verdict} with {self.against} on {self.samples} samples: worst difference {self.worst:.3g} "
            f"({self.relative:.2g} of the largest value) in {self.output}, tolerance {self.tolerance:.0e}"
        )

    def check(self, where: str) -> Comparison:
        """Itself; raises NetworkError when the two differ."""
        if not self.agrees:
            raise NetworkError(where, f"the converted network {self}", "the same values",
                               "the file may use an operator in a way that is converted wrongly: report it",
                               )  # fmt: skip
        return self


def compare_outputs(
    found: Mapping[str, Tensor], reference: Mapping[str, Tensor], against: str, tolerance: float | None = None
) -> Comparison:
    """Compare outputs by name, the first axis being samples. A NaN on one side only is an infinite difference."""
    worst, relative, output, samples = 0.0, 0.0, next(iter(reference), ""), 0
    loosest = 0.0
    for name, wanted in reference.items():
        given = found[name]
        if given.shape != wanted.shape:
            raise NetworkError(name, f"the shape {tuple(given.shape)}", f"{tuple(wanted.shape)}, as {against} gives")
        dtype = given.dtype if given.dtype in TOLERANCE else torch.float32
        loosest = max(loosest, TOLERANCE[dtype])
        a, b = given.detach().double().cpu(), wanted.detach().double().cpu()
        samples = max(samples, len(b))
        same = (a == b) | (a.isnan() & b.isnan())
        difference = torch.where(same, torch.zeros_like(a), (a - b).abs()).nan_to_num(nan=torch.inf)
        largest = float(difference.max()) if difference.numel() else 0.0
        finite = b[b.isfinite()].abs()
        scale = float(finite.max()) if finite.numel() else 0.0
        ratio = largest / scale if scale > 0 else largest
        if ratio >= relative:
            worst, relative, output = largest, ratio, name
    return Comparison(against, samples, worst, relative, output, loosest if tolerance is None else tolerance)


def samples_of(shapes: Sequence[tuple[int, ...]], count: int = 64, seed: int = 0) -> list[Tensor]:
    """Inputs to compare networks on: normal numbers of growing size, from 0.01 to 10 (count, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.logspace(-2, 1, count)
    return [
        torch.randn((count, *shape), generator=generator) * size.reshape(-1, *(1,) * len(shape)) for shape in shapes
    ]


