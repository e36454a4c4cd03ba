"""The plants of the library against closed forms, invariants, published numbers and equations written a second time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, linalg
from scipy.spatial.transform import Rotation
from torch import Tensor

from simdl import RK4, Block, Diagram, Input, Output, Tsit5, simulate
from simdl.blocks import (
    PMSM,
    TORA,
    BatteryCell,
    BatteryPack,
    BuckConverter,
    DCMotor,
    DoublePendulum,
    DynamicBicycle,
    FrameTransform,
    HeatedPMSM,
    HeatExchanger,
    Integrator,
    KinematicBicycle,
    LongitudinalVehicle,
    MagneticLevitation,
    MassSpringDamper,
    MotorHeat,
    PacejkaBicycle,
    Pendulum,
    Pulse,
    Quadrotor,
    Room,
    TwoTanks,
)

FINE = Tsit5(rtol=1e-11, atol=1e-13)


def close(found: Any, wanted: Any, tolerance: float = 1e-9) -> None:
    a, b = torch.as_tensor(found, dtype=torch.float64), torch.as_tensor(wanted, dtype=torch.float64)
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def rates(block: Block, **values: Any) -> tuple[Tensor, ...]:
    """The derivatives of a block's states, in the order of its method, at these states and inputs, for one lane."""
    method = type(block).methods("derivative")[0]
    declared = type(block).declared()
    given = {}
    for name in method.reads:
        value = values.get(name, block.settings.get(name))
        if value is None:
            declaration = declared[name]
            value = declaration.default if isinstance(declaration, Input) else declaration.initial  # type: ignore[attr-defined]
        integer = getattr(declared[name], "dtype", None) == torch.int64
        given[name] = torch.as_tensor(value, dtype=torch.int64 if integer else torch.float64).unsqueeze(0)
    found: tuple[Tensor, ...] = getattr(block, method.name)(**given)
    return found


def jacobian(block: Block, names: Sequence[str], **values: float) -> np.ndarray:
    """The derivatives of all rates with respect to these scalar states or inputs."""

    def f(x: Tensor) -> Tensor:
        return torch.stack([r[0] for r in rates(block, **values | dict(zip(names, x, strict=True)))])

    at = torch.tensor([values[name] for name in names], dtype=torch.float64)
    return np.asarray(torch.func.jacrev(f)(at))


def solved(f: Callable[[float, np.ndarray], Any], start: Sequence[float], until: float) -> np.ndarray:
    solution = integrate.solve_ivp(f, (0, until), start, method="DOP853", rtol=1e-12, atol=1e-13)
    return np.asarray(solution.y[:, -1])


def linear(a: Any, b: Any, start: Any, until: float) -> np.ndarray:
    """The state at `until` of x' = A x + b, by the matrix exponential."""
    n = len(start)
    whole = np.zeros((n + 1, n + 1))
    whole[:n, :n], whole[:n, n] = a, b
    return np.asarray((linalg.expm(whole * until) @ np.append(start, 1.0))[:n])


def final(run: Any, *names: str) -> list[float]:
    return [float(run.final[name][0]) for name in names]


class TestMechanics:
    def test_a_damped_oscillation(self) -> None:
        m, c, k, x0 = 2.0, 0.6, 5.0, 0.7
        run = simulate(MassSpringDamper(mass=m, damping=c, stiffness=k), 4, set={"x": x0}, inputs={"force": 0.0},
                       solver=FINE)  # fmt: skip
        decay = c / (2 * m)
        w = math.sqrt(k / m - decay**2)
        close(run.final["x"], [x0 * math.exp(-decay * 4) * (math.cos(w * 4) + decay / w * math.sin(w * 4))])

    def test_tora_with_a_turning_rotor_is_a_forced_oscillator(self) -> None:
        w, t = 0.4, 7.0
        run = simulate(TORA(), t, set={"omega": w}, inputs={"u": 0.0}, solver=FINE)
        close(run.final["x"], [0.1 / (1 - w**2) * (math.sin(w * t) - w * math.sin(t))])

    def test_the_magnetic_ball_has_the_published_linearisation(self) -> None:
        """A and B of the Control Tutorials for MATLAB and Simulink, Introduction: State-Space Methods."""
        ball = MagneticLevitation()
        found = jacobian(ball, ("h", "v", "i", "voltage"), h=0.01, v=0.0, i=7.0, voltage=7.0)
        close(found, [[0, 1, 0, 0], [980, 0, -2.8, 0], [0, 0, -100, 100]])
        close([float(r) for r in rates(ball, h=0.01, v=0.0, i=7.0, voltage=7.0)], [0.0, 0.0, 0.0])


