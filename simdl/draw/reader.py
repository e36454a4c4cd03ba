"""From a diagram to a sketch: which boxes there are, what their pins say, and which wires run in which frame.

A wire that crosses the border of a frame passes through a pin of it, a declared port or one made for the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from simdl.compile import Model
from simdl.declarations import Input, Inputs, Output, Param
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.draw.boxes import Boxes
from simdl.draw.rates import Rates, color
from simdl.draw.sketch import Box, Pin, Wire
from simdl.draw.text import short
from simdl.draw.words import (
    condition_texts,
    formula_label,
    formula_text,
    is_fixed,
    port_label,
    shape_text,
    value_text,
)
from simdl.methods import OutputMethod
from simdl.port import Formula, Port, Signal, ports_of

Side = Literal["in", "out"]


def read(model: Model, depth: int | None = None) -> tuple[Box, Rates]:
    """The sketch of a model; nested diagrams below `depth` levels are closed boxes."""
    reader = _Reader(model, depth)
    return reader.run(), reader.rates


class _Reader(Boxes):
    def __init__(self, model: Model, depth: int | None) -> None:
        super().__init__(model, depth)
        self.sources: dict[tuple[int, Any], Pin] = {}  # (frame, signal) -> the pin inside that carries it
        self.drivers: dict[Pin, Wire] = {}

    def run(self) -> Box:
        owner = self.model.root
        root = Box("frame", "", short(self.model.name, 60))
        if isinstance(owner, Diagram):
            root.lines = tuple(condition_texts(owner))
            self.frame(owner, root, 1)
        else:
            self.leaf(owner, root, "")
        for frame_owner, frame in self.frames:
            for name, declaration in type(frame_owner).declared().items():
                if isinstance(declaration, Input | Inputs) and (frame is not root or name not in frame_owner.wires):
                    self.entrance(frame, name, short(name), declaration.unit, shape_text(declaration))
        if not isinstance(owner, Diagram):
            self.alone(owner, root)
        for frame_owner, frame in self.frames:
            self.wire(frame_owner, frame)
        for frame_owner, frame in reversed(self.frames):
            for name, declaration in type(frame_owner).declared().items():
                if isinstance(declaration, Output):
                    self.exit(frame_owner, frame, name, declaration)
        color(root, self.rates, self.drivers, self.clocked)
        self.units(root)
        return root

    def alone(self, block: Declared, root: Box) -> None:
        """A block without a diagram: its inputs from outside, its outputs to the outside."""
        box = self.shown[id(block)]
        for name, declaration in type(block).declared().items():
            if isinstance(declaration, Input):
                pin = box.add("in", name, port_label(name, declaration), declaration.unit)
                self.join(root, self.entrance(root, name, short(name), declaration.unit), pin)
        for name, declaration in type(block).declared().items():
            if isinstance(declaration, Output | OutputMethod):
                outside = self.border(root, "output", name, short(name), declaration.unit)
                self.join(root, self.outlet(box, block, name), outside.ins[0])

    def wire(self, frame_owner: Declared, frame: Box) -> None:
        assert isinstance(frame_owner, Diagram)
        for child in frame_owner.children():
            box = self.shown[id(child)]
            for place, condition in enumerate(child.conditions):
                pin = box.add("in", f"condition {place}", condition.kind, mark="condition")
                self.drive(frame, condition.signal, pin)
            for name, declaration in type(child).declared().items():
                if isinstance(declaration, Inputs):
                    for place, source in enumerate(child.wires.get(name, ())):
                        self.input(frame, box, f"{name}.{place}", declaration, source)
                elif isinstance(declaration, Input):
                    self.input(frame, box, name, declaration, child.wires.get(name, declaration.default))
                elif isinstance(declaration, Output | OutputMethod) and box.kind != "frame":
                    self.outlet(box, child, name)
            if box.kind == "closed":
                self.reach(frame, box, child)

    def input(self, frame: Box, box: Box, name: str, declaration: Input | Inputs, source: Any) -> None:
        label = port_label(name, declaration)
        if box.kind == "frame":
            pin = self.entrance(box, name, short(name), declaration.unit, shape_text(declaration)).box.outer
            assert pin is not None
        else:
            pin = box.add("in", name, label, declaration.unit)
        fixed = self.drive(frame, source, pin)
        if fixed:
            pin.label = f"{label} = {fixed}"
            if pin.inner is not None:
                pin.inner.title = f"{pin.inner.title} = {fixed}"

    def reach(self, frame: Box, box: Box, closed: Declared) -> None:
        """Wires from outside to blocks within a closed diagram that do not pass through its inputs."""
        for path, owner in self.model.flat.owners.items():
            if owner is closed or self.shown.get(id(owner)) is not box:
                continue
            signals = [*owner.wires.items(), *((f"condition {i}", c.signal) for i, c in enumerate(owner.conditions))]
            for name, signal in signals:
                for port in self.outside(signal, closed, box):
                    key = f"{path}.{name}"[len(box.path) + 1 :]
                    pin = box.pin("in", key) or box.add("in", key, short(key))
                    self.drive(frame, port, pin)

    def outside(self, signal: Any, closed: Declared, box: Box) -> Iterator[Port]:
        """The ports outside a closed diagram that a signal inside reads, past its inputs."""
        for port in ports_of(*(signal if isinstance(signal, tuple) else (signal,))):
            if isinstance(type(port.owner).declared().get(port.name), Param) or port.owner is closed:
                continue
            if self.shown.get(id(port.owner)) is not box:
                yield port
            elif isinstance(type(port.owner).declared().get(port.name), Input):
                yield from self.outside(port.owner.wires.get(port.name), closed, box)

    def exit(self, owner: Declared, frame: Box, name: str, declaration: Output) -> None:
        label = short(name) + shape_text(declaration)
        box = next((b for b in frame.boxes if b.kind == "output" and b.path == name), None)
        box = box or self.border(frame, "output", name, label, declaration.unit)
        fixed = self.drive(frame, owner.wires.get(name), box.ins[0])
        if fixed:
            box.title = f"{label} = {fixed}"

    def drive(self, frame: Box, source: Any, pin: Pin) -> str:
        """Draw the wire to a pin; for what is no signal, the text of its value instead."""
        end = self.end(source, frame)
        if isinstance(end, Formula) and any(True for _ in self.ends(end, frame)):
            self.join(frame, self.formula(frame, end), pin)
        elif isinstance(end, Port) and not is_fixed(end):
            self.join(frame, self.source(frame, end), pin)
        elif end is not None:
            return short(formula_text(end, frame.path, self.path), 18) if isinstance(end, Signal) else value_text(end)
        return ""

    def join(self, frame: Box, source: Pin, target: Pin) -> None:
        wire = Wire(source, target)
        frame.wires.append(wire)
        self.drivers[target] = wire

    def end(self, source: Any, frame: Box | None) -> Any:
        """What a signal is as seen in a frame: a port that has a pin there, a formula, or a number.

        Inputs that are read, and outputs of diagrams that the reader is within, are what drives them; without a
        frame, every input and every output of a diagram is."""
        chain = frame.chain() if frame is not None else []
        while isinstance(source, Port):
            owner = source.owner
            declaration = type(owner).declared().get(source.name)
            within = self.shown.get(id(owner)) in chain
            if owner is self.model.root and isinstance(declaration, Input) and source.name not in owner.wires:
                break
            if isinstance(declaration, Input) and not within:
                source = owner.wires.get(source.name, declaration.default)
            elif isinstance(owner, Diagram) and isinstance(declaration, Output) and (within or frame is None):
                source = owner.wires.get(source.name)
            else:
                break
        return source

    def ends(self, formula: Formula, frame: Box) -> Iterator[Port]:
        """The ports with pins in a frame that a formula reads."""
        for port in formula.ports():
            end = self.end(port, frame)
            if isinstance(end, Formula):
                yield from self.ends(end, frame)
            elif isinstance(end, Port) and not is_fixed(end):
                yield end

    def source(self, frame: Box, port: Port) -> Pin:
        """The pin inside a frame that carries a port, leading it through the borders between."""
        known = self.sources.get((id(frame), port))
        if known is not None:
            return known
        declaration = type(port.owner).declared().get(port.name)
        box = self.shown[id(port.owner)]
        if isinstance(declaration, Input):  # of a frame around the reader
            at, pin = box, self.entrance(box, port.name, short(port.name), declaration.unit, shape_text(declaration))
        elif box.kind == "frame":
            assert isinstance(declaration, Output) and box.parent is not None
            shown = next((b for b in box.boxes if b.kind == "output" and b.path == port.name), None)
            shown = shown or self.border(
                box, "output", port.name, short(port.name) + shape_text(declaration), declaration.unit
            )
            assert shown.outer is not None
            at, pin = box.parent, shown.outer
        else:
            assert box.parent is not None
            at, pin = box.parent, self.outlet(box, port.owner, port.name)
        path = self.path(port)
        chain = frame.chain()
        while at not in chain:  # up, out of the frames that the reader is not in
            assert at.parent is not None
            pin, at = self.out_of(at, path, pin), at.parent
        for inner in chain[chain.index(at) + 1 :]:  # and down, into those it is in
            pin, at = self.into(at, inner, path, pin), inner
        self.sources[id(frame), port] = pin
        return pin

    def out_of(self, frame: Box, path: str, pin: Pin) -> Pin:
        key = path[len(frame.path) + 1 :]  # has a dot, which no declared output has
        box = next((b for b in frame.boxes if b.kind == "output" and b.path == key), None)
        if box is None:
            box = self.border(frame, "output", key, short(key), pin.unit)
            self.join(frame, pin, box.ins[0])
        assert box.outer is not None
        return box.outer

    def into(self, frame: Box, inner: Box, path: str, pin: Pin) -> Pin:
        entrance = self.entrance(inner, f"/{path}", short(path), pin.unit)  # no declared input begins with /
        outer = entrance.box.outer
        assert outer is not None
        if outer not in self.drivers:
            self.join(frame, pin, outer)
        return entrance

    def path(self, port: Port) -> str:
        base = self.paths[id(port.owner)]
        return f"{base}.{port.name}" if base else port.name

    def formula(self, frame: Box, formula: Formula) -> Pin:
        known = self.sources.get((id(frame), id(formula)))
        if known is not None:
            return known
        text = formula_text(formula, frame.path, self.path)
        box = Box("formula", f"{frame.path}: {formula}", formula_label(formula, text), tip=text, parent=frame)
        frame.boxes.append(box)
        pin = self.sources[id(frame), id(formula)] = box.add("out", "out", "")
        carriers = dict.fromkeys(self.source(frame, port) for port in self.ends(formula, frame))
        for place, carrier in enumerate(carriers):
            self.join(frame, carrier, box.add("in", str(place), ""))
        return pin

    def units(self, root: Box) -> None:
        """A wire from a port without a unit has that of its readers, where they agree."""
        read: dict[Pin, set[str]] = {}
        for box in root.all():
            for wire in box.wires:
                if wire.source.box.kind in ("block", "network", "closed"):
                    read.setdefault(wire.source, set()).add(wire.target.unit)
        for pin, units in read.items():
            if not pin.unit and len(units) == 1:
                pin.unit = units.pop()

    def clocked(self, box: Box, pin: Pin) -> str:
        """The path of the block that computes what a pin of a closed diagram shows."""
        path, _, name = f"{box.path}.{pin.key}".rpartition(".")
        owner = self.model.flat.owners.get(path)
        end = self.end(Port(owner, name, "output"), None) if owner is not None else None
        return self.paths.get(id(end.owner), "") if isinstance(end, Port) else ""


__all__ = ["read"]
