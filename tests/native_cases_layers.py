"""Networks: layers of torch.nn in eval mode, and functions of them."""
# ruff: noqa: B008, E501 (a table)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simdl import repeat
from tests.native_cases import Case, Numbers, case


def _made(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float64) -> Callable[..., Any]:
    """A module with weights that are the same at each call, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        module = make().to(dtype).eval()
        for name, buffer in module.named_buffers():
            if "running_mean" in name:
                buffer.normal_()
            elif "running_var" in name:
                buffer.uniform_(0.5, 2)
        for p in module.parameters():
            if p.ndim == 1:
                nn.init.normal_(p)
    return lambda *x: module(*x)


def layers() -> dict[str, Case]:
    n = Numbers(9)
    signal, image, row = n.normal(4, 12), n.normal(2, 6, 7), n.normal(6)
    found = {
        "conv1d": case(lambda x, f=_made(lambda: nn.Conv1d(4, 5, 3)), g=_made(lambda: nn.Conv1d(4, 6, 3, 2, 1)),
                       h=_made(lambda: nn.Conv1d(4, 4, 3, padding=2, dilation=2, groups=2)),
                       k=_made(lambda: nn.Conv1d(4, 8, 1, bias=False)),
                       d=_made(lambda: nn.Conv1d(4, 4, 5, groups=4, padding="same")): (f(x), g(x), h(x), k(x), d(x)), signal),
        "conv2d": case(lambda x, f=_made(lambda: nn.Conv2d(2, 3, 3)), g=_made(lambda: nn.Conv2d(2, 4, (2, 3), (2, 1), (1, 0))),
                       h=_made(lambda: nn.Conv2d(2, 2, 3, padding=1, groups=2, dilation=1)),
                       k=_made(lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")): (f(x), g(x), h(x), k(x)), image),
        "conv transposed": case(lambda x, f=_made(lambda: nn.ConvTranspose1d(4, 3, 3, 2, 1, 1)),
                                g=_made(lambda: nn.ConvTranspose1d(4, 4, 4, groups=2)): (f(x), g(x)), signal),
        "conv3d": case(lambda x, f=_made(lambda: nn.Conv3d(1, 2, 2)): f(x), n.normal(1, 3, 3, 3)),
        "conv of a lane": case(lambda x, f=_made(lambda: nn.Conv1d(1, 2, 3)): f(x[:, None]).flatten(1), row),
        "pools": case(lambda x: (F.avg_pool1d(x, 3), F.avg_pool1d(x, 2, 1, 1), F.max_pool1d(x, 3), F.max_pool1d(x, 3, 2, 1),
                                 F.adaptive_avg_pool1d(x, 4), F.adaptive_avg_pool1d(x, 5), F.adaptive_max_pool1d(x, 3),
                                 F.avg_pool1d(x, 2, 2, 1, count_include_pad=False), F.lp_pool1d(x, 2, 3)), signal),
        "pools 2d": case(lambda x: (F.avg_pool2d(x, 2), F.max_pool2d(x, 2), F.max_pool2d(x, 3, 2, 1), F.adaptive_avg_pool2d(x, 1),
                                    F.adaptive_avg_pool2d(x, (2, 3)), F.adaptive_max_pool2d(x, 2), F.avg_pool2d(x, 3, 2, 1),
                                    *F.max_pool2d(x, 2, return_indices=True)), image),
        "max pool of special": case(lambda x: F.max_pool1d(x, 3, 1, 1), n.special(2, 6)),
        "batch norm": case(lambda x, y, f=_made(lambda: nn.BatchNorm1d(4)), g=_made(lambda: nn.BatchNorm1d(6)),
                           h=_made(lambda: nn.BatchNorm1d(6, affine=False)): (f(x), g(y), h(y)), signal, row),
        "batch norm 2d": case(_made(lambda: nn.BatchNorm2d(2)), image),
        "layer norm": case(lambda x, y, f=_made(lambda: nn.LayerNorm(12)), g=_made(lambda: nn.LayerNorm((4, 12))),
                           h=_made(lambda: nn.LayerNorm(6, elementwise_affine=False)): (f(x), g(x), h(y)), signal, row),
        "group norm": case(lambda x, f=_made(lambda: nn.GroupNorm(2, 4)), g=_made(lambda: nn.InstanceNorm1d(4, affine=True)):
                           (f(x), g(x)), signal),
        "rms norm": case(_made(lambda: nn.RMSNorm(12)), signal),
        "local response": case(_made(lambda: nn.LocalResponseNorm(2)), signal),
        "softmax": case(lambda x: (F.softmax(x, -1), F.log_softmax(x, -1), F.softmin(x, 1), F.softmax(x * 400, -1)), signal),
        "linear": case(lambda x, s, f=_made(lambda: nn.Linear(6, 4)), g=_made(lambda: nn.Linear(12, 5)),
                       h=_made(lambda: nn.Linear(6, 3, bias=False)): (f(x), g(s), h(x)), row, signal),
        "mlp": case(_made(lambda: nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))), row),
        "mlp of windows": case(_made(lambda: nn.Sequential(nn.Linear(12, 20), nn.SiLU(), nn.Linear(20, 3))), signal),
        "residual": case(lambda x, f=_made(lambda: nn.Linear(6, 6)), g=_made(lambda: nn.LayerNorm(6)): g(x + F.gelu(f(x))), row),
        "embedding bag": case(lambda k, f=_made(lambda: nn.Embedding(7, 3)): (f(k), f(k).mean(1)), n.whole(0, 7, 4)),
        "weight norm": case(_made(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))), row),
        "spectral norm": case(_made(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3))), row),
        "weights transposed": case(lambda x, f=nn.Parameter(torch.linspace(-1, 1, 18, dtype=torch.float64).reshape(6, 3)):
                                   (x @ f, x @ (f / f.norm(dim=0)), x @ F.softplus(f), x @ torch.cat([f, -f], 1)), row),
        "bilinear layer": case(_made(lambda: nn.Bilinear(6, 6, 2)), row, n.normal(6)),
        "dropouts": case(_made(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 2), nn.AlphaDropout(0.2))), row),
        "float32 module": case(lambda x, f=_made(lambda: nn.Sequential(nn.Linear(6, 30), nn.Tanh(), nn.Linear(30, 2)), torch.float32):
                               f(x.float()).double(), row, tolerance=1e-5),
        "multihead attention": case(lambda x, f=_made(lambda: nn.MultiheadAttention(8, 2, batch_first=True)): f(x, x, x), n.normal(5, 8)),
        "attention": case(lambda q, k, v: (F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, q, q, is_causal=True)),
                          n.normal(2, 3, 4), n.normal(2, 5, 4), n.normal(2, 5, 4)),
        "transformer": case(_made(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)), n.normal(3, 8)),
        "transformer norm first": case(_made(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True,
                                                                               activation="gelu")), n.normal(3, 8)),
        "cnn": case(_made(lambda: nn.Sequential(nn.Conv1d(4, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
                                                nn.Conv1d(8, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 1))), signal),
        "prelu": case(_made(lambda: nn.Sequential(nn.Linear(6, 4), nn.PReLU(4))), row),
        "activations": case(lambda x, f=_made(lambda: nn.Sequential(nn.Softplus(), nn.Tanhshrink(), nn.Hardswish(), nn.GELU(), nn.Mish(),
                                                                   nn.Softmax(-1), nn.Softsign(), nn.LogSoftmax(-1))): f(x), row),
        "channel shuffle": case(lambda x: F.channel_shuffle(x[..., None], 2)[..., 0], signal),
        "positions": case(lambda x: x + torch.sin(torch.arange(12.0, dtype=x.dtype)) * torch.arange(4.0, dtype=x.dtype)[:, None], signal),
    }  # fmt: skip
    return found


def recurrent() -> dict[str, Case]:
    n = Numbers(10)
    x, step, h, c = n.normal(5, 3), n.normal(3), n.normal(4), n.normal(4)
    found: dict[str, Case] = {}
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        name = kind.__name__
        f, deep = _made(lambda k=kind: k(3, 4, batch_first=True)), _made(lambda k=kind: k(3, 4, 2, batch_first=True))
        late, both = _made(lambda k=kind: k(3, 4)), _made(lambda k=kind: k(3, 4, bidirectional=True, batch_first=True))
        bare = _made(lambda k=kind: k(3, 4, bias=False, batch_first=True))
        found |= {
            f"{name} window": case(lambda x, f=f, deep=deep: (*_whole(f, x), *_whole(deep, x)), x),
            f"{name} time first": case(lambda x, f=late: f(x.transpose(0, 1))[0].transpose(0, 1), x),
            f"{name} both ways": case(lambda x, f=both: f(x)[0], x),
            f"{name} without bias": case(lambda x, f=bare: f(x)[0], x),
        }  # fmt: skip
        if kind is nn.LSTM:
            found[f"{name} step"] = case(lambda x, h, c, f=f: _step(f, x, (h, c)), step, h, c)
            cell = _made(lambda: nn.LSTMCell(3, 4))
            found[f"{name} cell"] = case(lambda x, h, c, f=cell: f(x, (h, c)), step, h, c)
            big = _made(lambda: nn.LSTM(3, 32, batch_first=True))
            found[f"{name} large"] = case(lambda x, f=big: f(x)[0][:, -1], x)
            projected = _made(lambda: nn.LSTM(3, 6, proj_size=2, batch_first=True))
            found[f"{name} projected"] = case(lambda x, f=projected: f(x)[0], x)
        else:
            found[f"{name} step"] = case(lambda x, h, f=f: _step(f, x, h), step, h)
            cell = _made(lambda k=kind: (nn.GRUCell if k is nn.GRU else nn.RNNCell)(3, 4))
            found[f"{name} cell"] = case(lambda x, h, f=cell: f(x, h), step, h)
    relu = _made(lambda: nn.RNN(3, 4, nonlinearity="relu", batch_first=True))
    found["RNN relu"] = case(lambda x, f=relu: _whole(f, x), x)
    single = _made(lambda: nn.GRU(3, 4, batch_first=True), torch.float32)
    found["GRU float32"] = case(lambda x, f=single: f(x.float())[0].double(), x, tolerance=1e-5)
    return found


def _whole(f: Any, x: Tensor) -> tuple[Tensor, ...]:
    """A window's outputs, and the last states with lanes first."""
    y, state = f(x)
    return y, *(s.transpose(0, 1) for s in (state if isinstance(state, tuple) else (state,)))


