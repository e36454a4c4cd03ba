"""MultiHeadAttention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from simdl.networks.keras.layers import Maker
from simdl.networks.keras.options import Options


class Attention(nn.Module):
    """softmax(q k^T / sqrt(key size)) v for each head, between projections; x (lanes, samples, features)."""

    def __init__(self, o: Options) -> None:
        super().__init__()
        heads, size = o.whole("num_heads"), o.whole("key_dim")
        wide = size if o.config.get("value_dim") is None else o.whole("value_dim")
        bias = o.flag("use_bias", True)
        if o.config.get("attention_axes") not in (None, 1, [1], [-2]) or o.config.get("output_shape") is not None:
            raise o.error("attention over other axes, or with an output shape", "attention over the samples")
        o.used |= {"attention_axes": None, "output_shape": None}
        self.heads, self.size, self.causal = heads, size, False
        self.weight, self.bias = nn.ParameterDict(), nn.ParameterDict()
        for name, width in (("query", size), ("key", size), ("value", wide)):
            (kernel,) = o.weights((None, heads, width))
            self.weight[name] = nn.Parameter(kernel.flatten(1).T.contiguous())
            if bias:
                self.bias[name] = nn.Parameter(o.weights((heads, width))[0].flatten())
        (kernel,) = o.weights((heads, wide, None))
        self.weight["output"] = nn.Parameter(kernel.flatten(0, 1).T.contiguous())
        if bias:
            self.bias["output"] = nn.Parameter(o.weights((kernel.shape[-1],))[0])

    def forward(self, query: Tensor, value: Tensor, key: Tensor | None = None) -> Tensor:
        q, k, v = self._split("query", query), self._split("key", value if key is None else key), self._split(
            "value", value)  # fmt: skip
        scores = (q / math.sqrt(self.size)) @ k.transpose(-1, -2)  # (lanes, heads, samples of q, samples of k)
        if self.causal:
            ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores = torch.where(ones, scores, torch.full_like(scores, -torch.inf))
        y = (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)
        return self._projected("output", y)

    def _projected(self, name: str, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight[name], self.bias[name] if name in self.bias else None)

    def _split(self, name: str, x: Tensor) -> Tensor:
        y = self._projected(name, x)
        return y.reshape(*y.shape[:-1], self.heads, y.shape[-1] // self.heads).transpose(1, 2)


LAYERS: dict[str, Maker] = {"MultiHeadAttention": Attention}
