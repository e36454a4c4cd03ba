"""A state of a simulator to come back to."""

from __future__ import annotations

from typing import Any

from simdl.clock import seconds
from simdl.compile import Model
from simdl.engine.evaluate import Env
from simdl.engine.state import State


class Snapshot:
    """A state to come back to."""

    def __init__(
        self, model: Model, state: State, mark: tuple[dict[str, int], int], seen: Env, inputs: dict[str, Any]
    ) -> None:
        self.model, self.state, self.mark, self.seen, self.inputs = model, state, mark, seen, inputs

    def __repr__(self) -> str:
        return f"<Snapshot of {self.model.name} at t = {self.t:g} s>"

    @property
    def t(self) -> float:
        return seconds(max(0, self.state.ns))
