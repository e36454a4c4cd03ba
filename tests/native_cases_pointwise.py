"""Operations on single elements."""
# ruff: noqa: B008, E501 (a table)

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.native_cases import Case, Numbers, case

SPECIAL = (
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p sqrt rsqrt "
    "reciprocal sigmoid erf erfc abs neg sgn sign floor ceil trunc round frac square isnan isinf isfinite logical_not "
    "signbit positive deg2rad rad2deg isposinf isneginf"
).split()
ACTIVATIONS = {
    "relu": F.relu, "relu6": F.relu6, "elu": F.elu, "selu": F.selu, "celu": F.celu, "gelu": F.gelu, "silu": F.silu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "mish": F.mish, "softplus": F.softplus,
    "softplus_sharp": lambda x: F.softplus(x, 3.0, 5.0), "hardtanh": F.hardtanh, "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish, "leaky_relu": F.leaky_relu, "logsigmoid": F.logsigmoid, "softsign": F.softsign,
    "tanhshrink": F.tanhshrink, "hardshrink": F.hardshrink, "softshrink": F.softshrink,
    "threshold": lambda x: F.threshold(x, 0.3, -1.0), "celu_wide": lambda x: F.celu(x, 2.0),
    "elu_flat": lambda x: F.elu(x, 0.5), "hardtanh_wide": lambda x: F.hardtanh(x, -0.3, 2.0),
}  # fmt: skip
BINARY = (
    "add sub mul div maximum minimum fmax fmin atan2 copysign hypot remainder fmod floor_divide eq ne lt le gt ge "
    "logical_and logical_or logical_xor true_divide rsub logaddexp xlogy"
).split()


