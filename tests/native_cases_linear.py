"""Sums, products of matrices, linear systems."""
# ruff: noqa: B008, E501 (a table)

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.native_cases import Case, Numbers, case


def reductions() -> dict[str, Case]:
    n = Numbers(6)
    x, y, wide, special = n.normal(5), n.normal(3, 4), n.normal(10, 30), n.special(6)
    shuffled = torch.stack([torch.randperm(7, generator=n.random) for _ in range(13)]).double() / 3
    return {
        "sums": case(lambda x: (x.sum(-1), x.sum(1, keepdim=True), x.sum((1, 2)), x.sum(2), x.mean(-1), x.mean((1, 2)),
                                x.mean(1, keepdim=True)), y),
        "large sums": case(lambda x: (x.sum(1), x.sum(2), x.mean((1, 2)), x.amax(1), x.amin(2), x.prod(1), x.abs().sum((1, 2))), wide),
        "spread": case(lambda x: (x.var(-1), x.std(-1), x.var(-1, unbiased=False), x.std(1, correction=0, keepdim=True),
                                  *torch.var_mean(x, -1), *torch.std_mean(x, (1, 2))), y),
        "products": case(lambda x: (x.prod(-1), x.prod(1, keepdim=True), x.cumprod(-1)), y),
        "extremes": case(lambda x: (x.amax(-1), x.amin(1), x.amax((1, 2)), *x.max(-1), *x.min(1), x.argmax(-1), x.argmin(-1),
                                    x.max(-1, keepdim=True).indices, x.argmax(1, keepdim=True), *torch.aminmax(x, dim=-1)), y),
        "extremes of special": case(lambda x: (x.amax(-1), x.amin(-1), *x.max(-1), *x.min(-1), x.argmax(-1), x.argmin(-1),
                                               x.any(-1), x.all(-1)), special),
        "extremes of many": case(lambda x: (*x.max(1), *x.min(2), x.argmax(1), x.reshape(len(x), -1).argmin(-1)), wide),
        "ties": case(lambda k: (k.argmax(-1), k.argmin(-1), *k.max(-1), *k.double().min(-1)), n.whole(0, 3, 6)),
        "extremes of all but lanes": case(lambda x: (x.flatten(1).amax(-1), x.flatten(1).argmax(-1)), y),
        "logic": case(lambda m: (m.any(-1), m.all(-1), m.any(1), m.all(1, keepdim=True), m.sum(-1), m.count_nonzero(-1)),
                      n.truth(3, 4)),
        "norms": case(lambda x: (x.norm(dim=-1), torch.linalg.norm(x, dim=-1), torch.linalg.vector_norm(x, dim=-1),
                                 torch.linalg.vector_norm(x, 1, dim=-1), torch.linalg.vector_norm(x, torch.inf, dim=-1),
                                 torch.linalg.vector_norm(x, -torch.inf, dim=-1), torch.linalg.vector_norm(x, 3, dim=-1),
                                 torch.linalg.vector_norm(x, 0, dim=-1), x.norm(dim=(1, 2)), F.normalize(x, dim=-1),
                                 torch.linalg.matrix_norm(x), x.norm(p=1, dim=-1, keepdim=True)), y),
        "cumulative": case(lambda x: (x.cumsum(-1), x.cumsum(1), x.diff(dim=-1), x.logcumsumexp(-1), *x.cummax(-1), *x.cummin(1)), y),
        "logsumexp": case(lambda x: (x.logsumexp(-1), x.logsumexp(1, keepdim=True), x.softmax(-1), x.log_softmax(-1), x.softmax(1)), y),
        "integrals": case(lambda x: (torch.trapezoid(x, dx=0.1), torch.trapezoid(x, torch.linspace(0, 1, 5, dtype=x.dtype))), x),
        "sort": case(lambda x: (*x.sort(-1), *x.sort(-1, descending=True), x.argsort(-1), x.msort() if x.ndim == 1 else x,
                                *x.topk(3, -1), *x.topk(2, -1, largest=False), x.median(-1).values, *x.kthvalue(2, -1)), shuffled),
        "sort of ties": case(lambda k: (k.sort(stable=True, dim=-1).indices, k.sort(-1).values,
                                        k.sort(stable=True, dim=-1, descending=True).indices), n.whole(0, 3, 6)),
        "sort along": case(lambda x: (x.sort(1).values, x.topk(2, 1).values), y),
        "median": case(lambda x: (*x.median(-1), x.quantile(0.3, -1), x.quantile(0.5, -1)), shuffled),
        "distances": case(lambda x, y: (F.cosine_similarity(x, y, -1), F.pairwise_distance(x, y), torch.vmap(torch.dist)(x, y),
                                        torch.linalg.vecdot(x, y)), x, n.normal(5)),
        "interpolation": case(_interpolated, n.within(-0.2, 1.2, 3)),
        "searches": case(lambda x: (torch.searchsorted(_knots(), x), torch.searchsorted(_knots(), x, right=True),
                                    torch.bucketize(x, _knots()), torch.bucketize(x, _knots(), right=True),
                                    torch.bucketize(x, _knots(), out_int32=True)), torch.cat([n.within(-0.2, 1.2, 3),
                                                                                           _knots().expand(13, -1)], 1)),
        "search in own": case(lambda a, x: torch.searchsorted(a.sort(-1).values, x), x, n.normal(2)),
        "nansum": case(lambda x: (x.nansum(-1), x.nanmean(-1)), n.special(5).clamp(-9, 9)),
        "weighted": case(lambda x: (x * torch.arange(5.0, dtype=x.dtype)).sum(-1) / 10, x),
        "horner": case(lambda x: _horner(x), n.normal()),
    }  # fmt: skip


