"""Observers and filters against filterpy, python-control, closed forms and what theory promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import control
import numpy as np
import pytest
import torch
from filterpy import kalman as filterpy_kalman
from scipy import signal
from torch import Tensor

from simdl import (
    Block,
    Diagram,
    LinearModel,
    ModelError,
    Output,
    Param,
    State,
    Tsit5,
    jacobian,
    simulate,
    tick,
)
from simdl.blocks import (
    AttitudeFilter,
    ComplementaryFilter,
    ExtendedKalmanFilter,
    KalmanFilter,
    Observer,
    SampledObserver,
    StateSpace,
    SteadyKalmanFilter,
    UnscentedKalmanFilter,
)

FINE = Tsit5(rtol=1e-11, atol=1e-13)
TICKS = 40
A = np.array([[1.0, 0.1, 0.005], [0.0, 1.0, 0.1], [0.0, 0.0, 0.95]])
B = np.array([[0.0], [0.1], [0.5]])
C = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.3]])
Q, R = np.diag([1e-4, 1e-3, 1e-2]), np.array([[0.04, 0.01], [0.01, 0.09]])
START, DOUBT = np.array([0.5, -0.2, 0.1]), np.diag([1.0, 0.5, 0.2])


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    found, wanted = (torch.as_tensor(v, dtype=torch.float64) for v in (found, wanted))
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


class Rows(Block):
    """The rows of a table, one a tick: table (ticks, width)."""

    table: Param = Param()
    k = State(0, dtype="int64")
    y = Output()

    @tick
    def read(self, table, k):  # type: ignore[no-untyped-def]
        row = k[:, None, None].expand(-1, 1, table.shape[2])
        return dict(y=table.gather(1, row).squeeze(1), k=k + 1)


class Filtered(Diagram):
    """A filter fed with tables of measurements, controls and (with `valid`) of gaps."""

    x, P = Output(), Output()

    def __init__(self, block: Any, y: Any, u: Any = None, valid: Any = None, many: bool = False) -> None:
        self.filter = block
        self.y = Rows(table=y, period=0.1)
        self.filter.y = self.y.y
        if u is not None:
            self.u = Rows(table=u, period=0.1)
            self.filter.u = [self.u.y] if many else self.u.y
        elif many:
            self.filter.u = [0.0]
        if valid is not None:
            self.valid = Rows(table=valid, period=0.1)
            self.filter.valid = self.valid.y[0] > 0.5
        self.x, self.P = self.filter.x, self.filter.P

    def run(self) -> tuple[Tensor, Tensor]:
        run = simulate(self, 0.1 * (len(self.y.settings["table"]) - 1), record=[self.x, self.P])
        return run["x"].values[0], run["P"].values[0]


def draw(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States, measurements and controls of the linear system."""
    rng = np.random.default_rng(seed)
    x, states, seen, controls = rng.multivariate_normal(START, DOUBT), [], [], rng.normal(size=(TICKS, 1))
    for u in controls:
        states.append(x)
        seen.append(C @ x + rng.multivariate_normal([0, 0], R))
        x = A @ x + B @ u + rng.multivariate_normal([0, 0, 0], Q)
    return np.array(states), np.array(seen), controls


def tensors(**arrays: Any) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value) for name, value in arrays.items()}


