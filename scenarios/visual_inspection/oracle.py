"""An inspector that knows the truth: what is left of escapes and waste with it is the line's doing, not a network's."""

import torch

from simdl import Block, Input, Output, tick
from simdl.scenarios.visual_inspection.network import PERIOD
from simdl.scenarios.visual_inspection.parts import DEFECTS


class Oracle(Block):
    """Names what is wrong with the part in the picture; for the slot `inspector`, which offers `defect` as truth."""

    defect = Input(dtype="int64")
    predicted = Output(labels=DEFECTS)
    scores = Output((len(DEFECTS),))

    @tick
    def tell(self, defect):
        kinds = torch.arange(len(DEFECTS), device=defect.device)
        return dict(predicted=defect, scores=(kinds == defect.unsqueeze(1)).double())


def oracle() -> Oracle:
    """For `simdl run visual_inspection --network inspector=simdl.scenarios.visual_inspection.oracle:oracle`."""
    return Oracle(period=PERIOD)
