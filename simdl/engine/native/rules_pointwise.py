"""Operations on single elements."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.ir import TYPES, Value
from simdl.engine.native.registry import RULES, rule
from simdl.engine.native.tracer import Tracer
from simdl.errors import LoweringError

UNARY = (
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p sqrt rsqrt "
    "reciprocal sigmoid erf abs neg sgn sign floor ceil trunc frac"
).split()


def _unary(op: str) -> Any:
    def one(tracer: Tracer, func: Any, out: Tensor, x: Tensor) -> None:
        tracer.pointwise("sign" if op == "sgn" else op, out, [x])

    return one


for name in UNARY:
    RULES[name] = _unary(name)


@rule("round")
def _round(tracer: Tracer, func: Any, out: Tensor, x: Tensor, *, decimals: int = 0) -> None:
    if not decimals:
        tracer.pointwise("round", out, [x])
        return
    with tracer:
        scale = 10 ** abs(decimals)
        scaled = (x * scale).round() / scale if decimals > 0 else (x / scale).round() * scale
    tracer.same(out, scaled)


@rule("signbit")
def _signbit(tracer: Tracer, func: Any, out: Tensor, x: Tensor) -> None:
    kind = TYPES[x.dtype]
    with tracer:
        one = torch.copysign(torch.ones_like(x), x) if kind in ("f8", "f4") else x
        found = one < 0
    tracer.same(out, found)


@rule("relu")
def _relu(tracer: Tracer, func: Any, out: Tensor, x: Tensor) -> None:
    tracer.pointwise("maximum", out, [x, 0])


@rule("logical_not")
def _not(tracer: Tracer, func: Any, out: Tensor, x: Tensor) -> None:
    tracer.pointwise("not", out, [x], "b1")


@rule("bitwise_not")
def _bitwise_not(tracer: Tracer, func: Any, out: Tensor, x: Tensor) -> None:
    tracer.pointwise("not" if out.dtype == torch.bool else "invert", out, [x])


def _question(op: str) -> Any:
    def ask(tracer: Tracer, func: Any, out: Tensor, x: Tensor) -> None:
        if x.is_floating_point():
            tracer.pointwise(op, out, [x], TYPES[x.dtype], "b1")
        else:
            tracer.pointwise("to_b1", out, [op == "isfinite"], "b1")

    return ask


for name in ("isnan", "isinf", "isfinite"):
    RULES[name] = _question(name)


@rule("_to_copy", "to")
def _cast(tracer: Tracer, func: Any, out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> None:
    entry = tracer.known(x)
    if out.dtype not in TYPES:
        raise LoweringError(tracer.where, f"{out.dtype} values", "float64, float32 or whole numbers")
    tracer.record(out, entry.value, entry.lane)


# -- two and three arguments --------------------------------------------------------------------------------------

BINARY = {
    "mul": "mul", "maximum": "maximum", "minimum": "minimum", "fmax": "fmax", "fmin": "fmin", "atan2": "atan2",
    "hypot": "hypot", "copysign": "copysign", "remainder": "remainder", "fmod": "fmod",
    "floor_divide": "floor_divide", "bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor",
    "bitwise_left_shift": "shl", "bitwise_right_shift": "shr", "__lshift__": "shl", "__rshift__": "shr",
}  # fmt: skip


def _binary(op: str) -> Any:
    def two(tracer: Tracer, func: Any, out: Tensor, a: Any, b: Any) -> None:
        tracer.pointwise(op, out, [a, b])

    return two


for name, op in BINARY.items():
    RULES[name] = _binary(op)


@rule("add", "sub")
def _add(tracer: Tracer, func: Any, out: Tensor, a: Any, b: Any, *, alpha: float = 1) -> None:
    op = "add" if "add" in func.overloadpacket.__name__ else "sub"
    _scaled_sum(tracer, op, out, a, b, alpha)


@rule("rsub")
def _rsub(tracer: Tracer, func: Any, out: Tensor, a: Any, b: Any, alpha: float = 1) -> None:
    _scaled_sum(tracer, "sub", out, b, a, alpha)


def _scaled_sum(tracer: Tracer, op: str, out: Tensor, a: Any, b: Any, alpha: float) -> None:
    lane, kind, graph = tracer.lanes_of(tuple(out.shape), [a, b]), TYPES[out.dtype], tracer.graph
    if out.dtype == torch.bool:
        op = {"add": "or", "sub": "xor"}[op]
    left, right = tracer.operand(a, out, lane, kind), tracer.operand(b, out, lane, kind)
    if alpha != 1:
        right = graph.pointwise("mul", [right, graph.const(alpha, kind)], kind)
    tracer.record(out, graph.pointwise(op, [left, right], kind), lane)


@rule("div", "true_divide")
def _div(tracer: Tracer, func: Any, out: Tensor, a: Any, b: Any, *, rounding_mode: str | None = None) -> None:
    if rounding_mode == "floor":
        tracer.pointwise("floor_divide", out, [a, b])
        return
    lane, kind = tracer.lanes_of(tuple(out.shape), [a, b]), TYPES[out.dtype]
    if rounding_mode == "trunc" and not out.is_floating_point():
        tracer.pointwise("trunc_divide", out, [a, b])
        return
    value = tracer.graph.pointwise("div", [tracer.operand(x, out, lane, kind) for x in (a, b)], kind)
    if rounding_mode == "trunc":
        value = tracer.graph.pointwise("trunc", [value], kind)
    tracer.record(out, value, lane)


@rule("pow")
def _pow(tracer: Tracer, func: Any, out: Tensor, a: Any, b: Any) -> None:
    if isinstance(b, int | float) and b == int(b) and 0 <= abs(b) <= (4 if out.is_floating_point() else 64):
        _whole_power(tracer, out, a, int(b))
    elif isinstance(b, int | float) and abs(b) == 0.5:
        with tracer:
            root = a.to(out.dtype).sqrt()
            found = root if b > 0 else root.reciprocal()
        tracer.same(out, found)
    elif out.is_floating_point():
        tracer.pointwise("pow", out, [a, b])
    else:
        _power_of_wholes(tracer, out, a, b)


def _whole_power(tracer: Tracer, out: Tensor, a: Any, b: int) -> None:
    """The same products as torch's own special cases."""
    lane, kind, graph = tracer.lanes_of(tuple(out.shape), [a]), TYPES[out.dtype], tracer.graph
    x = tracer.operand(a, out, lane, kind)
    found: Value | None = None
    square, left = x, abs(b)
    if left == 3:
        found, left = graph.pointwise("mul", [graph.pointwise("mul", [x, x], kind), x], kind), 0
    while left:
        if left & 1:
            found = square if found is None else graph.pointwise("mul", [found, square], kind)
        left >>= 1
        if left:
            square = graph.pointwise("mul", [square, square], kind)
    if found is None:
        found = graph.const(1, kind)
    if b < 0:
        found = graph.pointwise("reciprocal", [found], kind)
    tracer.record(out, found, lane)


