"""The layout of an array, an image most often: from what a port carries to what a module takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from simdl.declarations import Shape
from simdl.errors import NetworkError

Resize = Literal["bilinear", "nearest"]
METHODS = ("bilinear", "nearest")
_CHANNELS_FIRST: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Conv1d, "ct"), (nn.Conv2d, "chw"), (nn.Conv3d, "cdhw"),
)  # fmt: skip
_LAST = {"ct": "tc", "chw": "hwc", "cdhw": "dhwc"}


@dataclass(frozen=True)
class Layout:
    """How an array is made ready for a module, in this order: scaled, resized, normalised, its axes put in order.

    axes: of the port, a letter each, lanes left out: "hwc" (rows, columns, channels), "chw", "tc" (samples, channels),
    …; takes: of the module, the same letters. size: (h, w) to resize to; resize: "bilinear" (pixels are areas, as
    torch's align_corners=False) or "nearest"; antialias: widen the bilinear filter when the image gets smaller, as
    Pillow and torchvision do. scale: a factor for all values; without it 1/255 for uint8, else 1. mean, std: after
    scaling, a number or one for each channel "c": y = (scale x - mean) / std.

    Raises NetworkError for letters that do not match and numbers that are no scale.

    >>> import torch
    >>> Layout("hwc", "chw", size=(2, 2)).prepared(torch.zeros(1, 8, 8, 3)).shape
    torch.Size([1, 3, 2, 2])
    """

    axes: str
    takes: str = ""
    size: tuple[int, int] | None = None
    resize: Resize = "bilinear"
    antialias: bool = True
    scale: float | None = None
    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes", self.takes or self.axes)
        for name in ("mean", "std"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(map(float, value)) if isinstance(value, Sequence) else float(value))
        where = f"Layout({self.axes!r}, {self.takes!r})"
        for text in (self.axes, self.takes):
            if not text or not text.isascii() or not text.isalpha() or len(set(text)) < len(text):
                raise NetworkError(where, f"axes {text!r}", 'a letter for each axis, as in "hwc" or "tc"')
        if sorted(self.axes) != sorted(self.takes):
            raise NetworkError(where, "the port and the module have other axes", "the same letters in another order")
        if self.resize not in METHODS:
            raise NetworkError(where, f"resize={self.resize!r}", "one of", names=METHODS, wrong=str(self.resize))
        if self.size is not None:
            if not {"h", "w"} <= set(self.axes):
                raise NetworkError(where, "size= without the axes h and w", "an image")
            object.__setattr__(self, "size", tuple(self.size))
            if len(self.size) != 2 or not all(isinstance(n, int) and n > 0 for n in self.size):
                raise NetworkError(where, f"size={self.size}", "rows and columns, (h, w)")
        if any(deviation <= 0 for deviation in self._each("std")):
            raise NetworkError(where, f"std={self.std}", "numbers above zero")
        if (len(self._each("mean")) > 1 or len(self._each("std")) > 1) and "c" not in self.axes:
            raise NetworkError(where, "numbers for each channel without the axis c", "one number")

    def _each(self, name: str) -> tuple[float, ...]:
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,)

    def check(self, shape: Shape | None, where: str) -> None:
        """Raise NetworkError for a port whose shape does not have these axes."""
        if shape is None or len(shape) != len(self.axes):
            raise NetworkError(where, f"shape {shape}", f"an axis for each of {self.axes!r}",
                               f"Input(shape=({', '.join(self.axes)}))")  # fmt: skip
        channels = shape[self.axes.index("c")] if "c" in self.axes else 1
        for name in ("mean", "std"):
            if len(self._each(name)) not in (1, channels):
                found = f"{len(self._each(name))} numbers in {name}= for {channels} channels"
                raise NetworkError(where, found, "one number, or one for each channel")

    def prepared(self, value: Tensor, integer: bool = False) -> Tensor:
        """(lanes, *axes) as the module takes it; value: in a float type, integer: whether its port is of type uint8."""
        factor = self.scale if self.scale is not None else 1 / 255 if integer else 1.0
        x = value if factor == 1.0 else value * factor
        axes = self.axes
        if self.size is not None:
            others = [letter for letter in axes if letter not in "hw"]
            axes_in = "".join((*others, "h", "w"))
            x = _moved(x, axes, axes_in)
            kept = x.shape[:-2]
            x = x.reshape(x.shape[0], -1, *x.shape[-2:])
            options: dict[str, Any] = {"mode": "nearest"}
            if self.resize == "bilinear":
                options = {"mode": "bilinear", "align_corners": False, "antialias": self.antialias}
            x = nn.functional.interpolate(x, size=self.size, **options)
            x, axes = x.reshape(*kept, *self.size), axes_in
        if self._each("mean") != (0.0,) or self._each("std") != (1.0,):
            place = axes.index("c") if "c" in axes else len(axes) - 1
            spread = (-1, *(1,) * (len(axes) - 1 - place))
            mean, std = (torch.tensor(self._each(n), dtype=x.dtype, device=x.device).reshape(spread)
                         for n in ("mean", "std"))  # fmt: skip
            x = (x - mean) / std
        return _moved(x, axes, self.takes)

    def __str__(self) -> str:
        parts = [f"{self.axes} -> {self.takes}"]
        if self.scale is not None:
            parts.append(f"times {self.scale:g}")
        if self.size is not None:
            smooth = ", antialias" if self.antialias and self.resize == "bilinear" else ""
            parts.append(f"resized to {self.size[0]} x {self.size[1]} ({self.resize}{smooth})")
        if self._each("mean") != (0.0,) or self._each("std") != (1.0,):
            parts.append("normalised")
        return ", ".join(parts)


def _moved(x: Tensor, axes: str, wanted: str) -> Tensor:
    """The same array (lanes, *axes) with its axes in another order."""
    return x if axes == wanted else x.permute(0, *(1 + axes.index(letter) for letter in wanted))


def refuse_ambiguous(module: nn.Module, shape: Shape | None, where: str) -> None:
    """Raise NetworkError for an array that a convolution would take in either order of its axes, and for one whose
    channels stand last."""
    found = next((part for part in module.modules() if isinstance(part, tuple(k for k, _ in _CHANNELS_FIRST))), None)
    if found is None or shape is None:
        return
    axes = next(axes for kind, axes in _CHANNELS_FIRST if isinstance(found, kind))
    channels = found.in_channels
    if len(shape) != len(axes) or shape[-1] != channels:
        return
    last = _LAST[axes]
    what = "may be either order" if shape[0] == channels else f"seems to be {last}"
    fix = f'layout=Layout("{last}", "{axes}") if channels stand last, layout=Layout("{axes}") if they stand first'
    expected = f"{axes}, as {type(found).__name__} takes it, or its axes by name"
    raise NetworkError(where, f"shape {shape} {what}", expected, fix)