class TestPendulums:
    def test_with_gravity_below_zero_a_pendulum_stands_up(self) -> None:
        """theta'' = 2 sin(theta) + 8 u, the single pendulum of the ARCH-COMP competition."""
        block = Pendulum(mass=0.5, length=0.5, damping=0.0, gravity=-1.0)
        for theta, u in ((0.3, 0.0), (1.2, -0.7)):
            close([float(r) for r in rates(block, theta=theta, omega=0.4, torque=u)],
                  [0.4, 2 * math.sin(theta) + 8 * u])  # fmt: skip

    def test_double_pendulum_follows_from_its_lagrangian(self) -> None:
        m1, m2, l1, l2, g, c = 0.7, 0.4, 0.6, 0.9, 9.81, 0.05

        def lagrangian(q: Tensor, v: Tensor) -> Tensor:
            """Kinetic less potential energy of the masses at their places in the plane."""

            def places(q: Tensor) -> Tensor:
                first = torch.stack([l1 * torch.sin(q[0]), l1 * torch.cos(q[0])])
                return torch.stack([first, first + torch.stack([l2 * torch.sin(q[1]), l2 * torch.cos(q[1])])])

            at, moving = places(q), torch.func.jvp(places, (q,), (v,))[1]
            mass = torch.tensor([m1, m2], dtype=q.dtype)
            total: Tensor = (mass * ((moving**2).sum(1) / 2 - g * at[:, 1])).sum()
            return total

        block = DoublePendulum(m1=m1, m2=m2, l1=l1, l2=l2, damping=c, gravity=g)
        for seed in range(5):
            q, v, torques = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            mass = torch.func.hessian(lagrangian, argnums=1)(q, v)
            mixed = torch.func.jacrev(torch.func.grad(lagrangian, argnums=1))(q, v)
            force = torch.func.grad(lagrangian)(q, v) + torques - c * v - mixed @ v
            found = rates(block, theta1=q[0], theta2=q[1], omega1=v[0], omega2=v[1], torque1=torques[0],
                          torque2=torques[1])  # fmt: skip
            close(torch.cat(found[2:]), torch.linalg.solve(mass, force), 1e-11)

    def test_double_pendulum_keeps_its_energy(self) -> None:
        run = simulate(DoublePendulum(gravity=9.81), 2, set={"theta1": 2.0, "theta2": 1.0}, solver=FINE, every=0.5)
        energy = run["energy"].values
        close(energy, energy[:, :1].expand_as(energy), 1e-8)