def _step(f: Any, x: Tensor, state: Any) -> Any:
    """One step of a batch_first recurrent module with its state (lanes, hidden)."""
    if isinstance(state, tuple):
        y, (h, c) = f(x[:, None], tuple(s[None] for s in state))
        return y[:, 0], h[0], c[0]
    y, h = f(x[:, None], state[None])
    return y[:, 0], h[0]


def _field(x: Tensor) -> Tensor:
    return torch.stack([x[..., 1], (1 - x[..., 0] ** 2) * x[..., 1] - x[..., 0] * torch.cos(x[..., 2]), x[..., 2] * x[..., 0]], -1)


def derivatives() -> dict[str, Case]:
    """torch.func inside functions."""
    n = Numbers(12)
    x, v = n.normal(3), n.normal(3)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel(), dtype=torch.float64).reshape(p.shape).sin())
    vmap, jacfwd, jacrev = torch.func.vmap, torch.func.jacfwd, torch.func.jacrev
    return {
        "jacrev": case(lambda x: vmap(jacrev(_field))(x), x),
        "jacfwd": case(lambda x: vmap(jacfwd(_field))(x), x),
        "jvp": case(lambda x, v: torch.func.jvp(_field, (x,), (v,)), x, v),
        "vjp": case(lambda x, v: torch.func.vjp(_field, x)[1](v), x, v),
        "grad": case(lambda x: (vmap(torch.func.grad(lambda s: (s**2).sum().sqrt() * s[0]))(x),
                                torch.func.grad(lambda s: (s.sin() * s).sum())(x)), x),
        "hessian": case(lambda x: vmap(torch.func.hessian(lambda s: (s[0] * s[1]).sin() * s[2].exp()))(x), x),
        "vmap": case(lambda x, v: (vmap(lambda a, b: a * b.sum())(x, v), vmap(torch.outer)(x, v), vmap(vmap(torch.sin))(x)), x, v),
        "vmap of linear": case(lambda x: vmap(net)(x), x),
        "jacobian of a network": case(lambda x: (vmap(jacrev(net))(x), vmap(jacfwd(net))(x)), x),
        "ekf": case(_ekf, x, n.definite(3), n.normal(1)),
        "rosenbrock": case(_rosenbrock, x, tolerance=1e-11),
        "newton": case(lambda x: repeat(4, _newton, x), n.within(0.5, 2, 1)),
        "autograd.grad": case(_autograd, x),
        "backward of softplus": case(lambda x: vmap(jacrev(lambda s: F.softplus(s) * torch.sigmoid(s) + F.silu(s) + F.gelu(s)
                                                           + F.relu(s) + F.elu(s) + F.leaky_relu(s) + F.hardtanh(s)))(x), x),
        "backward of shapes": case(lambda x: vmap(jacrev(lambda s: torch.cat([s[1:], s.flip(0)[:2] * s.sum()]).reshape(2, 2).T.cumsum(0)
                                                         .softmax(-1)))(x), x),
        "backward of choices": case(lambda x: vmap(jacrev(lambda s: torch.where(s > 0, s**3, s.abs() ** 0.5) + s.clamp(-0.5, 0.5)
                                                          + torch.maximum(s, s.flip(0)) + s.amax()))(x), x),
        "backward of norms": case(lambda x: vmap(jacrev(lambda s: F.layer_norm(s, (3,)) + s / s.norm() + s.std() + s.prod()))(x), x,
                                  tolerance=1e-11),
        "backward of solve": case(lambda x: vmap(jacrev(lambda s: torch.linalg.solve(torch.diag(s * s + 1) + 0.1, s)))(x), x,
                                  tolerance=1e-11),
        "forward of functions": case(lambda x, v: torch.func.jvp(lambda s: torch.atan2(s, s.cos() + 2) + s.exp().log1p() + torch.tan(s / 9)
                                                                 + torch.rsqrt(s * s + 1) + torch.erf(s) + s.sinh().asinh(), (x,), (v,)), x, v),
        "table slope": case(lambda x: vmap(jacrev(_looked_up))(x), n.within(0, 1, 3)),
    }  # fmt: skip


