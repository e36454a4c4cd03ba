"""Initial values: `@initial` methods in the order of what they read, then the outputs that hold something at t = 0."""

from __future__ import annotations

import torch
from torch import Tensor

from simdl.compile.graph import raw
from simdl.compile.node import CONDITIONS, Node
from simdl.declarations import as_tensor
from simdl.engine.evaluate import Env, Evaluator
from simdl.engine.setup import Setup
from simdl.errors import LoopError


def initial_values(setup: Setup, evaluator: Evaluator, base: Env) -> dict[str, Tensor]:
    """Every state and held output before the first instant, by key, (lanes, *shape)."""
    return _Start(setup, evaluator, base).run()


class _Start:
    def __init__(self, setup: Setup, evaluator: Evaluator, base: Env) -> None:
        self.setup, self.model, self.evaluator = setup, setup.model, evaluator
        self.env: Env = dict(base)
        self.env["t"] = torch.zeros(setup.lanes, dtype=torch.float64, device=setup.device)
        for key, source in setup.inputs.items():
            self.env[key] = source.at(0)
        self.visiting: list[str] = []
        self.done: set[str] = set()

    def run(self) -> dict[str, Tensor]:
        model = self.model
        for key in (*model.continuous, *model.discrete, *model.modes, *model.held, *model.frozen):
            self.value(key)
        return {k: self.env[k] for k in (*model.continuous, *model.discrete, *model.modes, *model.held, *model.frozen)}

    def value(self, key: str) -> None:
        """Make sure that the environment has a value."""
        if key in self.env:
            return
        if key in self.visiting:
            hops = " -> ".join([*self.visiting[self.visiting.index(key) :], key])
            raise LoopError(key, f"an initial value that depends on itself: {hops}", "no such cycle")
        self.visiting.append(key)
        base = key.removesuffix("!")
        value = self.model.values.get(base)
        if value is not None and value.kind in ("continuous", "discrete", "mode"):
            self.state(base)
        else:
            node = next((n for n in self.model.graph.nodes if key in n.writes), None)
            held = value is not None and value.kind == "held"
            if node is None or (held and (value is None or value.initial is not None)):
                initial = value.initial if value is not None and value.initial is not None else 0.0
                self.env[key] = self.evaluator.fit(key, as_tensor(initial).unsqueeze(0))
            else:
                self.call(node)
        if value is not None and value.kind == "discrete":
            self.env[raw(base)] = self.env[base]
        self.visiting.pop()

    def state(self, key: str) -> None:
        value = self.model.values[key]
        node = self.model.graph.initials.get(value.block)
        if key in self.setup.initial:
            self.env[key] = self.setup.initial[key]
            return
        if node is not None and node.path not in self.done:
            found = self.call(node)
            self.done.add(node.path)
            for name, given in found.items():
                self.env[name] = self.setup.initial.get(name, given)
                self.env[raw(name)] = self.env[name]
        if key not in self.env:
            initial = value.initial if value.initial is not None else 0.0
            self.env[key] = self.evaluator.fit(key, as_tensor(initial).unsqueeze(0))

    def call(self, node: Node) -> dict[str, Tensor]:
        if node.kind in CONDITIONS or node.kind == "sample":
            self.env[node.path] = torch.zeros(self.setup.lanes, dtype=torch.bool, device=self.setup.device)
            return {}
        for key in node.keys:
            if key.startswith("dt:"):
                self.env.setdefault(
                    key, torch.zeros(self.setup.lanes, dtype=self.setup.dtype, device=self.setup.device)
                )
            else:
                self.value(key)
        found = self.evaluator.call(node, self.env)
        self.env.update(found)
        return found
