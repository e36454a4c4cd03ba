"""Matrix products, convolutions and attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from simdl.networks.onnx.operands import Operands, Operator

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def gemm(o: Operands) -> Tensor:
    a, b = o.tensor(0), o.tensor(1)
    a, b = (a.T if o.attribute("transA", 0) else a), (b.T if o.attribute("transB", 0) else b)
    alpha, beta = o.attribute("alpha", 1.0), o.attribute("beta", 1.0)
    if alpha == 1.0 and beta == 1.0 and o.has(2) and o.tensor(2).ndim == 1:
        return F.linear(a, b.T, o.tensor(2))
    product = a @ b if alpha == 1.0 else alpha * (a @ b)
    return product + (o.tensor(2) if beta == 1.0 else beta * o.tensor(2)) if o.has(2) else product


def matmul(o: Operands) -> Tensor:
    return torch.matmul(o.tensor(0), o.tensor(1))


def einsum(o: Operands) -> Tensor:
    return torch.einsum(o.attribute("equation", "").replace(" ", ""), *o.tensors())


def padding(
    o: Operands, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Zeros before and after each axis: `pads`, or what auto_pad stands for."""
    count, auto = len(kernel), o.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
                  for n, k, s, d in zip(sizes, kernel, strides, dilations)]  # fmt: skip
        small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
        return (small, large) if auto == "SAME_UPPER" else (large, small)
    pads = list(o.attribute("pads", (0,) * (2 * count))) if auto != "VALID" else [0] * (2 * count)
    return pads[:count], pads[count:]


def flat_pads(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """In the order of torch.nn.functional.pad: the last axis first."""
    return [n for pair in zip(reversed(before), reversed(after)) for n in pair]


def convolution(o: Operands) -> Tensor:
    x, weight, bias = o.tensor(0), o.tensor(1), o.optional(2)
    kernel, count = tuple(weight.shape[2:]), weight.ndim - 2
    if not 1 <= count <= 3:
        raise o.wrong(f"{count} axes", "1, 2 or 3")
    strides, dilations = o.attribute("strides", (1,) * count), o.attribute("dilations", (1,) * count)
    before, after = padding(o, x.shape[2:], kernel, strides, dilations)
    if before != after:
        x, before = F.pad(x, flat_pads(before, after)), [0] * count
    run = _CONVOLUTIONS[count - 1]
    return run(x, weight, bias, list(strides), list(before), list(dilations), o.attribute("group", 1))


def transposed(o: Operands) -> Tensor:
    x, weight, bias = o.tensor(0), o.tensor(1), o.optional(2)
    kernel, count = tuple(weight.shape[2:]), weight.ndim - 2
    if not 1 <= count <= 3:
        raise o.wrong(f"{count} axes", "1, 2 or 3")
    strides, dilations = o.attribute("strides", (1,) * count), o.attribute("dilations", (1,) * count)
    extra = list(o.attribute("output_padding", (0,) * count))
    wanted, auto = o.attribute("output_shape"), o.attribute("auto_pad", "NOTSET")
    full = [(n - 1) * s + (k - 1) * d + 1 for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations)]
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(x.shape[2:], strides)]
    if wanted is not None:
        totals = [f + e - w for f, e, w in zip(full, extra, list(wanted)[-count:])]
        small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    else:
        before, after = padding(o, x.shape[2:], kernel, strides, dilations)
    o.room((*x.shape[:1], weight.shape[1], *full))
    run = _TRANSPOSED[count - 1]
    whole = run(x, weight, bias, list(strides), 0, 0, o.attribute("group", 1), list(dilations))
    # Rows beyond the last product hold the bias alone.
    short = [max(0, e - a) for e, a in zip(extra, after)]
    if any(short):
        blank = F.pad(whole - (0 if bias is None else bias.reshape(-1, *(1,) * count)), flat_pads([0] * count, short))
        whole = blank if bias is None else blank + bias.reshape(-1, *(1,) * count)
    for axis, (f, b, a, e) in enumerate(zip(full, before, after, extra)):
        whole = whole.narrow(axis + 2, max(0, b), f - b - a + e)
    return whole


def attention(o: Operands) -> tuple[Tensor, ...]:
    """softmax(scale q k' + mask) v over heads; with past keys and values before the present ones."""
    q, k, v = o.tensor(0), o.tensor(1), o.tensor(2)
    for name in ("left_window_size", "right_window_size"):
        if o.attribute(name, -1) >= 0:
            raise o.wrong(f"{name}={o.attribute(name)}", "attention over all keys")
    if o.has(6):
        raise o.wrong("lengths of padded keys", "none")
    flat = q.ndim == 3
    if flat:
        q = _heads(q, o.attribute("q_num_heads"))
        k, v = _heads(k, o.attribute("kv_num_heads")), _heads(v, o.attribute("kv_num_heads"))
    if o.has(4):
        k, v = torch.cat((o.tensor(4), k), -2), torch.cat((o.tensor(5), v), -2)
    present = (k, v)
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scale = math.sqrt(o.attribute("scale", 1 / math.sqrt(q.shape[-1])))
    scores = (q * scale) @ (k * scale).transpose(-1, -2)
    mode, raw = o.attribute("qk_matmul_output_mode", 0), scores
    bias = torch.zeros((), dtype=scores.dtype, device=scores.device)
    if o.has(3):
        mask = o.tensor(3)
        short = scores.shape[-1] - mask.shape[-1]
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, dtype=scores.dtype, device=mask.device).masked_fill(~mask, -math.inf)
        bias = bias + (F.pad(mask, (0, short), value=-math.inf) if short else mask)
    if o.attribute("is_causal", 0):
        rows, columns = scores.shape[-2:]
        past = o.tensor(4).shape[-2] if o.has(4) else 0
        allowed = torch.ones((rows, columns), dtype=torch.bool, device=scores.device).tril(past)
        bias = bias + torch.zeros_like(allowed, dtype=scores.dtype).masked_fill(~allowed, -math.inf)
    cap = o.attribute("softcap", 0.0)
    capped = cap * torch.tanh(scores / cap) if cap else scores
    biased = capped + bias
    none = (biased == -math.inf).all(-1, keepdim=True)  # a row whose keys are all masked gives zeros
    weights = torch.softmax(biased.masked_fill(none, 0.0), -1).masked_fill(none, 0.0)
    shown = {0: raw, 1: capped, 2: biased, 3: weights}
    y = weights @ v
    if flat:
        y = y.transpose(1, 2).flatten(2)
    return (y, *present, shown[mode])


def _heads(x: Tensor, count: int) -> Tensor:
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


OPERATORS: dict[str, Operator] = {
    "Gemm": gemm, "MatMul": matmul, "Einsum": einsum, "Conv": convolution, "ConvTranspose": transposed,
    "Attention": attention,
}  # fmt: skip
