"""Shapes as a PNG, by matplotlib: no renderer of SVG is needed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from simdl.draw.scene import Scene, Shape
from simdl.draw.svg import LIGHT, strokes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCALE = 2.0  # pixels of the picture for one of the scene
LARGEST = 16_000.0  # pixels of a side


def png(scene: Scene) -> bytes:
    """The picture on white, at twice its size in pixels, or smaller where that would pass 16000."""
    import matplotlib
    from matplotlib.figure import Figure

    scale = min(SCALE, LARGEST / max(scene.width, scene.height))
    with matplotlib.rc_context({"text.parse_math": False, "font.family": "DejaVu Sans", "path.snap": False}):
        figure = Figure(figsize=(scene.width / 72, scene.height / 72), facecolor=LIGHT["paper"])
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, scene.width), ylim=(scene.height, 0))
        axes.set_axis_off()
        for order, shape in enumerate(scene.shapes):
            _add(axes, shape, order)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=72 * scale, metadata={"Software": None})
    return out.getvalue()


def _add(axes: Axes, shape: Shape, order: int) -> None:
    from matplotlib import patches
    from matplotlib.path import Path

    fill, stroke = LIGHT.get(shape.fill, "none"), LIGHT.get(shape.stroke, "none")
    (x, y), size = shape.points[0], shape.size
    if shape.kind == "text":
        anchor = {"start": "left", "middle": "center", "end": "right"}[shape.anchor]
        axes.text(x, y, shape.text, fontsize=size, color=fill, ha=anchor, va="baseline", zorder=order,
                  fontweight="bold" if shape.bold else "normal")  # fmt: skip
        return
    style: dict[str, Any] = {
        "facecolor": fill,
        "edgecolor": stroke,
        "linewidth": shape.thick if shape.stroke else 0,
        "zorder": order,
    }
    if shape.dash:
        style["linestyle"] = (0, tuple(d / shape.thick for d in shape.dash))
    patch: patches.Patch
    if shape.kind == "circle":
        patch = patches.Circle((x, y), shape.radius, **style)
    elif shape.kind == "polygon":
        patch = patches.Polygon(shape.points, closed=True, **style)
    elif shape.kind == "rect":
        right, bottom = shape.points[1]
        box = f"round,pad=0,rounding_size={shape.radius}" if shape.radius else "square,pad=0"
        patch = patches.FancyBboxPatch((x, y), right - x, bottom - y, boxstyle=box, **style)
    else:
        codes = {"M": [Path.MOVETO], "L": [Path.LINETO], "Q": [Path.CURVE3, Path.CURVE3]}
        moves = strokes(shape)
        line = Path([p for _, points in moves for p in points], [c for name, _ in moves for c in codes[name]])
        patch = patches.PathPatch(line, **{**style, "facecolor": "none"}, capstyle="butt")
    axes.add_patch(patch)
