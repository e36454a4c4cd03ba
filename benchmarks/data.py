"""Weights, parameters and noise, drawn once from seeded generators and saved, so that all tools share them.

Children read them with NumPy alone: nothing here may import simdl or torch.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CART, GRAVITY, STATE, Case

SEED, MOST = 2718, 100_000
SPREAD = (0.5, 0.5, 0.3, 0.8)  # of the states that the network is fitted on: m, m/s, rad, rad/s
SIGMA = (0.002, 0.005, 0.002, 0.005)
SHAPES = ((4, 64), (64, 64), (64, 1))


class Data:
    """What tools share, in a folder; written at first use.

    weights: w1 (4, 64), b1 (64,), w2 (64, 64), b2, w3 (64, 1), b3 (1,): a layer is h @ w + b.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """The network's arrays by name, float64."""
        path = self.folder / "weights.npz"
        if not path.exists():
            _save(path, **draw_weights())
        with np.load(path) as file:
            return {name: file[name] for name in file.files}

    @cached_property
    def lanes(self) -> dict[str, np.ndarray]:
        """Parameters of all lanes: pole, half, restitution, x0; lane 0 has the defaults."""
        path = self.folder / "lanes.npz"
        if not path.exists():
            rng = np.random.default_rng(SEED + 1)
            ranges = {"pole": (0.05, 0.2), "half": (0.3, 0.7), "restitution": (0.7, 0.9), "x0": (1.0, 3.0)}
            drawn = {name: rng.uniform(*ends, MOST) for name, ends in ranges.items()}
            for name, value in {"pole": 0.1, "half": 0.5, "restitution": 0.7, "x0": 2.0}.items():
                drawn[name][0] = value
            _save(path, **drawn)
        with np.load(path) as file:
            return {name: file[name] for name in file.files}

    def lane(self, name: str, case: Case) -> np.ndarray:
        """A parameter of the lanes of a case, (lanes,), in its type."""
        return np.ascontiguousarray(self.lanes[name][: case.lanes], dtype=case.dtype)

    def start(self, case: Case) -> np.ndarray:
        """States of the cart-pole at t = 0, (4, lanes)."""
        return np.repeat(np.array(STATE, dtype=case.dtype)[:, None], case.lanes, axis=1)

    def noise(self, case: Case) -> np.ndarray | None:
        """Noise on the measurements, (ticks, 4, lanes) in float32, or None where a case has none."""
        if not case.noise:
            return None
        path = self.folder / f"noise-{case.lanes}-{case.ticks}.npy"
        if not path.exists():
            rng = np.random.default_rng([SEED + 2, case.lanes, case.ticks])
            drawn = rng.standard_normal((case.ticks, 4, case.lanes), dtype=np.float32)
            drawn *= np.array(SIGMA, dtype=np.float32)[:, None]
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part.npy")
            np.save(part, drawn)
            part.replace(path)
        return np.load(path, mmap_mode="r")

    def prepare(self, case: Case) -> None:
        """Write everything that a case needs."""
        _ = self.weights, self.lanes
        self.noise(case)


def draw_weights() -> dict[str, np.ndarray]:
    """A network that balances the pole: two random layers, and a last one fitted to a linear regulator.

    With a loop that holds the pole up, differences between tools stay small instead of growing with chaos.
    """
    from scipy.linalg import solve_continuous_are

    rng = np.random.default_rng(SEED)
    pole, half = 0.1, 0.5
    total = CART + pole
    d = half * (4.0 / 3.0 - pole / total)
    a, b = np.zeros((4, 4)), np.zeros((4, 1))
    a[0, 1] = a[2, 3] = 1.0
    a[3, 2], b[3, 0] = GRAVITY / d, -1.0 / (total * d)
    a[1, 2], b[1, 0] = -pole * half * GRAVITY / (d * total), 1.0 / total + pole * half / (total**2 * d)
    gain = b.T @ solve_continuous_are(a, b, np.diag([1.0, 0.1, 10.0, 0.1]), np.eye(1))
    w: dict[str, Any] = {}
    w["w1"] = rng.normal(size=SHAPES[0]) * 0.7 / np.array(SPREAD)[:, None] / 2.0
    w["b1"] = rng.normal(size=64) * 0.3
    w["w2"] = rng.normal(size=SHAPES[1]) / 8.0
    w["b2"] = rng.normal(size=64) * 0.3
    states = rng.normal(size=(20_000, 4)) * np.array(SPREAD)
    hidden = np.tanh(np.tanh(states @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"])
    wanted = np.clip(-(states @ gain.T) / 10.0, -2.0, 2.0)
    x = np.hstack([hidden, np.ones((len(hidden), 1))])
    fitted = np.linalg.solve(x.T @ x + 1e-2 * np.eye(65), x.T @ wanted)
    return {**w, "w3": fitted[:64], "b3": fitted[64]}


def _save(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(path)
