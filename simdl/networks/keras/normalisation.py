"""Layers that shift and scale: by statistics of training, of a sample, or given."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simdl.networks.keras.layers import Maker
from simdl.networks.keras.options import Options


class Normalised(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta along one axis, with the statistics of training."""

    def __init__(self, o: Options) -> None:
        super().__init__()
        self.axis = o.axis("axis")
        self.epsilon = o.number("epsilon", 1e-3)
        self.gamma = nn.Parameter(o.weights((None,))[0]) if o.flag("scale", True) else None
        self.beta = nn.Parameter(o.weights((None,))[0]) if o.flag("center", True) else None
        mean, variance = o.weights((None,), (None,))
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)

    def forward(self, x: Tensor) -> Tensor:
        shape = [1] * x.ndim
        shape[self.axis] = -1
        scale = torch.rsqrt(self.get_buffer("variance") + self.epsilon)
        scale = scale if self.gamma is None else scale * self.gamma
        y = (x - self.get_buffer("mean").reshape(shape)) * scale.reshape(shape)
        return y if self.beta is None else y + self.beta.reshape(shape)


class LayerNormalised(nn.Module):
    """Normalisation over the last axis of each sample."""

    def __init__(self, o: Options) -> None:
        super().__init__()
        self.axis = o.axis("axis")
        self.epsilon = o.number("epsilon", 1e-3)
        self.gamma = nn.Parameter(o.weights((None,))[0]) if o.flag("scale", True) else None
        self.beta = nn.Parameter(o.weights((None,))[0]) if o.flag("center", True) else None

    def forward(self, x: Tensor) -> Tensor:
        if self.axis not in (-1, x.ndim - 1):
            raise ValueError(f"LayerNormalization over axis {self.axis} of {x.ndim}: only the last axis is known")
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta, self.epsilon)


class Standardised(nn.Module):
    """Normalization: (x - mean) / standard deviation, as adapted or given; inverted with invert=True."""

    def __init__(self, o: Options) -> None:
        super().__init__()
        axes = o.config.get("axis", -1)
        axes = [] if axes is None else axes if isinstance(axes, list) else [axes]
        if not all(type(n) is int and n != 0 and -8 <= n <= 8 for n in axes):
            raise o.error(f"axis={axes!r:.60}", "axes other than that of the lanes")
        o.used["axis"] = tuple(axes) if axes else None
        self.axes, self.invert = axes, o.flag("invert", False)
        if o.config.get("mean") is not None:
            mean, variance = o.values("mean"), o.values("variance")
        else:
            mean, variance, _ = o.weights(*[tuple([None] * len(axes))] * 2, ())
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", torch.sqrt(variance).clamp_min(1e-7))

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        if mean.ndim:
            shape = [x.shape[n] if n in {a % x.ndim for a in self.axes} else 1 for n in range(x.ndim)]
            shape = shape if mean.numel() > 1 else [1] * x.ndim
            mean, deviation = mean.reshape(shape), deviation.reshape(shape)
        return x * deviation + mean if self.invert else (x - mean) / deviation


class Rescaled(nn.Module):
    """x scale + offset, numbers or one for each channel."""

    def __init__(self, o: Options) -> None:
        super().__init__()
        self.register_buffer("scale", o.values("scale"))
        self.register_buffer("offset", o.values("offset", 0.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("scale") + self.get_buffer("offset")


LAYERS: dict[str, Maker] = {
    "BatchNormalization": Normalised, "LayerNormalization": LayerNormalised, "Normalization": Standardised,
    "Rescaling": Rescaled,
}  # fmt: skip
