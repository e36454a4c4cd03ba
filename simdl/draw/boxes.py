"""The boxes of a sketch and their pins: what stands in which frame, and what it says."""

from __future__ import annotations

from typing import Literal

from torch import nn

from simdl.block import Block
from simdl.clock import period_text
from simdl.compile import Model
from simdl.declarations import State
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.draw.rates import Rates
from simdl.draw.sketch import Box, Pin
from simdl.draw.text import short
from simdl.draw.words import block_text, condition_texts, shape_text
from simdl.methods import Crossing


class Boxes:
    """Makes the boxes of a model's blocks and diagrams; `depth` levels of diagrams are opened, all when None."""

    def __init__(self, model: Model, depth: int | None) -> None:
        self.model, self.depth, self.rates = model, depth, Rates(model)
        self.paths = model.flat.paths
        self.shown: dict[int, Box] = {}  # id of a block or diagram -> the box that stands for it
        self.frames: list[tuple[Declared, Box]] = []

    def frame(self, owner: Diagram, frame: Box, level: int) -> None:
        self.shown[id(owner)] = frame
        self.frames.append((owner, frame))
        for child in owner.children():
            if not isinstance(child, Diagram):
                self.leaf(child, frame, self.paths[id(child)])
                continue
            path = self.paths[id(child)]
            words = [type(child).__name__, *condition_texts(child)]
            box = Box("frame", path, short(child.label), tuple(short(w, 60) for w in words), path, parent=frame)
            box.rate = self.rates.within(path)
            frame.boxes.append(box)
            if self.depth is None or level < self.depth:
                self.frame(child, box, level + 1)
            else:
                self.closed(child, box)

    def closed(self, owner: Diagram, box: Box) -> None:
        box.kind = "closed"
        count = len(list(owner.leaves()))
        box.lines = (*box.lines, f"{count} block{'s' if count != 1 else ''} inside")
        stack: list[Declared] = [owner]
        while stack:
            one = stack.pop()
            self.shown[id(one)] = box
            stack.extend(one.children() if isinstance(one, Diagram) else ())

    def leaf(self, block: Declared, frame: Box, path: str) -> None:
        assert isinstance(block, Block)
        rate = self.rates.of[path]
        network = any(isinstance(value, nn.Module) for value in vars(block).values())
        lines = [short(type(block).__name__, 32)]
        if not any(condition.kind == "triggered" for condition in block.conditions):
            lines.append(rate.text + (f", latency {period_text(block.latency_ns)}" if block.latency_ns else ""))
        lines += ["network"] if network else []
        lines += [f"◇ {short(n)}" for n, d in type(block).declared().items() if isinstance(d, Crossing)]
        lines += [short(words, 60) for words in condition_texts(block)]
        box = Box("network" if network else "block", path, short(block.label or type(block).__name__), tuple(lines))
        box.tip, box.rate, box.parent = f"{path or self.model.name}: {block_text(block)}", rate, frame
        frame.boxes.append(box)
        self.shown[id(block)] = box

    def entrance(self, frame: Box, key: str, label: str, unit: str = "", shape: str = "") -> Pin:
        """The pin inside a frame of something that comes in, made with its outer pin when there is none yet."""
        inner = next((b for b in frame.boxes if b.kind == "input" and b.path == key), None)
        if inner is None:
            inner = self.border(frame, "input", key, label + shape, unit)
        return inner.outs[0]

    def border(self, frame: Box, kind: Literal["input", "output"], key: str, label: str, unit: str) -> Box:
        box = Box(kind, key, label, tip=key, parent=frame)
        box.add("out" if kind == "input" else "in", key, "", unit)
        frame.boxes.append(box)
        if frame.parent is not None:
            box.outer = frame.add("in" if kind == "input" else "out", key, label, unit)
            box.outer.inner = box
        return box

    def outlet(self, box: Box, owner: Declared, name: str) -> Pin:
        """The pin at which an output, state or crossing of a block or of a closed diagram leaves its box."""
        base, path = box.path, self.paths[id(owner)]
        key = f"{path}.{name}" if path else name
        label = key[len(base) + 1 :] if base else name
        found = box.pin("out", label)
        if found is None:
            declaration = type(owner).declared()[name]
            mark: Literal["", "crossing"] = "crossing" if isinstance(declaration, Crossing) else ""
            found = box.add("out", label, short(label) + shape_text(declaration), declaration.unit, mark)
            if isinstance(owner, Block) and owner.latency_ns and not isinstance(declaration, State):
                found.delay = f"+{period_text(owner.latency_ns)}"
        return found
