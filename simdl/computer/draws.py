"""Durations drawn for jobs: a function of seed, lane, name and job, whatever is drawn beside them."""

from __future__ import annotations

import numpy as np
import torch

from simdl.computer.times import Distribution, Floats
from simdl.random import stream_key, uniform_block

CHUNK = 256  # jobs drawn at once: one call of the generator costs as much as 200 draws


class Draws:
    """The stream of one name in one lane, drawn in chunks of jobs."""

    def __init__(self, seed: int, lane: int, name: str) -> None:
        self.key, self.lane = stream_key(seed, f"computer:{name}"), lane
        self.distribution: Distribution | None = None
        self.made: list[int] = []
        self.carry = 0.0

    def uniforms(self, first: int, count: int) -> Floats:
        """Draws in (0, 1) of CHUNK jobs from `first` on, (CHUNK, count)."""
        lanes = torch.tensor([self.lane])
        return np.asarray(uniform_block(self.key, lanes, first, CHUNK, count)[:, 0])

    def duration(self, job: int, distribution: Distribution) -> int:
        """The duration of a job, ns."""
        if distribution is not self.distribution and distribution != self.distribution:
            self.distribution, self.made, self.carry = distribution, [], 0.0
        while job >= len(self.made):
            first = len(self.made)
            times, self.carry = distribution.durations(self.uniforms(first, distribution.count), first, self.carry)
            self.made.extend(times.tolist())
        return self.made[job]


class Chances:
    """Uniform draws of numbered occurrences, `count` each."""

    def __init__(self, seed: int, lane: int, name: str, count: int) -> None:
        self.draws, self.count = Draws(seed, lane, name), count
        self.first, self.made = -1, np.zeros((0, count))

    def at(self, number: int) -> list[float]:
        first = number - number % CHUNK
        if first != self.first:
            self.first, self.made = first, self.draws.uniforms(first, self.count)
        return [float(one) for one in self.made[number - first]]