class TestObserver:
    def test_error_decays_with_the_placed_poles(self) -> None:
        a, c = np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([[1.0, 0.0]])
        gain = signal.place_poles(a.T, c.T, [-3.0, -4.0]).gain_matrix.T

        class Watched(Diagram):
            x, estimate = Output(), Output()

            def __init__(self) -> None:
                settings = tensors(A=a, B=np.array([0.0, 1.0]))
                self.plant = StateSpace(**settings, C=torch.eye(2), start=[1.0, -0.5])
                self.observer = Observer(**settings, C=[1.0, 0.0], L=torch.as_tensor(gain[:, 0]), start=[0.0, 0.0])
                self.plant.u, self.observer.u, self.observer.y = 0.3, 0.3, self.plant.y[0]
                self.x, self.estimate = self.plant.y, self.observer.x

        run = simulate(Watched(), 2, every=0.1, solver=FINE)
        error, first = (run["x"].values - run["estimate"].values)[0], np.array([1.0, -0.5])
        values, vectors = np.linalg.eig(a - gain @ c)
        shares = np.linalg.solve(vectors, first)
        wanted = np.stack([(vectors * np.exp(values * t)) @ shares for t in run["x"].t.tolist()]).real
        close(error, wanted, 1e-8)

    def test_dead_beat_observer_knows_all_after_n_ticks(self) -> None:
        a, c = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[1.0, 0.0]])
        gain = np.array([2.0, 10.0])  # A - L C has both poles at 0
        assert np.allclose(np.linalg.matrix_power(a - gain[:, None] * c, 2), 0)
        y = torch.tensor([[3.0 - 0.2 * k] for k in range(6)], dtype=torch.float64)

        class Watched(Diagram):
            x = Output()

            def __init__(self) -> None:
                self.y = Rows(table=y, period=0.1)
                self.observer = SampledObserver(
                    **tensors(A=a, B=np.zeros(2), C=c[0], L=gain, M=np.array([1.0, 10.0])), start=[9.0, 9.0], period=0.1
                )
                self.observer.y = self.y.y[0]
                self.x = self.observer.estimate

        x = simulate(Watched(), 0.5)["x"].values[0]
        close(x[2:], [[3.0 - 0.2 * k, -2.0] for k in range(2, 6)])


