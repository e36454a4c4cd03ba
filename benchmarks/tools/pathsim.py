"""PathSim: an ODE block, a function and a sample-and-hold, RK4 of 1 ms; equations in NumPy and plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pathsim import Connection, Simulation
from pathsim.blocks import ODE, Function, SampleHold, Scope
from pathsim.solvers import RK4

from benchmarks.cases import GRAVITY, STATE, TICK, Case
from benchmarks.data import Data
from benchmarks.reference import summary
from benchmarks.tools import Skip


def cart_pole(case: Case, data: Data) -> Any:
    """The hold after the network: before it, the network would run at every stage."""
    if case.workload not in ("W1", "W6"):
        raise Skip("one lane at a time")
    pole, half, w = float(data.lane("pole", case)[0]), float(data.lane("half", case)[0]), data.weights
    total = 1.0 + pole

    def motion(s: Any, u: Any, t: float) -> np.ndarray:
        _, v, theta, omega = s.tolist()
        sin, cos = math.sin(theta), math.cos(theta)
        push = (float(u[0]) + pole * half * omega * omega * sin) / total
        turn = (GRAVITY * sin - cos * push) / (half * (4.0 / 3.0 - pole * cos * cos / total))
        return np.array((v, push - pole * half * turn * cos / total, omega, turn))

    def force(*s: float) -> float:
        hidden = np.tanh(np.tanh(np.array(s) @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"])
        return 10.0 * math.tanh(float(hidden @ w["w3"][:, 0] + w["b3"][0]))

    plant, network, hold = ODE(motion, np.array(STATE)), Function(force), SampleHold(T=TICK)
    log = Scope(sampling_period=TICK)
    wires = [Connection(plant[i], network[i], log[i]) for i in range(4)]
    loop = Simulation([plant, network, hold, log], [*wires, Connection(network, hold), Connection(hold, plant)],
                      dt=case.step, Solver=RK4, log=False)  # fmt: skip

    def run() -> Any:
        loop.reset()
        loop.run(case.until, adaptive=False)
        return plant.state.copy(), log.read()

    def read(result: Any) -> dict[str, np.ndarray]:
        final, (times, values) = result
        at = np.round(np.asarray(times) / TICK).astype(int)
        kept = np.empty((case.ticks, 4, 1))
        for k, row in zip(at, np.asarray(values).T):
            if 1 <= k <= case.ticks:
                kept[k - 1, :, 0] = row
        kept[-1, :, 0] = final
        return summary(kept)

    return run, read
