"""Convolutions and pooling in Keras' layout: channels last outside, first inside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simdl.errors import NetworkError
from simdl.networks.keras.layers import Function, Maker, activation
from simdl.networks.keras.options import Options

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d}
_MAXIMA: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d}
_MEANS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d}


class Convolution(nn.Module):
    """A convolution of one or two axes, with a kernel for all channels, for each one, or one after the other.

    kernel (sizes…, channels / groups, filters) as Keras stores it; padding "same" splits as TensorFlow does: the odd
    one to the end; "causal" all before.
    """

    def __init__(self, o: Options, axes: int, form: str) -> None:
        super().__init__()
        self.axes = axes
        sizes = o.sizes("kernel_size", axes)
        self.strides, self.dilation = o.sizes("strides", axes, 1), o.sizes("dilation_rate", axes, 1)
        self.padding = o.choice("padding", ("valid", "same", "causal")[: 3 if axes == 1 else 2], "valid")
        self.last = o.choice("data_format", ("channels_last", "channels_first", None), None) != "channels_first"
        self.spans = [(size - 1) * gap + 1 for size, gap in zip(sizes, self.dilation)]
        empty: tuple[int | None, ...] = (None,) * 2
        if form == "full":
            filters = o.whole("filters")
            (kernel,) = o.weights((*sizes, None, filters))
            self.groups, count = o.whole("groups", 1), filters
            kernel = kernel.movedim((-1, -2), (0, 1))
            self.point = None
        else:
            (kernel,) = o.weights((*sizes, *empty))
            channels, times = kernel.shape[-2:]
            o.whole("depth_multiplier", 1)
            kernel = kernel.movedim((-2, -1), (0, 1)).reshape(channels * times, 1, *sizes)
            self.groups, count = channels, channels * times
            self.point = None
            if form == "separable":
                count = o.whole("filters")
                (point,) = o.weights((*[1] * axes, channels * times, count))
                self.point = nn.Parameter(point.movedim((-1, -2), (0, 1)).contiguous())
        self.kernel = nn.Parameter(kernel.contiguous())
        self.bias = nn.Parameter(o.weights((count,))[0]) if o.flag("use_bias", True) else None
        self.activation = activation(o)

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(-1, 1) if self.last else x
        x = padded(x, self.padding, self.spans, self.strides)
        convolve = _CONVOLUTIONS[self.axes]
        bias = self.bias if self.point is None else None
        y = convolve(x, self.kernel, bias, self.strides, 0, self.dilation, self.groups)
        if self.point is not None:
            y = convolve(y, self.point, self.bias)
        y = y.movedim(1, -1) if self.last else y
        found: Tensor = self.activation(y)
        return found


def spare(x: Tensor, spans: list[int], strides: list[int]) -> list[int]:
    """How much must be padded on each axis for "same": one window for each stride that is begun."""
    return [max((-(-n // stride) - 1) * stride + span - n, 0) for n, span, stride in zip(x.shape[2:], spans, strides)]


def padded(x: Tensor, padding: str, spans: list[int], strides: list[int], value: float = 0.0) -> Tensor:
    """x (lanes, channels, sizes…) with what Keras pads before it slides a window of these spans."""
    if padding == "valid":
        return x
    totals = [span - 1 for span in spans] if padding == "causal" else spare(x, spans, strides)
    pairs = [(total, 0) if padding == "causal" else (total // 2, total - total // 2) for total in reversed(totals)]
    return F.pad(x, [n for pair in pairs for n in pair], value=value) if any(totals) else x


class Pooling(nn.Module):
    """The largest or the mean of each window; padding counts for neither.

    Means over padding that is not the same on both sides are refused: Keras on torch repeats the edge there, on
    TensorFlow and JAX it leaves the padding out.
    """

    def __init__(self, o: Options, axes: int, largest: bool) -> None:
        super().__init__()
        self.axes, self.largest, self.where = axes, largest, o.where
        self.sizes = o.sizes("pool_size", axes, 2)
        self.strides = self.sizes if o.config.get("strides") is None else o.sizes("strides", axes)
        self.padding = o.choice("padding", ("valid", "same"), "valid")
        self.last = o.choice("data_format", ("channels_last", "channels_first", None), None) != "channels_first"

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(-1, 1) if self.last else x
        if self.largest:
            full = padded(x, self.padding, self.sizes, self.strides, -torch.inf)
            y = _MAXIMA[self.axes](full, self.sizes, self.strides)
        else:
            mean = _MEANS[self.axes]
            y = mean(padded(x, self.padding, self.sizes, self.strides), self.sizes, self.strides)
            if self.padding == "same":
                if any(total % 2 for total in spare(x, self.sizes, self.strides)):
                    raise NetworkError(self.where, "means over padding that is uneven, on which Keras' backends differ",
                                       "sizes for which it is even", "padding='valid' after ZeroPadding")  # fmt: skip
                ones = padded(x.new_ones((1, 1, *x.shape[2:])), "same", self.sizes, self.strides)
                y = y / mean(ones, self.sizes, self.strides)
        return y.movedim(1, -1) if self.last else y


def over_all(x: Tensor, largest: bool, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.amax(axes, keepdim=keep) if largest else x.mean(axes, keepdim=keep)


def _all(axes: int, largest: bool) -> Maker:
    def make(o: Options) -> nn.Module:
        last = o.choice("data_format", ("channels_last", "channels_first", None), None) != "channels_first"
        over = tuple(range(1, axes + 1)) if last else tuple(range(2, axes + 2))
        return Function(over_all, largest=largest, axes=over, keep=o.flag("keepdims", False))

    return make


def _edges(o: Options, name: str, axes: int) -> list[tuple[int, int]]:
    """Amounts before and after each axis: one number, one for each axis, or pairs."""
    given = o.config.get(name, 1)
    if axes == 1 and isinstance(given, list) and len(given) == 2 and all(type(n) is int for n in given):
        given = [given]
    rows = [given] * axes if type(given) is int else given
    pairs = [[row, row] if type(row) is int else row for row in rows] if isinstance(rows, list) else []
    if len(pairs) != axes or not all(
        isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and 0 <= n <= 2**16 for n in pair)
        for pair in pairs
    ):
        raise o.error(f"{name}={given!r:.60}", "amounts before and after each axis")
    o.used[name] = tuple(pairs[0]) if axes == 1 else tuple(map(tuple, pairs))
    return [(pair[0], pair[1]) for pair in pairs]


def surround(x: Tensor, amounts: list[int]) -> Tensor:
    return F.pad(x, amounts)


def _zero_padding(axes: int) -> Maker:
    def make(o: Options) -> nn.Module:
        _last_only(o)
        edges = _edges(o, "padding", axes)
        return Function(surround, amounts=[0, 0, *(n for pair in reversed(edges) for n in pair)])

    return make


def crop(x: Tensor, edges: list[tuple[int, int]]) -> Tensor:
    for axis, (before, after) in enumerate(edges, 1):
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


def _cropping(axes: int) -> Maker:
    def make(o: Options) -> nn.Module:
        _last_only(o)
        return Function(crop, edges=_edges(o, "cropping", axes))

    return make


def grow(x: Tensor, times: list[int]) -> Tensor:
    for axis, count in enumerate(times, 1):
        x = x.repeat_interleave(count, axis)
    return x


def _growing(axes: int) -> Maker:
    def make(o: Options) -> nn.Module:
        _last_only(o)
        if axes == 2:
            o.choice("interpolation", ("nearest",), "nearest")
        return Function(grow, times=o.sizes("size", axes, 2))

    return make


def _last_only(o: Options) -> None:
    if o.config.get("data_format") is not None:
        o.choice("data_format", ("channels_last",))


def _convolution(axes: int, form: str) -> Maker:
    return lambda o: Convolution(o, axes, form)


def _pooling(axes: int, largest: bool) -> Maker:
    return lambda o: Pooling(o, axes, largest)


LAYERS: dict[str, Maker] = {}
for _axes in (1, 2):
    LAYERS |= {
        f"Conv{_axes}D": _convolution(_axes, "full"), f"DepthwiseConv{_axes}D": _convolution(_axes, "depthwise"),
        f"SeparableConv{_axes}D": _convolution(_axes, "separable"),
        f"MaxPooling{_axes}D": _pooling(_axes, True), f"AveragePooling{_axes}D": _pooling(_axes, False),
        f"GlobalMaxPooling{_axes}D": _all(_axes, True), f"GlobalAveragePooling{_axes}D": _all(_axes, False),
        f"ZeroPadding{_axes}D": _zero_padding(_axes), f"Cropping{_axes}D": _cropping(_axes),
        f"UpSampling{_axes}D": _growing(_axes),
    }  # fmt: skip
