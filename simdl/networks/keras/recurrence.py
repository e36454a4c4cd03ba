"""LSTM, GRU and SimpleRNN: torch's own layers where they compute the same, else the equations, in a form that can be
stepped like torch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simdl.networks.keras.layers import Maker, activation
from simdl.networks.keras.options import Options


class _Gated(nn.RNNBase):
    """Weights of one recurrent layer applied sample by sample, with any activations; x (lanes, samples, features)."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor
    output: nn.Module
    gate: nn.Module

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        states = self._start(x, hx)
        rows = []
        for sample in x.unbind(1):
            states = self._sample(F.linear(sample, self.weight_ih_l0, self.bias_ih_l0), *states)
            rows.append(states[0])
        after = [state.unsqueeze(0) for state in states]
        return torch.stack(rows, 1), after[0] if len(after) == 1 else tuple(after)

    def _start(self, x: Tensor, hx: Any) -> list[Tensor]:
        count = 2 if isinstance(self, nn.LSTM) else 1
        if hx is None:
            return [x.new_zeros((x.shape[0], self.weight_hh_l0.shape[1]))] * count
        return [one[0] for one in (hx if count == 2 else (hx,))]

    def _sample(self, given: Tensor, *states: Tensor) -> list[Tensor]:
        raise NotImplementedError


class GatedGRU(_Gated, nn.GRU):  # type: ignore[misc]
    """h' = z h + (1 - z) act(W x + b + U (r h)); with reset_after r multiplies U h + its bias instead."""

    reset_after: bool

    def _sample(self, given: Tensor, *states: Tensor) -> list[Tensor]:
        h = states[0]
        from_r, from_z, from_n = given.chunk(3, -1)
        hidden = F.linear(h, self.weight_hh_l0, self.bias_hh_l0)
        r, z = self.gate(from_r + hidden.chunk(3, -1)[0]), self.gate(from_z + hidden.chunk(3, -1)[1])
        if self.reset_after:
            recurrent = r * hidden.chunk(3, -1)[2]
        else:
            recurrent = F.linear(r * h, self.weight_hh_l0.chunk(3, 0)[2])
        return [z * h + (1 - z) * self.output(from_n + recurrent)]


class GatedLSTM(_Gated, nn.LSTM):  # type: ignore[misc]
    """c' = f c + i act(g), h' = o act(c')."""

    def _sample(self, given: Tensor, *states: Tensor) -> list[Tensor]:
        h, c = states
        i, f, g, o = (given + F.linear(h, self.weight_hh_l0, self.bias_hh_l0)).chunk(4, -1)
        c = self.gate(f) * c + self.gate(i) * self.output(g)
        return [self.gate(o) * self.output(c), c]


class GatedRNN(_Gated, nn.RNN):  # type: ignore[misc]
    """h' = act(W x + b + U h)."""

    def _sample(self, given: Tensor, *states: Tensor) -> list[Tensor]:
        return [self.output(given + F.linear(states[0], self.weight_hh_l0, self.bias_hh_l0))]


class Rolled(nn.Module):
    """A recurrent layer over samples: all outputs or the last one; backwards reads the last sample first.

    stateful: whether in Keras it goes on, at a call, from where the last call ended.
    """

    def __init__(self, layer: nn.RNNBase, sequences: bool, backwards: bool, stateful: bool) -> None:
        super().__init__()
        self.layer, self.sequences, self.backwards, self.stateful = layer, sequences, backwards, stateful

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flip(1) if self.backwards else x)[0]
        return y if self.sequences else y[:, -1]


class BothWays(nn.Module):
    """Bidirectional: the outputs of both directions, at the same sample, merged."""

    def __init__(self, forth: Rolled, back: Rolled, mode: str) -> None:
        super().__init__()
        self.forth, self.back, self.mode = forth, back, mode

    def forward(self, x: Tensor) -> Tensor:
        a: Tensor = self.forth(x)
        b: Tensor = self.back(x)
        b = b.flip(1) if self.back.sequences else b
        if self.mode == "concat":
            return torch.cat((a, b), -1)
        if self.mode == "mul":
            return a * b
        return a + b if self.mode == "sum" else (a + b) / 2


def rolled(kind: str, o: Options) -> Rolled:
    """One recurrent layer with its weights."""
    units, bias = o.whole("units"), o.flag("use_bias", True)
    output = activation(o, "activation", "tanh")
    gates = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}[kind]
    gate = activation(o, "recurrent_activation", "sigmoid") if gates > 1 else nn.Identity()
    after = o.flag("reset_after", True) if kind == "GRU" else True
    kernel, recurrent = o.weights((None, gates * units), (units, gates * units))
    first = second = kernel.new_zeros(gates * units)
    if bias and kind == "GRU" and after:
        (both,) = o.weights((2, gates * units))
        first, second = both
    elif bias:
        (first,) = o.weights((gates * units,))
    rows = [kernel.T, recurrent.T, first, second]
    if kind == "GRU":  # Keras keeps z, r, n; torch r, z, n
        rows = [torch.cat([row.chunk(3, 0)[n] for n in (1, 0, 2)]) for row in rows]
    usual = isinstance(output, nn.Tanh) and isinstance(gate, nn.Sigmoid | nn.Identity) and after
    plain: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "SimpleRNN": nn.RNN}
    gated: dict[str, Any] = {"LSTM": GatedLSTM, "GRU": GatedGRU, "SimpleRNN": GatedRNN}
    made: Any = (plain if usual else gated)[kind](kernel.shape[0], units, batch_first=True, dtype=o.dtype)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    made.load_state_dict({name: row.contiguous() for name, row in zip(names, rows)})
    if not usual:
        made.output, made.gate, made.reset_after = output, gate, after
    if o.flag("return_state", False):
        raise o.error("return_state=True", "return_state=False: Recurrent shows the state as ports")
    stateful = o.flag("stateful", False)
    del o.used["stateful"]  # not for the comparison with Keras, which starts from zeros
    return Rolled(made, o.flag("return_sequences", False), o.flag("go_backwards", False), stateful)


def _maker(kind: str) -> Maker:
    return lambda o: rolled(kind, o)


LAYERS: dict[str, Maker] = {kind: _maker(kind) for kind in ("LSTM", "GRU", "SimpleRNN")}
