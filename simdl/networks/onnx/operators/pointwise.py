"""Operators that treat every number by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from simdl.networks.onnx.arrays import torch_type
from simdl.networks.onnx.operands import Operands, Operator


def unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda o: function(o.tensor(0))


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def apply(o: Operands) -> Tensor:
        a, b = o.tensor(0), o.tensor(1)
        axis = o.attribute("axis")
        if o.opset < 7 and axis is not None:
            b = b.reshape(*b.shape, *(1,) * (a.ndim - axis - b.ndim))
        return function(a, b)

    return apply


def folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda o: reduce(function, o.tensors())


def mean(o: Operands) -> Tensor:
    return reduce(torch.add, o.tensors()) / len(o)


def divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def wide(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The same for unsigned numbers, which torch computes as 64-bit ones."""

    def apply(a: Tensor, b: Tensor) -> Tensor:
        if a.dtype in (torch.uint16, torch.uint32, torch.uint64):
            found = function(a.to(torch.int64), b.to(torch.int64))
            return found if found.dtype == torch.bool else found.to(a.dtype)
        return function(a, b)

    return apply


def power(o: Operands) -> Tensor:
    """The result has the type of the base."""
    a, b = o.tensor(0), o.tensor(1)
    if o.known(1) and o.host(1).size == 1 and b.ndim == 0:
        number = o.host(1).item()
        return torch.pow(a, int(number) if float(number).is_integer() else float(number)).to(a.dtype)
    return torch.pow(a, b.to(a.dtype) if a.is_floating_point() else b).to(a.dtype)


def modulo(o: Operands) -> Tensor:
    a, b = o.tensor(0), o.tensor(1)
    return torch.fmod(a, b) if o.attribute("fmod", 0) else torch.remainder(a, b)


def clip(o: Operands) -> Tensor:
    x = o.tensor(0)
    if o.opset < 11:
        low, high = o.attribute("min"), o.attribute("max")
        return x if low is None and high is None else torch.clamp(x, low, high)
    if o.has(1):
        x = torch.maximum(x, o.tensor(1).to(x.dtype))
    return torch.minimum(x, o.tensor(2).to(x.dtype)) if o.has(2) else x


def cast(o: Operands) -> Tensor:
    x, dtype = o.tensor(0), torch_type(o.attribute("to", 1), o.where)
    return x != 0 if dtype == torch.bool else x.to(dtype)


def cast_like(o: Operands) -> Tensor:
    return o.tensor(0).to(o.tensor(1).dtype)


def gelu(o: Operands) -> Tensor:
    return F.gelu(o.tensor(0), approximate=o.attribute("approximate", "none"))


def leaky(o: Operands) -> Tensor:
    return F.leaky_relu(o.tensor(0), o.attribute("alpha", 0.01))


def prelu(o: Operands) -> Tensor:
    x = o.tensor(0)
    return torch.where(x < 0, x * o.tensor(1), x)


def elu(o: Operands) -> Tensor:
    return F.elu(o.tensor(0), o.attribute("alpha", 1.0))


def celu(o: Operands) -> Tensor:
    return F.celu(o.tensor(0), o.attribute("alpha", 1.0))


def selu(o: Operands) -> Tensor:
    x = o.tensor(0)
    alpha, gamma = o.attribute("alpha", 1.67326319217681884765625), o.attribute("gamma", 1.05070102214813232421875)
    scaled: Tensor = gamma * torch.where(x > 0, x, alpha * torch.expm1(torch.minimum(x, torch.zeros_like(x))))
    return scaled


def hard_sigmoid(o: Operands) -> Tensor:
    return torch.clamp(o.attribute("alpha", 0.2) * o.tensor(0) + o.attribute("beta", 0.5), 0, 1)


def hard_swish(x: Tensor) -> Tensor:
    return x * torch.clamp(x / 6 + 0.5, 0, 1)