def _looked_up(x: Tensor) -> Tensor:
    knots, values = torch.linspace(0, 1, 5, dtype=x.dtype), torch.tensor([1.0, -1.0, 2.0, 0.0, 3.0], dtype=x.dtype)
    i = (torch.bucketize(x.detach(), knots, right=True) - 1).clamp(0, 3)
    return values[i] + (x - knots[i]) / (knots[i + 1] - knots[i]) * (values[i + 1] - values[i])


def _ekf(x: Tensor, p: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    def move(s: Tensor) -> Tensor:
        return s + 0.1 * _field(s)

    def see(s: Tensor) -> Tensor:
        return s[..., :1] ** 2

    f = torch.func.vmap(torch.func.jacfwd(move))(x)
    x, p = move(x), f @ p @ f.mT + 0.01 * torch.eye(3, dtype=x.dtype)
    h = torch.func.vmap(torch.func.jacrev(see))(x)
    s = h @ p @ h.mT + 0.1
    k = torch.linalg.solve(s, h @ p).mT
    return x + (k @ (z - see(x))[..., None])[..., 0], (torch.eye(3, dtype=x.dtype) - k @ h) @ p


def _rosenbrock(x: Tensor) -> Tensor:
    j = torch.func.vmap(torch.func.jacfwd(_field))(x)
    left = torch.eye(3, dtype=x.dtype) - 0.1 * 0.2928932188134525 * j
    k = torch.linalg.solve(left, _field(x))
    return x + 0.1 * torch.linalg.solve(left, _field(x + 0.05 * k))


def _newton(x: Tensor, turn: int) -> Tensor:
    f, slope = torch.func.jvp(lambda s: s**3 - 2 * s - 5, (x,), (torch.ones_like(x),))
    return x - f / slope


def _autograd(x: Tensor) -> Tensor:
    with torch.enable_grad():
        s = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad((s.sin() * s.exp()).sum(), s)
    return slope


def loops() -> dict[str, Case]:
    n = Numbers(13)
    x, v, table = n.normal(3), n.normal(6), torch.linspace(0, 1, 8, dtype=torch.float64).sin()
    m = torch.eye(3, dtype=torch.float64) * 0.5 + 0.1
    return {
        "same turns": case(lambda x: repeat(50, lambda s, k: s + 0.01 * torch.sin(s), x), x),
        "two states": case(lambda x, v: repeat(7, lambda s, k: (s[0] + 0.1 * s[1], s[1] - 0.1 * torch.sin(s[0]) * v[:, :3]),
                                               (x, x * 2)), x, v),
        "swapped states": case(lambda x, v: repeat(5, lambda s, k: (s[1], s[0] + 1), (x, v[:, :3])), x, v),
        "reads outside": case(lambda x, v: repeat(5, lambda s, k: s * v[:, :1] + torch.exp(v[:, 1:2]) * 0.1, x), x, v),
        "nested": case(lambda x: repeat(3, lambda s, k: repeat(4, lambda r, j: torch.cos(r) + 0.1 * s, s) * 0.5, x), x),
        "nested with outside": case(lambda x, v: repeat(3, lambda s, k: repeat(4, lambda r, j: r * 0.9 + v[:, :3] * 0.1, s) - s, x), x, v),
        "matrices": case(lambda x: repeat(6, lambda s, k: torch.tanh(s @ m), x), x),
        "turn number": case(lambda x: repeat(5, lambda s, k: s * 0.5 + k, x), x),
        "many turn numbers": case(lambda x: repeat(200, lambda s, k: s * 0.99 + 0.01 * k, x), x),
        "turn in a function": case(lambda x: repeat(5, lambda s, k: s + torch.sin(torch.tensor(0.3 * k, dtype=x.dtype)), x), x),
        "input by turn": case(lambda x, v: repeat(6, lambda s, k: s * 0.9 + v[:, k : k + 1], x), x, v),
        "input by turn, backwards": case(lambda x, v: repeat(6, lambda s, k: s * 0.9 + v[:, 5 - k][:, None], x), x, v),
        "table by turn": case(lambda x: repeat(8, lambda s, k: s * table[k] + 1, x), x),
        "window by turn": case(lambda x, w: repeat(100, lambda s, k: torch.tanh(s @ m + w[:, k]), x), x, n.normal(100, 3)),
        "power of turn": case(lambda x: repeat(5, lambda s, k: s + 0.5**k, x), x),
        "written by turn": case(lambda x, v: repeat(4, lambda s, k: torch.cat([s[:, 1:], v[:, k : k + 1]], 1), x), x, v),
        "one turn": case(lambda x: repeat(1, lambda s, k: s + 1, x), x),
        "no turns": case(lambda x: repeat(0, lambda s, k: s + 1, x) * 2, x),
        "large state": case(lambda x: repeat(3, lambda s, k: torch.tanh(s) + 0.1, x), n.normal(50)),
        "whole state": case(lambda k: repeat(4, lambda s, j: (3 * s + 1) % 17, k), n.whole(0, 17, 2)),
        "from a constant": case(lambda x: repeat(4, lambda s, k: s * 0.5 + x, torch.zeros_like(x)), x),
        "state unchanged": case(lambda x, v: repeat(4, lambda s, k: (s[0] * s[1], s[1]), (x, v[:, :3])), x, v),
        "flags": case(lambda x: repeat(9, lambda s, k: (torch.where(s[1], s[0], s[0] * 1.5), s[1] | (s[0].abs() > 4)), (x, x > 9)), x),
        "result used twice": case(lambda x: (lambda r: r * r + r.sum(-1, keepdim=True))(repeat(3, lambda s, k: s.cos(), x)), x),
        "two loops": case(lambda x: repeat(3, lambda s, k: s.sin(), repeat(3, lambda s, k: s.cos(), x)), x),
        "solve in a loop": case(lambda x: repeat(3, lambda s, k: s + torch.linalg.solve(m, torch.cos(s)[..., None])[..., 0], x), x,
                                tolerance=1e-11),
    }  # fmt: skip
