"""A network read from a file of another format, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from simdl.declarations import Input, Output
from simdl.networks.comparison import Comparison

if TYPE_CHECKING:
    from simdl.networks.network import Network


@dataclass(frozen=True)
class Imported:
    """A module with the ports its file names.

    source: the path; format: "ONNX", "Keras", …; module: in evaluation mode, in the file's float type, taking its
    inputs in order with lanes first; inputs, outputs: by name; recurrent: whether it has a state to step; stack: as of
    Network; check: the comparison with an executor of that format, None when there is none on this machine;
    notes: what a person should know, such as a normalisation that the file's header states.
    """

    source: str
    format: str
    module: nn.Module
    inputs: dict[str, Input]
    outputs: dict[str, Output]
    recurrent: bool = False
    stack: bool | None = None
    check: Comparison | None = None
    notes: tuple[str, ...] = field(default=())

    def block(self, **options: Any) -> Network:
        """The network as a block; options: of Network or Recurrent, such as period=."""
        from simdl.networks.network import Network
        from simdl.networks.recurrent import Recurrent

        given: dict[str, Any] = {"inputs": dict(self.inputs), "outputs": dict(self.outputs), **options}
        if self.recurrent:
            return Recurrent(self.module, **given)
        return Network(self.module, **{"stack": self.stack, **given})

    def __str__(self) -> str:
        ports = " -> ".join(", ".join(f"{name} {one.shape}" for name, one in side.items()) for side in
                            (self.inputs, self.outputs))  # fmt: skip
        check = str(self.check) if self.check else "not compared: nothing here runs this format"
        return "\n".join([f"{self.source} ({self.format}): {ports}", f"  {check}", *(f"  {n}" for n in self.notes)])
