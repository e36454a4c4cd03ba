"""Diagrams: blocks wired by assignment, nested at will."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from torch import Tensor

from simdl.block import Block
from simdl.clock import Clock, Duration, clock
from simdl.declarations import Input, Inputs, Output, Param
from simdl.declared import Declared
from simdl.errors import ModelError, SimdlError
from simdl.port import Number, Port, Signal

if TYPE_CHECKING:
    from simdl.draw import Direction, Drawing

Child = TypeVar("Child", bound=Declared)


class Diagram(Declared):
    """A system of blocks. Assigning a block names it, assigning to an input wires it, assigning to an output shows it.

    Parameters declared on a diagram are passed on (`Gain(k=self.k)`), and set as `diagram.k` or by the constructor
    argument of the same name.
    """

    def _finish(self) -> None:
        for name, declaration in self._declared.items():
            if isinstance(declaration, Param) and name not in self.settings:
                setattr(self, name, declaration.value)

    def drive(self, name: str, source: Any) -> None:
        inside = not vars(self)["built"]
        if isinstance(self._declared[name], Output) and not inside:
            fix = "outputs are assigned in the diagram's own __init__"
            self.faults.append(ModelError(f"{self}.{name}", "an output driven from outside", "an input", fix))
        elif isinstance(self._declared[name], Input | Inputs) and inside:
            fix = "inputs are driven from outside; inside, read them"
            self.faults.append(ModelError(f"{self}.{name}", "an own input driven from inside", "an output", fix))
        else:
            super().drive(name, source)

    def _set(self, name: str, value: Any) -> None:
        if name not in self._declared and not name.startswith("_"):
            if isinstance(value, Declared):
                self._check_label(name)
                self._adopt(name, value)
            elif isinstance(value, list | tuple) and any(isinstance(item, Declared) for item in value):
                self._check_label(name)
                for index, item in enumerate(value):
                    self._adopt(f"{name}.{index}", item)
            elif isinstance(value, dict) and any(isinstance(item, Declared) for item in value.values()):
                self._check_label(name)
                for key, item in value.items():
                    self._check_label(str(key))
                    self._adopt(f"{name}.{key}", item)
        super()._set(name, value)

    def _check_label(self, label: str) -> None:
        """Note a name that no path can hold: dots part the names of a path."""
        if not label or "." in label:
            found = f"a block named {label!r}"
            self.faults.append(ModelError(str(self), found, "a name without dots", "nest diagrams to nest names"))

    def _adopt(self, label: str, child: Declared) -> None:
        where = f"{self}.{label}"
        if child.parent is not None:
            self.faults.append(
                ModelError(
                    where,
                    f"the block {child.path} of {child.parent}",
                    "a block of its own",
                    "make a second block; a block is in one place",
                )
            )
        elif child is self:
            self.faults.append(ModelError(where, "the diagram itself", "another block"))
        else:
            vars(child).update(parent=self, label=label)

    def children(self) -> Iterator[Declared]:
        """The blocks and diagrams directly inside, in the order of their naming."""
        for value in vars(self).values():
            if isinstance(value, Declared):
                found: list[Any] = [value]
            elif isinstance(value, list | tuple):
                found = list(value)
            elif isinstance(value, dict):
                found = list(value.values())
            else:
                continue
            for item in found:
                if isinstance(item, Declared) and item.parent is self and item is not self.parent:
                    yield item

    def leaves(self) -> Iterator[Block]:
        for child in self.children():
            yield from child.leaves()

    def describe(self) -> str:
        """The compiled schedule: rates, order, dependence, and every cross-rate edge with its delay."""
        from simdl.compile import compile_model

        return compile_model(self).describe()

    def draw(
        self, path: str | Path | None = None, *, depth: int | None = None, direction: Direction = "right"
    ) -> Drawing:
        """The picture of the diagram, written to `path` as .svg or .png if one is given; nested diagrams are opened
        down to `depth` levels (all when not given). Raises ModelError for a diagram that does not compile."""
        from simdl.draw import draw

        return draw(self, path, depth=depth, direction=direction)

    def _repr_html_(self) -> str:
        from html import escape

        from simdl.draw import draw  # a block inside may be named "draw"

        try:
            return draw(self)._repr_html_()
        except SimdlError as error:
            return f"<pre>{escape(str(error))}</pre>"


def connect(source: Signal | Number | Tensor, target: Port) -> None:
    """Wire a signal to an input port, as `block.port = signal` does."""
    inside = isinstance(target, Port) and isinstance(target.owner, Diagram)
    driven = ("input", "inputs", "output") if inside else ("input", "inputs")
    if not isinstance(target, Port) or target.kind not in driven:
        raise ModelError(f"{target}", "is not an input", "connect(source, block.input)")
    target.owner.drive(target.name, source)


class Condition:
    """What a subsystem's execution depends on: its signal is an input of every node inside."""

    def __init__(
        self,
        kind: Literal["enabled", "triggered", "resettable"],
        signal: Signal,
        *,
        clock: Clock | None = None,
        outputs: str = "hold",
        edge: str = "rising",
    ) -> None:
        self.kind, self.signal, self.clock, self.outputs, self.edge = kind, signal, clock, outputs, edge


def enabled(
    child: Child, when: Signal, *, outputs: Literal["hold", "initial"] = "hold", period: Duration | None = None
) -> Child:
    """Run a block or diagram only while a condition is true.

    While it is false its ticks are not committed, its derivatives are zero and its outputs are held, or `initial`.
    The condition is read at instants; a continuous one must name the period at which it is sampled.
    """
    if outputs not in ("hold", "initial"):
        raise ModelError(f"enabled({child})", f"outputs={outputs!r}", "one of", names=("hold", "initial"))
    return _condition(child, Condition("enabled", when, clock=clock(period), outputs=outputs))


def resettable(
    child: Child,
    when: Signal,
    *,
    edge: Literal["rising", "falling", "either"] = "rising",
    period: Duration | None = None,
) -> Child:
    """Put the states inside back to their initial values when a condition rises (falls, changes), read at instants."""
    _edge(child, edge)
    return _condition(child, Condition("resettable", when, clock=clock(period), edge=edge))


def triggered(
    child: Child,
    when: Signal,
    *,
    edge: Literal["rising", "falling", "either"] = "rising",
    period: Duration | None = None,
) -> Child:
    """Let a block or diagram tick only when a crossing fires, at its located time and for its lanes alone, or at the
    instants at which a held condition rises (falls, changes)."""
    _edge(child, edge)
    return _condition(child, Condition("triggered", when, clock=clock(period), edge=edge))


def _edge(child: Declared, edge: str) -> None:
    if edge not in ("rising", "falling", "either"):
        raise ModelError(f"{child}", f"edge={edge!r}", "one of", names=("rising", "falling", "either"))


def _condition(child: Child, condition: Condition) -> Child:
    if not isinstance(condition.signal, Signal):
        raise ModelError(f"{child}", f"the condition {condition.signal!r}", "a signal, such as block.port > 0")
    child.conditions.append(condition)
    return child