def _power_of_wholes(tracer: Tracer, out: Tensor, a: Any, b: Any) -> None:
    """By squaring; a negative exponent leaves 1 and -1 only."""
    with tracer:
        base, left = (torch.as_tensor(x, dtype=out.dtype) + torch.zeros_like(out) for x in (a, b))
        found, exponent = torch.ones_like(out), left
        for _ in range(6):
            found = torch.where((exponent & 1) == 1, found * base, found)
            base, exponent = base * base, exponent >> 1
        one = torch.as_tensor(a, dtype=out.dtype) + torch.zeros_like(out)
        odd = torch.where((left & 1) == 1, one, torch.ones_like(out))
        found = torch.where(left < 0, torch.where(one.abs() == 1, odd, torch.zeros_like(out)), found)
    tracer.same(out, found)


COMPARE = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}


def _compare(op: str) -> Any:
    def two(tracer: Tracer, func: Any, out: Tensor, a: Any, b: Any) -> None:
        tracer.pointwise(op, out, [a, b], TYPES[torch.result_type(a, b)], "b1")

    return two


for name, op in COMPARE.items():
    RULES[name] = _compare(op)


def _logical(op: str) -> Any:
    def two(tracer: Tracer, func: Any, out: Tensor, a: Any, b: Any) -> None:
        tracer.pointwise(op, out, [a, b], "b1")

    return two


for name, op in {"logical_and": "and", "logical_or": "or", "logical_xor": "xor"}.items():
    RULES[name] = _logical(op)