class TestKalman:
    def test_against_filterpy(self) -> None:
        _, seen, controls = draw()
        reference = filterpy_kalman.KalmanFilter(dim_x=3, dim_z=2, dim_u=1)
        reference.F, reference.B, reference.H, reference.Q, reference.R = A, B, C, Q, R
        reference.x, reference.P = START[:, None].copy(), DOUBT.copy()
        xs, ps = [], []
        for z, u in zip(seen, controls, strict=True):
            reference.update(z)
            xs.append(reference.x[:, 0].copy())
            ps.append(reference.P.copy())
            reference.predict(u=u[:, None])
        block = KalmanFilter(**tensors(A=A, B=B, C=C, Q=Q, R=R, start=START, doubt=DOUBT), period=0.1)
        x, P = Filtered(block, torch.as_tensor(seen), torch.as_tensor(controls)).run()
        close(x, np.array(xs))
        close(P, np.array(ps))

    def test_is_the_weighted_least_squares_of_all_measurements(self) -> None:
        """Without process noise the last estimate solves one linear regression for x(0)."""
        _, seen, _ = draw(2)
        block = KalmanFilter(**tensors(A=A, C=C, Q=0 * Q, R=R, start=START, doubt=DOUBT), period=0.1)
        x, _ = Filtered(block, torch.as_tensor(seen)).run()
        information, right, power = np.linalg.inv(DOUBT), np.linalg.solve(DOUBT, START), np.eye(3)
        for z in seen:
            row = C @ power
            information = information + row.T @ np.linalg.solve(R, row)
            right = right + row.T @ np.linalg.solve(R, z)
            power = A @ power
        close(x[-1], np.linalg.matrix_power(A, TICKS - 1) @ np.linalg.solve(information, right), 1e-10)

    def test_gaps_predict_alone(self) -> None:
        _, seen, _ = draw()
        valid = np.ones((TICKS, 1))
        valid[10:] = 0.0
        block = KalmanFilter(**tensors(A=A, C=C, Q=Q, R=R, start=START, doubt=DOUBT), period=0.1)
        x, P = Filtered(block, torch.as_tensor(seen), valid=torch.as_tensor(valid)).run()
        close(x[-1], np.linalg.matrix_power(A, TICKS - 10) @ x[9].numpy(), 1e-11)
        wanted = P[9].numpy()
        for _ in range(TICKS - 10):
            wanted = A @ wanted @ A.T + Q
        close(P[-1], wanted, 1e-11)

    def test_errors_are_as_large_as_it_says(self) -> None:
        """e' P^-1 e has the mean n over many runs (NEES)."""
        runs = [draw(seed) for seed in range(300)]
        block = KalmanFilter(**tensors(A=A, B=B, C=C, Q=Q, R=R, start=START, doubt=DOUBT), period=0.1)
        model = Filtered(block, torch.zeros(TICKS, 2, dtype=torch.float64), torch.zeros(TICKS, 1, dtype=torch.float64))
        tables = {
            model.y.table: torch.as_tensor(np.stack([run[1] for run in runs])),
            model.u.table: torch.as_tensor(np.stack([run[2] for run in runs])),
        }
        run = simulate(model, 0.1 * (TICKS - 1), set=tables, record=[model.x, model.P])
        error = run["x"].values - torch.as_tensor(np.stack([run[0] for run in runs]))
        nees = (error * torch.linalg.solve(run["P"].values, error)).sum(-1).mean()
        assert float(nees) == pytest.approx(3.0, abs=0.15)

    def test_a_lane_alone_is_the_lane_in_a_batch(self) -> None:
        block = KalmanFilter(**tensors(A=A, C=C, Q=Q, R=R, start=START, doubt=DOUBT), period=0.1)
        model = Filtered(block, torch.as_tensor(draw()[1]))
        tables = torch.as_tensor(np.stack([draw(seed)[1] for seed in range(33)]))

        def final(tables: Tensor) -> Tensor:
            return simulate(model, 3, set={model.y.table: tables})["x"].at(3)

        assert torch.equal(final(tables[20:21])[0], final(tables)[20])

    def test_settles_to_the_steady_filter_of_python_control(self) -> None:
        _, seen, controls = draw()
        model = LinearModel.of(A, B, C, period=0.1)
        gain, P, _ = control.dlqe(A, np.eye(3), C, Q, R)
        steady = SteadyKalmanFilter(model, Q, R, start=torch.as_tensor(START))
        close(steady.settings["L"], gain, 1e-9)
        settled = KalmanFilter(**tensors(A=A, B=B, C=C, Q=Q, R=R, start=START, doubt=P), period=0.1)
        x, _ = Filtered(settled, torch.as_tensor(seen), torch.as_tensor(controls)).run()

        class Watched(Diagram):
            x = Output()

            def __init__(self) -> None:
                self.y, self.u = (Rows(table=torch.as_tensor(table), period=0.1) for table in (seen, controls))
                self.filter = steady
                self.filter.y, self.filter.u = self.y.y, self.u.y[0]
                self.x = self.filter.estimate

        close(simulate(Watched(), 0.1 * (TICKS - 1))["x"].values[0], x, 1e-9)

    def test_steady_filter_of_a_model_in_continuous_time_is_refused(self) -> None:
        with pytest.raises(ModelError, match="sampled time"):
            SteadyKalmanFilter(LinearModel.of(A, B, C), Q, R)


def swing(x: Tensor, u: Tensor) -> Tensor:
    """A pendulum, one step of 0.1 s by the midpoint rule."""

    def flow(x: Tensor) -> Tensor:
        return torch.stack([x[:, 1], u[:, 0] - 0.2 * x[:, 1] - 9.81 * torch.sin(x[:, 0])], 1)

    return x + 0.1 * flow(x + 0.05 * flow(x))


def sight(x: Tensor, u: Tensor) -> Tensor:
    """What is seen from beside: the bob's two coordinates."""
    return torch.stack([torch.sin(x[:, 0]), 1 - torch.cos(x[:, 0])], 1)


def at(function: Callable[..., Tensor], *values: Any) -> np.ndarray:
    """A function of one lane, in NumPy."""
    return function(*(torch.as_tensor(np.atleast_1d(v), dtype=torch.float64)[None] for v in values))[0].numpy()


