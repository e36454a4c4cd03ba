"""The box-constrained quadratic program against SciPy's BVLS, and the model predictive controller made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from simdl import Diagram, LinearModel, ModelError, Output, box_qp, simulate
from simdl.blocks import LQR, MPC, StateSpace

MASS = LinearModel.of([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]])
Q, R = np.diag([4.0, 1.0]), np.array([[0.5]])


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    found, wanted = (torch.as_tensor(v, dtype=torch.float64) for v in (found, wanted))
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def problems(number: int, n: int, condition: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, np.ndarray]:
    """H, g, low, high of random problems, and the solutions that BVLS finds."""
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[], [], [], [], []]
    for _ in range(number):
        left, _, right = np.linalg.svd(rng.normal(size=(n + 3, n)), full_matrices=False)
        root = left * np.geomspace(1, condition**0.5, n) @ right
        target, centre, half = 3 * rng.normal(size=n + 3), 0.3 * rng.normal(size=n), rng.uniform(0.05, 0.6, size=n)
        bounds = (centre - half, centre + half)
        found = optimize.lsq_linear(root, target, bounds, method="bvls", tol=1e-14, max_iter=1000)
        for part, value in zip(parts, (root.T @ root, -root.T @ target, *bounds, found.x), strict=True):
            part.append(value)
    H, g, low, high, x = (np.stack(part) for part in parts)
    return *(torch.as_tensor(value) for value in (H, g, low, high)), x


@pytest.mark.parametrize(("n", "condition"), [(1, 1.0), (3, 1e3), (8, 1e6), (20, 1e6), (40, 1e4)])
def test_a_thousand_random_problems_against_bvls(n: int, condition: float) -> None:
    """Five sizes of 200 each."""
    H, g, low, high, wanted = problems(200, n, condition, seed=n)
    found = box_qp(H, g, low, high)
    assert bool(((found >= low) & (found <= high)).all())
    assert 0.05 < float(((found > low) & (found < high)).double().mean()) < 0.95  # neither all free nor none
    close(found, wanted, 1e-9)


def test_any_start_gives_the_same_solution() -> None:
    H, g, low, high, wanted = problems(50, 12, 1e3, seed=5)
    generator = torch.Generator().manual_seed(1)
    for scale in (0.1, 10.0):
        start = scale * torch.randn(g.shape, dtype=torch.float64, generator=generator)
        close(box_qp(H, g, low, high, start=start), wanted, 1e-9)
    settled = box_qp(H, g, low, high)
    close(box_qp(H, g, low, high, start=settled, iterations=0), wanted, 1e-9)


def test_without_bounds_it_is_a_linear_system() -> None:
    H, g, _, _, _ = problems(20, 6, 1e3, seed=6)
    far = torch.full_like(g, torch.inf)
    close(box_qp(H, g, -far, far, iterations=1), -torch.linalg.solve(H, g), 1e-10)


def test_bounds_that_meet_fix_an_element() -> None:
    H, g, low, high, _ = problems(20, 6, 1e2, seed=7)
    high = torch.cat([low[:, :2], high[:, 2:]], 1)
    found = box_qp(H, g, low, high)
    assert torch.equal(found[:, :2], low[:, :2])
    rest = g[:, 2:] + (H[:, 2:, :2] @ low[:, :2, None])[..., 0]
    close(found[:, 2:], box_qp(H[:, 2:, 2:], rest, low[:, 2:], high[:, 2:]), 1e-9)


def test_a_lane_alone_is_the_lane_in_a_batch() -> None:
    H, g, low, high, _ = problems(33, 15, 1e3, seed=8)
    k = slice(20, 21)
    assert torch.equal(box_qp(H[k], g[k], low[k], high[k])[0], box_qp(H, g, low, high)[20])


def test_gradient_against_finite_differences() -> None:
    """With respect to everything: H, g and both bounds."""
    given = [value[:4] for value in problems(4, 6, 50.0, seed=9)[:4]]
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(4, 6, dtype=torch.float64, generator=generator)
    leaves = [value.clone().requires_grad_() for value in given]
    found = torch.autograd.grad((weight * box_qp(*leaves)).sum(), leaves)
    for k, gradient in enumerate(found):
        direction = torch.randn(given[k].shape, dtype=torch.float64, generator=generator)
        direction = direction + direction.mT if k == 0 else direction
        ends = []
        for sign in (1, -1):
            moved = [value + sign * 1e-6 * direction if j == k else value for j, value in enumerate(given)]
            ends.append((weight * box_qp(*moved)).sum())
        close((gradient * direction).sum(), (ends[0] - ends[1]) / 2e-6, 1e-6)


class Loop(Diagram):
    """A mass moved by a force that a controller chooses."""

    x, u = Output(), Output()

    def __init__(self, controller: Any, start: list[float], r: Any = None, model: LinearModel = MASS) -> None:
        b = model.B[:, 0] if model.B.shape[1] == 1 else model.B
        self.plant = StateSpace(A=model.A, B=b, C=torch.eye(len(model.A)), start=start)
        self.controller = controller
        self.controller.x, self.plant.u = self.plant.y, self.controller.u
        if r is not None:
            self.controller.r = torch.tensor(r, dtype=torch.float64)
        self.x, self.u = self.plant.y, self.controller.u


class TestMPC:
    @pytest.mark.parametrize("horizon", [1, 5, 30])
    def test_without_limits_it_is_the_lqr(self, horizon: int) -> None:
        model = MASS.sampled("100 ms")
        found = simulate(Loop(MPC(model, Q, R, horizon=horizon), [1.0, -0.3]), 5)
        wanted = simulate(Loop(LQR(model, Q, R), [1.0, -0.3]), 5)
        close(found["u"].values, wanted["u"].values, 1e-9)

    def test_each_plan_is_that_of_bvls(self) -> None:
        model, N = MASS.sampled("200 ms"), 25
        mpc = MPC(model, Q, R, horizon=N, low=-0.4, high=0.7)
        starts = torch.tensor([[4.0, 0.0], [-2.0, 1.5], [0.3, -2.0], [0.1, 0.0]], dtype=torch.float64)
        loop = Loop(mpc, [0.0, 0.0])
        run = simulate(loop, 10, set={loop.plant.start: starts}, record=[loop.x, loop.u])
        root = np.linalg.cholesky(mpc.settings["hessian"].numpy()).T
        checked = 0
        for lane in range(4):
            for k in (0, 3, 10, 25):
                g = mpc.settings["slope"].numpy() @ run["x"].values[lane, k].numpy()
                plan = optimize.lsq_linear(root, -np.linalg.solve(root.T, g), (-0.4, 0.7), method="bvls", tol=1e-14)
                close(run["u"].values[lane, k], plan.x[0], 1e-6)
                checked += bool(np.any(plan.active_mask))
        assert checked > 6

    def test_plan_is_the_least_cost_of_a_simulation(self) -> None:
        """A search over the plan itself, each cost summed along the model's own steps."""
        model, N, x0 = MASS.sampled("500 ms"), 4, np.array([2.0, 0.0])
        mpc = MPC(model, Q, R, P=Q, horizon=N, low=-1.0, high=1.0)
        a, b = model.A.numpy(), model.B.numpy()[:, 0]

        def cost(plan: np.ndarray) -> float:
            x, total = x0, 0.0
            for u in plan:
                total += R[0, 0] * u * u
                x = a @ x + b * u
                total += (x - [1.0, 0.0]) @ Q @ (x - [1.0, 0.0])
            return total

        best = optimize.minimize(cost, np.zeros(N), bounds=[(-1, 1)] * N, tol=1e-12)
        run = simulate(Loop(mpc, x0.tolist(), r=[1.0, 0.0]), 0)
        close(run.final["controller.plan"][0], best.x, 1e-4)

    def test_two_inputs_with_limits_of_their_own(self) -> None:
        model = LinearModel.of([[0.0, 1.0], [-1.0, -0.2]], [[1.0, 0.0], [0.0, 1.0]])
        limits = torch.tensor([[-0.2, -1.0], [0.3, 0.5]], dtype=torch.float64)
        mpc = MPC(model.sampled("100 ms"), np.eye(2), 0.1 * np.eye(2), horizon=15, low=limits[0], high=limits[1])
        run = simulate(Loop(mpc, [3.0, -2.0], model=model), 10)
        u = run["u"].values[0]
        close(u.amin(0)[0], -0.2)
        close(u.amax(0)[1], 0.5)
        assert bool((u <= limits[1]).all() & (u >= limits[0]).all())
        close(run["x"].at(10), [[0.0, 0.0]], 1e-2)

    def test_reaches_its_setpoint_within_the_limits_in_every_lane(self) -> None:
        loop = Loop(MPC(MASS.sampled("200 ms"), Q, R, horizon=30, low=-1.0, high=1.0), [0.0, 0.0], r=[1.0, 0.0])
        generator = torch.Generator().manual_seed(3)
        starts = torch.randn(64, 2, dtype=torch.float64, generator=generator)
        run = simulate(loop, 15, set={loop.plant.start: starts})
        assert float(run["u"].values.abs().max()) <= 1.0
        close(run["x"].at(15), torch.tensor([1.0, 0.0]).double().expand(64, 2), 1e-3)
        assert float(run["controller.error"].values.max()) < 1e-12

    def test_error_tells_that_the_turns_were_too_few(self) -> None:
        loop = Loop(MPC(MASS.sampled("100 ms"), Q, R, horizon=30, iterations=0, low=-1.0, high=1.0), [3.0, 0.0])
        assert float(simulate(loop, 0)["controller.error"].at(0)) > 0.1

    def test_gradient_through_the_loop_against_finite_differences(self) -> None:
        loop = Loop(MPC(MASS.sampled("200 ms"), Q, R, horizon=10, low=-0.5, high=0.5), [0.0, 0.0])

        def loss(start: Tensor, grad: bool = False) -> Tensor:
            return (simulate(loop, 3, set={loop.plant.start: start}, grad=grad)["x"].values ** 2).sum()

        start = torch.tensor([[1.5, 0.2]], dtype=torch.float64, requires_grad=True)
        found = torch.autograd.grad(loss(start, True), start)[0]
        for k in range(2):
            step = 1e-6 * torch.eye(2, dtype=torch.float64)[k : k + 1]
            with torch.no_grad():
                close(found[0, k], (loss(start + step) - loss(start - step)) / 2e-6, 1e-5)

    def test_a_model_in_continuous_time_is_refused(self) -> None:
        with pytest.raises(ModelError, match="sampled time"):
            MPC(MASS, Q, R)
