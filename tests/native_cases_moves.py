"""Operations that only move elements, tables, and changes in place: exact in all of them."""
# ruff: noqa: B008, E501 (a table)

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.native_cases import Case, Numbers, case


def cases() -> dict[str, Case]:
    n = Numbers(4)
    x, y, wide = n.normal(2, 3, 4), n.normal(2, 3, 4), n.normal(6, 7)
    flat = n.normal(5)
    found = {
        "slices": case(lambda x: (x[:, 0], x[:, :, 1:], x[..., ::2], x[:, -1, :, 1:3], x[:, None], x[..., -1:]), x),
        "views": case(lambda x: (x.reshape(len(x), -1), x.reshape(-1, 6, 4), x.view(len(x), 4, 6), x.flatten(1),
                                 x.reshape(len(x), 2, 12), x.unflatten(-1, (2, 2))), x),
        "lanes merged and back": case(lambda x: (x.reshape(-1, 4) + 1).reshape(len(x), 2, 3, 4), x),
        "transposes": case(lambda x: (x.transpose(1, 2), x.permute(0, 3, 1, 2), x.movedim(-1, 1), x.mT, x.swapaxes(1, 3),
                                      x.transpose(0, 1).transpose(0, 1), x.permute(1, 2, 3, 0).permute(3, 0, 1, 2)), x),
        "expand": case(lambda x: (x[:, None].expand(-1, 3, -1), x.unsqueeze(-1).expand(-1, -1, 2), x.repeat(1, 2),
                                  x.repeat_interleave(2, 1), x.tile((1, 3))), flat),
        "squeeze": case(lambda x: (x[:, :1].squeeze(1), x.unsqueeze(1).squeeze(), x[:, None, :, None].squeeze(-1)), flat),
        "cats": case(lambda x, y: (torch.cat([x, y], 1), torch.cat([x, y], -1), torch.stack([x, y], 1),
                                   torch.stack([x, y], -1), torch.hstack([x, y]), torch.cat([x[:, :1], y, x], 1)), x, y),
        "cat with numbers": case(lambda x: torch.cat([x, torch.zeros(len(x), 2, dtype=x.dtype), torch.ones_like(x[:, :1])], 1),
                                 flat),
        "splits": case(lambda x: (*x.split(2, 1), *x.split([1, 4], 1), *x.chunk(2, 1), *x.unbind(1), *torch.tensor_split(x, 2, 1)),
                       flat),
        "roll and flip": case(lambda x: (x.roll(1, 1), x.roll((1, -2), (1, 2)), x.flip(1), x.flip((1, 2)), x.fliplr(),
                                         torch.rot90(x, 1, (1, 2))), x),
        "pads": case(lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 1, 2, 0), value=3.0), F.pad(x, (-1, 1)),
                                F.pad(x, (1, 1), value=torch.nan)), x),
        "pads that look": case(lambda x: (F.pad(x, (2, 1), mode="reflect"), F.pad(x, (1, 2), mode="replicate"),
                                          F.pad(x, (1, 2), mode="circular")), n.normal(2, 5)),
        "unfold": case(lambda x: (x.unfold(1, 3, 1), x.unfold(2, 4, 2), x.unfold(1, 2, 3)), wide),
        "im2col": case(lambda x: F.unfold(x, (2, 3), stride=2), n.normal(2, 4, 7)),
        "diagonals": case(lambda x: (x.diagonal(dim1=1, dim2=2), torch.diag_embed(x[:, 0]), x.tril(), x.triu(1),
                                     torch.tril(x, -1)), n.normal(4, 4)),
        "constant index": case(lambda x: (x[:, [2, 0]], x[:, torch.tensor([3, 3, 1])], x[:, :, torch.tensor([0, 2])],
                                          x[:, torch.tensor([True, False, True, False])], x[:, [0, 1], [1, 0]],
                                          x.index_select(1, torch.tensor([1, 1])), x[:, torch.tensor([[0, 1], [2, 3]])]),
                               n.normal(4, 3)),
        "triangle by index": case(lambda x: x[:, *torch.tril_indices(3, 3)], n.normal(3, 3)),
        "take_along_dim": case(lambda x, k: (torch.take_along_dim(x, k, 1), torch.gather(x, 1, k), x.gather(1, k[:, :1])),
                               n.normal(6), n.whole(0, 6, 3)),
        "gather of a matrix": case(lambda x, k: (x.gather(1, k), x.gather(2, k)), n.normal(4, 4), n.whole(0, 4, 3, 2)),
        "gather constant": case(lambda x: x.gather(1, torch.tensor([[2, 0]]).expand(len(x), -1)), flat),
        "gather many": case(lambda x, k: x.gather(1, k), n.normal(300), n.whole(0, 300, 40)),
        "gather in long tables": case(lambda x, y, k, m: (x.gather(1, m), x.gather(1, k), y.gather(1, k[:, :1]), (x + y).gather(1, k[:, 1:]),
                                                          x[:, 5:].gather(1, k[:, :1])),
                                      n.normal(6000), n.normal(6000), n.whole(0, 5995, 2), n.whole(0, 6000, 1)),
        "gather in a table": case(lambda k: torch.arange(10.0).expand(len(k), -1).gather(1, k), n.whole(0, 10, 3)),
        "table by index": case(lambda k: (_table()[k], _table()[k[:, 0]], _matrix()[k], _matrix()[k[:, 0]], _matrix()[:, k[:, 0] % 4].T,
                                          _table()[k - 5]), n.whole(0, 5, 3)),
        "table by two indices": case(lambda i, j: (_matrix()[i, j], _matrix()[i, 1], _matrix()[i[:, None], j[:, None] % 2], _matrix()[i, j - 4]),
                                     n.whole(0, 5), n.whole(0, 4)),
        "own values by index": case(lambda x, k: x[torch.arange(len(x)), k], n.normal(5), n.whole(0, 5)),
        "own rows by index": case(lambda x, k: (x[torch.arange(len(x)), k], x[torch.arange(len(x)), :, k % 3]), n.normal(5, 3),
                                  n.whole(0, 5)),
        "embedding": case(lambda k: (F.embedding(k, _matrix()), F.embedding(k[:, 0], _matrix())), n.whole(0, 5, 3)),
        "wide table": case(lambda k: torch.arange(4000.0).reshape(100, 40)[k], n.whole(0, 100, 2)),
        "index_select": case(lambda k: _table().index_select(0, k), n.whole(0, 5)),
        "take": case(lambda k: torch.take(_matrix(), k), n.whole(0, 20, 2)),
        "where of slices": case(lambda x, m: torch.where(m[:, None], x[:, 1:], x[:, :-1]), flat, n.truth()),
        "empty": case(lambda x: (x[:, :0], torch.cat([x[:, :0], x], 1), x[:, :0].sum(-1), x[:, :0] + 1, torch.cat([x[:, :0]] * 2, 1)),
                      flat),
        "nothing to do": case(lambda x: (x, x.clone(), x.contiguous(), x.detach(), x.to(x.dtype), x[:]), flat),
        "same twice": case(lambda x: (x, x, x + 0), flat),
        "meshes": case(lambda x: (torch.stack(torch.meshgrid(torch.arange(3.0), torch.arange(2.0), indexing="ij")) + x[:, :1, None, None],),
                       flat),
        "pixel shuffles": case(lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x.reshape(len(x), 1, 8, 2), 2)), n.normal(4, 2, 2)),
        "upsample": case(lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), n.normal(2, 3, 2)),
        "scatters": case(lambda x, y: (torch.select_scatter(x, y[:, 0], 1, 1), torch.slice_scatter(x, y[:, :1], 1, 0, 1),
                                       torch.diagonal_scatter(x, y[:, 0], 0, 1, 2)), n.normal(3, 3), n.normal(3, 3)),
        "scatter constant": case(lambda x, y: x.scatter(1, torch.tensor([[3, 0]]).expand(len(x), -1), y), flat, n.normal(2)),
        "scatter": case(lambda x, k, y: (x.scatter(1, k, y), x.scatter(1, k, 2.0)), flat, n.whole(0, 5, 1), n.normal(1)),
        "index put": case(lambda x, y: x.index_copy(1, torch.tensor([2, 0]), y), flat, n.normal(2)),
        "bytes": case(lambda x: (x[:, 1:], torch.cat([x, x], 1).flip(1), x.double()), n.whole(0, 255, 3, dtype=torch.uint8)),
        "flags": case(lambda m: (m[:, 1:], torch.cat([m, ~m], 1), m.roll(1, 1)), n.truth(3)),
        "many": case(lambda x: (x.flip(1), x.reshape(len(x), 20, 30).transpose(1, 2), torch.cat([x[:, 300:], x[:, :10]], 1)),
                     n.normal(600)),
        "many at random": case(lambda x: x[:, torch.randperm(600, generator=torch.Generator().manual_seed(1))], n.normal(600)),
        "as_strided windows": case(lambda x: x.reshape(len(x), -1)[:, torch.arange(3)[:, None] + torch.arange(4)], n.normal(8)),
    }  # fmt: skip
    return {k: Case(c.function, c.inputs, 0.0) for k, c in found.items()}


