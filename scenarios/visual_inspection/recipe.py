"""How the inspector that ships was trained: on synthetic pictures of all families but the bracket."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from simdl.learn import fit
from simdl.networks import ModelCard, save
from simdl.scenarios.visual_inspection import judging
from simdl.scenarios.visual_inspection.network import CELLS, Inspector, inspector
from simdl.scenarios.visual_inspection.parts import DEFECTS, OK, SOURCES
from simdl.scenarios.visual_inspection.photographs import located, photographs

SMOOTHING = 0.02  # of the targets: what can hardly be seen is not learnt by heart
NEAR, FAR = 0.3, 0.65  # cells nearer than this to a defect show it; those beyond show none; those between do not count


class Taught(nn.Module):
    """An inspector at school: beside its verdict it says for every cell of the picture what is there.

    Pictures (n, SIZE, SIZE) -> logits (n, 1 + CELLS², 5). Synthetic pictures know where their defects are, and that is
    worth much more than to know that there is one.
    """

    def __init__(self, module: Inspector) -> None:
        super().__init__()
        self.inspector = module
        self.cells = nn.Conv2d(module.backbone.features // 2, len(DEFECTS), 1)

    def forward(self, picture):
        maps = self.inspector.backbone.maps(picture)
        verdict = self.inspector.head(self.inspector.backbone.pooled(maps))
        return torch.cat([verdict.unsqueeze(1), self.cells(maps).flatten(2).transpose(1, 2)], 1)


def examples(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures as numbers from 0 to 1, and the wanted probabilities of DEFECTS, smoothed."""
    wanted = nn.functional.one_hot(labels, len(DEFECTS)).float()
    return images.float() / 255, wanted * (1 - SMOOTHING) + SMOOTHING / len(DEFECTS)


def lessons(images: torch.Tensor, labels: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures from 0 to 1 and what `Taught` should say: the verdict, and the cells with the weights of each."""
    picture, verdict = examples(images, labels)
    middles = (torch.arange(CELLS) + 0.5) * (2.0 / CELLS) - 1.0
    down, across = torch.meshgrid(middles, middles, indexing="ij")
    apart = (torch.stack([across, down], -1) - places[:, None, None].float()).norm(dim=-1).flatten(1)  # (n, cells)
    near, far = (apart < NEAR).float(), (~(apart <= FAR)).float()  # NaN, without a defect: far
    cells = near.unsqueeze(2) * nn.functional.one_hot(labels, len(DEFECTS)).float().unsqueeze(1)
    cells = cells / near.sum(1).clamp(min=1.0)[:, None, None]
    cells[:, :, OK] += far / CELLS**2
    return picture, torch.cat([verdict.unsqueeze(1), cells], 1)


def weighted(logits, wanted):
    """Cross entropy, summed over the rows of a picture, each of which counts as much as its targets sum to."""
    return -(wanted * torch.log_softmax(logits, 2)).sum((1, 2)).mean()


def turned(batch, generator: torch.Generator):
    """Every picture, and the cells of a lesson, mirrored and turned at random into one of eight: the lamp may stand
    anywhere."""
    picture, wanted = batch
    which = torch.randint(8, (len(picture), 1, 1), generator=generator)
    if wanted.ndim == 3:
        cells = _turned(wanted[:, 1:].unflatten(1, (CELLS, CELLS)), which.unsqueeze(3)).flatten(1, 2)
        wanted = torch.cat([wanted[:, :1], cells], 1)
    return _turned(picture, which), wanted


def _turned(grid, which):
    """(n, rows, columns, ...), each in one of eight ways."""
    grid = torch.where(which % 2 == 0, grid, grid.flip(2))
    grid = torch.where(which // 2 % 2 == 0, grid, grid.flip(1))
    return torch.where(which // 4 == 0, grid, grid.transpose(1, 2))


def doubts(module: nn.Module, images: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """The probability (n,) that a part is not ok, of pictures (n, SIZE, SIZE) uint8."""
    module.eval()
    with torch.no_grad():
        logits = torch.cat([module(piece.float() / 255) for piece in images.split(batch)])
    return 1 - torch.softmax(logits.double(), 1)[:, OK]


def train(
    folder: Path, count: int = 16384, epochs: int = 18, seed: int = 0, progress: bool | None = None,
    checkpoint: Path | None = None,
) -> ModelCard:  # fmt: skip
    """Train on `count` pictures of the source families, and save the network with a card.

    Its threshold is set on washers, which the scenario uses, and it is judged on as many fresh ones. checkpoint: a
    folder from which an interrupted training goes on.
    """
    torch.manual_seed(seed)
    module = Inspector()
    learn = located(count, SOURCES, seed=4 * seed + 1)
    fit(
        Taught(module),
        lessons(*learn),
        lessons(*located(count // 4, SOURCES, seed=4 * seed + 2)),
        loss=weighted,
        epochs=epochs,
        batch=128,
        rate=4e-3,
        augment=turned,
        checkpoint=checkpoint,
        seed=seed,
        progress=progress,
    )
    digest = hashlib.sha256(learn[0].numpy().tobytes()).hexdigest()
    return saved(folder, module, count // 4, 4 * seed + 3, digest[:16])


def saved(folder: Path, module: Inspector, count: int, seed: int, data_hash: str = "") -> ModelCard:
    """Save an inspector with its card: its threshold is set on `count` pictures of washers and judged on as many."""
    held, labels = photographs(count, 0, seed)
    limit = judging.threshold(doubts(module, held), labels)
    fresh, truth = photographs(count, 0, seed + 1)
    doubt = doubts(module, fresh)
    metrics = {
        "threshold": 1 - limit,
        "escape rate": judging.escape(doubt, truth, limit),
        "false rejects": judging.false_rejects(doubt, truth, limit),
        "defective parts tested": float((truth != OK).sum()),
        "good parts tested": float((truth == OK).sum()),
        **{f"escape rate, {DEFECTS[k]}": judging.escape(doubt, truth, limit, k) for k in range(1, len(DEFECTS))},
    }
    card = ModelCard.of(
        inspector(module), "visual_inspection.inspector", {}, name="visual_inspection inspector", data_hash=data_hash,
        metrics=metrics, notes="a part is to be rejected when its score of `ok` is below the threshold",
    )  # fmt: skip
    return save(folder, module, card)
