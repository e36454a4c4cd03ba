"""The Keras layers that are known, as torch modules that keep Keras' axes: lanes first, channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simdl.networks.keras.options import Options

Maker = Callable[[Options], nn.Module]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity, "relu": nn.ReLU, "relu6": nn.ReLU6, "leaky_relu": lambda: nn.LeakyReLU(0.2), "elu": nn.ELU,
    "selu": nn.SELU, "celu": nn.CELU, "softplus": nn.Softplus, "softsign": nn.Softsign, "silu": nn.SiLU,
    "swish": nn.SiLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "hard_sigmoid": nn.Hardsigmoid,
    "hard_silu": nn.Hardswish, "hard_swish": nn.Hardswish, "gelu": nn.GELU, "mish": nn.Mish,
    "softmax": lambda: nn.Softmax(-1), "log_softmax": lambda: nn.LogSoftmax(-1), "exponential": lambda: Exponential(),
}  # fmt: skip


class Exponential(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(x)


def activation(o: Options, name: str = "activation", default: str = "linear") -> nn.Module:
    """The activation that an option names: text, or a function of Keras by its name."""
    value = o.config.get(name, default)
    if isinstance(value, dict):
        plain = value.get("class_name") == "function" and value.get("registered_name") in (None, "function")
        value = value.get("config") if plain else value
    value = "linear" if value is None else value
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise o.error(f"{name}={value!r:.80}", f"one of {', '.join(ACTIVATIONS)}")
    if value == "hard_sigmoid" and o.config.get("_keras") == "2":
        raise o.error("hard_sigmoid of Keras 2, which is another function than that of Keras 3", "another activation")
    o.used[name] = value
    return ACTIVATIONS[value]()


class Affine(nn.Module):
    """x kernel + bias over the last axis, then the activation."""

    def __init__(self, o: Options) -> None:
        super().__init__()
        units = o.whole("units")
        (kernel,) = o.weights((None, units))
        self.linear = nn.Linear(kernel.shape[0], units, o.flag("use_bias", True), dtype=o.dtype)
        with torch.no_grad():
            self.linear.weight.copy_(kernel.T)
            if o.used["use_bias"]:
                self.linear.bias.copy_(o.weights((units,))[0])
        self.activation = activation(o)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.linear(x))
        return y


class Lookup(nn.Module):
    """Rows of a table by whole numbers."""

    def __init__(self, o: Options) -> None:
        super().__init__()
        (table,) = o.weights((o.whole("input_dim"), o.whole("output_dim")))
        o.flag("mask_zero", False)
        if o.used["mask_zero"]:
            raise o.error("mask_zero=True", "mask_zero=False: masks are not kept")
        self.table = nn.Parameter(table)

    def forward(self, x: Tensor) -> Tensor:
        return F.embedding(x.long(), self.table)


class Distributed(nn.Module):
    """A layer applied to each sample: x (lanes, samples, …)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(0, 1))
        return y.reshape(x.shape[0], x.shape[1], *y.shape[1:])


class Function(nn.Module):
    """A layer without weights: a function of this package, which can be pickled, with its settings."""

    def __init__(self, function: Callable[..., Tensor], **settings: Any) -> None:
        super().__init__()
        self.function, self.settings = function, settings

    def forward(self, *values: Tensor) -> Tensor:
        return self.function(*values, **self.settings)

    def extra_repr(self) -> str:
        return ", ".join([self.function.__name__, *(f"{name}={value}" for name, value in self.settings.items())])


def flatten(x: Tensor, first: bool) -> Tensor:
    if x.ndim == 1:
        return x.unsqueeze(1)
    return (x.movedim(1, -1) if first and x.ndim > 2 else x).flatten(1)


def _flatten(o: Options) -> nn.Module:
    form = o.choice("data_format", ("channels_last", "channels_first", None), None)
    return Function(flatten, first=form == "channels_first")


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x.reshape(x.shape[0], *shape)


def _reshape(o: Options) -> nn.Module:
    given = o.config.get("target_shape")
    shape = given if isinstance(given, list) else []
    if not shape or not all(type(n) is int and -1 <= n <= 2**24 and n != 0 for n in shape) or shape.count(-1) > 1:
        raise o.error(f"target_shape={given!r:.60}", "a shape")
    o.used["target_shape"] = tuple(shape)
    return Function(reshape, shape=tuple(shape))