def _knots() -> Tensor:
    return torch.tensor([0.0, 0.1, 0.4, 0.45, 1.0], dtype=torch.float64)


def _interpolated(x: Tensor) -> Tensor:
    knots, values = _knots(), torch.tensor([1.0, -1.0, 2.0, 0.0, 3.0], dtype=torch.float64)
    i = (torch.searchsorted(knots, x, right=True) - 1).clamp(0, 3)
    part = (x - knots[i]) / (knots[i + 1] - knots[i])
    return values[i] + part * (values[i + 1] - values[i])


def _horner(x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for c in (0.1, -0.2, 0.3, 1.5):
        total = total * x + c
    return total


def products() -> dict[str, Case]:
    n = Numbers(7)
    a, b, v, w = n.normal(3, 4), n.normal(4, 2), n.normal(4), n.normal(3)
    m, big = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4).sin(), torch.randn(
        40, 30, generator=n.random, dtype=torch.float64)  # fmt: skip
    return {
        "matmul": case(lambda a, b, v: (a @ b, torch.bmm(a, b), torch.matmul(a, v[..., None])[..., 0],
                                        torch.einsum("lij,lj->li", a, v), torch.matmul(b.mT, a.mT)), a, b, v),
        "weights": case(lambda v, a: (v @ m.T, torch.matmul(m, v[..., None]).squeeze(-1), (m @ v.T).T, a @ m.T, m.T @ a,
                                      F.linear(v, m), F.linear(a, m), F.linear(v, m, m[:, 0]), torch.einsum("ij,lj->li", m, v),
                                      torch.einsum("lij,kj->lik", a, m)), v, a),
        "large weights": case(lambda x: (x @ big, F.linear(x, big.T),
                                         F.linear(x[:, None] * torch.ones(3, 1, dtype=x.dtype), big.T),
                                         (x @ big).tanh() @ big.T), n.normal(40)),
        "windows through weights": case(lambda x: (F.linear(x, m), x @ m.T, F.linear(x.reshape(-1, 4), m).reshape(len(x), 5, 3)),
                                        n.normal(5, 4)),
        "large batches": case(lambda x, y: x @ y, n.normal(9, 20), n.normal(20, 8)),
        "dots": case(lambda v, u: ((v * u).sum(-1), torch.linalg.vecdot(v, u), torch.einsum("li,li->l", v, u),
                                   torch.einsum("li,lj->lij", v, u), v[:, :, None] @ u[:, None, :], v @ m[0], v @ m.T @ m), v,
                     n.normal(4)),
        "one vector": case(lambda v: (torch.mv(v, m[0]), torch.matmul(v, m[0]), v @ torch.ones(4, 1, dtype=v.dtype)), v),
        "bilinear": case(lambda v, w: (F.bilinear(v, w, torch.arange(24.0, dtype=v.dtype).reshape(2, 4, 3) / 10),
                                       torch.einsum("li,ij,lj->l", v, m.T, w)), v, w),
        "quadratic": case(lambda v: ((v @ (m.T @ m) * v).sum(-1), torch.einsum("li,ij,lj->l", v, m.T @ m, v)), v),
        "kron": case(lambda a: (torch.stack([torch.kron(m[:2, :2], torch.eye(2, dtype=a.dtype))]) @ a[:, :1, :].mT), a),
        "kron of lanes": case(lambda a, b: torch.einsum("lij,lkm->likjm", a, b).reshape(len(a), 12, 8), a, b),
        "outer": case(lambda v, w: (v[:, :, None] * w[:, None, :], torch.vmap(torch.outer)(v, w), torch.vmap(torch.dot)(v, v)), v, w),
        "addmm": case(lambda v, a, b: (torch.addmm(m[:, 0], v, m.T), torch.addmm(m[:, 0], v, m.T, beta=0.5, alpha=2.0),
                                       torch.baddbmm(torch.ones(1, 3, 2, dtype=v.dtype), a, b), v @ m.T + m[:, 0]), v, a, b),
        "powers": case(lambda s: (torch.linalg.matrix_power(s, 3), torch.linalg.multi_dot([m.T @ m, m.T, m[:, :3]])[:3] + s), n.normal(3, 3)),
        "cross": case(lambda v, w: (torch.linalg.cross(v, w), torch.cross(v, w, -1)), n.normal(3), w),
        "rotation": case(_rotated, n.normal(4), w),
        "trace": case(lambda s: (s.diagonal(dim1=1, dim2=2).sum(-1), torch.vmap(torch.trace)(s), torch.einsum("lii->l", s)), n.normal(3, 3)),
        "wholes": case(lambda k, j: k @ j, n.whole(-5, 5, 3, 4), n.whole(-5, 5, 4, 2)),
        "float32 weights": case(lambda v: F.linear(v.float(), m.float(), m[:, 0].float()).double(), v, tolerance=1e-5),
        "lanes twice": case(lambda a, v: (a @ v[:, :, None])[..., 0] + (v[:, None, :] @ a.mT)[:, 0], a, v),
        "covariance": case(lambda p: _covariance(p), n.definite(3)),
        "tensordot": case(lambda a: (torch.tensordot(a, m, dims=([1, 2], [0, 1])), torch.tensordot(a, m.T, dims=1)), a),
        "cdist": case(lambda a: torch.cdist(a, m[None].expand(len(a), -1, -1), compute_mode="donot_use_mm_for_euclid_dist"), a),
    }  # fmt: skip