class TestVehicles:
    def test_the_cruising_car_of_feedback_systems(self) -> None:
        """At 20 m/s in fourth gear: throttle 0.1687, and the linearisation -0.0101, 1.32 and -9.8 of the book."""
        car = LongitudinalVehicle()
        at = dict(x=0.0, v=20.0, throttle=0.1687, slope=0.0)
        assert abs(float(rates(car, **at)[1])) < 1e-3
        row = jacobian(car, ("v", "throttle", "slope"), **at)[1]
        assert row[0] == pytest.approx(-0.0101, abs=5e-5)
        assert row[1] == pytest.approx(1.32, abs=5e-3)
        assert row[2] == pytest.approx(-9.8, abs=1e-9)

    def test_coasting_in_closed_form(self) -> None:
        """v' = -c - k v^2 while the car is faster than a crawl."""
        c, k, v0, t = 9.8 * 0.01, 1.3 * 0.32 * 2.4 / (2 * 1600), 40.0, 60.0
        run = simulate(LongitudinalVehicle(), t, set={"v": v0}, inputs={"throttle": 0.0}, solver=FINE)
        close(run.final["v"], [math.sqrt(c / k) * math.tan(math.atan(v0 * math.sqrt(k / c)) - math.sqrt(c * k) * t)])

    def test_brakes_stop_the_car_and_leave_it_where_it_is(self) -> None:
        run = simulate(LongitudinalVehicle(), 20, set={"v": 10.0}, inputs={"throttle": 0.0, "brake": 8000.0},
                       solver=RK4(max_step=0.01), every=1)  # fmt: skip
        x = run["x"].values[0]
        assert float(run.final["v"].abs()) < 1e-6
        assert float(x[-1] - x[10]) < 1e-3
        assert float(x[-1]) == pytest.approx(10.0**2 / (2 * (8000 / 1600 + 0.098)), rel=0.01)

    def test_gears_beyond_the_ends_are_the_ends(self) -> None:
        car = LongitudinalVehicle()
        push = [float(rates(car, v=5.0, throttle=1.0, gear=gear)[1]) for gear in (-1, 1, 2, 5, 9)]
        assert push[0] == push[1] > push[2] > push[3] == push[4]

    def test_a_kinematic_bicycle_drives_a_circle(self) -> None:
        speed, steer, t = 5.0, 0.2, 6.0
        b = math.atan(1.58 * math.tan(steer) / 2.68)
        run = simulate(KinematicBicycle(), t, inputs={"speed": speed, "steer": steer}, solver=FINE)
        turn = speed * math.sin(b) / 1.58
        z = speed * np.exp(1j * b) * (np.exp(1j * turn * t) - 1) / (1j * turn)
        close(final(run, "x", "y", "psi"), [z.real, z.imag, turn * t])

    @pytest.mark.parametrize("speed", [5.0, 30.0])
    def test_dynamic_bicycle_is_the_linear_system_of_rajamani(self, speed: float) -> None:
        m, inertia, a, b, c, steer = 1573.0, 2873.0, 1.1, 1.58, 80e3, 0.03
        matrix = [[-4 * c / (m * speed), -speed - 2 * c * (a - b) / (m * speed)],
                  [-2 * c * (a - b) / (inertia * speed), -2 * c * (a**2 + b**2) / (inertia * speed)]]  # fmt: skip
        push = [2 * c * steer / m, 2 * a * c * steer / inertia]
        run = simulate(DynamicBicycle(), 0.7, inputs={"speed": speed, "steer": steer}, solver=FINE)
        close(final(run, "v", "r"), linear(matrix, push, [0.0, 0.0], 0.7))
        settled = simulate(DynamicBicycle(), 20, inputs={"speed": speed, "steer": steer}, solver=RK4(0.01))
        understeer = m * (b - a) / (2 * (a + b) * c)
        close(settled.final["r"], [speed * steer / (a + b + understeer * speed**2)])

    def test_pacejka_bicycle_is_the_linear_one_at_small_slip(self) -> None:
        load = 1573.0 * 9.81 / 2.68
        stiffness = 10.0 * 1.9 * 1.0  # B C D
        alike = DynamicBicycle(front_stiffness=stiffness * load * 1.58 / 2, rear_stiffness=stiffness * load * 1.1 / 2)
        names = ("psi", "v", "r", "steer")
        at = dict(psi=0.0, v=0.0, r=0.0, steer=0.0, speed=25.0)
        close(jacobian(PacejkaBicycle(), names, **at), jacobian(alike, names, **at))

    def test_pacejka_bicycle_against_scipy(self) -> None:
        m, inertia, a, b, g = 1573.0, 2873.0, 1.1, 1.58, 9.81
        speed, steer = 22.0, 0.06

        def tyre(slip: float, load: float) -> float:
            x = 10.0 * slip
            return 0.8 * load * math.sin(1.9 * math.atan(x - 0.97 * (x - math.atan(x))))

        def body(t: float, s: np.ndarray) -> list[float]:
            x, y, psi, v, r = s
            ff = tyre(steer - math.atan2(v + a * r, speed), m * g * b / (a + b)) * math.cos(steer)
            fr = tyre(-math.atan2(v - b * r, speed), m * g * a / (a + b))
            return [speed * math.cos(psi) - v * math.sin(psi), speed * math.sin(psi) + v * math.cos(psi), r,
                    (ff + fr) / m - speed * r, (a * ff - b * fr) / inertia]  # fmt: skip

        run = simulate(PacejkaBicycle(D=0.8), 3, inputs={"speed": speed, "steer": steer}, solver=FINE)
        close(final(run, "x", "y", "psi", "v", "r"), solved(body, [0.0] * 5, 3), 1e-8)

    def test_no_more_grip_than_friction(self) -> None:
        block = PacejkaBicycle(D=0.5)
        v, r, steer = torch.randn(3, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind(0)
        for k in range(200):
            _, _, _, dv, _ = rates(block, psi=0.0, v=5 * v[k], r=r[k], steer=0.3 * steer[k], speed=20.0)
            assert abs(float(dv + 20.0 * r[k])) <= 0.5 * 9.81 + 1e-9


class Electrical(Diagram):
    """A PMSM with its thermal network, and the energies that went in and out of it."""

    fed, shaft, friction, cooled = Output(unit="J"), Output(unit="J"), Output(unit="J"), Output(unit="J")

    def __init__(self, vd: float, vq: float, load: float) -> None:
        self.plant = HeatedPMSM()
        self.plant.vd, self.plant.vq, self.plant.load = vd, vq, load
        motor, heat = self.plant.motor, self.plant.heat
        self.sums = [Integrator() for _ in range(4)]
        powers = (1.5 * (vd * motor.id + vq * motor.iq), load * motor.omega, 0.002 * motor.omega * motor.omega,
                  (1000.0 / 7.5) * (heat.stator - 20.0))  # fmt: skip
        for block, power in zip(self.sums, powers, strict=True):
            block.u = power
        self.fed, self.shaft, self.friction, self.cooled = (block.y for block in self.sums)


class TestMachines:
    def test_dc_motor_has_the_published_poles(self) -> None:
        """-2.0025 and -9.9975: Control Tutorials for MATLAB and Simulink, DC Motor Speed: System Analysis."""
        found = jacobian(DCMotor(), ("i", "omega"), i=0.0, omega=0.0, voltage=0.0, theta=0.0)[:2]
        close(np.sort(np.linalg.eigvals(found).real), [-9.9975, -2.0025], 1e-5)

    def test_dc_motor_against_the_matrix_exponential(self) -> None:
        matrix = [[-2.0, -0.02, 0.0], [1.0, -10.0, 0.0], [0.0, 1.0, 0.0]]
        run = simulate(DCMotor(), 1.3, inputs={"voltage": 3.0, "load": 0.02}, solver=FINE)
        close(final(run, "i", "omega", "theta"), linear(matrix, [6.0, -2.0, 0.0], [0.0, 0.0, 0.0], 1.3), 1e-10)

    def test_pmsm_against_its_flux_linkages_in_stator_coordinates(self) -> None:
        """lambda' = v - R i in the frame at rest, i from the inductance of the salient rotor at its angle."""
        pairs, r, ld, lq, psi, j, b = 3.0, 0.018, 0.37e-3, 1.2e-3, 0.066, 0.01, 0.007
        vd, vq, load, w0 = -15.0, 25.0, 10.0, 80.0

        def machine(t: float, s: np.ndarray) -> list[float]:
            fluxes, omega, theta = s[:2], s[2], s[3]
            turn = np.array([[math.cos(pairs * theta), -math.sin(pairs * theta)],
                             [math.sin(pairs * theta), math.cos(pairs * theta)]])  # fmt: skip
            inductance = turn @ np.diag([ld, lq]) @ turn.T
            i = np.linalg.solve(inductance, fluxes - turn @ [psi, 0.0])
            torque = 1.5 * pairs * (fluxes[0] * i[1] - fluxes[1] * i[0])
            change = turn @ [vd, vq] - r * i
            return [change[0], change[1], (torque - load - b * omega) / j, omega]

        end = solved(machine, [psi, 0.0, w0, 0.0], 0.05)
        turn = pairs * end[3]
        d = math.cos(turn) * end[0] + math.sin(turn) * end[1]
        q = math.cos(turn) * end[1] - math.sin(turn) * end[0]
        run = simulate(PMSM(), 0.05, inputs={"vd": vd, "vq": vq, "load": load}, set={"omega": w0}, solver=FINE,
                       every=0.05)  # fmt: skip
        close(final(run, "id", "iq", "omega", "theta"), [(d - psi) / ld, q / lq, end[2], end[3]], 1e-7)

    def test_all_the_energy_fed_to_a_motor_is_somewhere(self) -> None:
        model = Electrical(vd=-15.0, vq=25.0, load=10.0)
        start = {"plant.motor.omega": 80.0, "plant.heat.winding": 90.0, "plant.heat.rotor": 40.0}
        run = simulate(model, 0.04, set=start, solver=Tsit5(rtol=1e-9, atol=1e-10), every=0.04)
        end = run.final

        def stored(id: Any, iq: Any, omega: Any, winding: Any, stator: Any, rotor: Any) -> Any:
            magnetic = 0.75 * (0.37e-3 * id**2 + 1.2e-3 * iq**2)
            return magnetic + 0.005 * omega**2 + 4e3 * winding + 12e3 * stator + 8e3 * rotor

        names = ("motor.id", "motor.iq", "motor.omega", "heat.winding", "heat.stator", "heat.rotor")
        gained = stored(*(end[f"plant.{name}"] for name in names)) - stored(0.0, 0.0, 80.0, 90.0, 20.0, 40.0)
        fed, shaft, friction, cooled = (run[name].at(0.04) for name in ("fed", "shaft", "friction", "cooled"))
        assert float(fed) > 10.0
        assert float(fed - shaft - friction - cooled - gained) == pytest.approx(0.0, abs=1e-8 * float(fed))

    def test_heat_of_a_motor_against_the_matrix_exponential(self) -> None:
        capacity = np.array([4e3, 12e3, 8e3])
        flow = np.array([[-40.0, 40.0, 0.0], [40.0, -50.0 - 1000 / 7.5, 10.0], [0.0, 10.0, -10.0]])
        push = np.array([900.0, 300.0 + 1000 / 7.5 * 65.0, 50.0])
        wanted = linear(flow / capacity[:, None], push / capacity, [20.0, 20.0, 20.0], 700.0)
        run = simulate(MotorHeat(), 700, inputs={"copper": 900.0, "iron": 300.0, "rotor_loss": 50.0, "coolant": 65.0},
                       solver=FINE)  # fmt: skip
        close(final(run, "winding", "stator", "rotor"), wanted)


class TestThermal:
    def test_room_against_the_matrix_exponential(self) -> None:
        a, w, inner, outer, window = 250e3, 10e6, 0.004, 0.056, 0.06
        matrix = [[-(1 / inner + 1 / window) / a, 1 / inner / a], [1 / inner / w, -(1 / inner + 1 / outer) / w]]
        push = [(800.0 + 100.0 - 3.0 / window) / a, -3.0 / outer / w]
        run = simulate(Room(), 7200, inputs={"heating": 800.0, "gains": 100.0, "outside": -3.0}, solver=FINE)
        close(final(run, "air", "wall"), linear(matrix, push, [20.0, 20.0], 7200.0))

    @staticmethod
    def outlets(cells: int) -> tuple[float, float]:
        run = simulate(HeatExchanger(cells=cells), 400, inputs={"hot_in": 100.0, "cold_in": 30.0},
                       solver=RK4(max_step=4.0 / cells), every=400)  # fmt: skip
        return float(run["hot_out"].at(400)), float(run["cold_out"].at(400))

    def test_heat_lost_by_one_stream_is_gained_by_the_other(self) -> None:
        hot, cold = self.outlets(10)
        close([213.1 * (100.0 - hot)], [835.6 * (cold - 30.0)], 1e-8)

    def test_heat_exchanger_tends_to_effectiveness_and_ntu(self) -> None:
        """Incropera's oil cooler: 60 and 40.2 degC, and the closed form, which the cells approach as 1 / cells."""
        ratio, ntu = 213.1 / 835.6, 197.3 / 213.1
        part = math.exp(-ntu * (1 - ratio))
        wanted = 100.0 - 70.0 * (1 - part) / (1 - ratio * part)
        coarse, fine = self.outlets(10), self.outlets(20)
        assert 1.9 < (coarse[0] - wanted) / (fine[0] - wanted) < 2.1
        assert 2 * fine[0] - coarse[0] == pytest.approx(wanted, abs=0.04)
        assert wanted == pytest.approx(60.0, abs=0.05)
        assert 2 * fine[1] - coarse[1] == pytest.approx(40.2, abs=0.05)


class TestTanks:
    def test_a_tank_drains_as_torricelli_says_and_stays_empty(self) -> None:
        rate = 0.057 / 32.0 * math.sqrt(981.0 / 2)
        run = simulate(TwoTanks(), 150, inputs={"pump": 0.0}, set={"h1": 16.0}, solver=RK4(max_step=0.5), every=25)
        h1, t = run["h1"].values[0], run["h1"].t
        close(h1, (4.0 - rate * t).clamp(min=0.0) ** 2, 2e-4)
        assert float(h1[-1].abs()) < 1e-4 and float(run["h2"].values.min()) > -1e-4

    def test_nothing_is_lost_between_the_tanks(self) -> None:
        class Balance(Diagram):
            gone = Output()

            def __init__(self) -> None:
                self.tanks, self.sum = TwoTanks(), Integrator()
                self.tanks.pump = 3.0
                self.sum.u = self.tanks.outflow
                self.gone = self.sum.y

        run = simulate(Balance(), 100, set={"tanks.h1": 5.0, "tanks.h2": 2.0}, solver=FINE, every=100)
        left = 32.0 * (run.final["tanks.h1"] + run.final["tanks.h2"])
        close(left + run["gone"].at(100), [32.0 * 7.0 + 3.33 * 3.0 * 100])

    def test_an_empty_tank_has_a_finite_gradient(self) -> None:
        h = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        run = simulate(TwoTanks(), 1, inputs={"pump": 1.0}, set={"h1": h}, solver=RK4(max_step=0.1), grad=True)
        run.final["h2"].sum().backward()  # type: ignore[no-untyped-call]
        assert h.grad is not None and bool(h.grad.isfinite().all())


class Switched(Diagram):
    i, v = Output(unit="A"), Output(unit="V")

    def __init__(self, duty: float) -> None:
        self.gate, self.buck = Pulse(cycle=1e-5, duty=duty), BuckConverter()
        self.buck.duty = self.gate.y
        self.i, self.v = self.buck.i, self.buck.v


class TestPower:
    def test_averaged_buck_against_the_matrix_exponential(self) -> None:
        matrix = [[-0.1 / 50e-6, -1 / 50e-6], [1 / 500e-6, -1 / (3 * 500e-6)]]
        run = simulate(BuckConverter(resistance=0.1), 1e-3, inputs={"duty": 0.5}, solver=FINE, every=1e-3)
        close(final(run, "i", "v"), linear(matrix, [14.0 / 50e-6, 0.0], [0.0, 0.0], 1e-3))

    def test_switched_buck_keeps_its_periodic_orbit_and_ripple(self) -> None:
        """The orbit by matrix exponentials of the two circuits; the ripple by the formula of the textbook."""
        duty, cycle = 0.536, 1e-5
        a, on = np.array([[0.0, -1 / 50e-6], [1 / 500e-6, -1 / (3 * 500e-6)]]), np.array([28.0 / 50e-6, 0.0])

        def period(x: np.ndarray) -> np.ndarray:
            return linear(a, np.zeros(2), linear(a, on, x, duty * cycle), (1 - duty) * cycle)

        zero = period(np.zeros(2))
        slope = np.stack([period(e) - zero for e in np.eye(2)], axis=1)
        orbit = np.linalg.solve(np.eye(2) - slope, zero)
        run = simulate(Switched(duty), 5 * cycle, set={"buck.i": orbit[0], "buck.v": orbit[1]},
                       solver=RK4(max_step=1e-6), every=1e-7)  # fmt: skip
        close(final(run, "buck.i", "buck.v"), orbit, 1e-8)
        i = run["i"].values[0]
        assert float(i.max() - i.min()) / 2 == pytest.approx((28 - 15) * duty * cycle / (2 * 50e-6), rel=0.01)
        assert float(run["v"].values.mean()) == pytest.approx(28 * duty, rel=1e-3)


class TestBatteries:
    def test_a_cell_counts_its_charge_and_rests_at_its_open_circuit_voltage(self) -> None:
        current = ([0.0, 1800.0], [0.85, 0.0])
        run = simulate(BatteryCell(), 5400, inputs={"current": current}, solver=RK4(max_step=2.0), every=100)
        close(run["voltage"].at(0), [3.685 + 0.2156 - 0.1178 + 0.3201 - 0.85 * 0.07446], 1e-8)
        close(run.final["soc"], [0.5])
        close(run["voltage"].at(5400), [3.685 + 0.2156 / 2 - 0.1178 / 4 + 0.3201 / 8], 1e-5)

    def test_a_cell_against_scipy(self) -> None:
        def chen(t: float, s: np.ndarray) -> list[float]:
            soc, short, long = s
            rs, cs = 0.3208 * math.exp(-29.14 * soc) + 0.04669, -752.9 * math.exp(-13.51 * soc) + 703.6
            rl, cl = 6.603 * math.exp(-155.2 * soc) + 0.04984, -6056 * math.exp(-27.12 * soc) + 4475
            return [-0.4 / (0.85 * 3600), 0.4 / cs - short / (rs * cs), 0.4 / cl - long / (rl * cl)]

        run = simulate(BatteryCell(), 6000, inputs={"current": 0.4}, set={"soc": 0.9}, solver=FINE)
        close(final(run, "soc", "v_short", "v_long"), solved(chen, [0.9, 0.0, 0.0], 6000))

    def test_equal_cells_make_a_scaled_cell(self) -> None:
        cell = simulate(BatteryCell(), 600, inputs={"current": 0.5}, solver=RK4(1.0), every=100)["voltage"].values
        alike = [[0.85] * 3] * 4
        pack = simulate(BatteryPack(capacity=alike, growth=[[1.0] * 3] * 4), 600, inputs={"current": 1.5},
                        solver=RK4(1.0), every=100)["voltage"].values  # fmt: skip
        close(pack, 4 * cell, 1e-12)

    def test_currents_of_unequal_cells_obey_kirchhoff(self) -> None:
        """At rest cells differ in resistance alone; then currents split as conductances, and add to the current."""
        growth = [[1.0, 2.0, 4.0]]
        pack = BatteryPack(capacity=[[0.85, 0.85, 0.85]], growth=growth)
        run = simulate(pack, 0, inputs={"current": 1.4}, record=["currents", "voltages"], solver=FINE)
        close(run["currents"].at(0), [[[0.8, 0.4, 0.2]]])
        close(run["voltages"].at(0), [[4.1029 - 0.8 * 0.07446]], 1e-7)

    def test_unequal_cells_drift_apart_but_lose_the_charge_that_flows(self) -> None:
        capacity = torch.tensor([[0.7, 0.85], [0.9, 0.8]], dtype=torch.float64)
        pack = BatteryPack(capacity=capacity, growth=[[1.0, 1.3], [0.9, 1.0]])
        run = simulate(pack, 1200, inputs={"current": 1.2}, solver=RK4(max_step=1.0), every=600)
        lost = (capacity * (1 - run.final["soc"])).sum(dim=2)
        close(lost, [[1.2 / 3, 1.2 / 3]], 1e-9)
        assert float(run.final["soc"].std()) > 0.005


class TestQuadrotor:
    INERTIA = np.array([1.4e-5, 1.4e-5, 2.17e-5])

    def test_a_tumbling_body_keeps_energy_and_angular_momentum(self) -> None:
        inertia = [1.4e-5, 1.9e-5, 2.6e-5]
        run = simulate(Quadrotor(inertia=inertia), 1, set={"rates": [3.0, -8.0, 5.0]}, inputs={"rotors": [0.0] * 4},
                       solver=FINE, record=["rates", "attitude", "velocity"], every=0.25)  # fmt: skip
        rates, q = run["rates"].values[0].numpy(), run["attitude"].values[0].numpy()
        energy = (np.array(inertia) * rates**2).sum(axis=1) / 2
        close(energy / energy[0], np.ones(len(energy)), 1e-9)
        world = Rotation.from_quat(q[:, [1, 2, 3, 0]]).apply(np.array(inertia) * rates)
        close(world / np.linalg.norm(world[0]), np.broadcast_to(world[0], world.shape) / np.linalg.norm(world[0]), 1e-9)
        close(np.linalg.norm(q, axis=1), np.ones(len(q)), 1e-9)
        close(run["velocity"].at(1), [[0.0, 0.0, -9.81]])

    def test_a_flight_against_a_rotation_matrix_and_scipy(self) -> None:
        m, g, arm, kf, km = 0.027, 9.81, 0.0397, 2.8816e-8, 7.2404e-10
        rotors = np.array([1520.0, 1515.0, 1522.0, 1526.0])
        places = arm / math.sqrt(2) * np.array([[1, -1, 0], [-1, -1, 0], [-1, 1, 0], [1, 1, 0]])  # x forward, y left
        lifts = np.stack([np.zeros(4), np.zeros(4), kf * rotors**2], axis=1)
        torque = np.cross(places, lifts).sum(axis=0) + [0, 0, km * (np.array([1, -1, 1, -1]) * rotors**2).sum()]

        def body(t: float, s: np.ndarray) -> np.ndarray:
            velocity, turn, w = s[3:6], s[6:15].reshape(3, 3), s[15:]
            skew = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
            force = turn @ lifts.sum(axis=0) / m - [0, 0, g] - 0.01 / m * velocity
            spin = (torque - np.cross(w, self.INERTIA * w)) / self.INERTIA
            return np.concatenate([velocity, force, (turn @ skew).ravel(), spin])

        end = solved(body, [*np.zeros(6), *np.eye(3).ravel(), 0.0, 0.0, 0.0], 1.0)
        run = simulate(Quadrotor(drag=0.01), 1, inputs={"rotors": rotors}, solver=FINE)
        q = run.final["attitude"][0].numpy()
        close(run.final["position"][0], end[:3], 1e-8)
        close(run.final["rates"][0], end[15:], 1e-8)
        close(Rotation.from_quat(q[[1, 2, 3, 0]]).as_matrix(), end[6:15].reshape(3, 3), 1e-8)

    def test_an_accelerometer_feels_what_moves_the_body_but_not_gravity(self) -> None:
        block = Quadrotor(drag=0.02)
        turn = Rotation.from_euler("xyz", [0.3, -0.5, 1.0])
        q = turn.as_quat()[[3, 0, 1, 2]]
        start = {"attitude": q, "velocity": [1.0, -2.0, 0.5]}
        run = simulate(block, 0, set=start, inputs={"rotors": [1500.0] * 4}, solver=FINE)
        acceleration = rates(block, rotors=[1500.0] * 4, rates=[0.0] * 3, **start)[1][0].numpy()
        close(run["specific_force"].at(0)[0], turn.inv().apply(acceleration + [0, 0, 9.81]), 1e-12)


class TestFrames:
    def test_a_frame_against_scipy_and_back(self) -> None:
        turn, origin, u = Rotation.from_euler("zyx", [0.4, -1.1, 2.0]), [1.0, 2.0, -0.5], [3.0, -1.0, 4.0]
        frame = FrameTransform(attitude=3.0 * turn.as_quat()[[3, 0, 1, 2]], origin=origin)
        y = simulate(frame, 0, inputs={"u": u})["y"].at(0)[0]
        close(y, turn.apply(u) + origin, 1e-12)
        close(simulate(frame, 0, inputs={"u": y})["back"].at(0)[0], u, 1e-12)
