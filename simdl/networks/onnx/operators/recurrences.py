"""RNN, GRU and LSTM as the ONNX standard writes their equations: one matrix product for all inputs, then a step a
sample, forwards, backwards or both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from simdl.iterate import repeat
from simdl.networks.onnx.operands import Operands, Operator
from simdl.tracing import tracer

LONGEST = 2**16  # samples
_UNROLLED = 16
Activation = Callable[[Tensor], Tensor]
_COUNTS = {"RNN": 1, "GRU": 2, "LSTM": 3}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_PARAMETERS = {"Affine": (1.0, 0.0), "LeakyRelu": (0.01, 0.0), "ThresholdedRelu": (1.0, 0.0),
               "ScaledTanh": (1.0, 1.0), "HardSigmoid": (0.2, 0.5), "Elu": (1.0, 0.0)}  # fmt: skip


def _activation(o: Operands, name: str, alpha: float, beta: float) -> Activation:
    found: dict[str, Activation] = {
        "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Relu": torch.relu, "Softsign": F.softsign,
        "Softplus": F.softplus, "Affine": lambda x: alpha * x + beta, "LeakyRelu": lambda x: F.leaky_relu(x, alpha),
        "ScaledTanh": lambda x: alpha * torch.tanh(beta * x), "Elu": lambda x: F.elu(x, alpha),
        "HardSigmoid": lambda x: torch.clamp(alpha * x + beta, 0, 1),
        "ThresholdedRelu": lambda x: torch.where(x > alpha, x, torch.zeros_like(x)),
    }  # fmt: skip
    if name not in found:
        raise o.wrong(f"the activation {name!r:.40}", ", ".join(found))
    return found[name]


def _activations(o: Operands, directions: int) -> list[list[Activation]]:
    kind = o.node.op
    names = list(o.attribute("activations") or _DEFAULTS[kind] * directions)
    if len(names) != _COUNTS[kind] * directions:
        raise o.wrong(f"{len(names)} activations", f"{_COUNTS[kind] * directions}")
    alphas, betas = list(o.attribute("activation_alpha", ())), list(o.attribute("activation_beta", ()))
    made = []
    for name in names:
        alpha, beta = _PARAMETERS.get(name, (0.0, 0.0))
        if name in _PARAMETERS:
            alpha = alphas.pop(0) if alphas else alpha
            beta = betas.pop(0) if betas and name in ("Affine", "ScaledTanh", "HardSigmoid") else beta
        made.append(_activation(o, name, alpha, beta))
    count = _COUNTS[kind]
    return [made[i * count : (i + 1) * count] for i in range(directions)]


def recurrent(o: Operands) -> tuple[Tensor, ...]:
    """Y (samples, directions, lanes, hidden), Y_h and Y_c (directions, lanes, hidden); lanes first with layout=1."""
    kind, swapped = o.node.op, bool(o.attribute("layout", 0))
    x, w, r, bias = o.tensor(0), o.tensor(1), o.tensor(2), o.optional(3)
    x = x.transpose(0, 1) if swapped else x
    samples, lanes, hidden, directions = x.shape[0], x.shape[1], r.shape[-1], w.shape[0]
    form = o.attribute("direction", "forward")
    if directions != (2 if form == "bidirectional" else 1) or r.shape[1] != _GATES[kind] * hidden:
        raise o.wrong(f"weights {tuple(w.shape)} and {tuple(r.shape)}, {form}", "those of its direction and gates")
    if samples > LONGEST:
        raise o.wrong(f"{samples} samples", f"at most {LONGEST}")
    o.room((samples, directions, lanes, hidden * _GATES[kind]))
    count = 2 if kind == "LSTM" else 1
    starts = [_start(o, 5 + i, x, directions, lanes, hidden, swapped, i) for i in range(count)]
    functions = _activations(o, directions)
    lengths = o.optional(4)
    outputs, finals = [], []
    for d in range(directions):
        backwards = form == "reverse" or d == 1
        step = _step(o, r[d], None if bias is None else bias[d], functions[d], d)
        given = x @ w[d].T
        if bias is not None:
            given = given + bias[d][: w.shape[1]]
        begin = tuple(start[d] for start in starts)
        y, after = _walk(given, begin, step, backwards, lengths, hidden)
        outputs.append(y)
        finals.append(after)
    y = torch.stack(outputs, 1)
    ends = [torch.stack([after[i] for after in finals]) for i in range(count)]
    o.after = tuple(end.transpose(0, 1) for end in ends)
    if swapped:
        return (y.permute(2, 0, 1, 3), *(end.transpose(0, 1) for end in ends))
    return (y, *ends)


def _start(
    o: Operands, index: int, x: Tensor, directions: int, lanes: int, hidden: int, swapped: bool, number: int
) -> Tensor:
    """The state to start from (directions, lanes, hidden): the stepped one, the file's, or zeros."""
    if o.state is not None:
        return o.state[number].transpose(0, 1)
    if not o.has(index):
        return torch.zeros((directions, lanes, hidden), dtype=x.dtype, device=x.device)
    found = o.tensor(index)
    found = found.transpose(0, 1) if swapped else found
    return found.expand(directions, lanes, hidden) if found.shape[1] == 1 else found