def _rotated(q: Tensor, v: Tensor) -> Tensor:
    q = q / q.norm(dim=-1, keepdim=True)
    t = 2 * torch.linalg.cross(q[:, 1:], v)
    return v + q[:, :1] * t + torch.linalg.cross(q[:, 1:], t)


def _covariance(p: Tensor) -> Tensor:
    f = torch.eye(3, dtype=p.dtype) + 0.1 * torch.arange(9.0, dtype=p.dtype).reshape(3, 3).sin()
    h = torch.tensor([[1.0, 0.0, 0.5]], dtype=p.dtype)
    p = f @ p @ f.T + 0.01 * torch.eye(3, dtype=p.dtype)
    s = h @ p @ h.T + 0.1
    k = torch.linalg.solve(s, h @ p).mT
    return (torch.eye(3, dtype=p.dtype) - k @ h) @ p


def systems() -> dict[str, Case]:
    n = Numbers(8)
    a, v, b, p = n.matrix(4, 4), n.normal(4), n.normal(4, 2), n.definite(3)
    big = n.matrix(12, 12)
    shared = torch.eye(4, dtype=torch.float64) * 3 + torch.arange(16.0, dtype=torch.float64).reshape(4, 4).sin()
    loose = 1e-11  # condition numbers up to some tens
    return {
        "solve": case(lambda a, v, b: (torch.linalg.solve(a, v), torch.linalg.solve(a, b), torch.linalg.solve(a, b.mT, left=False),
                                       torch.linalg.solve(a, v[..., None]).squeeze(-1)), a, v, b, tolerance=loose),
        "solve shared": case(lambda v, a: (torch.linalg.solve(shared, v.T).T, torch.linalg.solve(shared.expand(len(v), 4, 4), v),
                                           torch.linalg.solve(a, torch.eye(4, dtype=a.dtype)),
                                           torch.linalg.solve(shared, v[..., None])), v, a, tolerance=loose),
        "solve of one": case(lambda x, y: (torch.linalg.solve(x, y), torch.linalg.inv(x)), n.matrix(1, 1), n.normal(1)),
        "solve pivots": case(lambda x: torch.linalg.solve(torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=x.dtype)
                                                          + 0 * x[:, :1, None], x), n.normal(2)),
        "inverse": case(lambda a: (torch.linalg.inv(a), torch.inverse(a)), a, tolerance=loose),
        "large": case(lambda a, v: (torch.linalg.solve(a, v), torch.linalg.det(a)), big, n.normal(12), tolerance=loose),
        "determinants": case(lambda a: (torch.linalg.det(a), *torch.linalg.slogdet(a), torch.logdet(a @ a.mT)), a, tolerance=loose),
        "cholesky": case(lambda p, w: (torch.linalg.cholesky(p), torch.linalg.cholesky(p, upper=True),
                                       torch.cholesky_solve(w[..., None], torch.linalg.cholesky(p)),
                                       torch.cholesky_inverse(torch.linalg.cholesky(p))), p, n.normal(3), tolerance=loose),
        "triangular": case(lambda a, b: (torch.linalg.solve_triangular(a.tril(), b, upper=False),
                                         torch.linalg.solve_triangular(a.triu(), b, upper=True),
                                         torch.linalg.solve_triangular(a.tril(), b, upper=False, unitriangular=True),
                                         torch.linalg.solve_triangular(a.triu(), b.mT, upper=True, left=False)), a, b, tolerance=loose),
        "lu": case(lambda a, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b), a, b, tolerance=loose),
        "matrix exponential": case(lambda a: torch.linalg.matrix_exp(a), n.normal(3, 3), tolerance=1e-11),
        "qr": case(lambda a: torch.linalg.qr(a), n.normal(4, 3), tolerance=loose),
        "least squares": case(lambda a, b: torch.linalg.solve(a.mT @ a, a.mT @ b), n.normal(6, 2), n.normal(6, 1), tolerance=1e-10),
        "float32": case(lambda a, v: torch.linalg.solve(a.float(), v.float()), a, v, tolerance=1e-4),
    }  # fmt: skip
