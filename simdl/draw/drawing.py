"""A picture of a diagram, as SVG, PNG, or in a notebook; with a sentence and a text that say the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from simdl.compile import Model, compile_model
from simdl.declarations import Input, Inputs, Output, State
from simdl.declared import Declared
from simdl.draw.layout import Direction, lay_out, measure
from simdl.draw.reader import read
from simdl.draw.scene import Scene, scene, single
from simdl.draw.sketch import EXTERNAL, Box, Kind
from simdl.draw.svg import svg
from simdl.draw.text import short, xml
from simdl.draw.words import port_label
from simdl.errors import ModelError
from simdl.methods import Crossing, OutputMethod


@dataclass(frozen=True, eq=False)
class Drawing:
    """A laid out picture. title; sentence: what it shows, for who cannot see it; text: the compiled schedule."""

    root: Box
    scene: Scene
    title: str
    sentence: str
    text: str = ""

    @property
    def svg(self) -> str:
        """The picture as an SVG document: it needs no other file, and is dark where its reader prefers that."""
        return svg(self.scene, self.title, self.sentence)

    @property
    def embedded(self) -> str:
        """The SVG element for a page that gives it its role and label itself."""
        return svg(self.scene, self.title, self.sentence, embedded=True)

    @property
    def png(self) -> bytes:
        """The picture as PNG, light, at twice its size."""
        from simdl.draw.png import png

        return png(self.scene)

    def save(self, path: str | Path) -> None:
        """Write it: SVG, or PNG where the name ends in .png. Raises ModelError for another ending."""
        path = Path(path)
        if path.suffix.lower() == ".png":
            path.write_bytes(self.png)
        elif path.suffix.lower() == ".svg":
            path.write_text(self.svg, encoding="utf-8")
        else:
            raise ModelError(str(path), f"a picture as {path.suffix or 'a file without an ending'}", ".svg or .png")

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        text = f"<details><summary>As text</summary><pre>{xml(self.text)}</pre></details>" if self.text else ""
        return f'<div style="max-width:100%;overflow-x:auto">{self.svg}</div>{text}'

    def __repr__(self) -> str:
        return f"<Drawing: {self.sentence}>"


def draw(
    model: Declared | Model, path: str | Path | None = None, *, depth: int | None = None, direction: Direction = "right"
) -> Drawing:
    """The picture of a diagram: blocks with their ports, nested diagrams as frames, rates as colours and dashes.

    path: where to write it, as .svg or .png. depth: levels of diagrams to open, all when not given. direction: of the
    signals, "right" or "down". Raises ModelError for a diagram that does not compile.

    >>> from simdl import Diagram, Output
    >>> from simdl.blocks import Gain, Ramp
    >>> class Twice(Diagram):
    ...     y = Output()
    ...     def __init__(self):
    ...         self.ramp, self.gain = Ramp(), Gain(k=2.0)
    ...         self.gain.u = self.ramp.y
    ...         self.y = self.gain.y
    >>> Twice().draw()
    <Drawing: Twice: 2 blocks, 2 wires; 1 output; continuous.>
    """
    if direction not in get_args(Direction):
        raise ModelError("draw", f"direction={direction!r}", "one of", names=get_args(Direction), wrong=str(direction))
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise ModelError("draw", f"depth={depth!r}", "a number of levels, 1 or more")
    compiled = compile_model(model)
    root, rates = read(compiled, depth)
    lay_out(root, direction)
    picture = scene(root, direction, rates)
    found = Drawing(root, picture, short(compiled.name, 60), _sentence(root), compiled.describe())
    if path is not None:
        found.save(path)
    return found


def picture(block: type[Declared], text: str = "", *, name: str = "") -> Drawing:
    """The picture of a kind of block by itself: its inputs, its outputs (its states where it has none), crossings.

    text: what else is to be said in a notebook; name: what to call it, its class when not given."""
    title = short(name or block.__name__, 32)
    declared = block.declared().values()
    shown = (Output, OutputMethod) if any(isinstance(d, Output | OutputMethod) for d in declared) else (State,)
    box = Box("block", "", title, rate=EXTERNAL)
    for port, declaration in block.declared().items():
        label = port_label(port, declaration)
        if isinstance(declaration, Input | Inputs):
            box.add("in", port, f"{label} …" if isinstance(declaration, Inputs) else label, declaration.unit)
        elif isinstance(declaration, shown):
            box.add("out", port, label, declaration.unit)
        elif isinstance(declaration, Crossing):
            box.add("out", port, label, mark="crossing")
    measure(box, "right")
    ports = f"{_many(len(box.ins), 'input')} and {_many(len(box.outs), 'output')}"
    return Drawing(box, single(box), title, f"{title}: {ports}.", text)


_WORDS: dict[Kind, str] = {
    "block": "block", "network": "network", "closed": "closed diagram", "frame": "nested diagram", "formula": "formula",
}  # fmt: skip


def _sentence(root: Box) -> str:
    boxes = root.all()[1:]
    count = Counter(box.kind for box in boxes)
    outside = [box for box in boxes if box.outer is None]
    parts = [_many(count[kind], word) for kind, word in _WORDS.items() if count[kind]]
    parts.append(_many(sum(len(box.wires) for box in [root, *boxes]), "wire"))
    borders = [_many(sum(b.kind == kind for b in outside), kind) for kind in ("input", "output")]
    borders = [text for text in borders if not text.startswith("0")]
    rates = list(dict.fromkeys(b.rate.text for b in boxes if b.kind in ("block", "network")))
    more = [", ".join(borders), ", ".join(rates)]
    return "; ".join([f"{root.title}: {', '.join(parts)}", *(text for text in more if text)]) + "."


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"
