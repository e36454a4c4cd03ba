"""Sums, products, extremes and norms over dimensions that are not the lanes'."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.entry import labels, read
from simdl.engine.native.ir import TYPES
from simdl.engine.native.registry import by_parts, rule
from simdl.engine.native.tracer import Tracer


def _reduced(tracer: Tracer, out: Tensor, x: Tensor, dim: Any, kind: str, type: str | None = None) -> None:
    """Record a reduction of x over dimensions (all of them for None or [])."""
    entry, graph = tracer.known(x), tracer.graph
    given = [dim] if isinstance(dim, int) else list(range(x.ndim) if dim is None or dim == [] else dim)
    dims = sorted(d % max(1, x.ndim) for d in given)
    keep = [d for d in range(x.ndim) if d not in dims]
    out_type = type or TYPES[out.dtype]
    if not x.numel():
        tracer.literal(out)
        return
    with tracer.paused():
        marked = labels(entry, tracer.lanes, 1 + entry.value.size, 0)
        marked = (marked.permute(*keep, *dims) if x.ndim else marked).reshape(*out.shape, -1)
        columns = marked.shape[-1]
        element, lane = read(marked, tracer.lanes, 1 + entry.value.size)
    if lane is not None and lane[0] == marked.ndim - 1:
        tracer.refuse(out, f"a reduction over the lanes ({kind})", "lanes that do not see each other")
        return
    source = graph.view(graph.cast(entry.value, out_type), element.numpy())
    if columns == 1 and kind not in ("argmax", "argmin"):
        tracer.record(out, source, lane)
        return
    result = "i8" if kind in ("argmax", "argmin") else out_type
    tracer.record(out, graph.make("reduce", (source,), (kind, columns), result, source.size // columns), lane)


@rule("sum", "prod")
def _sum(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False,
         *, dtype: Any = None) -> None:  # fmt: skip
    _reduced(tracer, out, x, dim, func.overloadpacket.__name__)


@rule("mean")
def _mean(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False,
          *, dtype: Any = None) -> None:  # fmt: skip
    _reduced(tracer, out, x, dim, "sum")
    if id(out) not in tracer.entries:
        return
    entry = tracer.known(out)
    columns = tracer.known(x).value.size // max(1, entry.value.size)
    graph, kind = tracer.graph, TYPES[out.dtype]
    tracer.record(out, graph.pointwise("div", [entry.value, graph.const(columns, kind)], kind), entry.lane)


@rule("amax", "amin")
def _extreme(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False) -> None:
    _reduced(tracer, out, x, dim, "max" if func.overloadpacket.__name__ == "amax" else "min")


@rule("max.default", "min.default")
def _extreme_of_all(tracer: Tracer, func: Any, out: Tensor, x: Tensor) -> None:
    _reduced(tracer, out, x, None, func.overloadpacket.__name__)


@rule("max.dim", "min.dim")
def _extreme_with_place(tracer: Tracer, func: Any, out: Any, x: Tensor, dim: int, keepdim: bool = False) -> None:
    kind = func.overloadpacket.__name__
    _reduced(tracer, out[0], x, dim, kind)
    _reduced(tracer, out[1], x, dim, f"arg{kind}", TYPES[x.dtype])


@rule("argmax", "argmin")
def _place(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: int | None = None, keepdim: bool = False) -> None:
    _reduced(tracer, out, x, dim, func.overloadpacket.__name__, TYPES[x.dtype])


@rule("any", "all")
def _logic(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False) -> None:
    _reduced(tracer, out, x, dim, func.overloadpacket.__name__, "b1")


@by_parts("linalg_vector_norm")
def _norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    over = list(range(x.ndim)) if dim is None else dim
    if ord == 2:
        return (x * x).sum(dim=over, keepdim=keepdim).sqrt()
    if ord == 0:
        return (x != 0).to(x.dtype).sum(dim=over, keepdim=keepdim)
    size = x.abs()
    if ord == 1:
        return size.sum(dim=over, keepdim=keepdim)
    if ord in (torch.inf, -torch.inf):
        return (size.amax if ord > 0 else size.amin)(dim=over, keepdim=keepdim)
    return (size**ord).sum(dim=over, keepdim=keepdim) ** (1 / ord)


def _moments(x: Tensor, dim: Any, correction: float | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    over = list(range(x.ndim)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)
    mean = x.mean(over, keepdim=True)
    count = 1
    for d in over:
        count *= x.shape[d]
    rest = max(0.0, count - (1 if correction is None else correction))
    variance = ((x - mean) ** 2).sum(over, keepdim=keepdim) / rest
    return variance, mean if keepdim else mean.squeeze(over)


@by_parts("var.correction")
def _variance(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _moments(x, dim, correction, keepdim)[0]


@by_parts("std.correction")
def _deviation(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _moments(x, dim, correction, keepdim)[0].sqrt()


@by_parts("var_mean.correction")
def _var_mean(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    return _moments(x, dim, correction, keepdim)


@by_parts("std_mean.correction")
def _std_mean(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    variance, mean = _moments(x, dim, correction, keepdim)
    return variance.sqrt(), mean


@by_parts("aminmax")
def _both(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    over = list(range(x.ndim)) if dim is None else [dim]
    return x.amin(over, keepdim=keepdim), x.amax(over, keepdim=keepdim)


@by_parts("logsumexp")
def _logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    top = x.amax(dim, keepdim=True)
    top = torch.where(top.isinf(), 0.0, top)
    found = torch.log(torch.exp(x - top).sum(dim, keepdim=True)) + top
    return found if keepdim else found.squeeze(dim)


@by_parts("trace")
def _trace(x: Tensor) -> Tensor:
    return torch.diagonal(x).sum()


@by_parts("dist")
def _dist(a: Tensor, b: Tensor, p: float = 2) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(a - b, p)
    return found


@by_parts("nansum")
def _nansum(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    over = list(range(x.ndim)) if dim is None else dim
    return torch.where(x.isnan(), torch.zeros_like(x), x).sum(over, keepdim=keepdim)
