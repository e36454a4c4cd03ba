"""`repeat`: iteration inside a block."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from simdl import ModelError, repeat


def test_runs_the_body_n_times_with_the_turn() -> None:
    found = repeat(4, lambda x, k: 2 * x + k, torch.zeros(3))
    assert found.tolist() == [11.0, 11.0, 11.0]  # ((0*2+0)*2+1)*2+2)*2+3


def test_state_may_be_a_tuple() -> None:
    def fibonacci(state: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
        return state[1], state[0] + state[1]

    assert repeat(10, fibonacci, (torch.zeros(1), torch.ones(1)))[0].item() == 55


def test_no_turn_returns_the_state_itself() -> None:
    x = torch.ones(2)
    assert repeat(0, lambda x, k: x + 1, x) is x


def test_gradients_pass() -> None:
    x = torch.tensor([2.0], requires_grad=True)
    repeat(3, lambda y, k: y * y, x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and x.grad.item() == 8 * 2.0**7


@pytest.mark.parametrize("body", [
    lambda x, k: x[:1], lambda x, k: x.double(), lambda x, k: (x, x), lambda x, k: None,
])  # fmt: skip
def test_body_that_changes_the_form_of_its_state_is_refused(body: Any) -> None:
    with pytest.raises(ModelError, match=r"repeat: turn 0 made .* of float32 \(3,\)"):
        repeat(2, body, torch.ones(3))


@pytest.mark.parametrize("n", [-1, 1.0, True, torch.tensor(3)])
def test_number_of_turns_is_fixed_beforehand(n: Any) -> None:
    with pytest.raises(ModelError, match="a whole number of turns"):
        repeat(n, lambda x, k: x, torch.ones(1))
