"""Controllers against closed forms, python-control and SciPy; linear models by differentiation."""

from __future__ import annotations

import math
from typing import Any

import control
import numpy as np
import pytest
import torch
from torch import Tensor

from simdl import (
    RK4,
    Diagram,
    Input,
    LinearModel,
    ModelError,
    Network,
    Output,
    Recurrent,
    Tsit5,
    linearise,
    simulate,
    stack,
)
from simdl.blocks import (
    LQG,
    LQR,
    PID,
    CartPole,
    ContinuousPID,
    FirstOrder,
    Integrator,
    Pendulum,
    Sine,
    StateSpace,
    Step,
    TransferFunction,
)

FINE = Tsit5(rtol=1e-11, atol=1e-13)
MASS = LinearModel.of([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]])


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    found, wanted = (torch.as_tensor(v, dtype=torch.float64) for v in (found, wanted))
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def ticks(block: PID, until: float, **inputs: Any) -> Tensor:
    return simulate(block, until, inputs=inputs)["u"].values[0]


class Regulated(Diagram):
    """A PID in a loop with a lag, its setpoint from outside."""

    r, y, u = Input(), Output(), Output()

    def __init__(self, pid: Any) -> None:
        self.pid, self.plant = pid, FirstOrder(tau=2.0)
        self.pid.r, self.pid.y = self.r, self.plant.y
        self.plant.u = self.pid.u
        self.y, self.u = self.plant.y, self.pid.u


class TestSampledPID:
    def test_without_limits_it_is_its_difference_equation(self) -> None:
        rng = np.random.default_rng(1)
        r, y, T, n = rng.normal(size=30), rng.normal(size=30), 0.1, 30
        kp, ki, kd, b, c, tf = 1.3, 0.7, 0.4, 0.6, 0.3, 0.25
        i, d, last, wanted = 0.5, 0.0, c * r[0] - y[0], []
        for k in range(n):
            e = c * r[k] - y[k]
            d = (tf * d + kd * (e - last)) / (tf + T)
            wanted.append(kp * (b * r[k] - y[k]) + i + d)
            i, last = i + T * ki * (r[k] - y[k]), e
        times = [round(T * k, 1) for k in range(n)]
        pid = PID(kp=kp, ki=ki, kd=kd, b=b, c=c, tf=tf, start=0.5, period=T)
        close(ticks(pid, T * (n - 1), r=(times, r.tolist()), y=(times, y.tolist())), wanted)

    def test_a_step_of_the_setpoint_kicks_by_its_weights_alone(self) -> None:
        step = ([0.0, 1.0], [0.0, 1.0])
        for b, c in ((1.0, 0.0), (0.5, 0.0), (0.0, 1.0)):
            u = ticks(PID(kp=2.0, ki=0.0, kd=3.0, b=b, c=c, tf=0.4, period=0.1), 1.0, r=step, y=0.0)
            close(u[-1] - u[-2], 2.0 * b + 3.0 * c / 0.5)

    @pytest.mark.parametrize("settings", [dict(clamping=True), dict(tt=0.3)])
    def test_neither_winds_up_at_a_limit(self, settings: dict[str, Any]) -> None:
        """Held at the limit for 5 s, it leaves it within a tenth of what it takes without protection."""
        r = ([0.0, 5.0], [10.0, 0.2])

        def back(pid: PID, until: float) -> float:
            run = simulate(Regulated(pid), until, inputs={"r": r})
            below = run["u"].values[0] < 0.99
            return float(run["u"].t[below & (run["u"].t >= 5)][0]) - 5

        common = dict(kp=1.0, ki=0.5, low=-1.0, high=1.0, period=0.1)
        assert back(PID(**common, **settings), 15) < 0.1 * back(PID(**common, tt=1e9), 100)

    def test_manual_and_back_without_a_bump(self) -> None:
        class Driven(Diagram):
            u, y = Output(), Output()

            def __init__(self) -> None:
                self.when, self.plant = Step(at=2.0, before=1.0, after=0.0), FirstOrder(tau=2.0)
                self.pid = PID(kp=3.0, ki=1.0, kd=0.5, low=-2.0, high=2.0, period=0.01)
                self.pid.manual, self.pid.hand = self.when.y > 0.5, 0.8
                self.pid.r, self.pid.y, self.plant.u = 0.5, self.plant.y, self.pid.u
                self.u, self.y = self.pid.u, self.plant.y

        u = simulate(Driven(), 30)["u"]
        by_hand = u.t < 2.0
        close(u.values[0, by_hand], torch.full((200,), 0.8, dtype=torch.float64), 1e-7)
        assert float(u.values[0, 199:203].diff().abs().max()) < 0.02
        close(u.at(30), [0.5], 1e-4)

    def test_the_integral_reaches_the_setpoint(self) -> None:
        run = simulate(Regulated(PID(kp=2.0, ki=1.0, kd=0.2, period=0.05)), 40, inputs={"r": 1.5})
        close(run["y"].at(40), [1.5], 1e-6)


