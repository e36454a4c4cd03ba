"""SciPy's solve_ivp, one lane after the other; equations in plain Python, the network in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.integrate import DOP853, RK45, solve_ivp

from benchmarks.cases import ATOL, FIRST, GRAVITY, LONGEST, MU, RTOL, STATE, TICK, Case
from benchmarks.data import Data
from benchmarks.reference import summary
from benchmarks.tools import Skip


def cart_pole(case: Case, data: Data) -> Any:
    """DOP853 for each interval between ticks, tight enough to agree: SciPy has no fixed steps."""
    if case.workload not in ("W1", "W6"):
        raise Skip("one lane at a time")
    pole, half, w = float(data.lane("pole", case)[0]), float(data.lane("half", case)[0]), data.weights
    total, w1, w2, w3 = 1.0 + pole, w["w1"], w["w2"], w["w3"][:, 0]

    def motion(t: float, s: Any, u: float) -> tuple[float, float, float, float]:
        _, v, theta, omega = s.tolist()
        sin, cos = math.sin(theta), math.cos(theta)
        push = (u + pole * half * omega * omega * sin) / total
        turn = (GRAVITY * sin - cos * push) / (half * (4.0 / 3.0 - pole * cos * cos / total))
        return v, push - pole * half * turn * cos / total, omega, turn

    def run() -> np.ndarray:
        s, kept = np.array(STATE), np.empty((case.ticks, 4, 1))
        for k in range(case.ticks):
            z = np.tanh(np.tanh(s @ w1 + w["b1"]) @ w2 + w["b2"]) @ w3 + w["b3"][0]
            u = 10.0 * math.tanh(z)
            # The horizon of an interval by its stepper alone: solve_ivp itself would cost more than the steps.
            solver = DOP853(lambda t, y, u=u: motion(t, y, u), 0.0, s, TICK, rtol=1e-8, atol=1e-10, first_step=TICK)
            while solver.status == "running":
                solver.step()
            s = solver.y
            kept[k, :, 0] = s
        return kept

    return run, summary


def van_der_pol(case: Case, data: Data) -> Any:
    """RK45, which is Dormand-Prince."""
    x0 = data.lane("x0", case)

    def run() -> np.ndarray:
        rows = []
        for one in x0:
            solver = RK45(lambda t, y: (y[1], MU * (1 - y[0] * y[0]) * y[1] - y[0]), 0.0, (one, 0.0), case.until,
                          rtol=RTOL, atol=ATOL, first_step=FIRST)  # fmt: skip
            while solver.status == "running":
                solver.step()
            rows.append(solver.y)
        return np.array(rows)

    return run, lambda rows: {"state": rows}


def ball(case: Case, data: Data) -> Any:
    """RK45 with a terminal event, started again at each impact."""
    restitution = data.lane("restitution", case)

    def floor(t: float, y: Any) -> Any:
        return y[0]

    floor.terminal, floor.direction = True, -1.0  # type: ignore[attr-defined]

    def run() -> np.ndarray:
        rows = []
        for e in restitution:
            t, y, count = 0.0, np.array([1.0, 0.0]), 0
            while t < case.until:
                first = min(FIRST, case.until - t)
                found = solve_ivp(lambda t, y: (y[1], -GRAVITY), (t, case.until), y, rtol=RTOL, atol=ATOL,
                                  first_step=first, max_step=LONGEST, events=floor)  # fmt: skip
                t, y = float(found.t[-1]), found.y[:, -1]
                if found.status == 1:
                    y, count = np.array([0.0, -e * y[1]]), count + 1
            rows.append((*y, count))
        return np.array(rows)

    return run, lambda rows: {"state": rows[:, :2], "bounces": rows[:, 2]}
