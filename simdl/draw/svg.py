"""Shapes as SVG: one file that refers to nothing outside, light or dark as its reader likes, the same bytes each time.

Colours are classes, so that viewers without CSS variables show them; every rule begins with the class of the picture,
so that none touches the page it stands in.
"""

from __future__ import annotations

from simdl.draw.scene import Scene, Shape
from simdl.draw.sketch import Point
from simdl.draw.text import short, xml

# Okabe & Ito (2008), darkened for light ground: each has a contrast of at least 3 with it.
LIGHT = {
    "ink": "#16191d", "soft": "#565c66", "paper": "#ffffff", "raised": "#f4f5f7", "frame": "#f8f9fa", "c0": "#0072b2",
    "c1": "#c04f00", "c2": "#007a59", "c3": "#a8528a", "c4": "#946700", "c5": "#2f7fae",
    "tint0": "#e5f1f8", "tint1": "#fbece2", "tint2": "#e2f4ee", "tint3": "#f7ebf3",
    "tint4": "#fbf2de", "tint5": "#e9f4fb",
}  # fmt: skip
DARK = {
    "ink": "#e8eaed", "soft": "#a9b0ba", "paper": "#14171b", "raised": "#1e2227", "frame": "#191d22", "c0": "#56a9e0",
    "c1": "#ff9a57", "c2": "#3fc79c", "c3": "#dd97bf", "c4": "#e6ab3c", "c5": "#7cc7f0",
    "tint0": "#12293a", "tint1": "#352012", "tint2": "#0f2e26", "tint3": "#33212d",
    "tint4": "#31260f", "tint5": "#15303f",
}  # fmt: skip
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"


def rules(colors: dict[str, str]) -> str:
    """The style of every role."""
    text = (f".simdl-drawing .f-{n}{{fill:{c}}}.simdl-drawing .s-{n}{{stroke:{c}}}" for n, c in colors.items())
    return "".join(text)


STYLE = (
    f".simdl-drawing text{{font-family:{FONT}}}.simdl-drawing *{{vector-effect:none}}{rules(LIGHT)}"
    f"@media screen and (prefers-color-scheme:dark){{{rules(DARK)}}}"
)


def svg(scene: Scene, title: str, description: str, *, embedded: bool = False) -> str:
    """The picture as an SVG element; `embedded` in a page that gives it its role and label."""
    size = f'width="{_n(scene.width)}" height="{_n(scene.height)}" viewBox="0 0 {_n(scene.width)} {_n(scene.height)}"'
    role = f' role="img" aria-label="{xml(title)}" xmlns="http://www.w3.org/2000/svg"'
    if embedded:  # in a narrow page it is made smaller, but not so small that it cannot be read
        role = f' style="--least:{_n(0.75 * scene.width)}px;--most:{_n(1.25 * scene.width)}px"'
    lines = [
        f'<svg class="simdl-drawing"{role} {size}>',
        f"<title>{xml(title)}</title>",
        f"<desc>{xml(description)}</desc>",
        f"<style>{STYLE}</style>",
        f'<rect class="f-paper" width="{_n(scene.width)}" height="{_n(scene.height)}" rx="6"/>',
    ]
    return "\n".join([*lines, *(_shape(shape) for shape in scene.shapes), "</svg>"]) + "\n"


def _shape(shape: Shape) -> str:
    names = [f"f-{shape.fill}"] if shape.fill else []
    names += [f"s-{shape.stroke}"] if shape.stroke else []
    style = f' class="{" ".join(names)}"' if names else ""
    if shape.kind == "text":
        return _text(shape, style)
    style += ' fill="none"' if not shape.fill else ""
    if shape.stroke:
        style += f' stroke-width="{_n(shape.thick)}"'
        style += f' stroke-dasharray="{" ".join(map(_n, shape.dash))}"' if shape.dash else ""
    x, y = shape.points[0]
    if shape.kind == "circle":
        body = f'<circle{style} cx="{_n(x)}" cy="{_n(y)}" r="{_n(shape.radius)}"'
    elif shape.kind == "rect":
        right, bottom = shape.points[1]
        corner = f' rx="{_n(shape.radius)}"' if shape.radius else ""
        body = f'<rect{style} x="{_n(x)}" y="{_n(y)}" width="{_n(right - x)}" height="{_n(bottom - y)}"{corner}'
    elif shape.kind == "polygon":
        body = f'<polygon{style} points="{" ".join(f"{_n(a)},{_n(b)}" for a, b in shape.points)}"'
    else:
        body = f'<path{style} d="{path(shape)}"'
    name = body[1:].partition(" ")[0]
    return f"{body}><title>{xml(short(shape.tip, 300))}</title></{name}>" if shape.tip else f"{body}/>"


def _text(shape: Shape, style: str) -> str:
    (x, y), more = shape.points[0], ""
    more += ' font-weight="600"' if shape.bold else ""
    more += f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    tip = f"<title>{xml(short(shape.tip, 300))}</title>" if shape.tip and shape.tip != shape.text else ""
    return f'<text{style} x="{_n(x)}" y="{_n(y)}" font-size="{_n(shape.size)}"{more}>{xml(shape.text)}{tip}</text>'


def path(shape: Shape) -> str:
    """A line with rounded corners, as path data."""
    return " ".join(f"{command}{' '.join(f'{_n(a)} {_n(b)}' for a, b in points)}" for command, points in strokes(shape))


def strokes(shape: Shape) -> list[tuple[str, list[Point]]]:
    """The moves of a line: M and L to a point, Q around a corner."""
    points = _corners(shape.points)
    found: list[tuple[str, list[Point]]] = [("M", [points[0]])]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(shape.radius, _distance(before, corner) / 2, _distance(corner, after) / 2)
        if radius > 0.5:
            found += [("L", [_towards(corner, before, radius)]), ("Q", [corner, _towards(corner, after, radius)])]
        else:
            found.append(("L", [corner]))
    return [*found, ("L", [points[-1]])]


def _corners(points: tuple[Point, ...]) -> list[Point]:
    """The points at which a line turns, with both ends."""
    kept = [points[0]]
    for point, after in zip(points[1:], points[2:], strict=False):
        straight = (kept[-1][0] == point[0] == after[0]) or (kept[-1][1] == point[1] == after[1])
        if point != kept[-1] and not straight:
            kept.append(point)
    return [*kept, points[-1]]


def _distance(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _towards(a: Point, b: Point, far: float) -> Point:
    part = far / _distance(a, b)
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
