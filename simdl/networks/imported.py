"""A network read from a file of another format, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from simdl.clock import rate_text
from simdl.declarations import Input, Output, Shape, State
from simdl.errors import NetworkError
from simdl.networks.comparison import Comparison
from simdl.networks.ports import inputs_of, sizes_of

if TYPE_CHECKING:
    from simdl.networks.described import Description
    from simdl.networks.network import Network


@dataclass(frozen=True)
class Imported:
    """A module with the ports its file names.

    source: the path; format: "ONNX", "Keras", …; module: in evaluation mode, in the file's float type, taking its
    inputs in order with lanes first; inputs, outputs: by name; recurrent: whether it has a state to step; stack: as of
    Network; check: the comparison with an executor of that format, None when there is none on this machine;
    notes: what a person should know, such as a normalisation that the file's header states; options: what `block` gives
    the network beside, such as the card; states: what the module takes behind its inputs and returns behind its
    outputs; described: what simdl wrote into a file that it exported, which names units and rate.
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
    options: Mapping[str, Any] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)
    described: Description | None = None

    def block(self, **options: Any) -> Network:
        """The network as a block; options: of Network or Recurrent, such as period=.

        Raises NetworkError for a rate other than the one that the file states, unless `allow_rate`.
        """
        if self.described is None:
            return self._made(options)
        clocked = options.get("triggered") or {"period", "rate"} & set(options)
        made = self._made(options if clocked else {**self.described.timing(), **options})
        wanted, found = self.described.ticking, made.clock
        if wanted is not None and found is not None and not options.get("allow_rate"):
            if (wanted.numerator, wanted.denominator) != (found.numerator, found.denominator):
                raise NetworkError(self.source, f"every {rate_text(found)}, exported every {rate_text(wanted)}",
                                   "the rate that it was made for", "sample its inputs at that rate, or say "
                                   "allow_rate=True")  # fmt: skip
        return made

    def _made(self, options: Mapping[str, Any]) -> Network:
        from simdl.networks.network import Network
        from simdl.networks.recurrent import Recurrent

        given: dict[str, Any] = {"inputs": dict(self.inputs), "outputs": dict(self.outputs), **self.options, **options}
        if self.states:
            from simdl.networks.stepped import Stepped

            return Stepped(self.module, states=dict(self.states), **given)
        if self.recurrent:
            return Recurrent(self.module, **given)
        self._check_window(given)
        stack, module = given.pop("stack", self.stack), self.module
        if stack is False and isinstance(given["inputs"], Mapping):
            asked = [one.shape for one in given["inputs"].values()]
            shapes = [one.shape for one in self.inputs.values()]
            if asked != shapes and len(asked) == len(shapes) and None not in (*asked, *shapes):
                module = _Shaped(module, [tuple(shape or ()) for shape in shapes])
        return Network(module, stack=stack, **given)

    def _check_window(self, given: Mapping[str, Any]) -> None:
        """Refuses features of one sample for a network that takes several, unless a window keeps the others."""
        shapes = [one.shape for one in self.inputs.values()]
        if any(given.get(name) is not None for name in ("window", "layout", "card")) or len(shapes) != 1:
            return
        sizes, shape = sizes_of(inputs_of(given["inputs"], self.source)), shapes[0]
        if sizes is None or shape is None or len(shape) != 2:
            return
        if sum(sizes) == shape[1] != shape[0] * shape[1]:
            raise NetworkError(self.source, f"{sum(sizes)} features for a network that takes windows {shape}",
                               "the last samples of each", f"window=Window({shape[0]})")  # fmt: skip

    def __str__(self) -> str:
        ports = " -> ".join(", ".join(f"{name} {one.shape}" for name, one in side.items()) for side in
                            (self.inputs, self.outputs))  # fmt: skip
        check = str(self.check) if self.check else "not compared with another executor"
        return "\n".join([f"{self.source} ({self.format}): {ports}", f"  {check}", *(f"  {n}" for n in self.notes)])


def output_of(shape: Shape | None) -> Output:
    """The port of an output of a file: one number a lane (lanes, 1) is a scalar, whatever the format."""
    return Output(shape=() if shape == (1,) else shape)


class _Shaped(nn.Module):
    """Gives a module its inputs in the shapes of the file: a port of one number may be declared as a scalar."""

    def __init__(self, module: nn.Module, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.module, self.shapes = module, tuple(shapes)

    def forward(self, *values: Tensor) -> Any:
        return self.module(*(v.reshape(v.shape[0], *shape) for v, shape in zip(values, self.shapes)))