class TestContinuousPID:
    @pytest.mark.parametrize(("b", "c"), [(1.0, 0.0), (1.0, 1.0), (0.4, 0.7)])
    def test_closed_loop_against_python_control(self, b: float, c: float) -> None:
        kp, ki, kd, tf = 2.0, 1.5, 0.4, 0.1
        pid = ContinuousPID(kp=kp, ki=ki, kd=kd, b=b, c=c, tf=tf)
        run = simulate(Regulated(pid), 8, inputs={"r": ([0.0, 1.0], [0.0, 1.0])}, every=0.1, solver=FINE)
        integral, derivative, plant = control.tf([ki], [1, 0]), control.tf([kd, 0], [tf, 1]), control.tf([1], [2.0, 1])
        loop = control.feedback(plant, kp + integral + derivative) * (kp * b + integral + c * derivative)
        late = run["y"].t >= 1
        wanted = control.step_response(control.minreal(loop, verbose=False), run["y"].t[late].numpy() - 1).outputs
        close(run["y"].values[0, late], wanted, 1e-7)

    def test_back_calculation_at_a_limit(self) -> None:
        """i' = ki e + (high - kp e - i) / tt settles where tt ki e = kp e + i - high."""
        pid = ContinuousPID(kp=1.0, ki=2.0, high=1.0, tt=0.5)
        run = simulate(pid, 10, inputs={"r": 3.0, "y": 0.0}, solver=FINE)
        close(run.final["i"], [1.0 + 0.5 * 2.0 * 3.0 - 3.0], 1e-6)

    def test_the_sampled_one_converges_to_it(self) -> None:
        common: dict[str, Any] = dict(kp=2.0, ki=1.5, kd=0.4, b=0.7, low=-0.8, high=1.1, tt=0.7)
        exact = simulate(Regulated(ContinuousPID(**common)), 4, inputs={"r": 1.0}, every=0.5, solver=RK4(0.002))

        def error(period: float) -> float:
            run = simulate(Regulated(PID(**common, period=period)), 4, inputs={"r": 1.0}, every=0.5)
            return float((run["y"].values - exact["y"].values).abs().max())

        assert 1.5 < error(0.02) / error(0.01) < 2.5