def permute(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return x.permute(0, *dims)


def _permute(o: Options) -> nn.Module:
    given = o.config.get("dims")
    dims = given if isinstance(given, list) else []
    if not all(type(n) is int for n in dims) or sorted(dims) != list(range(1, len(dims) + 1)):
        raise o.error(f"dims={given!r:.60}", "each axis once, from 1")
    o.used["dims"] = tuple(dims)
    return Function(permute, dims=tuple(dims))


def repeat(x: Tensor, times: int) -> Tensor:
    return x.unsqueeze(1).expand(-1, times, -1)


def _repeat(o: Options) -> nn.Module:
    return Function(repeat, times=o.whole("n"))


def rectify(x: Tensor, slope: float, threshold: float, most: float | None) -> Tensor:
    """x from the threshold on, slope (x - threshold) below, most where it is more."""
    y = torch.where(x >= threshold, x, slope * (x - threshold))
    return y if most is None else y.clamp(max=most)


def _rectified(o: Options) -> nn.Module:
    most = None if o.config.get("max_value") is None else o.number("max_value")
    slope, threshold = o.number("negative_slope", 0.0), o.number("threshold", 0.0)
    return Function(rectify, slope=slope, threshold=threshold, most=most)


def _leaky(o: Options) -> nn.Module:
    if "alpha" in o.config and "negative_slope" not in o.config:
        o.config = {**{k: v for k, v in o.config.items() if k != "alpha"}, "negative_slope": o.config["alpha"]}
    return nn.LeakyReLU(o.number("negative_slope", 0.3))


def _softmax(o: Options) -> nn.Module:
    return nn.Softmax(o.axis("axis"))


class Parametric(nn.Module):
    """x above zero, alpha x below, with a slope for each element or shared along axes."""

    def __init__(self, o: Options) -> None:
        super().__init__()
        shared = o.config.get("shared_axes")
        if shared is not None and not (isinstance(shared, list) and all(type(n) is int for n in shared)):
            raise o.error(f"shared_axes={shared!r:.60}", "axes")
        o.used["shared_axes"] = shared
        if not o.arrays:
            raise o.error("no weights", "the slopes")
        self.alpha = nn.Parameter(o.weights(tuple(o.arrays[0].shape))[0])

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.alpha * x)


def merge(*values: Tensor, by: Callable[[Tensor, Tensor], Tensor], share: bool = False) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = by(total, value)
    return total / len(values) if share else total


def _merged(by: Callable[[Tensor, Tensor], Tensor], share: bool = False) -> Maker:
    return lambda o: Function(merge, by=by, share=share)


def concatenate(*values: Tensor, axis: int) -> Tensor:
    return torch.cat(values, axis)


def _concatenate(o: Options) -> nn.Module:
    return Function(concatenate, axis=o.axis("axis"))


def _same(o: Options) -> nn.Module:
    return nn.Identity()


IDENTITIES = (
    "Dropout SpatialDropout1D SpatialDropout2D GaussianDropout GaussianNoise AlphaDropout ActivityRegularization"
).split()

LAYERS: dict[str, Maker] = {
    "Dense": Affine, "Embedding": Lookup, "Activation": activation, "Flatten": _flatten, "Reshape": _reshape,
    "Permute": _permute, "RepeatVector": _repeat, "ReLU": _rectified, "LeakyReLU": _leaky, "PReLU": Parametric,
    "ELU": lambda o: nn.ELU(o.number("alpha", 1.0)), "Softmax": _softmax,
    "Concatenate": _concatenate, "Add": _merged(torch.add), "Subtract": _merged(torch.sub),
    "Multiply": _merged(torch.mul), "Average": _merged(torch.add, share=True),
    "Maximum": _merged(torch.maximum), "Minimum": _merged(torch.minimum),
    **{name: _same for name in IDENTITIES},
}  # fmt: skip


def parts_of(kind: str) -> tuple[str, ...]:
    """Where a .keras file has the weights of a layer."""
    return _PARTS.get(kind, ("",))


_PARTS: dict[str, tuple[str, ...]] = {
    "LSTM": ("cell",), "GRU": ("cell",), "SimpleRNN": ("cell",), "TimeDistributed": ("layer",),
    "Bidirectional": ("forward_layer/cell", "backward_layer/cell"),
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
}  # fmt: skip
