"""bdsim: an integrator, two functions and a clocked hold; between ticks SciPy's solver with the hold's value.

Its hold ticks first at one period, not at 0; the network's first output is given to it as its initial value.
"""

from __future__ import annotations

import math
from typing import Any

import bdsim
import numpy as np

from benchmarks.cases import GRAVITY, STATE, TICK, Case
from benchmarks.data import Data
from benchmarks.tools import Skip


def cart_pole(case: Case, data: Data) -> Any:
    """DOP853, tight enough to agree: bdsim has no fixed steps."""
    if case.workload not in ("W1", "W6"):
        raise Skip("one lane at a time")
    pole, half, w = float(data.lane("pole", case)[0]), float(data.lane("half", case)[0]), data.weights
    total = 1.0 + pole

    def motion(s: Any, u: Any) -> np.ndarray:
        _, v, theta, omega = np.asarray(s).tolist()
        sin, cos = math.sin(theta), math.cos(theta)
        push = (float(np.asarray(u).reshape(-1)[0]) + pole * half * omega * omega * sin) / total
        turn = (GRAVITY * sin - cos * push) / (half * (4.0 / 3.0 - pole * cos * cos / total))
        return np.array((v, push - pole * half * turn * cos / total, omega, turn))

    def force(s: Any) -> float:
        hidden = np.tanh(np.tanh(np.asarray(s) @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"])
        return 10.0 * math.tanh(float(hidden @ w["w3"][:, 0] + w["b3"][0]))

    simulator = bdsim.BDSim(graphics=False, animation=False, banner=False, progress=False, quiet=True)
    diagram = simulator.blockdiagram()
    clock = diagram.clock(TICK, "s")
    plant = diagram.INTEGRATOR(x0=np.array(STATE))
    slope = diagram.FUNCTION(motion, nin=2)
    network, hold = diagram.FUNCTION(force), diagram.ZOH(clock, x0=force(np.array(STATE)))
    diagram.connect(plant, slope[0], network)
    diagram.connect(network, hold)
    diagram.connect(hold, slope[1])
    diagram.connect(slope, plant)
    diagram.compile(verbose=False)

    def run() -> Any:
        return simulator.run(diagram, T=case.until, solver="DOP853", block=False,
                             solver_args={"rtol": 1e-9, "atol": 1e-11, "first_step": TICK / 2})  # fmt: skip

    def read(out: Any) -> dict[str, np.ndarray]:
        states, times = np.asarray(out.x), np.asarray(out.t)
        ticks = [int(np.abs(times - k * TICK).argmin()) for k in range(1, case.ticks + 1)]
        kept = states[ticks]
        return {
            "state": states[-1:],
            "largest": np.abs(kept[:, 2]).max(keepdims=True),
            "square": (kept**2).mean(axis=0, keepdims=True),
        }

    return run, read
