"""How torch operations become operations of the lane program: sums, products of matrices, tables and linear systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.entry import labels, read
from simdl.engine.native.ir import TYPES, Value
from simdl.engine.native.rules import rule
from simdl.engine.native.tracer import RULES, Tracer, _paused
from simdl.errors import LoweringError

# -- reductions ---------------------------------------------------------------------------------------------------


def _reduced(tracer: Tracer, out: Tensor, x: Tensor, dim: Any, kind: str, type: str | None = None) -> None:
    """Record a reduction of x over dimensions (all of them for None or [])."""
    entry = tracer.known(x)
    given = [dim] if isinstance(dim, int) else list(dim or range(x.ndim))
    dims = sorted(d % max(1, x.ndim) for d in given)
    keep = [d for d in range(x.ndim) if d not in dims]
    stride = 1 + entry.value.size
    with _paused(tracer):
        marked = labels(entry, tracer.lanes, stride, 0).permute(*keep, *dims) if x.ndim else labels(entry, tracer.lanes, stride, 0)
        marked = marked.reshape(*out.shape, -1)
        columns = marked.shape[-1]
        element, lane = read(marked, tracer.lanes, stride)
    if lane is not None and lane[0] == marked.ndim - 1:
        raise LoweringError(tracer.where, "a reduction over the lanes", "lanes that do not see each other")
    graph, out_type = tracer.graph, type or TYPES[out.dtype]
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


@rule("cumsum")
def _cumsum(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: int, *, dtype: Any = None) -> None:
    """Sums one after another, as an unrolled chain."""
    with tracer:
        total = x.select(dim, 0)
        parts = [total]
        for i in range(1, x.shape[dim]):
            total = total + x.select(dim, i)
            parts.append(total)
        found = torch.stack(parts, dim)
    entry = tracer.known(found)
    tracer.record(out, entry.value, entry.lane)


@rule("linalg_vector_norm")
def _norm(tracer: Tracer, func: Any, out: Tensor, x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False,
          *, dtype: Any = None) -> None:  # fmt: skip
    with tracer:
        if ord == 2:
            found = (x * x).sum(dim=dim if dim is not None else list(range(x.ndim)), keepdim=keepdim).sqrt()
        elif ord == 1:
            found = x.abs().sum(dim=dim if dim is not None else list(range(x.ndim)), keepdim=keepdim)
        elif ord == float("inf"):
            found = x.abs().amax(dim=dim if dim is not None else list(range(x.ndim)), keepdim=keepdim)
        else:
            raise LoweringError(tracer.where, f"a norm of order {ord}", "order 1, 2 or inf")
    entry = tracer.known(found)
    tracer.record(out, entry.value, entry.lane)


# -- products of matrices -----------------------------------------------------------------------------------------


def _product(tracer: Tracer, a: Tensor, b: Tensor, out: Tensor) -> Value:
    """a (batch, m, k) times b (batch, k, n), the lanes in the batch, in the rows of a, or in the columns of b; the value
    in the order of out (batch, m, n)."""
    left, right = tracer.known(a), tracer.known(b)
    batch, _, k = a.shape
    kind, graph = TYPES[out.dtype], tracer.graph
    lane = _lane_of_product(tracer, left.lane, right.lane)
    one, two = graph.cast(left.value, kind), graph.cast(right.value, kind)
    m, n = a.shape[1], b.shape[2]
    if lane is not None and lane[0] == 0:
        one = tracer.aligned(left, tuple(a.shape), lane)
        two = tracer.aligned(right, tuple(b.shape), lane)
        one, two = graph.cast(one, kind), graph.cast(two, kind)
        batch //= tracer.lanes
    elif lane is not None and lane[0] == 1:
        m //= tracer.lanes
    elif lane is not None:
        n //= tracer.lanes
    found = graph.make("matmul", (one, two), (batch, m, k, n), kind, batch * m * n)
    tracer.record(out, found, lane)
    return tracer.known(out).value


def _lane_of_product(tracer: Tracer, left: Any, right: Any) -> tuple[int, int, int] | None:
    if left is not None and left[0] == 2 or right is not None and right[0] == 1:
        raise LoweringError(tracer.where, "a matrix product that sums over the lanes", "lanes that stay apart")
    if left is not None and left[0] == 0 or right is not None and right[0] == 0:
        found: tuple[int, int, int] = left if left is not None and left[0] == 0 else right
        other = right if found is left else left
        if other is not None and other != found:
            raise LoweringError(tracer.where, "a matrix product of different lanes", "lanes that stay apart")
        return found
    if left is not None and right is not None:
        raise LoweringError(tracer.where, "a matrix product of all lanes with all lanes", "lanes that stay apart")
    return left if left is not None else right


def _matrices(tracer: Tracer, out: Tensor, a: Tensor, b: Tensor) -> None:
    """A product of two-dimensional tensors as a batch of one."""
    with tracer:
        left, right = a.unsqueeze(0), b.unsqueeze(0)
    with _paused(tracer):
        found = torch.bmm(left, right)
    _product(tracer, left, right, found)
    entry = tracer.known(found)
    lane = None if entry.lane is None else (entry.lane[0] - 1, *entry.lane[1:])
    tracer.record(out, entry.value, lane)


@rule("mm")
def _mm(tracer: Tracer, func: Any, out: Tensor, a: Tensor, b: Tensor) -> None:
    _matrices(tracer, out, a, b)


@rule("bmm")
def _bmm(tracer: Tracer, func: Any, out: Tensor, a: Tensor, b: Tensor) -> None:
    _product(tracer, a, b, out)


def _by_parts(function: Callable[..., Tensor]) -> Any:
    """A rule that says what an operation does in other operations."""

    def rewritten(tracer: Tracer, func: Any, out: Any, *args: Any, **kwargs: Any) -> None:
        with tracer:
            found = function(*args, **kwargs)
        for one, result in zip(*((x if isinstance(x, tuple | list) else (x,)) for x in (out, found)), strict=True):
            entry = tracer.known(result)
            tracer.record(one, entry.value, entry.lane)

    return rewritten


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = (torch.mm if a.ndim == 2 else torch.bmm)(a, b)
    return (product if alpha == 1 else product * alpha) + (bias if beta == 1 else bias * beta)


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Tensor:  # fmt: skip
    """A convolution as patches times weights. Raises LoweringError for a transposed one."""
    if transposed:
        raise LoweringError("convolution", "a transposed convolution", "a plain one")
    spatial = x.ndim - 2
    pad = [p for size in reversed(padding) for p in (size, size)]
    patches = torch.nn.functional.pad(x, pad) if any(pad) else x
    for i in range(spatial):
        reach = dilation[i] * (weight.shape[2 + i] - 1) + 1
        patches = patches.unfold(2 + i, reach, stride[i])[..., :: dilation[i]]
    # (lanes, channels, *places, *kernel) -> (lanes, groups, places, channels of a group * kernel)
    lanes, places = x.shape[0], patches.shape[2 : 2 + spatial]
    order = (0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial))
    rows = patches.permute(order).reshape(lanes, -1, groups, weight[0].numel())
    parts = []
    for g in range(groups):
        part = weight[g * (weight.shape[0] // groups) : (g + 1) * (weight.shape[0] // groups)]
        parts.append(rows[:, :, g] @ part.reshape(part.shape[0], -1).t())
    out = torch.cat(parts, -1).transpose(1, 2).reshape(lanes, weight.shape[0], *places)
    return out if bias is None else out + bias.reshape(1, -1, *(1,) * spatial)


def _addr(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return x * beta + alpha * a[:, None] * b[None, :]


def _softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    raised = torch.exp(x - x.amax(dim, keepdim=True))
    return raised / raised.sum(dim, keepdim=True)


def _log_softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - torch.log(torch.exp(shifted).sum(dim, keepdim=True))


def _logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    top = x.amax(dim, keepdim=True)
    found = torch.log(torch.exp(x - top).sum(dim, keepdim=True)) + top
    return found if keepdim else found.squeeze(dim)


def _softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    return torch.where(x * beta > threshold, x, torch.log1p(torch.exp(x * beta)) / beta)


def _logsigmoid(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.minimum(x, torch.zeros_like(x)) - torch.log1p(torch.exp(-x.abs())), x


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + torch.erf(x * 0.7071067811865476))


def _leaky(x: Tensor, slope: float = 0.01) -> Tensor:
    return torch.where(x > 0, x, x * slope)


def _elu(x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    return torch.where(x > 0, x * scale, torch.expm1(x * input_scale) * (alpha * scale))


def _cross(a: Tensor, b: Tensor, *, dim: int = -1) -> Tensor:
    return torch.roll(a, -1, dim) * torch.roll(b, -2, dim) - torch.roll(a, -2, dim) * torch.roll(b, -1, dim)


def _trace(x: Tensor) -> Tensor:
    return torch.diagonal(x).sum()


for name, function in {
    "addmm": _addmm, "baddbmm": _addmm, "convolution": _convolution, "_softmax": _softmax,
    "_log_softmax": _log_softmax, "logsumexp": _logsumexp, "softplus": _softplus, "log_sigmoid_forward": _logsigmoid,
    "gelu": _gelu, "leaky_relu": _leaky, "elu": _elu, "linalg_cross": _cross, "trace": _trace,
    "silu": lambda x: x * torch.sigmoid(x), "mish": lambda x: x * torch.tanh(_softplus(x)),
    "hardsigmoid": lambda x: torch.clamp(x + 3, 0, 6) / 6, "hardswish": lambda x: x * torch.clamp(x + 3, 0, 6) / 6,
    "mv": lambda a, b: (a @ b[:, None])[:, 0], "dot": lambda a, b: (a * b).sum(),
    "square": lambda x: x * x, "addcdiv": lambda y, a, b, value=1: y + value * (a / b),
    "heaviside": lambda x, v: torch.where(x == 0, v, (x > 0).to(x.dtype)),
    "threshold": lambda x, t, v: torch.where(x <= t, v, x), "addr": _addr,
    "deg2rad": lambda x: x * 0.017453292519943295, "rad2deg": lambda x: x * 57.29577951308232,
    "sinc": lambda x: torch.where(x == 0, 1.0, torch.sin(x * torch.pi) / torch.where(x == 0, 1.0, x * torch.pi)),
    "erfc": lambda x: 1 - torch.erf(x), "logit": lambda x, eps=None: torch.log(x / (1 - x)),
    "xlogy": lambda x, y: torch.where(x == 0, 0.0, x * torch.log(y)),
    "zeros_like": lambda x, **_: torch.zeros(x.shape, dtype=_.get("dtype") or x.dtype),
    "ones_like": lambda x, **_: torch.ones(x.shape, dtype=_.get("dtype") or x.dtype),
    "full_like": lambda x, v, **_: torch.full(x.shape, v, dtype=_.get("dtype") or x.dtype),
    "empty_like": lambda x, **_: torch.zeros(x.shape, dtype=_.get("dtype") or x.dtype),
    "new_zeros": lambda x, size, **_: torch.zeros(size, dtype=_.get("dtype") or x.dtype),
    "new_ones": lambda x, size, **_: torch.ones(size, dtype=_.get("dtype") or x.dtype),
    "new_full": lambda x, size, v, **_: torch.full(size, v, dtype=_.get("dtype") or x.dtype),
    "new_empty": lambda x, size, **_: torch.zeros(size, dtype=_.get("dtype") or x.dtype),
    "fill": lambda x, v: torch.full(x.shape, 0, dtype=x.dtype) + v,
    "fill.Scalar": lambda x, v: torch.full(x.shape, v, dtype=x.dtype),
    "zero": lambda x: torch.zeros(x.shape, dtype=x.dtype),
    "copy": lambda x, y, non_blocking=False: y.to(x.dtype).expand(x.shape),
}.items():  # fmt: skip
    RULES[name] = _by_parts(function)


# -- tables ---------------------------------------------------------------------------------------------------------


@rule("index", "_unsafe_index")
def _index(tracer: Tracer, func: Any, out: Tensor, x: Tensor, indices: Any) -> None:
    """x[..., i, ...]: constant indices move elements; one index tensor that varies takes rows of a table."""
    used = [(axis, i) for axis, i in enumerate(indices) if i is not None]
    if not any(id(i) in tracer.entries for _, i in used):
        tracer.moved(lambda label: func(label, list(indices)), [x], [out])
        return
    if len(used) != 1:
        raise LoweringError(tracer.where, "several index tensors at once", "one that varies, or torch.gather")
    axis, index = used[0]
    _take(tracer, out, x, axis, index)


@rule("embedding")
def _embedding(tracer: Tracer, func: Any, out: Tensor, weight: Tensor, index: Tensor, *_: Any) -> None:
    _take(tracer, out, weight, 0, index)


@rule("index_select.default")
def _index_select(tracer: Tracer, func: Any, out: Tensor, x: Tensor, axis: int, index: Tensor) -> None:
    if id(index) in tracer.entries:
        _take(tracer, out, x, axis, index)
    else:
        tracer.moved(lambda label: func(label, axis, index), [x], [out])


def _take(tracer: Tracer, out: Tensor, x: Tensor, axis: int, index: Tensor) -> None:
    """Rows of a table that all lanes share, by index."""
    table, entry, graph = tracer.known(x), tracer.known(index), tracer.graph
    if table.lane is not None or index.dtype in (torch.bool, torch.uint8):
        raise LoweringError(tracer.where, "an index into values of its own lane", "torch.gather, or a table")
    with _paused(tracer):
        rows = torch.arange(table.value.size).reshape(x.shape).movedim(axis, 0).reshape(x.shape[axis], -1)
    source = graph.view(table.value, rows.numpy())
    width = rows.shape[1]
    taken = graph.make("take", (source, graph.cast(entry.value, "i8")), (x.shape[axis], width), source.type,
                       entry.value.size * width)  # fmt: skip
    # Elements come as (index elements, width); the result has the index's shape in place of the axis.
    with _paused(tracer):
        places = labels(entry, tracer.lanes, 1 << 32, 0)
        lane, element = places // (1 << 32), places % (1 << 32) - 1
        spread = element.unsqueeze(-1) * width + torch.arange(width) + 1 + (lane << 32).unsqueeze(-1)
        rest = (*x.shape[:axis], *x.shape[axis + 1 :])
        moved = spread.reshape(*index.shape, *rest)
        moved = moved.movedim(tuple(range(index.ndim)), tuple(range(axis, axis + index.ndim)))
        found, where = read(moved, tracer.lanes, 1 << 32)
    tracer.record(out, graph.view(taken, found.numpy()), where)


@rule("gather")
def _gather(tracer: Tracer, func: Any, out: Tensor, x: Tensor, dim: int, index: Tensor, **_: Any) -> None:
    """Elements of each lane by index along an axis: a choice among them."""
    if id(index) not in tracer.entries:
        tracer.moved(lambda label: torch.gather(label, dim, index), [x], [out])
        return
    if x.ndim and x.shape[dim] > 4096:
        raise LoweringError(tracer.where, f"an index into {x.shape[dim]} elements of a lane", "at most 4096")
    size = x.shape[dim]
    with tracer:
        rows = x.movedim(dim, -1)
        places = index.movedim(dim, -1)
        cut = tuple(slice(0, n) for n in places.shape[:-1])
        rows = rows[cut]
        picked = rows.unsqueeze(-2).expand(*places.shape, size)
    flat, at = tracer.known(picked), tracer.known(places)
    lane = tracer.lanes_of(tuple(places.shape), [places]) or tracer.lanes_of(tuple(places.shape), [picked.select(-1, 0)])
    if lane is None:
        raise LoweringError(tracer.where, "an index without lanes into values with lanes", "lanes first")
    wide = tracer.aligned(flat, tuple(picked.shape), lane)
    which = tracer.graph.cast(tracer.aligned(at, tuple(places.shape), lane), "i8")
    which = tracer.graph.expanded(which, wide.size // size)
    found = tracer.graph.make("pick", (wide, which), size, wide.type, wide.size // size)
    with _paused(tracer):
        shaped = torch.empty(places.shape, dtype=out.dtype)
    tracer.record(shaped, found, lane)
    with tracer:
        back = shaped.movedim(-1, dim)
    entry = tracer.known(back)
    tracer.record(out, entry.value, entry.lane)


@rule("searchsorted.Tensor", "searchsorted.Scalar", "bucketize.Tensor")
def _search(tracer: Tracer, func: Any, out: Tensor, first: Tensor, second: Tensor, *, out_int32: bool = False,
            right: bool = False, side: str | None = None, sorter: Any = None) -> None:  # fmt: skip
    """How many of the sorted boundaries lie below: a sum of comparisons."""
    bounds, x = (first, second) if "search" in func.overloadpacket.__name__ else (second, first)
    right = right or side == "right"
    if bounds.ndim == 1:
        with tracer:
            below = bounds <= x.unsqueeze(-1) if right else bounds < x.unsqueeze(-1)
            found = below.sum(-1)
    else:
        with tracer:
            one, two = bounds.unsqueeze(-2), x.unsqueeze(-1)
            below = one <= two if right else one < two
            found = below.sum(-1)
    entry = tracer.known(found)
    tracer.record(out, entry.value, entry.lane)


# -- linear systems -----------------------------------------------------------------------------------------------


def _solved(tracer: Tracer, out: Tensor, a: Tensor, b: Tensor | None) -> None:
    """Record the solution of a x = b, matrices last; the inverse without b."""
    n = a.shape[-1]
    graph, kind = tracer.graph, TYPES[out.dtype]
    lane = tracer.lanes_of(tuple(out.shape), [a, b] if b is not None else [a])
    if lane is not None and lane[0] >= out.ndim - 2:
        raise LoweringError(tracer.where, "a linear system over the lanes", "lanes first")
    shape = (*out.shape[:-2], n, n)
    left = graph.cast(tracer.aligned(tracer.known(a), shape, lane), kind)
    if b is None:
        count = left.size // (n * n)
        eye = [float(i == j) for _ in range(count) for i in range(n) for j in range(n)]
        right = graph.concat([graph.const(x, kind) for x in eye])
        columns = n
    else:
        right = graph.cast(tracer.aligned(tracer.known(b), tuple(out.shape), lane), kind)
        columns = out.shape[-1]
    batch = left.size // (n * n)
    tracer.record(out, graph.make("solve", (left, right), (batch, n, columns), kind, batch * n * columns), lane)


@rule("_linalg_solve_ex")
def _solve(tracer: Tracer, func: Any, out: Any, a: Tensor, b: Tensor, *, left: bool = True,
           check_errors: bool = False) -> None:  # fmt: skip
    if not left:
        raise LoweringError(tracer.where, "x a = b", "a x = b", "transpose both")
    vector = b.ndim == a.ndim - 1 or out[0].ndim == a.ndim - 1
    if not vector:
        _solved(tracer, out[0], a, b)
        return
    with tracer:
        column = b.unsqueeze(-1)
    with _paused(tracer):
        shaped = torch.empty((*out[0].shape, 1), dtype=out[0].dtype)
    _solved(tracer, shaped, a, column)
    with tracer:
        flat = shaped.squeeze(-1)
    entry = tracer.known(flat)
    tracer.record(out[0], entry.value, entry.lane)


@rule("linalg_inv_ex")
def _inverse(tracer: Tracer, func: Any, out: Any, a: Tensor, *, check_errors: bool = False) -> None:
    _solved(tracer, out[0], a, None)


@rule("linalg_cholesky_ex")
def _cholesky(tracer: Tracer, func: Any, out: Any, a: Tensor, *, upper: bool = False,
              check_errors: bool = False) -> None:  # fmt: skip
    n = a.shape[-1]
    with tracer:
        rows: list[list[Tensor]] = []
        for i in range(n):
            rows.append([])
            for j in range(i + 1):
                total = a[..., i, j]
                for k in range(j):
                    total = total - rows[i][k] * (rows[j][k] if j < i else rows[i][k])
                rows[i].append(total.sqrt() if i == j else total / rows[j][j])
        zero = torch.zeros_like(rows[0][0])
        found = torch.stack([torch.stack([*row, *[zero] * (n - len(row))], -1) for row in rows], -2)
        if upper:
            found = found.transpose(-1, -2)
    entry = tracer.known(found)
    tracer.record(out[0], entry.value, entry.lane)


@rule("linalg_solve_triangular")
def _triangular(tracer: Tracer, func: Any, out: Tensor, a: Tensor, b: Tensor, *, upper: bool, left: bool = True,
                unitriangular: bool = False) -> None:  # fmt: skip
    if not left:
        raise LoweringError(tracer.where, "x a = b", "a x = b", "transpose both")
    n = a.shape[-1]
    with tracer:
        order = range(n - 1, -1, -1) if upper else range(n)
        found: dict[int, Tensor] = {}
        for i in order:
            total = b[..., i, :]
            for j, x in found.items():
                total = total - a[..., i, j].unsqueeze(-1) * x
            found[i] = total if unitriangular else total / a[..., i, i].unsqueeze(-1)
        solution = torch.stack([found[i] for i in range(n)], -2)
    entry = tracer.known(solution)
    tracer.record(out, entry.value, entry.lane)
