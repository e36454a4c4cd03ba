"""The network that looks at parts: a small convolutional one, in two pieces so that the first can be used again."""

import torch
from torch import nn

from simdl import Input
from simdl.networks import Classifier, Layout
from simdl.networks.architecture import architecture
from simdl.scenarios.visual_inspection.parts import DEFECTS
from simdl.scenarios.visual_inspection.rendering import SIZE

PERIOD = "1 s"  # nominal: a job of the computer runs it when there is a picture
WIDTHS = (16, 24, 40, 64)
CELLS = SIZE // 8  # of a side, after three halvings


class Backbone(nn.Module):
    """What is seen, whatever it is for: pictures (n, SIZE, SIZE) from 0 to 1 -> features (n, 2 widths[-1]).

    Four convolutions, three of which halve the picture; then the mean and the largest value of each channel, because a
    defect is a small place somewhere.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, kernel, stride in zip((1, *widths), widths, (4, 3, 3, 3), (2, 2, 1, 2)):
            convolution = nn.Conv2d(before, after, kernel, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.features = 2 * widths[-1]

    def maps(self, picture):
        """What is seen where: (n, widths[-1], CELLS, CELLS)."""
        return self.layers((picture - 0.25).unsqueeze(1) * 4.0)

    def pooled(self, maps):
        """Mean and largest value of each channel."""
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)

    def forward(self, picture):
        return self.pooled(self.maps(picture))


@architecture("visual_inspection.inspector")
class Inspector(nn.Module):
    """Backbone and head: pictures (n, SIZE, SIZE) from 0 to 1 -> logits of DEFECTS (n, 5)."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.backbone = Backbone(tuple(widths))
        self.head = nn.Linear(self.backbone.features, len(DEFECTS))

    def forward(self, picture):
        return self.head(self.backbone(picture))


def inspector(module: nn.Module) -> Classifier:
    """A module as the block that fills the slot: pictures as the camera gives them."""
    return Classifier(
        module, labels=DEFECTS, inputs={"image": Input((SIZE, SIZE), dtype="uint8")}, layout=Layout("hw"), period=PERIOD
    )
