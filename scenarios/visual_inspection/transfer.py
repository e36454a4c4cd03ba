"""A new part on the line: how many labelled pictures are needed, with and without what is known from other parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from simdl.errors import SimdlError
from simdl.learn import fit
from simdl.networks import load
from simdl.progress import progress as progress_bar
from simdl.scenarios.visual_inspection import judging, recipe
from simdl.scenarios.visual_inspection.journal import Journal
from simdl.scenarios.visual_inspection.network import Inspector
from simdl.scenarios.visual_inspection.parts import FAMILIES, OK
from simdl.scenarios.visual_inspection.photographs import photographs

CARD = Path(__file__).parent / "cards" / "inspector"
NEW = FAMILIES.index("bracket")
LABELS = (25, 50, 100, 250, 500, 1000, 2500)
SEEDS = 3
TESTED = 4096
SEEN = 120_000  # pictures that training from scratch sees, each many times
ROWS = 8192  # most rows that a model on features is fitted to: the time of an SVM grows with their square

Doubt = Callable[[Tensor], Tensor]  # pictures -> the doubt (n,) that they are good


class Tuned(nn.Module):
    """An inspector whose normalisation stays as it is: a few pictures tell little about means and variances."""

    def __init__(self, inspector: Inspector) -> None:
        super().__init__()
        self.inspector = inspector

    def train(self, mode: bool = True):
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self

    def forward(self, picture):
        return self.inspector(picture)


def from_scratch(images: Tensor, labels: Tensor, seed: int) -> Doubt:
    """An inspector of its own, trained until more does not help."""
    torch.manual_seed(seed)
    module = Inspector()
    _fitted(module, images, labels, seed, rate=2e-3, seen=SEEN, most=400)
    return lambda pictures: recipe.doubts(module.eval(), pictures)


def fine_tuned(images: Tensor, labels: Tensor, seed: int) -> Doubt:
    """The inspector of the other parts, trained on."""
    inspector = _known()
    module = Tuned(inspector)
    _fitted(module, images, labels, seed, rate=5e-4, seen=SEEN // 12, most=40)
    return lambda pictures: recipe.doubts(module.eval(), pictures)


def svm_on_features(images: Tensor, labels: Tensor, seed: int) -> Doubt:
    """A support vector machine with radial basis functions on the features of the inspector of the other parts."""
    return _machine(images, labels, lambda known, pictures: known.backbone(pictures))


def svm_on_logits(images: Tensor, labels: Tensor, seed: int) -> Doubt:
    """The same on the five logits in which that inspector's head sums its features up."""
    return _machine(images, labels, lambda known, pictures: known(pictures))


SCRATCH = "from scratch"
METHODS: dict[str, Callable[[Tensor, Tensor, int], Doubt]] = {
    SCRATCH: from_scratch, "fine-tuned": fine_tuned, "SVM on features": svm_on_features,
    "SVM on logits": svm_on_logits,
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """The escape rates of a method with a number of labels, one for each seed."""

    method: str
    labels: int
    escapes: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.escapes))


@dataclass(frozen=True)
class Transfer:
    """All points, and how the network of the other parts does on the new one as it is."""

    points: tuple[Point, ...]
    untrained: float
    tested: int

    def of(self, method: str) -> list[Point]:
        return [point for point in self.points if point.method == method]

    def needed(self, method: str, escape: float) -> float:
        """Labels at which the median of a method reaches an escape rate, interpolated in logarithms; inf beyond."""
        found = self.of(method)
        for before, after in zip([None, *found], found):
            if after.median <= escape:
                if before is None:
                    return float(after.labels)
                low, high = np.log(before.median), np.log(max(after.median, 1e-6))
                part = (low - np.log(max(escape, 1e-6))) / (low - high)
                return float(before.labels * (after.labels / before.labels) ** part)
        return float("inf")


