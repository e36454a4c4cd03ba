"""Drake with C++ primitives alone, MultilayerPerceptron, ZeroOrderHold, SymbolicVectorSystem; RK3, as it has no RK4."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydrake.math import cos, sin
from pydrake.symbolic import Variable
from pydrake.systems.analysis import ResetIntegratorFromFlags, Simulator
from pydrake.systems.framework import DiagramBuilder
from pydrake.systems.primitives import (
    Gain,
    LogVectorOutput,
    MultilayerPerceptron,
    PerceptronActivationType,
    SymbolicVectorSystem,
    ZeroOrderHold,
)

from benchmarks.cases import GRAVITY, STATE, TICK, Case
from benchmarks.data import Data
from benchmarks.reference import summary
from benchmarks.tools import Skip


def cart_pole(case: Case, data: Data) -> Any:
    """The hold after the network: before it, the network would run at every stage."""
    if case.workload not in ("W1", "W6"):
        raise Skip("one lane at a time")
    pole, half, w = float(data.lane("pole", case)[0]), float(data.lane("half", case)[0]), data.weights
    x, v, theta, omega, u = (Variable(name) for name in ("x", "v", "theta", "omega", "u"))
    s, c, total = sin(theta), cos(theta), 1.0 + pole
    push = (u + pole * half * omega * omega * s) / total
    turn = (GRAVITY * s - c * push) / (half * (4.0 / 3.0 - pole * c * c / total))
    builder = DiagramBuilder()
    plant = builder.AddSystem(SymbolicVectorSystem(
        state=[x, v, theta, omega], input=[u], dynamics=[v, push - pole * half * turn * c / total, omega, turn],
        output=[x, v, theta, omega],
    ))  # fmt: skip
    tanh = PerceptronActivationType.kTanh
    network = builder.AddSystem(MultilayerPerceptron([4, 64, 64, 1], [tanh, tanh, tanh]))
    gain, hold = builder.AddSystem(Gain(10.0, 1)), builder.AddSystem(ZeroOrderHold(TICK, 1))
    builder.Connect(plant.get_output_port(), network.get_input_port())
    builder.Connect(network.get_output_port(), gain.get_input_port())
    builder.Connect(gain.get_output_port(), hold.get_input_port())
    builder.Connect(hold.get_output_port(), plant.get_input_port())
    logger = LogVectorOutput(plant.get_output_port(), builder, publish_period=TICK)
    diagram = builder.Build()
    simulator = Simulator(diagram)
    ResetIntegratorFromFlags(simulator, "runge_kutta3", case.step)
    simulator.get_mutable_integrator().set_fixed_step_mode(True)
    context = simulator.get_mutable_context()
    inner = network.GetMyMutableContextFromRoot(context)
    for layer in range(3):
        network.SetWeights(inner, layer, w[f"w{layer + 1}"].T.copy())
        network.SetBiases(inner, layer, w[f"b{layer + 1}"])

    def run() -> Any:
        context.SetTime(0.0)
        context.SetContinuousState(np.array(STATE))
        logger.FindMutableLog(context).Clear()
        simulator.Initialize()
        simulator.AdvanceTo(case.until)
        return logger.FindLog(context).data().copy()

    def read(kept: Any) -> dict[str, np.ndarray]:
        final = context.get_continuous_state_vector().CopyToVector()
        kept = np.concatenate([kept[:, 1 : case.ticks], final[:, None]], axis=1)
        return summary(kept.T[:, :, None])

    return run, read
