"""Where a random model's choices come from: a generator of random numbers, or Hypothesis.

A model is a function of a sequence of small whole numbers, zero being the simplest choice everywhere, which is what
Hypothesis shrinks towards.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

Choice = TypeVar("Choice")


class Choices:
    """Choices made by `draw(low, high)`."""

    def __init__(self, draw: Callable[[int, int], int]) -> None:
        self.integer = draw

    @classmethod
    def seeded(cls, seed: int, number: int) -> Choices:
        return cls(random.Random(f"{seed}/{number}").randint)

    def pick(self, options: Sequence[Choice]) -> Choice:
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """True in that many cases of a hundred; False is the simple choice."""
        return self.integer(0, 99) >= 100 - percent

    def number(self, low: float, high: float) -> float:
        """One of sixteen numbers between, off any round value: thresholds shall not coincide with values."""
        return round(low + (high - low) * (self.integer(0, 15) + 0.371) / 16, 5)

    def permutation(self, items: Sequence[Choice]) -> list[Choice]:
        left = list(items)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in items]