def cases(dtype: torch.dtype) -> dict[str, Case]:
    n = Numbers(2, dtype)
    found: dict[str, Case] = {}
    for name in SPECIAL:
        special = n.special(3)
        if name in ("sin", "cos", "tan"):
            special = special.clamp(-1e5, 1e5)  # farther out the argument is taken for the limit
        found[name] = case(getattr(torch, name), special)
        found[f"{name}, many"] = case(getattr(torch, name), n.normal(5, 6))
    for name, function in ACTIVATIONS.items():
        found[name] = case(function, n.special(3))
        found[f"{name}, ordinary"] = case(function, n.within(-6, 6, 4))
    for name in BINARY:
        function = getattr(torch, name)
        left, right = n.special(3), n.special(3)
        if name in ("remainder", "fmod", "floor_divide"):
            left = left.clamp(-1e5, 1e5)  # quotients beyond 2^53 are taken for whole ones
            right = torch.where(right.abs() < 1e-20, 0.0, right)
        found[name] = case(function, left, right)
        found[f"{name}, broadcast"] = case(function, n.normal(2, 3), n.normal(1, 3))
    found |= {
        "logit": case(torch.logit, n.within(0.01, 0.99, 3)),
        "logit eps": case(lambda x: torch.logit(x, 0.1), n.within(0, 1, 3)),
        "sinc": case(torch.sinc, n.normal(3)),
        "heaviside": case(torch.heaviside, n.special(3), n.normal(3)),
        "pow numbers": case(lambda x: (x**2, x**3, x**-1, x**0.5, x**0, x**4, x**-2, x**1.7, 2.0**x), n.within(0.1, 3, 3)),
        "pow special": case(torch.pow, n.special(3), n.special(3)),
        "pow whole exponent": case(lambda x, k: x**k, n.normal(3), n.whole(-3, 4, 3)),
        "float_power": case(lambda x: torch.float_power(x, 2), n.normal(3)),
        "pow of whole": case(lambda k: (k**2, k**3, k**5), n.whole(-4, 5, 3)),
        "pow of wholes": case(lambda k, j: k**j, n.whole(-4, 5, 3), n.whole(0, 5, 3)),
        "ldexp": case(lambda x, k: torch.ldexp(x, k), n.normal(3), n.whole(-3, 4, 3)),
        "round decimals": case(lambda x: torch.round(x * 10, decimals=1), n.normal(3)),
        "clamp": case(lambda x: (x.clamp(-0.5, 0.5), x.clamp(min=0), x.clamp(max=0.1), x.clip(0, 1)), n.special(3)),
        "clamp tensors": case(torch.clamp, n.special(3), n.within(-1, 0, 3), n.within(0, 1, 3)),
        "clamp crossed": case(lambda x: x.clamp(1.0, -1.0), n.normal(3)),
        "clamp_min": case(lambda x, y: (x.clamp_min(0.1), torch.clamp_min(x, y), torch.clamp_max(x, y), x.clamp_max(0)),
                          n.normal(3), n.normal(3)),
        "where": case(torch.where, n.truth(3), n.special(3), n.special(3)),
        "where numbers": case(lambda m, x: (torch.where(m, 1.0, x), torch.where(m, x, 2), torch.where(m, 1.0, 0.0)),
                              n.truth(3), n.normal(3)),
        "where broadcast": case(lambda m, x: torch.where(m[:, None], x, 0.0), n.truth(3), n.normal(2, 3)),
        "masked_fill": case(lambda x, m: x.masked_fill(m, -1.0), n.normal(3), n.truth(3)),
        "addcmul": case(lambda x, y, z: (torch.addcmul(x, y, z), torch.addcmul(x, y, z, value=0.3),
                                         torch.addcdiv(x, y, z, value=-2)), n.normal(3), n.normal(3), n.within(1, 2, 3)),
        "lerp": case(lambda a, b, w: (torch.lerp(a, b, w), torch.lerp(a, b, 0.7), torch.lerp(a, b, 0.2)), n.normal(3),
                     n.normal(3), n.within(-1, 2, 3)),
        "nan_to_num": case(lambda x: (torch.nan_to_num(x), torch.nan_to_num(x, 1.0, 2.0, -3.0)), n.special(3)),
        "alpha": case(lambda x, y: (torch.add(x, y, alpha=2.5), torch.sub(x, y, alpha=3), 1 - x, torch.rsub(x, y, alpha=2)),
                      n.normal(3), n.normal(3)),
        "div modes": case(lambda x, y: (torch.div(x, y, rounding_mode="floor"), torch.div(x, y, rounding_mode="trunc"),
                                        x // 0.3, x % 0.3, x.fmod(0.3)), n.normal(3), n.normal(3)),
        "scalar forms": case(lambda x: (x + 1, 2 - x, x * 3, x / 4, 1 / x, -x, abs(x), x > 0, x >= 1, x == 0, x != 0, +x),
                             n.special(3)),
        "atan2 axes": case(torch.atan2, n.special(4), n.special(4)),
        "isclose": case(lambda x, y: torch.isclose(x, y), n.special(3), n.special(3)),
        "cube root": case(lambda x: torch.sign(x) * x.abs() ** (1 / 3), n.normal(3)),
        "wrap": case(lambda x: torch.remainder(x + torch.pi, 2 * torch.pi) - torch.pi, n.normal(3) * 10),
        "polar": case(lambda x, y: (torch.hypot(x, y), torch.atan2(y, x)), n.normal(), n.normal()),
        "sine and cosine": case(lambda x: (torch.sin(x), torch.cos(x), torch.sin(x) * torch.cos(x)), n.normal(3)),
        "prelu": case(lambda x: F.prelu(x, torch.tensor([0.25, 0.1, 0.3], dtype=dtype)), n.normal(3)),
        "glu": case(lambda x: F.glu(x, -1), n.normal(6)),
        "dropout eval": case(lambda x: F.dropout(x, 0.5, training=False), n.normal(3)),
        "deep": case(lambda x: _deep(x), n.normal(3)),
        "fused sums": case(lambda x, y, z: (x * y + z, z - x * y, x * y - z, (x * y).sum(-1) + z[:, 0]), n.normal(3),
                           n.normal(3), n.normal(3)),
        "product used twice": case(lambda x, y, z: ((x * y) + z, x * y), n.normal(3), n.normal(3), n.normal(3)),
        "constant": case(lambda x: (torch.zeros(x.shape[0], 2, dtype=dtype), torch.ones_like(x), torch.full_like(x, torch.nan),
                                    torch.full((x.shape[0],), -0.0, dtype=dtype)), n.normal(3)),
        "losses": case(lambda x, y: (F.mse_loss(x, y, reduction="none"), F.l1_loss(x, y, reduction="none"),
                                     F.huber_loss(x, y, reduction="none"), F.smooth_l1_loss(x, y, reduction="none")),
                       n.normal(3), n.normal(3)),
    }  # fmt: skip
    return found


def _deep(x: torch.Tensor) -> torch.Tensor:
    for i in range(60):
        x = torch.sin(x) * (1 + 0.01 * i) + 0.1 * x
    return x


def whole_cases() -> dict[str, Case]:
    """Integers, bools, bytes, and how types are promoted."""
    n = Numbers(3)
    found: dict[str, Case] = {}
    for kind in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        low = 0 if kind == torch.uint8 else -7
        a, b, shift = n.whole(low, 9, 3, dtype=kind), n.whole(low, 9, 3, dtype=kind), n.whole(0, 7, 3, dtype=kind)
        c = torch.where(b == 0, torch.ones_like(b), b)
        big = n.whole(-(2**40) if kind == torch.int64 else low * 16, 127, 3, dtype=kind)
        name = str(kind).removeprefix("torch.")
        found |= {
            f"{name} arithmetic": case(lambda a, b: (a + b, a - b, a * b, -a, abs(a), a * 100, a - 200), a, b),
            f"{name} divisions": case(lambda a, c: (a // c, a % c, torch.fmod(a, c), a / c, a // 3, a % 3,
                                                    torch.div(a, c, rounding_mode="trunc")), a, c),
            f"{name} bits": case(lambda a, b, s: (a & b, a | b, a ^ b, ~a, a << s, a >> s, a & 3), big, b, shift),
            f"{name} comparisons": case(lambda a, b: (a < b, a == b, a >= 2, torch.maximum(a, b), torch.minimum(a, b),
                                                      a.clamp(1, 4), torch.sign(a), torch.logical_and(a, b),
                                                      torch.logical_not(a)), a, b),
            f"{name} sums": case(lambda a: (a.sum(-1), a.prod(-1), a.amax(-1), a.argmin(-1), a.max(-1).values, a.cumsum(-1),
                                            a.any(-1), a.all(-1)), n.whole(low, 5, 4, dtype=kind)),
            f"{name} casts": case(lambda a: (a.double(), a.float(), a.bool(), a.to(torch.uint8), a.to(torch.int8),
                                             a.to(torch.int16), a.long(), a.int()), big),
            f"{name} where": case(lambda m, a, b: torch.where(m, a, b), n.truth(3), a, b),
        }  # fmt: skip
    found |= {
        "bools": case(lambda p, q: (p & q, p | q, p ^ q, ~p, p + q, p * q, p == q, p > q, p.sum(-1), p.any(-1), p.all(-1),
                                    p.long(), p.double(), p + 1, p * 2.0, torch.logical_xor(p, q), torch.maximum(p, q)),
                      n.truth(3), n.truth(3)),
        "casts of floats": case(lambda x: (x.long(), x.int(), x.bool(), x.float(), x.to(torch.uint8)), n.within(0, 200, 3)),
        "rounded to float32": case(lambda x: (x.float().double(), x[:, :2].float().double()), n.normal(3), tolerance=0.0),
        "casts of negative floats": case(lambda x: (x.long(), x.int(), x.to(torch.int8)), n.within(-100, 100, 3)),
        "promotion with numbers": case(lambda k, p, x: (k + 1.5, k * 2, k / 2, p + 1, p * 0.5, x + 1, k + p, k * x, p * x,
                                                        x > 1, k > 1.5, k == 2.0, p < 1), n.whole(-3, 4, 3), n.truth(3),
                                       n.normal(3)),
        "promotion with 0-dim": case(lambda k, x: (k + torch.tensor(1.5), k * torch.tensor(2), x * torch.tensor(2),
                                                   x.float() * torch.tensor(2.0, dtype=torch.float64),
                                                   x > torch.tensor(0), k > torch.tensor(0.5)), n.whole(-3, 4, 3), n.normal(3)),
        "float32 and float64": case(lambda x: (x.float() + x, x.float() * 0.1, x.float() == x, x.float() / 3), n.normal(3)),
        "float32 rounding of numbers": case(lambda x: (x.float() * 0.1 + 0.2).double(), n.normal(3), tolerance=1e-6),
        "uint8 wraps": case(lambda a: (a + 200, a * 7, a - 250, (a + 200) > 100, (a * 7).double()),
                            n.whole(0, 256, 3, dtype=torch.uint8)),
        "int8 wraps": case(lambda a: (a * 3, (a + 100) > 0), n.whole(-128, 128, 3, dtype=torch.int8)),
        "int32 wraps": case(lambda a: (a * 65537, (a * 65537) // 7, (a * 65537) > 0), n.whole(-2**30, 2**30, 3, dtype=torch.int32)),
        "int64 extremes": case(lambda a: (a * 3, a + 9223372036854775807, -a, a // 7), n.whole(-2**62, 2**62, 3)),
        "division of wholes": case(lambda a: (a / 3, a // 4, a % 4, -a // 4, -a % 4), n.whole(-9, 9, 3)),
        "whole mean": case(lambda a: a.double().mean(-1), n.whole(-9, 9, 3)),
        "a flag counts": case(lambda x: (x > 0).sum(-1) + (x > 0).long().cumsum(-1)[:, -1], n.normal(5)),
        "one hot": case(lambda k: (k[..., None] == torch.arange(4)).long(), n.whole(0, 4, 2)),
        "0-dim of lanes": case(lambda x: (x + 1, x.unsqueeze(-1) * torch.arange(3.0, dtype=torch.float64)), n.normal()),
    }  # fmt: skip
    return found