def _table() -> Tensor:
    return torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0], dtype=torch.float64)


def _matrix() -> Tensor:
    return torch.arange(20.0, dtype=torch.float64).reshape(5, 4).sin()


def changed() -> dict[str, Case]:
    """Changes in place, as modules and block authors write them."""
    n = Numbers(5)
    x, y = n.normal(3), n.normal(3)
    return {
        "filled": case(_filled, x, y),
        "accumulated": case(_accumulated, x, y),
        "a row changed": case(_row, n.normal(3, 3), y),
        "views see changes": case(_views, x, y),
        "masked in place": case(_masked, x, n.truth(3)),
        "scaled in place": case(_scaled, x, y),
        "buffer of ones": case(_ones, x),
        "indexed in place": case(_indexed, x, y),
        "swapped": case(_swapped, x),
        "whole in place": case(_whole, n.whole(-5, 5, 3)),
        "relu in place": case(lambda x: (torch.nn.ReLU(inplace=True)(x * 1.0), F.elu_(x * 2.0), F.hardtanh_(x * 3.0)), x),
        "triangles": case(_triangles, n.normal(6)),
        "empty filled": case(_empty, x),
        "matrix written": case(_matrix_written, x, y),
        "accumulate rows": case(lambda x: torch.zeros(len(x), 2, dtype=x.dtype).index_add(1, torch.tensor([0, 1, 0]), x), x),
    }  # fmt: skip


