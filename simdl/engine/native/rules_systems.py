"""Linear systems, decompositions of matrices, and what follows from them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from simdl.engine.native.ir import TYPES
from simdl.engine.native.registry import by_parts, rule
from simdl.engine.native.tracer import Tracer
from simdl.errors import LoweringError


def _solved(tracer: Tracer, out: Tensor, a: Tensor, b: Tensor) -> None:
    """Record the solution of a x = b: a (..., n, n), b and out (..., n, columns)."""
    graph, kind = tracer.graph, TYPES[out.dtype]
    n, columns = out.shape[-2:]
    left, right = tracer.known(a), tracer.known(b)
    lane = right.lane if tuple(b.shape) == tuple(out.shape) and right.lane is not None else None
    if lane is None and left.lane is not None:
        lane = tracer.lanes_of((*out.shape[:-2], n, n), [a])
    if lane is None:
        lane = tracer.lanes_of(tuple(out.shape), [b])
    shape, within = (*out.shape[:-2], n, n), lane
    if lane is not None and lane[0] == out.ndim - 1 and left.lane is None:
        columns, within = columns // tracer.lanes, None
    elif lane is not None and lane[0] >= out.ndim - 2:
        raise LoweringError(tracer.where, "a linear system over the lanes", "lanes first")
    one = graph.cast(tracer.aligned(left, shape, within), kind)
    two = graph.cast(tracer.aligned(right, tuple(out.shape), lane), kind)
    size = out.numel() // (tracer.lanes if lane is not None else 1)
    batch = size // max(1, n * columns)
    one, two = graph.expanded(one, batch * n * n), graph.expanded(two, size)
    tracer.record(out, graph.make("solve", (one, two), (batch, n, columns), kind, size), lane)


def _solution(tracer: Tracer, out: Tensor, a: Tensor, b: Tensor, left: bool = True) -> None:
    """The same for vectors, and for x a = b."""
    vector = out.ndim == a.ndim - 1 or out.ndim == 1
    with tracer:
        matrix, columns = (a, b) if left else (a.mT, b.mT)
        columns = columns.unsqueeze(-1) if vector else columns
        with tracer.paused():
            found = torch.empty((out if left else out.mT).shape + ((1,) if vector else ()), dtype=out.dtype)
        _solved(tracer, found, matrix, columns)
        found = found.squeeze(-1) if vector else found if left else found.mT
    tracer.same(out, found)


@rule("_linalg_solve_ex")
def _solve(tracer: Tracer, func: Any, out: Any, a: Tensor, b: Tensor, *, left: bool = True,
           check_errors: bool = False) -> None:  # fmt: skip
    _solution(tracer, out[0], a, b, left)
    where = functools.partial(_factors, tracer, out[1], out[2], a if left else None)
    tracer.later(out[1], where)
    tracer.later(out[2], where)
    tracer.literal(out[3])


def _factors(tracer: Tracer, lu: Tensor, pivots: Tensor, a: Tensor | None) -> None:
    """The decomposition that belongs to a solution, which its derivative uses."""
    if a is None:
        raise LoweringError(tracer.where, "the derivative of x a = b", "a x = b", "transpose both")
    with tracer.paused():  # torch may have taken the transposed matrix, as it suits its memory
        p, low, up = torch.lu_unpack(lu, pivots)
        whole = p @ low @ up
        turned = bool((whole - a.mT).abs().sum() < (whole - a).abs().sum())
    with tracer:
        found, places, _ = _decomposed(a.mT if turned else a)
    tracer.same(lu, found)
    tracer.same(pivots, places)


@rule("linalg_inv_ex")
def _inverse(tracer: Tracer, func: Any, out: Any, a: Tensor, *, check_errors: bool = False) -> None:
    with tracer.paused():
        eye = torch.eye(a.shape[-1], dtype=a.dtype).expand(a.shape)
    tracer.literal(eye)
    _solution(tracer, out[0], a, eye)
    tracer.literal(out[1])


def _decomposed(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L and U in one matrix, the row that each row was exchanged with, from 1, and the sign of the permutation."""
    n = a.shape[-1]
    rows = torch.arange(n)
    sign, pivots = torch.ones_like(a[..., 0, 0]), []
    for p in range(n):
        best = a[..., p:, p].abs().argmax(-1) + p
        pivots.append(best + 1)
        chosen = a.gather(-2, best[..., None, None].expand(*best.shape, 1, n))
        at = (rows == best[..., None])[..., None]
        first = (rows == p)[:, None]
        a = torch.where(first, chosen, torch.where(at, a[..., p : p + 1, :], a))
        sign = torch.where(best == p, sign, -sign)
        if p + 1 < n:
            factor = a[..., p + 1 :, p : p + 1] / a[..., p : p + 1, p : p + 1]
            rest = a[..., p + 1 :, p + 1 :] - factor * a[..., p : p + 1, p + 1 :]
            below = torch.cat([a[..., p + 1 :, :p], factor, rest], -1)
            a = torch.cat([a[..., : p + 1, :], below], -2)
    return a, torch.stack(pivots, -1).to(torch.int32), sign


@by_parts("_linalg_det")
def _determinant(a: Tensor) -> Any:
    lu, pivots, sign = _decomposed(a)
    return sign * lu.diagonal(dim1=-2, dim2=-1).prod(-1), lu, pivots


@by_parts("_linalg_slogdet")
def _log_determinant(a: Tensor) -> Any:
    lu, pivots, sign = _decomposed(a)
    diagonal = lu.diagonal(dim1=-2, dim2=-1)
    return sign * diagonal.sign().prod(-1), diagonal.abs().log().sum(-1), lu, pivots


