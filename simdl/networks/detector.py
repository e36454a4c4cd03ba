"""An object detector as a block: padded boxes with a count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simdl.networks.boxes import Boxes, Form
from simdl.networks.network import Network
from simdl.networks.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence


class Detector(Network):
    """A network whose outputs are `boxes` (most, 4), `labels`, `scores` and `mask` (most,), and `count`.

    most, form, gives, threshold, overlap, candidates, classes: see Boxes, which also says what the module may return.
    Non-maximum suppression is done in the block. `run["net.boxes"].ragged(run["net.count"])` leaves the padding out.
    The other arguments are those of Network, layout= for images among them. A module that returns a list of dicts runs
    in torch, called by the native engine; dense tensors are lowered up to 128 boxes.

    >>> import torch
    >>> class Found(torch.nn.Module):
    ...     def forward(self, image):
    ...         return [{"boxes": torch.tensor([[0., 0., 4., 4.]]), "scores": torch.ones(1)} for _ in image]
    >>> from simdl import Input
    >>> net = Detector(Found(), most=3, inputs={"image": Input(shape=(3, 8, 8))}, period="100 ms")
    >>> net.step(torch.zeros(1, 3, 8, 8))["count"]
    tensor([1])
    """

    if TYPE_CHECKING:
        most: int = 20
        form: Form = "xyxy"
        gives: Form = "xyxy"
        threshold: float = 0.5
        overlap: float | None = 0.5
        candidates: int = 100
        classes: Sequence[str] = ()

    else:

        def __init__(
            self, module, *, most=None, form=None, gives=None, threshold=None, overlap=0.5, candidates=None, classes=(),
            **options,
        ):  # fmt: skip
            super().__init__(module, **options)

    @classmethod
    def _planned(cls, module: Any, **options: Any) -> Plan:  # type: ignore[override]
        names = ("most", "form", "gives", "threshold", "overlap", "candidates", "classes")
        given = {name: options.pop(name) for name in names if name in options}
        card = options.get("card")
        on_card = not given and card is not None and card.boxes is not None
        return super()._planned(module, result=None if on_card else Boxes(**given), **options)
