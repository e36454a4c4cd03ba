"""The four verdicts on a requirement."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Verdict(IntEnum):
    """What a run says about a requirement, in order of weight.

    UNTESTED  it holds, but only because its trigger never happened
    PASS      it holds, and was put to the test
    ERROR     the lane failed, or the margin is not a number: nothing is known
    FAIL      it does not hold
    """

    UNTESTED = 0
    PASS = 1
    ERROR = 2
    FAIL = 3

    @classmethod
    def of_all(cls, verdicts: Iterable[int]) -> Verdict:
        """One verdict for many: any fail is a fail; else any error an error; else any pass a pass; else untested.

        >>> Verdict.of_all([Verdict.UNTESTED, Verdict.PASS]).name
        'PASS'
        """
        return cls(max(map(int, verdicts), default=cls.UNTESTED))

    def __str__(self) -> str:
        return self.name.lower()
