"""A contact sheet: pictures of parts by family and defect, to look at."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from simdl.scenarios.visual_inspection import parts
from simdl.scenarios.visual_inspection.photographs import photographs
from simdl.scenarios.visual_inspection.rendering import SIZE


def pictures(families: Sequence[int], each: int = 3, seed: int = 0) -> Tensor:
    """(families, defects, each, SIZE, SIZE) uint8: the first `each` pictures of every family with every defect."""
    rows = []
    for family in families:
        images, labels = photographs(64 + 16 * each * len(parts.DEFECTS), family, seed, defective=0.8)
        rows.append(torch.stack([images[labels == defect][:each] for defect in range(len(parts.DEFECTS))]))
    return torch.stack(rows)


def draw(found: Tensor, families: Sequence[int], path: Path) -> None:
    """The sheet as a PNG."""
    from matplotlib.figure import Figure

    rows, defects, each = found.shape[:3]
    page = Figure(figsize=(0.62 * defects * each + 1, 0.62 * rows + 0.4))
    page.subplots_adjust(wspace=0.03, left=0.08, right=0.995, top=0.93, bottom=0.01)
    axes = page.subplots(1, defects)
    for defect, axis in enumerate(axes):
        framed = torch.nn.functional.pad(found[:, defect], (1, 1, 1, 1), value=255)  # (rows, each, SIZE + 2, SIZE + 2)
        sheet = framed.transpose(1, 2).reshape(rows * (SIZE + 2), each * (SIZE + 2))
        axis.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(parts.DEFECTS[defect], fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
    axes[0].set_yticks([(k + 0.5) * (SIZE + 2) for k in range(rows)], [parts.FAMILIES[k] for k in families])
    axes[0].tick_params(length=0)
    page.savefig(path, dpi=140)
