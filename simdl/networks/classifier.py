"""A classifier as a block: an enumeration, its scores and its confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simdl.networks.classes import Classes
from simdl.networks.network import Network
from simdl.networks.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence


class Classifier(Network):
    """A network whose outputs are `predicted` (an enumeration, int64), `scores` (classes,) and `confidence`.

    labels: the name of each class, in the module's order: results, tables and plots show them, cards keep them, and
    `net.predicted.is_("scratch")` is a signal for wires and requirements. probabilities: the module returns
    probabilities, and no softmax is taken.
    Features, a window of them, or an image (with layout=). The other arguments are those of Network; a classifier with
    memory is `Recurrent(module, result=Classes(labels))`.

    >>> import torch
    >>> net = Classifier(torch.nn.Linear(2, 2), labels=("ok", "scratch"), inputs=("a", "b"), period="1 s")
    >>> list(net.declared())
    ['a', 'b', 'predicted', 'scores', 'confidence']
    """

    if TYPE_CHECKING:
        labels: Sequence[str] = ()
        probabilities: bool = False

    else:

        def __init__(self, module, *, labels=(), probabilities=False, **options):
            super().__init__(module, **options)

    @classmethod
    def _planned(  # type: ignore[override]
        cls, module: Any, *, labels: Sequence[str] = (), probabilities: bool = False, **options: Any
    ) -> Plan:  # fmt: skip
        card = options.get("card")
        on_card = not labels and card is not None and card.classes is not None
        given = None if on_card else Classes(labels, probabilities)  # type: ignore[arg-type]
        return super()._planned(module, result=given, **options)
