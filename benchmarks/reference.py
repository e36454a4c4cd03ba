"""The workloads in plain NumPy and SciPy, slow and plain: what a tool's end values are compared with.

An outcome is a dict of arrays with lanes first; the reference covers the first `LANES` lanes of a case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.cases import CART, GRAVITY, KEPT, MU, Case
from benchmarks.data import Data

LANES = 8
Outcome = dict[str, np.ndarray]


def reference(case: Case, data: Data) -> Outcome | None:
    """What must come out of a case; None where there is nothing independent (W5)."""
    made: dict[str, Any] = {"cart_pole": cart_pole, "ball": ball, "van_der_pol": van_der_pol, "gradient": gradient}
    return made[case.model](case, data) if is_known(case) else None


def is_known(case: Case) -> bool:
    """Whether there is a reference; without one, the first tool of a case is what the others must agree with."""
    return case.model != "battery_soc"


def force(state: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """The network, (lanes,) of (4, lanes)."""
    hidden = np.tanh(np.tanh(state.T @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"])
    return 10.0 * np.tanh(hidden @ w["w3"] + w["b3"])[:, 0]


def motion(state: np.ndarray, u: np.ndarray, pole: np.ndarray, half: np.ndarray) -> np.ndarray:
    """The cart-pole's derivative, (4, lanes)."""
    _, v, theta, omega = state
    sin, cos, total = np.sin(theta), np.cos(theta), CART + pole
    push = (u + pole * half * omega**2 * sin) / total
    turn = (GRAVITY * sin - cos * push) / (half * (4.0 / 3.0 - pole * cos**2 / total))
    return np.stack([v, push - pole * half * turn * cos / total, omega, turn])


def log(case: Case, data: Data, weights: dict[str, np.ndarray]) -> np.ndarray:
    """States after every interval, (ticks, 4, lanes)."""
    pole, half, noise = data.lane("pole", case), data.lane("half", case), data.noise(case)
    s, h, kept = data.start(case), case.step, []
    for k in range(case.ticks):
        seen = s if noise is None else s + noise[k, :, : case.lanes]
        u = force(seen, weights)
        for _ in range(case.substeps):
            k1 = motion(s, u, pole, half)
            k2 = motion(s + h / 2 * k1, u, pole, half)
            k3 = motion(s + h / 2 * k2, u, pole, half)
            k4 = motion(s + h * k3, u, pole, half)
            s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        kept.append(s)
    return np.stack(kept)


def cart_pole(case: Case, data: Data) -> Outcome:
    """state (lanes, 4), largest (lanes,), and up to KEPT lanes the mean square of the states, square (lanes, 4)."""
    wide = data.noise(case)
    few = replace(case, lanes=min(case.lanes, LANES), dtype="float64")
    kept = log(few, data if wide is None else _First(data, wide), data.weights)
    return {name: array for name, array in summary(kept).items() if case.lanes <= KEPT or name != "square"}


def summary(kept: np.ndarray) -> Outcome:
    """What is compared of states at ticks, (ticks, 4, lanes)."""
    kept = np.asarray(kept, dtype=float)
    return {"state": kept[-1].T, "largest": np.abs(kept[:, 2]).max(axis=0), "square": (kept**2).mean(axis=0).T}


class _First(Data):
    """The same data with the noise of a case of more lanes."""

    def __init__(self, data: Data, noise: np.ndarray) -> None:
        super().__init__(data.folder)
        self.wide = noise

    def noise(self, case: Case) -> np.ndarray | None:
        return self.wide


def ball(case: Case, data: Data) -> Outcome:
    """state (lanes, 2) = (h, v) and bounces (lanes,), in closed form."""
    rows, counts = [], []
    for e in data.lane("restitution", case)[:LANES]:
        t, v, n = np.sqrt(2.0 / GRAVITY), np.sqrt(2.0 * GRAVITY), 0
        if t > case.until:
            rows.append((1.0 - GRAVITY * case.until**2 / 2, -GRAVITY * case.until))
            counts.append(0)
            continue
        while True:
            v, n = v * e, n + 1
            if t + 2 * v / GRAVITY > case.until:
                break
            t += 2 * v / GRAVITY
        left = case.until - t
        rows.append((v * left - GRAVITY * left**2 / 2, v - GRAVITY * left))
        counts.append(n)
    return {"state": np.array(rows), "bounces": np.array(counts, dtype=float)}


def van_der_pol(case: Case, data: Data) -> Outcome:
    """state (lanes, 2) = (x, v), by DOP853 with tolerances far below those of the case."""
    from scipy.integrate import solve_ivp

    rows = []
    for x0 in data.lane("x0", case)[:LANES]:
        found = solve_ivp(lambda t, y: (y[1], MU * (1 - y[0] ** 2) * y[1] - y[0]), (0, case.until), (x0, 0.0),
                          method="DOP853", rtol=1e-12, atol=1e-13)  # fmt: skip
        rows.append(found.y[:, -1])
    return {"state": np.array(rows)}


def directions() -> list[dict[str, np.ndarray]]:
    """Three directions in the space of weights, of length 1, along which gradients are compared."""
    rng = np.random.default_rng(31)
    shapes = {"w1": (4, 64), "b1": (64,), "w2": (64, 64), "b2": (64,), "w3": (64, 1), "b3": (1,)}
    made = []
    for _ in range(3):
        drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        size = np.sqrt(sum(float((a**2).sum()) for a in drawn.values()))
        made.append({name: a / size for name, a in drawn.items()})
    return made


def gradient(case: Case, data: Data) -> Outcome:
    """loss (1,) and along (3,): derivatives along `directions()` by central differences."""

    def loss(weights: dict[str, np.ndarray]) -> float:
        return float((log(case, data, weights) ** 2).mean())

    w, e = data.weights, 1e-5
    along = [
        (loss({n: w[n] + e * d[n] for n in w}) - loss({n: w[n] - e * d[n] for n in w})) / (2 * e) for d in directions()
    ]
    return {"loss": np.array([loss(w)]), "along": np.array(along)}


def disagreement(outcome: Outcome, wanted: Outcome) -> float:
    """The largest |difference| / (1 + |reference|) over all arrays; infinite for a NaN or a missing array."""
    worst = 0.0
    for name, array in wanted.items():
        found = np.asarray(outcome.get(name, ()), dtype=float)[: len(array)]
        if found.shape != array.shape or not np.isfinite(found).all():
            return float("inf")
        worst = max(worst, float((np.abs(found - array) / (1.0 + np.abs(array))).max()))
    return worst
