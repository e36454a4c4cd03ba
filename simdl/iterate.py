"""Iteration inside a block: one primitive, so that an engine can make a loop of it instead of unrolling it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from simdl.errors import ModelError
from simdl.tracing import tracer

State = TypeVar("State", bound=Tensor | tuple[Tensor, ...])


def repeat(n: int, body: Callable[[State, int], State], state: State) -> State:
    """The state after n times `state = body(state, k)`, k = 0 … n - 1.

    state: a tensor, or a tuple of tensors, (lanes, ...) each; `body` keeps their number, shapes and types. The number
    of turns is fixed: a lane that has converged goes on, selected by torch.where. Raises ModelError for a body that
    changes the form of its state.

    >>> import torch
    >>> repeat(5, lambda x, k: 0.5 * (x + 2.0 / x), torch.ones(1, dtype=torch.float64))  # Heron's square root of 2
    tensor([1.4142], dtype=torch.float64)
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ModelError("repeat", f"n={n!r}", "a whole number of turns, fixed when the model is built")
    at_work = tracer()
    if at_work is not None:
        return at_work.repeat(n, body, state)  # type: ignore[no-any-return]
    for k in range(n):
        following = body(state, k)
        if _form(following) != _form(state):
            raise ModelError("repeat", f"turn {k} made {_form(following)} of {_form(state)}",
                             "a body that returns the number, shapes and types of what it was given")  # fmt: skip
        state = following
    return state


def _form(state: Tensor | tuple[Tensor, ...]) -> str:
    if isinstance(state, Tensor):
        return f"{str(state.dtype).removeprefix('torch.')} {tuple(state.shape)}"
    if isinstance(state, tuple):
        return f"({', '.join(map(_form, state))})"
    return type(state).__name__
