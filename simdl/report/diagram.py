"""The picture of the loop that a page is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simdl.draw import draw
from simdl.report.parts import Figure, Section, Table
from simdl.report.svg import LARGEST

if TYPE_CHECKING:
    from simdl.compile import Model

MOST = 60  # boxes; a larger diagram is drawn with its nested ones closed


def diagram(model: Model) -> Section:
    """The section "The loop": blocks, wires and rates, with the blocks as a table."""
    drawing = draw(model)
    if len(drawing.root.all()) > MOST:
        drawing = draw(model, depth=1)
    rows = [
        [
            box.path or box.title, box.lines[0] if box.lines else "", box.rate.text,
            ", ".join(pin.label for pin in box.ins), ", ".join(pin.label for pin in box.outs),
        ]
        for box in drawing.root.all()[1:]
        if box.kind in ("block", "network", "closed")
    ]  # fmt: skip
    columns = ["block", "type", "rate", "inputs", "outputs"]
    table = Table.of("Blocks", columns, rows)
    svg = drawing.embedded if len(drawing.svg) <= LARGEST else ""
    caption = "Colour and dashes are rates; the legend names them. A second outline marks a network."
    return Section("The loop", (Figure(f"The loop: {drawing.title}", drawing.sentence, svg, b"", caption, table),))