@by_parts("linalg_lu_factor_ex")
def _lu_factor(a: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    if not pivot:
        raise LoweringError("", "a decomposition without pivots", "pivot=True")
    lu, pivots, _ = _decomposed(a)
    return lu, pivots, torch.zeros(lu.shape[:-2], dtype=torch.int32)


@by_parts("linalg_lu_solve")
def _lu_solve(lu: Tensor, pivots: Tensor, b: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    if not left:
        return _lu_solve(lu, pivots, b.mT, left=True, adjoint=not adjoint).mT
    n = lu.shape[-1]
    batch = torch.broadcast_shapes(lu.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    pivots, b = pivots.expand(*batch, n), b.expand(*batch, *b.shape[-2:])
    if adjoint:
        x = _substituted(lu.mT, b, False, False)
        x = _substituted(lu.mT, x, True, True)
        for p in reversed(range(n)):
            x = _exchanged(x, p, pivots[..., p].long() - 1)
        return x
    for p in range(n):
        b = _exchanged(b, p, pivots[..., p].long() - 1)
    return _substituted(lu, _substituted(lu, b, False, True), True, False)


def _exchanged(x: Tensor, p: int, other: Tensor) -> Tensor:
    """Rows p and `other` in each other's place."""
    rows = torch.arange(x.shape[-2])
    chosen = x.gather(-2, other[..., None, None].expand(*other.shape, 1, x.shape[-1]))
    at = (rows == other[..., None])[..., None]
    return torch.where((rows == p)[:, None], chosen, torch.where(at, x[..., p : p + 1, :], x))


def _substituted(a: Tensor, b: Tensor, upper: bool, unit: bool) -> Tensor:
    """The solution of a triangular system, row after row."""
    n = a.shape[-1]
    found: dict[int, Tensor] = {}
    for i in range(n - 1, -1, -1) if upper else range(n):
        total = b[..., i : i + 1, :]
        if found:
            known = sorted(found)
            row = a[..., i : i + 1, known[0] : known[-1] + 1]
            total = total - row @ torch.cat([found[j] for j in known], -2)
        found[i] = total if unit else total / a[..., i : i + 1, i : i + 1]
    return torch.cat([found[i] for i in range(n)], -2)


@by_parts("linalg_solve_triangular")
def _triangular(a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    if not left:
        return _substituted(a.mT, b.mT, not upper, unitriangular).mT
    return _substituted(a, b, upper, unitriangular)


@by_parts("triangular_solve")
def _old_triangular(b: Tensor, a: Tensor, upper: bool = True, transpose: bool = False, unit: bool = False) -> Any:
    return _substituted(a.mT if transpose else a, b, upper != transpose, unit), a


@by_parts("linalg_cholesky_ex")
def _cholesky(a: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    n = a.shape[-1]
    columns: list[Tensor] = []
    for j in range(n):
        rest = a[..., j:, j : j + 1]
        if columns:
            done = torch.cat(columns, -1)
            rest = rest - done[..., j:, :] @ done[..., j : j + 1, :].mT
        root = rest[..., :1, :].sqrt()
        column = torch.cat([root, rest[..., 1:, :] / root], -2)
        columns.append(torch.nn.functional.pad(column, (0, 0, j, 0)))
    found = torch.cat(columns, -1)
    # LAPACK tells the order of the first minor that is not positive; its root is not a number, or zero.
    wrong = ~(torch.diagonal(found, dim1=-2, dim2=-1) > 0)
    order = torch.arange(1, n + 1)
    info = torch.where(wrong, order, n + 1).amin(-1)
    info = torch.where(info > n, 0, info).to(torch.int32)
    return found.mT if upper else found, info


@by_parts("cholesky_solve")
def _cholesky_solve(b: Tensor, factor: Tensor, upper: bool = False) -> Tensor:
    lower = factor.mT if upper else factor
    return _substituted(lower.mT, _substituted(lower, b, False, False), True, False)


@by_parts("cholesky_inverse")
def _cholesky_inverse(factor: Tensor, upper: bool = False) -> Tensor:
    return _cholesky_solve(torch.eye(factor.shape[-1], dtype=factor.dtype), factor, upper)


@by_parts("linalg_qr")
def _qr(a: Tensor, mode: str = "reduced") -> Any:
    """By Householder's reflections, with the signs of LAPACK: R's diagonal is against that of the column."""
    m, n = a.shape[-2:]
    full = torch.eye(m, dtype=a.dtype).expand(*a.shape[:-2], m, m)
    q, r = full, a
    for p in range(min(m - 1, n)):
        x = r[..., p:, p]
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        first = x[..., :1]
        alpha = torch.where(first > 0, -size, size)
        v = torch.cat([first - alpha, x[..., 1:]], -1)
        scale = (v * v).sum(-1, keepdim=True)
        v = torch.nn.functional.pad(v / torch.where(scale == 0, 1.0, scale).sqrt(), (p, 0)).unsqueeze(-1)
        r = r - 2 * v @ (v.mT @ r)
        q = q - 2 * (q @ v) @ v.mT
    k = m if mode == "complete" else min(m, n)
    return q[..., :k], r[..., :k, :].triu()


@by_parts("linalg_matrix_exp")
def _exponential(a: Tensor) -> Tensor:
    """Scaling by 2^-s and squaring; a series of 18 terms is exact to rounding up to a norm of 1."""
    norm = a.abs().sum(-2).amax(-1)[..., None, None]
    power = torch.zeros_like(norm)
    for s in range(10):
        power = power + (norm > 2.0**s).to(a.dtype)
    scaled = a * torch.exp2(-power)
    eye = torch.eye(a.shape[-1], dtype=a.dtype)
    total = eye + scaled / 18
    for k in range(17, 0, -1):
        total = eye + scaled @ total / k
    for s in range(10):
        total = torch.where(power > s, total @ total, total)
    return total