def swish(o: Operands) -> Tensor:
    x = o.tensor(0)
    return x * torch.sigmoid(o.attribute("alpha", 1.0) * x)


def thresholded(o: Operands) -> Tensor:
    x = o.tensor(0)
    return torch.where(x > o.attribute("alpha", 1.0), x, torch.zeros_like(x))


def shrink(o: Operands) -> Tensor:
    x, bias, limit = o.tensor(0), o.attribute("bias", 0.0), o.attribute("lambd", 0.5)
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, torch.zeros_like(x)))


def is_infinite(o: Operands) -> Tensor:
    x = o.tensor(0)
    high, low = o.attribute("detect_positive", 1), o.attribute("detect_negative", 1)
    found = torch.isinf(x)
    return found & ((x > 0) if not low else torch.ones_like(found)) & ((x < 0) if not high else torch.ones_like(found))


def where(o: Operands) -> Tensor:
    return torch.where(o.tensor(0).bool(), o.tensor(1), o.tensor(2))


def shift(o: Operands) -> Tensor:
    a, b = o.tensor(0), o.tensor(1)
    wide = a.long() << b.long() if o.attribute("direction") == "LEFT" else a.long() >> b.long()
    return wide.to(a.dtype)


OPERATORS: dict[str, Operator] = {
    "Abs": unary(torch.abs), "Acos": unary(torch.acos), "Acosh": unary(torch.acosh), "Asin": unary(torch.asin),
    "Asinh": unary(torch.asinh), "Atan": unary(torch.atan), "Atanh": unary(torch.atanh), "Ceil": unary(torch.ceil),
    "Cos": unary(torch.cos), "Cosh": unary(torch.cosh), "Erf": unary(torch.erf), "Exp": unary(torch.exp),
    "Floor": unary(torch.floor), "IsNaN": unary(torch.isnan), "Log": unary(torch.log), "Mish": unary(F.mish),
    "Neg": unary(torch.neg), "Not": unary(torch.logical_not), "Reciprocal": unary(torch.reciprocal),
    "Relu": unary(torch.relu), "Round": unary(torch.round), "Sigmoid": unary(torch.sigmoid),
    "Sign": unary(torch.sign), "Sin": unary(torch.sin), "Sinh": unary(torch.sinh), "Sqrt": unary(torch.sqrt),
    "Softplus": unary(F.softplus), "Softsign": unary(F.softsign), "Tan": unary(torch.tan), "Tanh": unary(torch.tanh),
    "HardSwish": unary(hard_swish), "BitwiseNot": unary(torch.bitwise_not), "Identity": unary(lambda x: x),
    "Add": binary(wide(torch.add)), "Sub": binary(wide(torch.sub)),
    "Mul": binary(wide(torch.mul)), "Div": binary(wide(divide)),
    "And": binary(torch.logical_and), "Or": binary(torch.logical_or), "Xor": binary(torch.logical_xor),
    "Equal": binary(torch.eq), "Greater": binary(wide(torch.gt)), "GreaterOrEqual": binary(wide(torch.ge)),
    "Less": binary(wide(torch.lt)), "LessOrEqual": binary(wide(torch.le)), "BitwiseAnd": binary(torch.bitwise_and),
    "BitwiseOr": binary(torch.bitwise_or), "BitwiseXor": binary(torch.bitwise_xor), "BitShift": shift,
    "Max": folded(wide(torch.maximum)), "Min": folded(wide(torch.minimum)), "Sum": folded(torch.add), "Mean": mean,
    "Pow": power, "Mod": modulo, "Clip": clip, "Cast": cast, "CastLike": cast_like, "Gelu": gelu, "Swish": swish,
    "LeakyRelu": leaky, "PRelu": prelu, "Elu": elu, "Celu": celu, "Selu": selu, "HardSigmoid": hard_sigmoid,
    "ThresholdedRelu": thresholded, "Shrink": shrink, "IsInf": is_infinite, "Where": where,
}  # fmt: skip