class TestLQR:
    Q, R = np.diag([4.0, 1.0]), np.array([[0.5]])

    def loop(self, lqr: LQR, start: list[float]) -> Any:
        class Loop(Diagram):
            x, u = Output(), Output()

            def __init__(self) -> None:
                self.plant = StateSpace(A=MASS.A, B=MASS.B[:, 0], C=torch.eye(2), start=start)
                self.lqr = lqr
                self.lqr.x, self.plant.u = self.plant.y, self.lqr.u
                self.x, self.u = self.plant.y, self.lqr.u

        return Loop()

    def test_gain_against_python_control(self) -> None:
        model = MASS.sampled("50 ms")
        wanted, _, _ = control.dlqr(model.A.numpy(), model.B.numpy(), self.Q, self.R)
        close(LQR(model, self.Q, self.R).settings["K"], wanted[0], 1e-10)

    def test_cost_is_the_quadratic_form_of_the_riccati_solution(self) -> None:
        model, start = MASS.sampled("50 ms"), [1.0, -0.5]
        run = simulate(self.loop(LQR(model, self.Q, self.R), start), 60)
        x, u = run["x"].values[0].numpy(), run["u"].values[0].numpy()
        cost = sum(a @ self.Q @ a + self.R[0, 0] * b * b for a, b in zip(x, u, strict=True))
        _, S, _ = control.dlqr(model.A.numpy(), model.B.numpy(), self.Q, self.R)
        assert cost == pytest.approx(np.array(start) @ S @ start, rel=1e-9)

    def test_setpoint_and_limits(self) -> None:
        run = simulate(self.loop(LQR(MASS.sampled("50 ms"), self.Q, self.R, low=-0.3, high=0.3), [5.0, 0.0]), 30)
        assert float(run["u"].values.abs().max()) == 0.3
        close(run["x"].at(30), [[0.0, 0.0]], 1e-3)

    def test_a_model_that_cannot_be_stabilised_is_refused(self) -> None:
        with pytest.raises(ModelError, match="stabilised"):
            LQR(LinearModel.of([[2.0]], [[0.0]], period=0.1), [[1.0]], [[1.0]])
        with pytest.raises(ModelError, match="sampled time"):
            LQR(MASS, self.Q, self.R)

    def test_lqg_is_the_compensator_of_the_textbook(self) -> None:
        """Closed-loop poles: those of the LQR and those of the Kalman filter (separation)."""
        model = LinearModel.of(MASS.A, MASS.B, [[1.0, 0.0]]).sampled("100 ms")
        W, V = np.diag([1e-4, 1e-2]), np.array([[1e-2]])

        class Loop(Diagram):
            x, estimate = Output(), Output()

            def __init__(self) -> None:
                self.plant = StateSpace(A=MASS.A, B=MASS.B[:, 0], C=torch.eye(2), start=[1.0, 0.0])
                self.lqg = LQG(model, TestLQR.Q, TestLQR.R, W, V)
                self.lqg.y, self.plant.u = self.plant.y[0], self.lqg.u
                self.x, self.estimate = self.plant.y, self.lqg.filter.x

        run = simulate(Loop(), 10)
        a, b, c = (matrix.numpy() for matrix in (model.A, model.B, model.C))
        K, _, _ = control.dlqr(a, b, TestLQR.Q, TestLQR.R)
        L, _, _ = control.dlqe(a, np.eye(2), c, W, V)
        M = np.linalg.solve(a, L)
        whole = np.block([[a - b @ K @ M @ c, -b @ K @ (np.eye(2) - M @ c)],
                          [L @ c - b @ K @ M @ c, a - L @ c - b @ K @ (np.eye(2) - M @ c)]])  # fmt: skip
        z, wanted = np.array([1.0, 0.0, 0.0, 0.0]), []
        for _ in range(101):
            wanted.append(z)
            z = whole @ z
        close(torch.cat([run["x"].values[0], run["estimate"].values[0]], 1), np.array(wanted), 1e-9)
        poles = np.concatenate([np.linalg.eigvals(a - b @ K), np.linalg.eigvals(a - L @ c)])
        close(np.sort(np.abs(np.linalg.eigvals(whole))), np.sort(np.abs(poles)), 1e-6)


