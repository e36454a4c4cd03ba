"""How strange an input is: scorers fitted on what a network was trained on; a larger score is a stranger row.

    scorer                           what all share: fit, score, calibrate, threshold
    box, mahalanobis, energy, knn    the scorers
    threshold                        thresholds from a wanted rate of false alarms, per sample or per hour
    store                            saved as data beside a card: safetensors and JSON
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simdl.networks.ood.box import InputBox as InputBox
from simdl.networks.ood.energy import Energy as Energy
from simdl.networks.ood.knn import KNN as KNN
from simdl.networks.ood.mahalanobis import Mahalanobis as Mahalanobis
from simdl.networks.ood.scorer import Scorer as Scorer
from simdl.networks.ood.threshold import Calibration as Calibration, per_hour as per_hour, per_sample as per_sample

if TYPE_CHECKING:
    from simdl.networks.ood.store import load_scorer as load_scorer, save_scorer as save_scorer

# Files need pydantic, which takes longer to import than all else here.
_LATER = ("load_scorer", "save_scorer")

__all__ = [  # pyright: ignore
    "Calibration", "Energy", "InputBox", "KNN", "Mahalanobis", "Scorer", "per_hour", "per_sample", *_LATER,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'simdl.networks.ood' has no attribute {name!r}")
    from simdl.networks.ood import store

    return getattr(store, name)