def _step(
    o: Operands, r: Tensor, bias: Tensor | None, functions: list[Activation], direction: int
) -> Callable[..., tuple[Tensor, ...]]:
    """One sample: given W x + Wb, and the state, the next state, whose first part is the output."""
    kind, hidden, clip = o.node.op, r.shape[-1], o.attribute("clip")
    own = None if bias is None else bias[r.shape[0] :]

    def limited(value: Tensor) -> Tensor:
        return torch.clamp(value, -clip, clip) if clip else value

    if kind == "RNN":
        return lambda given, h: (functions[0](limited(given + F.linear(h, r, own))),)
    if kind == "GRU":
        f, g = functions
        after_product = bool(o.attribute("linear_before_reset", 0))
        own_gates, own_new = (None, None) if own is None else (own[: 2 * hidden], own[2 * hidden :])

        def gru(given: Tensor, h: Tensor) -> tuple[Tensor, ...]:
            gates = limited(given[:, : 2 * hidden] + F.linear(h, r[: 2 * hidden], own_gates))
            z, reset = f(gates[:, :hidden]), f(gates[:, hidden:])
            if after_product:
                inner = reset * F.linear(h, r[2 * hidden :], own_new)
            else:
                inner = F.linear(reset * h, r[2 * hidden :], own_new)
            new = g(limited(given[:, 2 * hidden :] + inner))
            return ((1 - z) * new + z * h,)

        return gru
    f, g, last = functions
    peepholes = o.tensor(7)[direction].chunk(3) if o.has(7) else None
    coupled = bool(o.attribute("input_forget", 0))

    def lstm(given: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, out, forget, new = (given + F.linear(h, r, own)).chunk(4, -1)
        if peepholes is not None:
            i, forget = i + peepholes[0] * c, forget + peepholes[2] * c
        i = f(limited(i))
        forget = 1 - i if coupled else f(limited(forget))
        c = forget * c + i * g(limited(new))
        if peepholes is not None:
            out = out + peepholes[1] * c
        return f(limited(out)) * last(c), c

    return lstm


def _walk(
    given: Tensor, state: tuple[Tensor, ...], step: Callable[..., tuple[Tensor, ...]], backwards: bool,
    lengths: Tensor | None, hidden: int,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """All samples in turn: outputs (samples, lanes, hidden) and the last state."""
    samples, lanes = given.shape[:2]
    given = given.flip(0) if backwards else given
    if not is_real(given):  # only shapes are asked for
        return given.new_zeros((samples, lanes, hidden)), tuple(given.new_zeros((lanes, hidden)) for _ in state)
    if tracer() is not None and lengths is None and samples > _UNROLLED:
        return _looped(given, state, step, backwards, hidden)
    rows = []
    for k in range(samples):
        after = step(given[k], *state)
        y = after[0]
        if lengths is not None:
            time = samples - 1 - k if backwards else k
            inside = (lengths > time).unsqueeze(-1)
            y = torch.where(inside, y, torch.zeros_like(y))
            after = tuple(torch.where(inside, a, b) for a, b in zip(after, state))
        state = after
        rows.append(y)
    outputs = torch.stack(rows[::-1] if backwards else rows)
    return outputs, state


def _looped(
    given: Tensor, state: tuple[Tensor, ...], step: Callable[..., tuple[Tensor, ...]], backwards: bool, hidden: int
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The same as a loop that an engine keeps: the first sample moves out at the front, the output in at the back."""
    samples, lanes = given.shape[:2]
    outputs = torch.zeros((lanes, samples, hidden), dtype=given.dtype, device=given.device)

    def turn(values: tuple[Tensor, ...], k: int) -> tuple[Tensor, ...]:
        left, made, *now = values
        after = step(left[:, 0], *now)
        return torch.roll(left, -1, 1), torch.cat((made[:, 1:], after[0].unsqueeze(1)), 1), *after

    found = repeat(samples, turn, (given.transpose(0, 1), outputs, *state))
    made = found[1].transpose(0, 1)
    return made.flip(0) if backwards else made, tuple(found[2:])


def is_real(value: Tensor) -> bool:
    from torch._subclasses.fake_tensor import FakeTensor

    return not isinstance(value, FakeTensor)


OPERATORS: dict[str, Operator] = {"RNN": recurrent, "GRU": recurrent, "LSTM": recurrent}