PENDULUM = dict(Q=np.diag([1e-5, 1e-3]), R=np.diag([0.01, 0.02]), start=np.array([0.3, 0.0]), doubt=np.diag([0.3, 0.4]))


def watched_pendulum(seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, states, seen, pushes = np.array([0.8, 0.5]), [], [], rng.normal(size=(TICKS, 1))
    for u in pushes:
        states.append(x)
        seen.append(at(sight, x, u) + rng.multivariate_normal([0, 0], PENDULUM["R"]))
        x = at(swing, x, u) + rng.multivariate_normal([0, 0], PENDULUM["Q"])
    return np.array(states), np.array(seen), pushes


class TestNonlinear:
    def test_jacobian_of_a_formula(self) -> None:
        x = torch.randn(5, 2, dtype=torch.float64)
        _, found = jacobian(lambda x: torch.stack([x[:, 0] * torch.sin(x[:, 1]), x[:, 1] ** 3, x[:, 0]], 1), x)
        a, b = x.unbind(1)
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        rows = [torch.stack(row, 1) for row in
                ((torch.sin(b), a * torch.cos(b)), (zero, 3 * b**2), (one, zero))]  # fmt: skip
        close(found, torch.stack(rows, 1), 1e-14)

    def test_extended_filter_against_filterpy_with_derivatives_by_hand(self) -> None:
        _, seen, pushes = watched_pendulum()
        reference = filterpy_kalman.ExtendedKalmanFilter(dim_x=2, dim_z=2)
        reference.Q, reference.R, reference.P = PENDULUM["Q"], PENDULUM["R"], PENDULUM["doubt"].copy()
        reference.x = PENDULUM["start"].copy()
        xs, ps = [], []
        for z, u in zip(seen, pushes, strict=True):
            reference.update(z, lambda x: np.array([[math.cos(x[0]), 0.0], [math.sin(x[0]), 0.0]]),
                             lambda x: np.array([math.sin(x[0]), 1 - math.cos(x[0])]))  # fmt: skip
            xs.append(reference.x.copy())
            ps.append(reference.P.copy())
            angle, speed = reference.x

            def slope(angle: float) -> np.ndarray:
                return np.array([[0.0, 1.0], [-9.81 * math.cos(angle), -0.2]])

            half = slope(angle + 0.05 * speed) @ (np.eye(2) + 0.05 * slope(angle))
            reference.F = np.eye(2) + 0.1 * half
            reference.x = at(swing, reference.x, u)
            reference.P = reference.F @ reference.P @ reference.F.T + reference.Q
        block = ExtendedKalmanFilter(swing, sight, **tensors(**PENDULUM), period=0.1)
        x, P = Filtered(block, torch.as_tensor(seen), torch.as_tensor(pushes), many=True).run()
        close(x, np.array(xs), 1e-11)
        close(P, np.array(ps), 1e-11)

    @pytest.mark.parametrize(("alpha", "beta", "kappa"), [(1.0, 2.0, 0.0), (0.5, 2.0, 1.0), (1.0, 0.0, 1.0)])
    def test_unscented_filter_against_filterpy(self, alpha: float, beta: float, kappa: float) -> None:
        _, seen, pushes = watched_pendulum()
        points = filterpy_kalman.MerweScaledSigmaPoints(2, alpha, beta, kappa)
        reference = filterpy_kalman.UnscentedKalmanFilter(
            2, 2, 0.1, hx=lambda x, u: at(sight, x, u), fx=lambda x, dt, u: at(swing, x, u), points=points
        )
        reference.Q, reference.R, reference.P = PENDULUM["Q"], PENDULUM["R"], PENDULUM["doubt"].copy()
        reference.x = PENDULUM["start"].copy()
        xs, ps = [], []
        for z, u in zip(seen, pushes, strict=True):
            reference.sigmas_f = points.sigma_points(reference.x, reference.P)
            reference.update(z, u=u)
            xs.append(reference.x.copy())
            ps.append(reference.P.copy())
            reference.predict(u=u)
        block = UnscentedKalmanFilter(
            swing, sight, **tensors(**PENDULUM), alpha=alpha, beta=beta, kappa=kappa, period=0.1
        )
        x, P = Filtered(block, torch.as_tensor(seen), torch.as_tensor(pushes), many=True).run()
        close(x, np.array(xs), 1e-9)
        close(P, np.array(ps), 1e-9)

    @pytest.mark.parametrize("kind", [ExtendedKalmanFilter, UnscentedKalmanFilter])
    def test_of_a_linear_system_it_is_the_kalman_filter(self, kind: Any) -> None:
        _, seen, controls = draw()
        a, b, c = (torch.as_tensor(matrix) for matrix in (A, B, C))
        block = kind(lambda x, u: x @ a.mT + u @ b.mT, lambda x, u: x @ c.mT, period=0.1,
                     **tensors(Q=Q, R=R, start=START, doubt=DOUBT))  # fmt: skip
        linear = KalmanFilter(**tensors(A=A, B=B, C=C, Q=Q, R=R, start=START, doubt=DOUBT), period=0.1)
        found = Filtered(block, torch.as_tensor(seen), torch.as_tensor(controls), many=True).run()
        wanted = Filtered(linear, torch.as_tensor(seen), torch.as_tensor(controls)).run()
        close(found[0], wanted[0], 1e-10)
        close(found[1], wanted[1], 1e-10)

    @pytest.mark.parametrize("kind", [ExtendedKalmanFilter, UnscentedKalmanFilter])
    def test_gradient_with_respect_to_its_tuning_against_finite_differences(self, kind: Any) -> None:
        states, seen, pushes = watched_pendulum()
        block = kind(swing, sight, **tensors(**PENDULUM), period=0.1)
        model = Filtered(block, torch.as_tensor(seen), torch.as_tensor(pushes), many=True)

        def loss(noise: Tensor, grad: bool = False) -> Tensor:
            settings = {block.R: noise[:, None, None] * torch.eye(2, dtype=torch.float64)}
            x = simulate(model, 2.0, set=settings, grad=grad)["x"].values
            return ((x - torch.as_tensor(states[: x.shape[1]])) ** 2).sum()

        noise = torch.tensor([0.013], dtype=torch.float64, requires_grad=True)
        found = torch.autograd.grad(loss(noise, grad=True), noise)[0]
        with torch.no_grad():
            difference = (loss(noise + 1e-6) - loss(noise - 1e-6)) / 2e-6
        assert abs(float(difference)) > 1e-3
        close(found, difference[None], 1e-6)

    def test_estimates_a_parameter_with_the_state(self) -> None:
        """x' = -p x sampled at 0.1 s: p = 0.7 from noiseless x, both filters."""

        def decay(x: Tensor, u: Tensor) -> Tensor:
            return torch.stack([x[:, 0] * torch.exp(-0.1 * x[:, 1]), x[:, 1]], 1)

        table = torch.exp(-0.07 * torch.arange(60, dtype=torch.float64))[:, None]
        for kind in (ExtendedKalmanFilter, UnscentedKalmanFilter):
            block = kind(decay, lambda x, u: x[:, :1], Q=[[1e-10, 0.0], [0.0, 1e-10]], R=[[1e-6]], start=[1.0, 0.2],
                         doubt=[[0.1, 0.0], [0.0, 1.0]], period=0.1)  # fmt: skip
            x, _ = Filtered(block, table, many=True).run()
            close(x[-1, 1], 0.7, 1e-3)

    def test_serves_as_the_battery_s_filter(self) -> None:
        """The scenario's own extended Kalman filter, with derivatives by hand, and this one with its equations.

        They differ in one thing: the scenario's takes the resistance in h at the charge before the prediction.
        """
        from simdl.scenarios.battery_soc import cell, ocv
        from simdl.scenarios.battery_soc.estimators import FRESH, JOINT, LOOP, Filter

        def ahead(x: Tensor, current: Tensor, temperature: Tensor) -> Tensor:
            soc, v1, v2, theta, h = x.unbind(1)
            _, r1, r2 = cell.resistances(soc, temperature)
            flown = current / (3600 * cell.usable(torch.full_like(soc, FRESH), temperature))
            a1 = torch.exp(-1 / (r1.detach() * theta * cell.TRANSFER_CAPACITANCE))
            a2 = torch.exp(-1 / (r2.detach() * theta * cell.DIFFUSION_CAPACITANCE))
            h = h - cell.HYSTERESIS_RATE * (flown.abs() * h.detach() + flown)
            v1 = a1 * v1 + r1.detach() * theta * (1 - a1) * current
            v2 = a2 * v2 + r2.detach() * theta * (1 - a2) * current
            return torch.stack([soc - flown, v1, v2, theta, h], 1)

        def voltage(x: Tensor, current: Tensor, temperature: Tensor) -> Tensor:
            soc, v1, v2, theta, h = x.unbind(1)
            r0, _, _ = cell.resistances(soc.detach(), temperature)
            window = ocv.X_EMPTY, ocv.X_FULL - ocv.X_EMPTY, ocv.Y_EMPTY, ocv.Y_EMPTY - ocv.Y_FULL
            return (ocv.ocv(soc, *window) + LOOP * h - v1 - v2 - theta * r0 * current)[:, None]

        def noise(x: Tensor, current: Tensor, temperature: Tensor) -> Tensor:
            return (JOINT["volt_noise"] ** 2 + (JOINT["current_noise"] * current) ** 2)[:, None, None]

        def keep(x: Tensor) -> Tensor:
            soc, v1, v2, theta, h = x.unbind(1)
            return torch.stack([soc.clamp(-0.02, 1.02), v1, v2, theta.clamp(0.4, 4.0), h], 1)

        rng = np.random.default_rng(6)
        current = torch.as_tensor(3 * rng.normal(size=(300, 1)) + 1.0)
        measured = torch.as_tensor(3.7 + 0.05 * rng.normal(size=(300, 1)))

        class Both(Diagram):
            one, other = Output(), Output()

            def __init__(self) -> None:
                self.i, self.v = Rows(table=current, period=1), Rows(table=measured, period=1)
                self.own = Filter(**JOINT)
                self.own.voltage, self.own.current = self.v.y[0], self.i.y[0]
                self.own.temperature, self.own.guess = 25.0, 0.6
                walks = np.array([JOINT["soc_walk"], *[JOINT["voltage_walk"]] * 2, JOINT["scale_walk"], 0.0])
                relaxed = JOINT["relaxation_deviation"]
                doubts = np.array([JOINT["guess_deviation"], 0.3 * relaxed, relaxed, JOINT["scale_deviation"], 0.0])
                self.ekf = ExtendedKalmanFilter(
                    ahead, voltage, keep, R=noise, Q=np.diag(walks**2), start=[0.0, 0.0, 0.0, 1.0, 0.0],
                    doubt=np.diag(doubts**2), period=1,
                )  # fmt: skip
                self.ekf.guess = torch.tensor([0.6, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
                self.ekf.y, self.ekf.u = self.v.y, [self.i.y[0], 25.0]
                self.one, self.other = self.own.soc, self.ekf.x

        run = simulate(Both(), 299, engine="torch")
        assert float(run["one"].values.std()) > 1e-3
        close(run["other"].values[0, :, 0], run["one"].values[0], 1e-6)

    def test_an_estimate_is_kept_where_states_can_be(self) -> None:
        block = ExtendedKalmanFilter(
            lambda x, u: x, lambda x, u: x, keep=lambda x: x.clamp(0.0, 1.0), R=lambda x, u: 0.01 + 0 * x[:, :, None],
            Q=[[0.1]], start=[0.5], doubt=[[1.0]], period=0.1,
        )  # fmt: skip
        x, _ = Filtered(block, torch.tensor([[3.0], [-2.0], [0.4]], dtype=torch.float64), many=True).run()
        close(x[:2, 0], [1.0, 0.0])
        assert 0.0 < float(x[2, 0]) < 0.4

    def test_a_filter_without_covariance_is_refused(self) -> None:
        with pytest.raises(ModelError, match="a covariance"):
            ExtendedKalmanFilter(swing, sight, Q=PENDULUM["Q"], start=[0.0, 0.0], doubt=PENDULUM["doubt"], period=0.1)

    def test_a_lane_whose_covariance_is_not_positive_fails_alone(self) -> None:
        block = UnscentedKalmanFilter(swing, sight, **tensors(**PENDULUM), period=0.1)
        model = Filtered(block, torch.as_tensor(watched_pendulum()[1]), many=True)
        model.filter.f = lambda x, u: swing(x, 0 * x)
        doubt = torch.stack([torch.eye(2), -torch.eye(2), torch.eye(2)]).double()
        run = simulate(model, 1.0, set={block.doubt: doubt})
        assert list(run.status) == [1]


class TestComplementary:
    def test_against_the_discrete_transfer_functions(self) -> None:
        rng = np.random.default_rng(4)
        speed, slow, tau, T = rng.normal(size=80), rng.normal(size=80), 0.7, 0.1
        keep = tau / (tau + T)
        wanted = signal.lfilter([keep * T], [1, -keep], speed) + signal.lfilter([1 - keep], [1, -keep], slow)
        free = keep ** np.arange(80) * (slow[0] - wanted[0])  # it starts at the slow signal
        inputs = {name: ([round(0.1 * k, 1) for k in range(80)], values.tolist())
                  for name, values in (("speed", speed), ("slow", slow))}  # fmt: skip
        found = simulate(ComplementaryFilter(tau=tau, period=T), 7.9, inputs=inputs)["y"].values[0]
        close(found, wanted + free)

    def test_attitude_of_a_tumbling_body_from_its_gyroscope_alone(self) -> None:
        """kp = 0 and constant body rate w: q = exp(w t / 2)."""
        omega = torch.tensor([0.6, -1.1, 0.8], dtype=torch.float64)
        run = simulate(AttitudeFilter(kp=0.0, period=0.01), 5,
                       inputs={"gyro": omega, "accel": torch.tensor([0.0, 0.0, 9.81])})  # fmt: skip
        angle = float(omega.norm()) * 0.01 * 501 / 2  # the tick at 5 s has turned it for the 501st time
        q = run["q"].at(5)[0]
        close(q[0], math.cos(angle))
        close(q[1:], math.sin(angle) * omega / omega.norm())

    def test_attitude_settles_at_roll_and_pitch_of_gravity(self) -> None:
        roll, pitch = torch.tensor([0.5, -1.0, 0.0]).double(), torch.tensor([-0.3, 0.9, 1.2]).double()
        up = torch.stack([-torch.sin(pitch), torch.sin(roll) * torch.cos(pitch), torch.cos(roll) * torch.cos(pitch)], 1)
        run = simulate(AttitudeFilter(kp=3.0, period=0.01), 10,
                       inputs={"gyro": torch.zeros(3, 3).double(), "accel": 9.81 * up})  # fmt: skip
        close(run["roll"].at(10), roll, 1e-6)
        close(run["pitch"].at(10), pitch, 1e-6)
        close(run["yaw"].at(10).abs() < 1.5, [1.0, 1.0, 1.0])

    def test_bias_of_the_gyroscope_is_found(self) -> None:
        bias = torch.tensor([0.02, -0.01, 0.0], dtype=torch.float64)  # about z it cannot be seen
        run = simulate(AttitudeFilter(kp=2.0, ki=0.5, period=0.02), 60,
                       inputs={"gyro": bias, "accel": torch.tensor([0.0, 0.0, 9.81])})  # fmt: skip
        close(run.final["bias"][0], bias, 1e-5)
        close(run["roll"].at(60), [0.0], 1e-5)