class TestLinearise:
    def test_pendulum_by_hand(self) -> None:
        model = linearise(Pendulum(mass=2.0, length=0.5, damping=0.3), {"theta": 1.0, "omega": 0.2}, {"torque": 0.4})
        inertia = 2.0 * 0.25
        close(model.A, [[0.0, 1.0], [-9.81 / 0.5 * math.cos(1.0), -0.3 / inertia]])
        close(model.B, [[0.0], [1 / inertia]])
        assert (model.states, model.inputs, model.period) == (("theta", "omega"), ("torque",), None)

    def test_cart_pole_by_finite_differences(self) -> None:
        block, x0, u0, h = CartPole(), np.array([0.1, -0.2, 0.4, 0.3]), np.array([0.7]), 1e-6
        model = linearise(block, x0.tolist(), u0.tolist())

        def moved(x: np.ndarray, u: np.ndarray) -> np.ndarray:
            run = simulate(block, 1e-6, set=dict(zip(model.states, x.tolist(), strict=True)),
                           inputs={model.inputs[0]: float(u[0])}, solver=RK4(max_step=1e-6))  # fmt: skip
            return (np.array([float(run.final[name]) for name in model.states]) - x) / 1e-6

        h = 1e-3
        columns = [(moved(x0 + h * e, u0) - moved(x0 - h * e, u0)) / (2 * h) for e in np.eye(4)]
        close(model.A, np.stack(columns, 1), 1e-4)
        close(model.B, ((moved(x0, u0 + h) - moved(x0, u0 - h)) / (2 * h))[:, None], 1e-4)

    def test_with_the_hold_included_against_python_control(self) -> None:
        block = StateSpace(A=[[0.0, 1.0], [-4.0, -0.5]], B=[0.0, 2.0], C=[1.0, 0.0], start=[0.0, 0.0])
        model = linearise(block, [0.3, 0.1], [0.2], period="100 ms")
        wanted = control.c2d(control.ss([[0, 1], [-4, -0.5]], [[0], [2]], [[1, 0]], [[0]]), 0.1, "zoh")
        for name in "ABCD":
            close(getattr(model, name), getattr(wanted, name))
        assert model.outputs == ("y",)

    def test_a_sampled_block_is_one_tick(self) -> None:
        model = linearise(PID(kp=2.0, ki=3.0, kd=0.0, period=0.1), {"started": True}, {"r": 1.0, "y": 0.5})
        names = dict(zip(model.states, range(9), strict=False))
        assert model.period == 0.1
        close(model.A[names["i"], names["i"]], 1.0)
        row = dict(zip(model.inputs, model.B[names["i"]].tolist(), strict=True))
        close([row["r"], row["y"]], [0.3, -0.3])
        shown = dict(zip(model.inputs, model.D[0].tolist(), strict=True))
        close([shown["r"], shown["y"]], [2.0, -2.0])

    def test_discrete_lqr_of_a_linearised_pendulum_holds_it_upright(self) -> None:
        model = linearise(Pendulum(), {"theta": math.pi, "omega": 0.0}, {"torque": 0.0}, period="20 ms")
        lqr = LQR(model, np.diag([10.0, 1.0]), [[0.1]])

        class Loop(Diagram):
            theta = Output()

            def __init__(self) -> None:
                self.plant, self.lqr = Pendulum(), lqr
                self.lqr.x = stack(self.plant.theta - math.pi, self.plant.omega)
                self.plant.torque = self.lqr.u
                self.theta = self.plant.theta

        loop = Loop()
        close(simulate(loop, 8, set={loop.plant.theta: math.pi + 0.4})["theta"].at(8), [math.pi], 1e-5)

    def test_networks_are_linearised_too(self) -> None:
        torch.manual_seed(1)
        module = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
        network = Network(module, period="20 ms", inputs=("theta", "omega"), outputs=("torque",))
        model = linearise(network, {}, {"theta": 0.3, "omega": -0.2})
        hidden = torch.tanh(module[0](torch.tensor([0.3, -0.2], dtype=torch.float64)))
        close(model.D, ((module[2].weight * (1 - hidden**2)) @ module[0].weight).detach())

        gru = torch.nn.GRU(1, 3, batch_first=True).double()
        recurrent = Recurrent(gru, period="1 s", inputs=("u",), outputs=("a", "b", "c"))
        model = linearise(recurrent, [0.1, 0.2, -0.3], {"u": 0.5})
        cell = torch.nn.GRUCell(1, 3).double()
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in gru.state_dict().items()})
        point = (torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([[0.1, 0.2, -0.3]], dtype=torch.float64))
        by_u, by_h = torch.autograd.functional.jacobian(cell, point)
        close(model.A, by_h[0, :, 0])
        close(model.B, by_u[0, :, 0])

    @pytest.mark.parametrize(
        ("x0", "u0", "text"),
        [({"angle": 1.0}, [0.0], "a value of 'angle'"), ([1.0], [0.0], "1 values"), ([1.0, 0.0], [], "0 values")],
    )
    def test_points_that_do_not_fit_are_refused(self, x0: Any, u0: Any, text: str) -> None:
        with pytest.raises(ModelError, match=text):
            linearise(Pendulum(), x0, u0)

    def test_matrices_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ModelError, match="single column"):
            LinearModel.of([[1.0, 0.0], [0.0, 1.0]], [[1.0]])
        with pytest.raises(ModelError, match="continuous time"):
            LinearModel.of([[1.0]], [[1.0]], period=0.1).sampled(0.1)

    def test_frequency_response_of_the_model_is_that_of_the_run(self) -> None:
        """A transfer function's inner block, linearised, at 2 rad/s."""
        system = TransferFunction([1.0, 2.0], [1.0, 0.8, 4.0])
        settings = system.system.settings
        block = type(system.system)(numerator=[1.0, 2.0], denominator=[1.0, 0.8, 4.0])
        assert set(settings) == set(block.settings)
        model = linearise(block, [0.0, 0.0], [0.0])
        g = (model.C.numpy() @ np.linalg.solve(2j * np.eye(2) - model.A.numpy(), model.B.numpy()))[0, 0]
        assert g == pytest.approx((2j + 2) / ((2j) ** 2 + 0.8 * 2j + 4), rel=1e-12)

        class Driven(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.sine, self.system, self.sink = Sine(frequency=1 / math.pi), block, Integrator()
                self.system.u = self.sine.y
                self.sink.u = self.system.y
                self.y = self.system.y

        y = simulate(Driven(), 40, every=0.01, solver=RK4(max_step=0.02))["y"]
        wanted = abs(g) * np.sin(2 * y.t.numpy() + np.angle(g))
        close(y.values[0, -100:], wanted[-100:], 1e-5)
