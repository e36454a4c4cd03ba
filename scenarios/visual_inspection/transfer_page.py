"""The table and the figure of the transfer study."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simdl.scenarios.visual_inspection import judging
from simdl.scenarios.visual_inspection.transfer import SEEN, Transfer

COLOURS = {
    "from scratch": "#666666", "fine-tuned": "#0072b2", "SVM on features": "#d55e00", "SVM on logits": "#009e73",
}  # fmt: skip
FEW = 100  # labels, with which a new part should do


def methods(found: Transfer) -> list[str]:
    return list(dict.fromkeys(point.method for point in found.points))


def table(found: Transfer) -> str:
    """Medians and ranges, %, as Markdown."""
    names = methods(found)
    heads = [f"{name} ({_draws(found, name)})" for name in names]
    lines = ["| labels | " + " | ".join(heads) + " |", "|---:|" + "---:|" * len(names)]
    for row in zip(*(found.of(name) for name in names)):
        cells = [f"{100 * p.median:.1f} ({100 * min(p.escapes):.1f}–{100 * max(p.escapes):.1f})" for p in row]
        lines.append(f"| {row[0].labels} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _draws(found: Transfer, name: str) -> str:
    count = len(found.of(name)[0].escapes)
    return "1 draw" if count == 1 else f"{count} draws"


def claims(found: Transfer) -> list[str]:
    """How many labels training from scratch needs for what the other methods reach with FEW or less."""
    said: list[str] = []
    if "from scratch" not in methods(found):
        return said
    most = found.of("from scratch")[-1]
    for name in methods(found):
        if name == "from scratch":
            continue
        for point in found.of(name):
            if point.labels > FEW:
                continue
            needed = found.needed("from scratch", point.median)
            if np.isinf(needed):
                more = (f"more than {most.labels}, where it has {100 * most.median:.1f} %: a factor of more than "
                        f"{most.labels / point.labels:.0f}")  # fmt: skip
            else:
                more = f"about {needed:.0f}: a factor of {needed / point.labels:.0f}"
            said.append(f"{name}, {point.labels} labels: {100 * point.median:.1f} %; from scratch needs {more}.")
    return said


def figure(found: Transfer, path: Path) -> None:
    """Escape rate against labels: medians, with bands from the least to the largest over seeds."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(7, 4.4), layout="constrained")
    axis = page.subplots()
    for name in methods(found):
        points = found.of(name)
        x = [p.labels for p in points]
        axis.fill_between(x, [100 * min(p.escapes) for p in points], [100 * max(p.escapes) for p in points],
                          color=COLOURS.get(name), alpha=0.15, linewidth=0)  # fmt: skip
        axis.plot(x, [100 * p.median for p in points], "o-", color=COLOURS.get(name), label=name, markersize=4)
    axis.axhline(100 * found.untrained, color="0.3", linestyle=":", linewidth=1)
    axis.annotate("no label at all", (300, 100 * found.untrained), ha="center", va="bottom", fontsize=8)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("labelled pictures of the new part")
    axis.set_ylabel(f"defective parts that escape, %\n({100 * judging.REJECTS:.0f} % of the good ones rejected)")
    axis.legend(frameon=False)
    axis.grid(True, which="both", linewidth=0.3, alpha=0.5)
    page.savefig(path, dpi=130)


def write(found: Transfer, folder: Path, command: str, versions: Sequence[str]) -> None:
    """README.md and transfer.png."""
    folder.mkdir(parents=True, exist_ok=True)
    figure(found, folder / "transfer.png")
    text = ["# A new part on the line", "", "![escape rate against labels](transfer.png)", "",
            f"Escape rate, %, at {100 * judging.REJECTS:.0f} % false rejects, on {found.tested} defective brackets: "
            f"median (least–largest) of draws of the labelled pictures. The backbone was trained on the other "
            "parts; it has never seen a bracket.", "",
            table(found), "",
            f"The inspector of the other parts as it is, without a label: {100 * found.untrained:.1f} %.", "",
            *(f"- {line}" for line in claims(found)), "",
            "The threshold is that of the tested good parts: a point of the operating curve, for every method.", "",
            "From scratch and fine-tuned are the same network with the same eight-fold mirroring, trained on verdicts "
            f"alone; from scratch sees up to {SEEN:,} pictures, fine-tuned far fewer. Two reasons of the factor: the "
            "other parts share their defects with the new one, and the backbone was taught where defects are, which "
            "pictures labelled by hand do not say. The factor is read where training from scratch has reached the same "
            "escape rate; that it is poor with few labels, where simpler models do better, does not enter.", "",
            "The two support vector machines see the same inspector: its 128 features, or the five logits in which "
            "its head sums them up. With few labels the features are too many, and what the head knows is lost.", "",
            "![pictures](sheet.png)", "",
            f"Made by `{command}` with {', '.join(versions)}.", ""]  # fmt: skip
    (folder / "README.md").write_text("\n".join(text), encoding="utf-8")
