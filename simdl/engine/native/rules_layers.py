"""Layers of networks: activations, normalisation, pooling, attention; and derivatives that torch has no parts of."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.registry import by_parts


@by_parts("_softmax", "_safe_softmax")
def _softmax(x: Tensor, dim: int, half_to_float: Any = False, dtype: Any = None) -> Tensor:
    raised = torch.exp(x - x.amax(dim, keepdim=True))
    return raised / raised.sum(dim, keepdim=True)


@by_parts("_log_softmax")
def _log_softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - torch.log(torch.exp(shifted).sum(dim, keepdim=True))


@by_parts("softplus")
def _softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    return torch.where(x * beta > threshold, x, torch.log1p(torch.exp(x * beta)) / beta)


@by_parts("log_sigmoid_forward")
def _logsigmoid(x: Tensor) -> tuple[Tensor, None]:
    return torch.minimum(x, torch.zeros_like(x)) - torch.log1p(torch.exp(-x.abs())), None


@by_parts("gelu")
def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))


@by_parts("leaky_relu")
def _leaky(x: Tensor, slope: float = 0.01) -> Tensor:
    return torch.where(x > 0, x, x * slope)


@by_parts("elu")
def _elu(x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    return torch.where(x > 0, x * scale, torch.expm1(x * input_scale) * (alpha * scale))


@by_parts("silu")
def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


@by_parts("mish")
def _mish(x: Tensor) -> Tensor:
    return x * torch.tanh(_softplus(x))


@by_parts("hardsigmoid")
def _hardsigmoid(x: Tensor) -> Tensor:
    return torch.clamp(x + 3, 0, 6) / 6


@by_parts("hardswish")
def _hardswish(x: Tensor) -> Tensor:
    return x * torch.clamp(x + 3, 0, 6) / 6


@by_parts("threshold")
def _threshold(x: Tensor, threshold: float, value: float) -> Tensor:
    return torch.where(x <= threshold, value, x)


@by_parts("native_layer_norm")
def _layer_norm(x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
    over = list(range(x.ndim - len(shape), x.ndim))
    mean = x.mean(over, keepdim=True)
    apart = x - mean
    rest = torch.rsqrt((apart * apart).mean(over, keepdim=True) + eps)
    return _scaled(apart * rest, weight, bias), mean, rest


@by_parts("native_group_norm")
def _group_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, lanes: int, channels: int, size: int,
                groups: int, eps: float) -> Any:  # fmt: skip
    rows = x.reshape(lanes, groups, -1)
    mean = rows.mean(-1, keepdim=True)
    apart = rows - mean
    rest = torch.rsqrt((apart * apart).mean(-1, keepdim=True) + eps)
    form = (1, channels, *(1,) * (x.ndim - 2))
    parts = (None if p is None else p.reshape(form) for p in (weight, bias))
    return _scaled((apart * rest).reshape(x.shape), *parts), mean.squeeze(-1), rest.squeeze(-1)


@by_parts("_native_batch_norm_legit_no_training")
def _batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor,
                momentum: float, eps: float) -> Any:  # fmt: skip
    form = (1, -1, *(1,) * (x.ndim - 2))
    scale = torch.rsqrt(variance + eps)
    parts = (None if p is None else p.reshape(form) for p in (weight, bias))
    return _scaled((x - mean.reshape(form)) * scale.reshape(form), *parts), None, None


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@by_parts("native_batch_norm")
def _batch_norm_old(x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None,
                    training: bool, momentum: float, eps: float) -> Any:  # fmt: skip
    if training or mean is None or variance is None:
        over = [0, *range(2, x.ndim)]  # refused where it is used: lanes would see each other
        mean, variance = x.mean(over), x.var(over, correction=0)
    return _batch_norm(x, weight, bias, mean, variance, momentum, eps)


# -- pooling ----------------------------------------------------------------------------------------------------------


def _pair(x: Any, n: int) -> list[int]:
    sizes = [x] if isinstance(x, int) else [*map(int, x)]
    return sizes * n if len(sizes) == 1 else sizes


def _windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
             ceil: bool, fill: float) -> Tensor:  # fmt: skip
    """(..., *places, elements of a window)."""
    n = len(kernel)
    pad = []
    for i in reversed(range(n)):
        size, reach = x.shape[i - n], dilation[i] * (kernel[i] - 1) + 1
        more = 0
        if ceil:
            places = -(-(size + 2 * padding[i] - reach) // stride[i]) + 1
            if (places - 1) * stride[i] >= size + padding[i]:
                places -= 1
            more = max(0, (places - 1) * stride[i] + reach - size - 2 * padding[i])
        pad += [padding[i], padding[i] + more]
    x = torch.nn.functional.pad(x, pad, value=fill) if any(pad) else x
    first = x.ndim - n
    for i in range(n):
        x = x.unfold(first + i, dilation[i] * (kernel[i] - 1) + 1, stride[i])[..., :: dilation[i]]
    return x.flatten(-n)


def _averaged(x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
              count_include_pad: bool = True, divisor_override: int | None = None, n: int = 2) -> Tensor:  # fmt: skip
    kernel, padding = _pair(kernel, n), _pair(padding, n)
    stride = _pair(stride, n) if stride else kernel
    ones = [1] * n
    total = _windows(x, kernel, stride, padding, ones, ceil_mode, 0.0).sum(-1)
    if divisor_override is not None:
        return total / divisor_override
    there = torch.ones(x.shape[-n:], dtype=x.dtype)
    if count_include_pad:
        there = torch.nn.functional.pad(there, [p for q in reversed(padding) for p in (q, q)], value=1.0)
        padding = [0] * n
    return total / _windows(there, kernel, stride, padding, ones, ceil_mode, 0.0).sum(-1)


def _largest(x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
             n: int = 2) -> tuple[Tensor, Tensor]:  # fmt: skip
    kernel, padding, dilation = _pair(kernel, n), _pair(padding, n), _pair(dilation, n)
    stride = _pair(stride, n) if stride else kernel
    found = _windows(x, kernel, stride, padding, dilation, ceil_mode, -math.inf)
    places = torch.arange(math.prod(x.shape[-n:])).reshape(x.shape[-n:])
    numbers = _windows(places, kernel, stride, padding, dilation, ceil_mode, 0)
    values, which = found.max(-1)
    return values, numbers.expand(*which.shape, -1).gather(-1, which.unsqueeze(-1)).squeeze(-1)


@by_parts("avg_pool1d")
def _avg_pool1d(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return functools.partial(_averaged, n=1)(x, *args, **kwargs)


@by_parts("avg_pool2d")
def _avg_pool2d(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _averaged(x, *args, **kwargs)


@by_parts("max_pool2d_with_indices")
def _max_pool2d(x: Tensor, *args: Any) -> Any:
    return _largest(x, *args)


@by_parts("max_pool2d")
def _max_pool2d_only(x: Tensor, *args: Any) -> Tensor:
    return _largest(x, *args)[0]


def _cells(x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The windows of adaptive pooling, the last place fastest."""
    n = len(sizes)
    ranges = [[(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
              for count, size in zip(sizes, x.shape[-n:])]  # fmt: skip
    cells = itertools.product(*ranges)
    return [x[(Ellipsis, *[slice(a, b) for a, b in cell])].flatten(-n) for cell in cells]  # type: ignore[index]


@by_parts("_adaptive_avg_pool2d", "adaptive_avg_pool1d")
def _adaptive_average(x: Tensor, sizes: Sequence[int]) -> Tensor:
    found = torch.stack([cell.mean(-1) for cell in _cells(x, sizes)], -1)
    return found.reshape(*found.shape[:-1], *sizes)


@by_parts("adaptive_max_pool2d")
def _adaptive_largest(x: Tensor, sizes: Sequence[int]) -> Any:
    n = len(sizes)
    numbers = torch.arange(math.prod(x.shape[-n:])).reshape(x.shape[-n:])
    values, places = [], []
    for cell, number in zip(_cells(x, sizes), _cells(numbers, sizes)):
        value, which = cell.max(-1)
        values.append(value)
        places.append(number.expand(*which.shape, -1).gather(-1, which.unsqueeze(-1)).squeeze(-1))
    form = (*values[0].shape, *sizes)
    return tuple(torch.stack(parts, -1).reshape(form) for parts in (values, places))


@by_parts("_scaled_dot_product_flash_attention_for_cpu")
def _attention(q: Tensor, k: Tensor, v: Tensor, dropout_p: float = 0.0, is_causal: bool = False, *,
               attn_mask: Tensor | None = None, scale: float | None = None) -> Any:  # fmt: skip
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = torch.where(allowed, scores, -math.inf)
    if attn_mask is not None:
        scores = scores + attn_mask
    return _softmax(scores, -1) @ v, None
