"""How far back an output of a network sees, in ticks and in samples along time."""

from __future__ import annotations

from typing import Any

from torch import nn

from simdl.networks.network import Network


def reach(block: Network, samples: set[int]) -> int | None:
    """How many ticks an output sees, the present one included; None when there is no end.

    samples: lengths of sequences in the module; a port that holds one is a window made outside.
    """
    if block._plan.recurrence is not None:
        return None
    window = block._plan.window
    if window is None:
        ports = {one.shape[axis] for one in block._plan.inputs.values() if one.shape is not None and len(one.shape) == 2
                 for axis in (0, 1)}  # fmt: skip
        return max((size for size in samples & ports), default=1)
    return window.length + window.hop - 1


def receptive_field(module: nn.Module) -> int:
    """Samples along time that one output of a chain of 1-D convolutions and poolings sees.

    r = 1 + sum_i d_i (k_i - 1) prod_{j < i} s_j, over kernels k, dilations d and strides s in order.

    >>> receptive_field(nn.Sequential(nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 3, dilation=2)))
    7
    """
    reach, stride = 1, 1
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.MaxPool1d | nn.AvgPool1d):
            kernel, step = _one(part.kernel_size), _one(part.stride)
            reach += _one(getattr(part, "dilation", 1)) * (kernel - 1) * stride
            stride *= step
    return reach


def _one(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)
