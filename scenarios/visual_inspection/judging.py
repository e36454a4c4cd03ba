"""How good a network is at its job: bad parts that escape, when this part of the good ones is rejected."""

import torch

from simdl.scenarios.visual_inspection.parts import OK

REJECTS = 0.02  # of the good parts, rejected by mistake: what the line can bear


def threshold(doubt: torch.Tensor, labels: torch.Tensor, rejects: float = REJECTS) -> float:
    """The doubt above which a part is rejected, so that this fraction of the good ones is. doubt, labels (n,)."""
    return float(torch.quantile(doubt[labels == OK].double(), 1 - rejects))


def escape(doubt: torch.Tensor, labels: torch.Tensor, limit: float | None = None, defect: int | None = None) -> float:
    """The fraction of the defective parts, or of those with one defect, whose doubt is not above the limit.

    Without a limit, it is where REJECTS of the good parts among these are rejected: a point of the operating curve.
    """
    limit = threshold(doubt, labels) if limit is None else limit
    bad = labels != OK if defect is None else labels == defect
    return float((doubt[bad] <= limit).double().mean())


def false_rejects(doubt: torch.Tensor, labels: torch.Tensor, limit: float) -> float:
    """The fraction of the good parts whose doubt is above the limit."""
    return float((doubt[labels == OK] > limit).double().mean())
