"""Pictures of diagrams: read a model into a sketch, lay it out in layers, draw it as SVG or PNG."""

from simdl.draw.drawing import Drawing, draw, picture
from simdl.draw.layout import Direction

__all__ = ["Direction", "Drawing", "draw", "picture"]
