"""The cost of a jittery loop against the covariance of its jump-linear system."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import expm

from simdl import Block, Diagram, Input, Noise, Output, Param, State, derivative, simulate, tick
from simdl.computer import Computer, Measured, Processor, Task

H, DELAYS, CHANCES = 0.1, (0.002, 0.03, 0.098), (0.5, 0.25, 0.25)
A = np.array([[0.0, 1.0], [2.0, -0.5]])
B = np.array([[0.0], [1.0]])
GAIN, SIGMA, LANES, STEPS = np.array([[9.0, 5.0]]), 0.4, 3000, 25


class Unstable(Block):
    """x' = A x + B u."""

    u = Input()
    a, b = State(1.0), State(0.0)

    @derivative(a, b)
    def motion(self, a, b, u):
        return b, 2.0 * a - 0.5 * b + u


class Feedback(Block):
    """u = -K x + sigma w."""

    a, b = Input(), Input()
    u = Output()
    sigma: Param = Param(SIGMA)
    w = Noise()

    @tick
    def step(self, a, b, w, sigma):
        return {"u": -9.0 * a - 5.0 * b + sigma * w}


class Loop(Diagram):
    a, b = Output(), Output()

    def __init__(self) -> None:
        self.plant = Unstable()
        self.control = Feedback(period="100 ms")
        self.control.a, self.control.b = self.plant.a, self.plant.b
        self.plant.u = self.control.u
        self.a, self.b = self.plant.a, self.plant.b


def held(t: float) -> tuple[np.ndarray, np.ndarray]:
    """exp(A t), and the effect of a constant input over t."""
    whole = expm(np.block([[A, B], [np.zeros((1, 3))]]) * t)
    return whole[:2, :2], whole[:2, 2:]


def moments() -> list[np.ndarray]:
    """E[x x'] at the samples of x (k+1) = Phi(h) x + Phi(h-d) Gamma(d) u(k-1) + Gamma(h-d) u(k), u = -K x + sigma w.

    z = (x, u before); the delay is drawn anew at each sample (Lincoln & Cervin, Jitterbug, 2002)."""
    second = np.zeros((3, 3))
    second[0, 0] = 1.0
    found = []
    for _ in range(STEPS):
        found.append(second[:2, :2])
        new = np.zeros((3, 3))
        for delay, chance in zip(DELAYS, CHANCES):
            before, after = held(delay)[1], held(H - delay)
            old = after[0] @ before
            step = np.block([[held(H)[0] - after[1] @ GAIN, old], [-GAIN, np.zeros((1, 1))]])
            push = SIGMA * np.vstack([after[1], [[1.0]]])
            new += chance * (step @ second @ step.T + push @ push.T)
        second = new
    return found


def test_second_moments_are_those_of_the_jump_linear_system() -> None:
    delays = Measured([d for d, p in zip(DELAYS, CHANCES) for _ in range(round(4 * p))])
    task = Task("control", Processor("cpu"), period="100 ms", execution=delays, runs=["control"])
    loop = Computer([task]).on(Loop(), horizon=H * STEPS)
    run = simulate(loop, until=H * (STEPS - 1), every=H, lanes=LANES, seed=11)
    x = torch.stack([run["a"].values, run["b"].values], 1).numpy()  # (lanes, 2, samples)
    for k, wanted in enumerate(moments()):
        products = np.einsum("lik,ljk->klij", x[:, :, k : k + 1], x[:, :, k : k + 1])[0]
        error = products.std(0) / LANES**0.5
        assert np.all(np.abs(products.mean(0) - wanted) < 4.5 * error + 1e-6), k
    assert np.trace(moments()[-1]) > 1.2 * np.trace(steady_without_jitter())


def steady_without_jitter() -> np.ndarray:
    """E[x x'] after the same time with the mean delay in every period: what ignoring the jitter would say."""
    delay = float(np.dot(DELAYS, CHANCES))
    second = np.zeros((3, 3))
    second[0, 0] = 1.0
    before, after = held(delay)[1], held(H - delay)
    step = np.block([[held(H)[0] - after[1] @ GAIN, after[0] @ before], [-GAIN, np.zeros((1, 1))]])
    push = SIGMA * np.vstack([after[1], [[1.0]]])
    for _ in range(STEPS - 1):
        second = step @ second @ step.T + push @ push.T
    return second[:2, :2]
