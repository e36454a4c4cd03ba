"""The torch engine: the reference semantics, eager, all lanes at once, differentiable."""

from simdl.engine.simulator import Simulator as Simulator