def study(
    labels: Sequence[int] = LABELS, seeds: int = SEEDS, tested: int = TESTED, methods: Sequence[str] = tuple(METHODS),
    kept: Path | None = None, say: Callable[[str], None] = print, progress: bool | None = None,
    scratch: int | None = None,
) -> Transfer:  # fmt: skip
    """Train every method on every number of labelled pictures of the new part, `seeds` times on other pictures.

    scratch: how many times from scratch, which takes most of the time; by default as often.
    All are judged on the same fresh pictures, half of them defective, at REJECTS false rejects. kept: a file of JSON
    lines to which every number goes when it is found; the same call after an interruption goes on behind the last.
    Raises DataError when the file is of another network or another test.
    """
    journal = Journal(kept, {"tested": tested, "network": weights_of(CARD)})
    images, truth = photographs(tested, NEW, seed=1)
    untrained = judging.escape(recipe.doubts(_known(), images), truth)
    say(f"the inspector of the other parts, as it is: {100 * untrained:.2f} % escape")
    found = {(method, n, seed): rate for method, n, seed, rate in journal.rows}
    times = {method: seeds if scratch is None or method != SCRATCH else min(scratch, seeds) for method in methods}
    with progress_bar("transfer", sum(times.values()) * len(labels), progress) as bar:
        for seed in range(seeds):
            pictures, defects = photographs(max(labels), NEW, seed=100 + seed)
            for n, method in product(labels, [method for method in methods if seed < times[method]]):
                if (method, n, seed) not in found:
                    doubt = METHODS[method](pictures[:n], defects[:n], seed)
                    rate = found[method, n, seed] = judging.escape(doubt(images), truth)
                    journal.add([method, n, seed, rate])
                    say(f"seed {seed}, {method}, {n} labels: {100 * rate:.2f} % escape")
                bar.advance()
    points = tuple(
        Point(method, n, tuple(found[method, n, seed] for seed in range(times[method])))
        for method, n in product(methods, labels)
    )
    return Transfer(points, untrained, int((truth != OK).sum()))


def weights_of(card: Path) -> str:
    """What tells the weights of a card from others."""
    weights = load(card)[1].weights
    return weights.sha256[:16] if weights else ""


def _known() -> Inspector:
    module = load(CARD)[0]
    assert isinstance(module, Inspector)
    return module.eval()


def _fitted(module: nn.Module, images: Tensor, labels: Tensor, seed: int, rate: float, seen: int, most: int) -> None:
    """Train while about `seen` pictures pass, each at most `most` times and at least 16 times."""
    epochs = max(16, min(most, seen // len(images)))
    fit(
        module,
        recipe.examples(images, labels),
        loss=nn.functional.cross_entropy,
        epochs=epochs,
        batch=32 if len(images) > 100 else 16,
        rate=rate,
        augment=recipe.turned,
        seed=seed,
        progress=False,
    )


def _machine(images: Tensor, labels: Tensor, seen: Callable[[Inspector, Tensor], Tensor]) -> Doubt:
    """A support vector machine on what the known inspector sees in every picture, scaled to a deviation of 1.

    Pictures are mirrored and turned in as many of the eight ways as ROWS allows.
    """
    try:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC
    except ImportError as error:
        raise SimdlError("visual_inspection transfer", "scikit-learn is not installed", "it, for models on features",
                         "pip install 'simdl[sklearn]'") from error  # fmt: skip
    known = _known()

    def features(pictures: Tensor) -> np.ndarray:
        with torch.no_grad():
            return torch.cat([seen(known, piece.float() / 255) for piece in pictures.split(256)]).numpy()

    ways = max(1, min(8, ROWS // len(images)))
    model = make_pipeline(StandardScaler(), SVC(C=1.0, cache_size=500))
    every = torch.cat([_way(images, k) for k in range(ways)])
    model.fit(features(every), (labels != OK).long().repeat(ways).numpy())
    return lambda pictures: torch.from_numpy(model.decision_function(features(pictures)))


def _way(images: Tensor, k: int) -> Tensor:
    """Mirrored and turned in the k-th of eight ways."""
    seen = images.transpose(1, 2) if k // 4 else images
    return seen.flip([axis for axis, on in ((1, k // 2 % 2), (2, k % 2)) if on])