@rule("where.self", "where.Scalar", "where.ScalarSelf", "where.ScalarOther")
def _where(tracer: Tracer, func: Any, out: Tensor, mask: Tensor, a: Any, b: Any) -> None:
    lane, kind = tracer.lanes_of(tuple(out.shape), [mask, a, b]), TYPES[out.dtype]
    args = [tracer.operand(mask, out, lane, "b1"), *(tracer.operand(x, out, lane, kind) for x in (a, b))]
    tracer.record(out, tracer.graph.pointwise("where", args, kind), lane)


@rule("masked_fill")
def _masked_fill(tracer: Tracer, func: Any, out: Tensor, x: Tensor, mask: Tensor, value: Any) -> None:
    _where(tracer, func, out, mask, value, x)


@rule("clamp", "clamp.Tensor", "clip")
def _clamp(tracer: Tracer, func: Any, out: Tensor, x: Tensor, low: Any = None, high: Any = None,
           *, min: Any = None, max: Any = None) -> None:  # fmt: skip
    low, high = min if low is None else low, max if high is None else high
    lane, kind, graph = tracer.lanes_of(tuple(out.shape), [x, low, high]), TYPES[out.dtype], tracer.graph
    value = tracer.operand(x, out, lane, kind)
    for op, bound in (("maximum", low), ("minimum", high)):  # in this order: the upper bound wins
        if bound is not None:
            value = graph.pointwise(op, [value, tracer.operand(bound, out, lane, kind)], kind)
    tracer.record(out, value, lane)


RULES["clamp_min"] = lambda tracer, func, out, x, low: _clamp(tracer, func, out, x, low)
RULES["clamp_max"] = lambda tracer, func, out, x, high: _clamp(tracer, func, out, x, None, high)


@rule("hardtanh")
def _hardtanh(tracer: Tracer, func: Any, out: Tensor, x: Tensor, low: float = -1.0, high: float = 1.0) -> None:
    _clamp(tracer, func, out, x, low, high)


@rule("addcmul")
def _addcmul(tracer: Tracer, func: Any, out: Tensor, y: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> None:
    lane, kind, graph = tracer.lanes_of(tuple(out.shape), [y, a, b]), TYPES[out.dtype], tracer.graph
    args = [tracer.operand(x, out, lane, kind) for x in (y, a, b)]
    if value != 1:  # on the first factor, as in torch: (-6 / 6) h is h exactly, and (-6 h) / 6 within an fma is not
        args[1] = graph.pointwise("mul", [args[1], graph.const(value, kind)], kind)
    tracer.record(out, graph.pointwise("add", [args[0], graph.pointwise("mul", args[1:], kind)], kind), lane)


@rule("lerp")
def _lerp(tracer: Tracer, func: Any, out: Tensor, a: Tensor, b: Tensor, weight: Any) -> None:
    lane, kind, graph = tracer.lanes_of(tuple(out.shape), [a, b, weight]), TYPES[out.dtype], tracer.graph
    low, high, w = (tracer.operand(x, out, lane, kind) for x in (a, b, weight))
    span = graph.pointwise("sub", [high, low], kind)
    near = graph.pointwise("add", [low, graph.pointwise("mul", [w, span], kind)], kind)
    rest = graph.pointwise("sub", [graph.const(1.0, kind), w], kind)
    far = graph.pointwise("sub", [high, graph.pointwise("mul", [span, rest], kind)], kind)
    first = graph.pointwise("lt", [graph.pointwise("abs", [w], kind), graph.const(0.5, kind)], "b1")
    tracer.record(out, graph.pointwise("where", [first, near, far], kind), lane)


@rule("nan_to_num")
def _nan_to_num(tracer: Tracer, func: Any, out: Tensor, x: Tensor, nan: float | None = None,
                posinf: float | None = None, neginf: float | None = None) -> None:  # fmt: skip
    entry, kind, graph = tracer.known(x), TYPES[out.dtype], tracer.graph
    value, limit = entry.value, torch.finfo(out.dtype).max
    for op, number, to in (("eq", math.inf, posinf), ("eq", -math.inf, neginf), ("isnan", 0.0, nan)):
        to = math.copysign(limit, number) if to is None and op == "eq" else to or 0.0
        args = [entry.value] if op == "isnan" else [entry.value, graph.const(number, kind)]
        value = graph.pointwise("where", [graph.pointwise(op, args, "b1"), graph.const(to, kind), value], kind)
    tracer.record(out, value, entry.lane)


@rule("square")
def _square(tracer: Tracer, func: Any, out: Tensor, x: Tensor) -> None:
    tracer.pointwise("mul", out, [x, x])