def _filled(x: Tensor, y: Tensor) -> Tensor:
    out = torch.zeros(len(x), 4, dtype=x.dtype)
    out[:, 0] = x[:, 0]
    out[:, 1:3] = y[:, :2]
    out[:, 3] = 2.0
    return out


def _accumulated(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    total = x.clone()
    total += y
    total *= 2
    total -= 1
    total /= y
    z = torch.zeros_like(x)
    for i in range(3):
        z = z + x[:, i : i + 1]
        z[:, i] += y[:, i]
    return total, z


def _row(a: Tensor, y: Tensor) -> Tensor:
    a = a.clone()
    a[:, 1] = y
    a[:, :, 2] *= 3
    a[:, 0, 0] = 0
    return a


def _views(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    a = x.clone()
    b, c, d = a[:, :2], a[:, 1:], a.reshape(-1, 3)
    b += y[:, :2]
    c[:, 0] = 7.0
    return a, b, c, d + 0, a.T.sum(0)


def _masked(x: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    a, b = x.clone(), x.clone()
    a[m] = 0.0
    b.masked_fill_(m, -1.0)
    b.clamp_(min=-0.5)
    return a, b


def _scaled(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    a = x.clone().mul_(y).add_(1.0).neg_().abs_().sqrt_()
    b = torch.zeros_like(x).copy_(y).fill_(2.0).add_(x, alpha=0.5)
    return a, b, x.clone().zero_()


def _ones(x: Tensor) -> Tensor:
    a = x.new_ones(len(x), 2, 3)
    a[:, 1] = x
    return a.sum(1)


def _indexed(x: Tensor, y: Tensor) -> Tensor:
    a = torch.zeros(len(x), 5, dtype=x.dtype)
    a[:, [0, 3, 4]] = x
    a[:, torch.tensor([1])] = y[:, :1]
    return a


def _swapped(x: Tensor) -> Tensor:
    a = x.clone()
    first = a[:, 0].clone()
    a[:, 0] = a[:, 2]
    a[:, 2] = first
    return a


def _whole(k: Tensor) -> Tensor:
    a = k.clone()
    a += 1
    a[:, 0] *= 2
    a %= 5
    return a


def _triangles(x: Tensor) -> Tensor:
    a = torch.zeros(len(x), 3, 3, dtype=x.dtype)
    i, j = torch.tril_indices(3, 3)
    a[:, i, j] = x
    return a @ a.mT


def _empty(x: Tensor) -> Tensor:
    a = torch.empty(len(x), 2, 3, dtype=x.dtype)
    a[:, 0], a[:, 1] = x, x * 2
    return a


def _matrix_written(x: Tensor, y: Tensor) -> Any:
    a = torch.zeros(len(x), 3, 3, dtype=x.dtype)
    a[:, 0, 1], a[:, 1, 0] = -x[:, 2], x[:, 2]
    a[:, 0, 2] = x[:, 1]
    a[..., 2, 0] = -x[..., 1]
    return a, torch.einsum("bij,bj->bi", a, y)
