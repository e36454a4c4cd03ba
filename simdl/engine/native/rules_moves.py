"""Operations that only move elements, and those that make tensors without reading one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.registry import RULES, by_parts, rule
from simdl.engine.native.tracer import Tracer

MOVES = (
    "view _unsafe_view reshape expand permute transpose t unsqueeze squeeze select slice narrow flip roll repeat "
    "alias detach diagonal unfold movedim index_select diag_embed _reshape_alias as_strided tile "
    "swapaxes expand_as view_as squeeze_copy lift_fresh lift_fresh_copy rot90 adjoint "
    "view_copy expand_copy"
).split()


def _move(tracer: Tracer, func: Any, out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> None:
    tracer.moved(lambda label: func(label, *args, **kwargs), [x], [out])


for name in MOVES:
    RULES[name] = _move


@rule("clone", "contiguous")
def _same(tracer: Tracer, func: Any, out: Tensor, x: Tensor, **kwargs: Any) -> None:
    if out is not x:
        tracer.put(out, tracer.known(x))


@rule("unbind", "split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes")
def _parts(tracer: Tracer, func: Any, out: Any, x: Tensor, *args: Any, **kwargs: Any) -> None:
    tracer.moved(lambda label: func(label, *args, **kwargs), [x], list(out))


@rule("cat", "stack", "concat", "hstack", "vstack")
def _cat(tracer: Tracer, func: Any, out: Tensor, tensors: Any, *args: Any) -> None:
    kept = [t for t in tensors if t.numel() or t.ndim > 1]
    tracer.moved(lambda *marked: func(list(marked), *args), kept, [out])


@rule("constant_pad_nd")
def _pad(tracer: Tracer, func: Any, out: Tensor, x: Tensor, pad: Any, value: float = 0) -> None:
    tracer.moved(lambda label: func(label, pad, 0), [x], [out], value)


@rule("tril", "triu")
def _triangle(tracer: Tracer, func: Any, out: Tensor, x: Tensor, *args: Any) -> None:
    tracer.moved(lambda label: func(label, *args), [x], [out], 0)


@rule("slice_scatter", "select_scatter", "diagonal_scatter")
def _scatter(tracer: Tracer, func: Any, out: Tensor, x: Tensor, source: Tensor, *args: Any, **kwargs: Any) -> None:
    tracer.moved(lambda a, b: func(a, b, *args, **kwargs), [x, source], [out])


def _new(tracer: Tracer, func: Any, out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> None:
    if func.overloadpacket.__name__.startswith(("empty", "new_empty")):
        out.zero_()  # what is not written yet is the same in all lanes
    tracer.literal(out)


for name in ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty",
             "new_empty_strided", "_new_zeros_with_same_feature_meta"):  # fmt: skip
    RULES[name] = _new


@by_parts("fill.Tensor")
def _filled(x: Tensor, value: Tensor) -> Tensor:
    return value.to(x.dtype).expand(x.shape)


@by_parts("fill.Scalar")
def _filled_with(x: Tensor, value: Any) -> Tensor:
    return torch.full(x.shape, value, dtype=x.dtype)


@by_parts("zero")
def _zero(x: Tensor) -> Tensor:
    return torch.zeros(x.shape, dtype=x.dtype)


@by_parts("copy")
def _copied(x: Tensor, y: Tensor, non_blocking: bool = False) -> Tensor:
    return y.to(x.dtype).expand(x.shape)


@by_parts("im2col")
def _patches(x: Tensor, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    (k, m), (d, e), (p, q), (s, t) = kernel, dilation, padding, stride
    x = torch.nn.functional.pad(x, (q, q, p, p))
    x = x.unfold(2, d * (k - 1) + 1, s)[..., ::d].unfold(3, e * (m - 1) + 1, t)[..., ::e]
    return x.permute(0, 1, 4, 5, 2, 3).reshape(x.shape[0], x.shape[1] * k * m, -1)


def _padded(tracer: Tracer, func: Any, out: Tensor, x: Tensor, pad: Any) -> None:
    tracer.moved(lambda label: func(label.double(), pad).long(), [x], [out])


for name in ("reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d",
             "replication_pad3d"):  # fmt: skip
    RULES[name] = _padded


def _sampled(tracer: Tracer, func: Any, out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> None:
    tracer.moved(lambda label: func(label.double(), *args, **kwargs).long(), [x], [out])


for name in ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "pixel_shuffle", "pixel_unshuffle",
             "channel_shuffle", "native_channel_shuffle"):  # fmt: skip
    RULES[name] = _sampled
