"""Functions of single elements that are made of other ones."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.registry import by_parts


@by_parts("addcdiv")
def _addcdiv(y: Tensor, a: Tensor, b: Tensor, value: float = 1) -> Tensor:
    return y + value * (a / b)


@by_parts("heaviside")
def _heaviside(x: Tensor, at_zero: Tensor) -> Tensor:
    found = torch.where(x == 0, at_zero, (x > 0).to(x.dtype))
    return torch.where(x.isnan(), 0.0, found) if x.is_floating_point() else found


@by_parts("deg2rad")
def _radians(x: Tensor) -> Tensor:
    return x * (math.pi / 180)


@by_parts("rad2deg")
def _degrees(x: Tensor) -> Tensor:
    return x * (180 / math.pi)


@by_parts("sinc")
def _sinc(x: Tensor) -> Tensor:
    angle = x * math.pi
    return torch.where(x == 0, 1.0, torch.sin(angle) / torch.where(x == 0, 1.0, angle))


@by_parts("erfc")
def _erfc(x: Tensor) -> Tensor:
    return 1 - torch.erf(x)


@by_parts("logit")
def _logit(x: Tensor, eps: float | None = None) -> Tensor:
    x = x if eps is None else x.clamp(eps, 1 - eps)
    return torch.log(x / (1 - x))


@by_parts("xlogy")
def _xlogy(x: Tensor, y: Any) -> Tensor:
    y = torch.as_tensor(y)
    return torch.where(y.isnan(), torch.nan, torch.where(x == 0, 0.0, x * torch.log(y)))


@by_parts("ldexp")
def _ldexp(x: Tensor, k: Tensor) -> Tensor:
    return x * torch.exp2(k.to(x.dtype))


@by_parts("logaddexp")
def _logaddexp(a: Tensor, b: Tensor) -> Tensor:
    top = torch.maximum(a, b)
    same = (a == b) & a.isinf()
    return torch.where(same, a, top + torch.log1p(torch.exp(-(a - b).abs())))
