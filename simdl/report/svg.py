"""From a matplotlib figure to SVG that belongs to its page: its colours follow the page, it refers to nothing outside.

Figures are drawn in stand-in colours for ink and rules, which become CSS variables of the page; so the same picture
is dark on light and light on dark. Text stays text: it scales, it can be searched, and it is in the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simdl.plot import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

INK, SOFT, RULE, PAPER = "#010203", "#020304", "#030405", "#fdfcfb"
LARGEST = 400_000  # bytes of one SVG; above it the picture becomes a PNG
WIDTH = 7.2  # inches; the page scales it

_VARIABLES = {INK: "ink", "#000000": "ink", SOFT: "soft", RULE: "rule", PAPER: "paper"} | {
    color.lower(): f"c{i}" for i, color in enumerate(PALETTE) if color != "#000000"
}
_STYLE: dict[Any, Any] = {
    "font.size": 9.0, "font.family": "DejaVu Sans", "svg.fonttype": "none", "svg.hashsalt": "simdl", "text.color": INK,
    "axes.edgecolor": SOFT, "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "axes.titlesize": 9.0, "axes.titlelocation": "left", "grid.color": RULE, "grid.linewidth": 0.6,
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "legend.frameon": False, "legend.fontsize": 8.5, "figure.facecolor": "none", "savefig.facecolor": "none",
    "lines.linewidth": 1.4, "text.parse_math": False, "axes.formatter.use_mathtext": False,
    "path.simplify": True, "path.simplify_threshold": 0.3, "axes.unicode_minus": True,
}  # fmt: skip


@contextmanager
def drawing(
    height: float = 2.8, rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Drawing, list[list[Axes]]]]:
    """A figure of the page's style with its axes by row; nothing of matplotlib's global state is touched."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, **options)
        yield figure, [list(row) for row in grid]


def rendered(figure: Drawing) -> tuple[str, bytes]:
    """The drawing as SVG text; or, where that would be larger than 400 kB, as PNG bytes on white."""
    out = io.StringIO()
    none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=none)
    svg = inline(out.getvalue())
    if len(svg.encode()) <= LARGEST:
        return svg, b""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return "", picture.getvalue()


def inline(svg: str) -> str:
    """The `<svg>` element alone: no prologue, metadata, namespaces or unused ids, and in the page's colours.

    >>> inline('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><g id="a" style="fill: #010203"/></svg>')
    '<svg><g style="fill: var(--ink)"/></svg>'
    """
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style .*?</style>", "", svg, flags=re.DOTALL)
    head, _, rest = svg.partition(">")
    svg = re.sub(r'\s(xmlns(:\w+)?|width|height|version)="[^"]*"', "", head) + ">" + rest
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([\w.-]+)', svg))
    svg = re.sub(r'\sid="([\w.-]+)"', lambda m: m[0] if m[1] in used else "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", svg)
    return re.sub(r'(?<=style=")[^"]*(?=")', _recolored, re.sub(r"\n\s*", "\n", svg))


def apart(svg: str, number: int) -> str:
    """The same element with ids that no other figure of the page has."""
    return re.sub(r'(\sid="|xlink:href="#|url\(#)([\w.-]+)', rf"\1f{number}-\2", svg)


def _recolored(match: re.Match[str]) -> str:
    style = match[0]
    for color, name in _VARIABLES.items():
        style = style.replace(color, f"var(--{name})")
    # Widths were measured in DejaVu Sans, which is wider than what pages are usually set in: nothing comes to overlap.
    return re.sub(r"'DejaVu Sans'[^;]*", "var(--sans)", style)
