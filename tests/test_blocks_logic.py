"""Vectors, friction, tables, routing, logic, buses and state machines against closed forms, NumPy and SciPy."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import integrate, interpolate
from torch import Tensor

from simdl import RK4, Block, Diagram, Input, ModelError, Output, Param, State, Tsit5, connect, simulate
from simdl.blocks import (
    Backlash,
    Bus,
    Constant,
    Counter,
    Debounce,
    Dot,
    Edge,
    Equal,
    Extremum,
    Friction,
    Hold,
    Latch,
    Lookup1D,
    Lookup2D,
    LookupND,
    MatrixGain,
    Mux,
    Norm,
    Playback,
    Pulse,
    Ramp,
    Select,
    StateMachine,
    Step,
    StickSlip,
    Within,
    during,
    on_entry,
    on_exit,
    transition,
)

F64 = torch.float64
FINE = Tsit5(rtol=1e-11, atol=1e-13)


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    found, wanted = torch.as_tensor(found, dtype=F64), torch.as_tensor(wanted, dtype=F64)
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


class Fed(Diagram):
    """A block with constant inputs, given by name; `sources` holds them."""

    def __init__(self, block: Block, **values: Any) -> None:
        self.block = block
        self.sources = {name: Constant(value=value) for name, value in values.items()}
        for name, source in self.sources.items():
            connect(source.y, getattr(block, name))


def fed(block: Block, port: str = "y", **values: Any) -> Tensor:
    """An output at t = 0, of lane 0."""
    return simulate(Fed(block, **values), 0)[f"block.{port}"].values[0, 0]


def ticks(block: Block, until: float, port: str = "y", **inputs: Any) -> list[Any]:
    """An output of lane 0 at the ticks, for held inputs that change every second."""
    held = {k: (list(range(len(v))), v) if isinstance(v, list) else v for k, v in inputs.items()}
    found: list[Any] = simulate(block, until, inputs=held)[port].values[0].tolist()
    return found


class TestVector:
    def test_against_numpy(self) -> None:
        rng = np.random.default_rng(0)
        k, a, b = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=4)
        close(fed(MatrixGain(K=k), u=a), k @ a)
        close(fed(MatrixGain(K=a), u=b), a @ b)
        close(fed(Dot(), a=a, b=b), a @ b)
        close(fed(Norm(), u=a), np.linalg.norm(a))
        found = [fed(Extremum(), port, u=a) for port in ("low", "high", "lowest", "highest")]
        close(torch.stack([f.double() for f in found]), [a.min(), a.max(), a.argmin(), a.argmax()])

    def test_a_lane_alone_is_the_lane_in_a_batch(self) -> None:
        rng = np.random.default_rng(1)
        model = Fed(MatrixGain(K=rng.normal(size=(5, 7))), u=np.zeros(7))
        u = torch.as_tensor(rng.normal(size=(33, 7)))
        many = simulate(model, 0, set={model.sources["u"].value: u})["block.y"].values
        one = simulate(model, 0, set={model.sources["u"].value: u[20:21]})["block.y"].values
        assert torch.equal(many[20], one[0])

    def test_gradient_of_the_norm_is_zero_at_zero(self) -> None:
        model = Fed(Norm(), u=[0.0, 0.0])
        u = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=F64, requires_grad=True)
        run = simulate(model, 0, set={model.sources["u"].value: u}, grad=True)
        run["block.y"].values.sum().backward()  # type: ignore[no-untyped-call]
        close(u.grad, [[0, 0], [0.6, 0.8]])


class Driven(Diagram):
    """A source on the input of a block."""

    def __init__(self, source: Any, block: Any, port: str) -> None:
        self.source, self.block = source, block
        connect(source.y, getattr(block, port))


class TestFriction:
    def test_curve(self) -> None:
        v = np.linspace(-1, 1, 41)
        found = [float(fed(Friction(coulomb=2.0, static=3.0, viscous=0.5), "force", v=x)) for x in v]
        wanted = (2 + np.exp(-((v / 0.05) ** 2))) * np.tanh(v / 1e-3) + 0.5 * v
        close(found, wanted)

    def test_it_breaks_away_at_the_static_force_and_then_moves_as_newton_says(self) -> None:
        """The force grows as 0.5 t: it breaks away at t = 4 and then v' = 0.5 t - 1."""
        model = Driven(Ramp(slope=0.5), StickSlip(coulomb=1.0, static=2.0), "force")
        run = simulate(model, 6, solver=FINE, every=0.5)
        assert [(round(t, 9), path) for _, t, path in run.events] == [(4.0, "block.breakaway")]
        t = run["block.v"].t
        close(run["block.v"].values[0], torch.where(t < 4, 0.0, t * t / 4 - t), 1e-9)

    def test_it_stops_and_sticks_and_lanes_are_independent(self) -> None:
        block = StickSlip(mass=2.0, coulomb=3.0, static=3.0, viscous=0.5)
        start = torch.tensor([2.0, -1.0, 0.0], dtype=F64)
        run = simulate(block, 4, set={block.start: start}, inputs={"force": 0.0}, solver=FINE)
        a, b = 3.0 / 2.0, 0.5 / 2.0  # |v|' = -a - b |v|
        stop = [math.log(1 + b * v / a) / b for v in (2.0, 1.0)]
        close(sorted(t for _, t, _ in run.events), sorted(stop), 1e-9)
        far = [(v - a * t) / b for v, t in zip((2.0, 1.0), stop)]
        close(run.final["x"], [far[0], -far[1], 0.0], 1e-8)
        assert run.final["v"].tolist() == [0, 0, 0] and run.final["sliding"].tolist() == [0, 0, 0]

    @pytest.mark.parametrize("at", [0.0, 0.5])
    def test_a_force_that_jumps_above_static_moves_it_at_once(self, at: float) -> None:
        model = Driven(Step(at=at, after=-3.0), StickSlip(coulomb=1.0, static=2.0), "force")
        run = simulate(model, 2, solver=RK4(max_step=0.1))
        close(run.final["block.v"], [-2.0 * (2 - at)], 1e-8)

    def test_a_strong_force_turns_it_round_without_sticking(self) -> None:
        block = StickSlip(coulomb=1.0, static=1.5, start=2.0)
        run = simulate(block, 3, inputs={"force": -3.0}, solver=FINE)
        close(run.final["v"], [(3 - 0.5) * -2.0], 1e-9)  # stops at 2 / 4 s, then v' = -2

    def test_stick_slip_of_a_dragged_mass_against_scipy(self) -> None:
        """A spring pulled at a constant speed: the classic saw-tooth, its slips as long as SciPy finds them."""

        class Dragged(Diagram):
            def __init__(self) -> None:
                self.hand, self.mass = Ramp(slope=0.1), StickSlip(coulomb=1.0, static=2.0)
                self.mass.force = 5.0 * (self.hand.y - self.mass.x)

        run = simulate(Dragged(), 12, solver=FINE)
        away = [t for _, t, path in run.events if path == "mass.breakaway"]
        stops = [t for _, t, path in run.events if path == "mass.stop"]
        close(away[0], 4.0, 1e-9)  # 5 * 0.1 t = 2

        def motion(t: float, y: np.ndarray) -> list[float]:
            return [y[1], 5.0 * (0.1 * t - y[0]) - 1.0]

        def stopped(t: float, y: np.ndarray) -> float:
            return float(y[1]) if t > 4.1 else 1.0

        stopped.terminal = True  # type: ignore[attr-defined]
        slip = integrate.solve_ivp(motion, (4.0, 9.0), [0.0, 0.0], events=stopped, rtol=1e-11, atol=1e-12)
        close(stops[0], slip.t[-1], 1e-7)


U = torch.linspace(-3, 4, 71, dtype=F64)


class TestTables:
    X, Y = [-1.0, 0.5, 0.7, 3.0], [2.0, -1.0, 4.0, 4.5]

    def test_extended_ends_go_on_as_lines(self) -> None:
        block = Lookup1D("extend", breaks=self.X, table=self.Y)
        found = simulate(block, 0, inputs={"u": U})["y"].values[:, 0]
        wanted = interpolate.interp1d(self.X, self.Y, fill_value="extrapolate")(U.numpy())
        close(found, wanted)

    def test_a_vector_is_read_element_by_element(self) -> None:
        u = np.array([-2.0, 0.1, 0.6, 9.0])
        close(fed(Lookup1D(breaks=self.X, table=self.Y), u=u), np.interp(u, self.X, self.Y))

    @pytest.mark.parametrize("beyond", ["clip", "extend"])
    def test_three_directions_against_scipy(self, beyond: str) -> None:
        axes = [[0.0, 1.0, 4.0], [-1.0, 0.0, 0.5, 2.0], [1.0, 2.0]]
        rng = np.random.default_rng(0)
        table, u = rng.normal(size=(3, 4, 2)), rng.uniform(-2, 5, size=(200, 3))

        class Map(Diagram):
            y = Output()

            def __init__(self) -> None:
                self.u = [Constant() for _ in range(3)]
                self.map = LookupND(axes, table, beyond)
                self.map.u = [source.y for source in self.u]
                self.y = self.map.y

        model = Map()
        y = simulate(model, 0, set={s.value: torch.as_tensor(u[:, k]) for k, s in enumerate(model.u)})["y"].at(0)
        reference = interpolate.RegularGridInterpolator(axes, table, bounds_error=False, fill_value=None)
        inside = np.clip(u, [a[0] for a in axes], [a[-1] for a in axes]) if beyond == "clip" else u
        close(y, reference(inside), 1e-11)

    def test_two_directions_extended_against_scipy(self) -> None:
        xs, ys, table = [0.0, 1.0, 4.0], [-1.0, 0.0, 2.0], np.arange(9.0).reshape(3, 3) ** 2
        u = np.random.default_rng(0).uniform(-3, 6, (100, 2))
        block = Lookup2D("extend", x_breaks=xs, y_breaks=ys, table=table)
        inputs = {"x": torch.as_tensor(u[:, 0]), "y": torch.as_tensor(u[:, 1])}
        reference = interpolate.RegularGridInterpolator((xs, ys), table, bounds_error=False, fill_value=None)
        close(simulate(block, 0, inputs=inputs)["z"].at(0), reference(u), 1e-11)

    def test_bad_tables_are_refused(self) -> None:
        with pytest.raises(ModelError, match=r"Lookup1D\.breaks: \[0\.0, 0\.0\]"):
            Lookup1D(breaks=[0.0, 0.0], table=[1.0, 2.0])
        with pytest.raises(ModelError, match="did you mean: extend"):
            Lookup1D("extent", breaks=[0.0, 1.0], table=[1.0, 2.0])
        with pytest.raises(ModelError, match=r"a table of \(2, 2\)"):
            LookupND([[0.0, 1.0], [0.0, 1.0, 2.0]], [[0.0, 1.0], [0.0, 1.0]])


class TestRouting:
    def test_mux_and_select(self) -> None:
        class Model(Diagram):
            y, row = Output(), Output()

            def __init__(self, index: int) -> None:
                self.mux, self.element, self.rows = Mux(), Select(), Select()
                self.mux.u = [1.0, torch.tensor([2.0, 3.0])]
                self.element.u, self.element.index = self.mux.y, index
                self.rows.u, self.rows.index = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), index
                self.y, self.row = self.element.y, self.rows.y

        for index, wanted, row in ((-5, 1, [1, 2]), (0, 1, [1, 2]), (1, 2, [3, 4]), (2, 3, [3, 4]), (9, 3, [3, 4])):
            run = simulate(Model(index), 0)
            close(run["y"].at(0), [wanted])
            close(run["row"].at(0), [row])


class TestBacklash:
    def test_against_a_loop_in_python(self) -> None:
        u = np.random.default_rng(0).normal(size=50).cumsum().tolist()
        y, wanted = 0.3, []
        for value in u:
            y = value - 0.4 if y < value - 0.4 else value + 0.4 if y > value + 0.4 else y
            wanted.append(y)
        close(ticks(Backlash(width=0.8, start=0.3, period=1), 49, u=u), wanted)

    def test_a_finer_period_changes_nothing_while_u_does_not_turn(self) -> None:
        def last(period: float) -> Tensor:
            model = Driven(Playback([0.0, 1.0, 2.0], [0.0, 3.0, 1.0]), Backlash(width=1.0, period=period), "u")
            return simulate(model, 2)["block.y"].at(2)

        close(last(1.0), [1.5])
        close(last(0.01), [1.5])


class TestLogic:
    def test_equal_and_within(self) -> None:
        wanted = [False, True, True, False]
        assert [bool(fed(Equal(tolerance=0.5), a=1.0, b=b)) for b in (0.4, 0.5, 1.5, 1.6)] == wanted
        assert [bool(fed(Within(low=-1.0, high=2.0), u=u)) for u in (-1.1, -1.0, 2.0, 2.1)] == wanted

    @pytest.mark.parametrize(
        ("kind", "start", "wanted"),
        [("rising", False, [1, 0, 0, 1, 0]), ("rising", True, [0, 0, 0, 1, 0]), ("falling", True, [0, 0, 1, 0, 1]),
         ("either", False, [1, 0, 1, 1, 1])],
    )  # fmt: skip
    def test_edges(self, kind: str, start: bool, wanted: list[int]) -> None:
        found = ticks(Edge(kind, start=start, period=1), 4, u=[True, True, False, True, False])
        assert found == list(map(bool, wanted))

    def test_edge_of_another_kind_is_refused(self) -> None:
        with pytest.raises(ModelError, match="did you mean: rising"):
            Edge("risng")

    def test_latch_lets_off_win(self) -> None:
        on, off = [False, True, False, True, False], [False, False, False, True, False]
        assert ticks(Latch(period=1), 4, on=on, off=off) == [False, True, True, False, False]
        assert ticks(Latch(start=True, period=1), 0, on=False, off=False) == [True]

    def test_counter(self) -> None:
        count, reset = [True, False, True, True, True, True], [False, False, False, True, False, False]
        assert ticks(Counter(period=1), 5, count=count, reset=reset) == [1, 1, 2, 1, 2, 3]
        assert ticks(Counter(modulo=2, period=1), 5, count=True) == [1, 0, 1, 0, 1, 0]
        assert ticks(Counter(modulo=2, period=1), 3, "wrapped", count=True) == [False, True, False, True]

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.booleans(), min_size=3, max_size=25), st.integers(0, 4))
    def test_debounce_shows_only_what_has_lasted(self, u: list[bool], wait: int) -> None:
        wanted, shown, since = [], False, 0
        for k, value in enumerate(u):
            since = k if value != ([False, *u][k]) else since
            shown = value if k - since >= wait else shown
            wanted.append(shown)
        block = Debounce(wait=0.1 * wait, period=0.1)
        times = [round(0.1 * k, 1) for k in range(len(u))]
        run = simulate(block, times[-1], inputs={"u": (times, u)})
        assert run["y"].values[0].tolist() == wanted


class Gps(Bus):
    position = Input(shape=(2,), unit="m")
    valid = Input(dtype="bool")


class Vehicle(Bus):
    speed = Input(unit="m/s")
    gps = Gps.input()
    gear = Input(dtype="int64")


class Sender(Diagram):
    vehicle = Vehicle.output()

    def __init__(self, speed: Any = 20.0) -> None:
        self.gps, self.packed = Gps(), Vehicle()
        self.gps.position, self.gps.valid = torch.tensor([3.0, 4.0]), True
        self.packed.speed, self.packed.gps, self.packed.gear = speed, self.gps.bus, 5
        self.vehicle = self.packed.bus


class Receiver(Diagram):
    vehicle = Vehicle.input()
    speed, north, valid, both = Output(unit="m/s"), Output(), Output(), Output()

    def __init__(self) -> None:
        self.speed, self.north = self.vehicle.speed, self.vehicle.gps.position[1]
        self.valid, self.both = self.vehicle.gps.valid, self.vehicle.gps.position


class Link(Diagram):
    def __init__(self, speed: Any = 20.0) -> None:
        self.sender, self.hold, self.receiver = Sender(speed), Hold(period=0.1), Receiver()
        self.hold.u = self.sender.vehicle
        self.receiver.vehicle = self.hold.y


class Across(Diagram):
    """Reads the bus of another diagram, and one that was held."""

    speed, held, north = Output(), Output(), Output()

    def __init__(self) -> None:
        self.sender, self.hold = Sender(), Hold(period=0.1)
        self.hold.u = self.sender.vehicle
        self.speed, self.held = self.sender.vehicle.speed, Vehicle.read(self.hold.y).speed
        self.north = Gps.read(self.sender.vehicle.gps).position[1]


class TestBus:
    def test_fields_come_out_as_they_went_in(self) -> None:
        run = simulate(Link(), 0.1, record=["receiver.speed", "receiver.north", "receiver.valid", "receiver.both"])
        close(run["receiver.speed"].at(0.1), [20.0])
        close(run["receiver.north"].at(0.1), [4.0])
        close(run["receiver.both"].at(0.1), [[3.0, 4.0]])
        assert run["receiver.valid"].at(0.1).tolist() == [True]

    def test_a_bus_is_read_across_diagrams_and_after_a_hold_and_can_be_pickled(self) -> None:
        run = simulate(pickle.loads(pickle.dumps(Across())), 0, record=["speed", "held", "north"])
        assert [float(run[name].at(0)) for name in ("speed", "held", "north")] == [20.0, 20.0, 4.0]

    def test_a_field_may_not_hide_what_ports_have(self) -> None:
        with pytest.raises(ModelError, match="'unit', which every port has"):

            class Wrong(Bus):
                unit = Input()

    def test_layout(self) -> None:
        assert Vehicle.size() == 5
        assert Vehicle.layout() == {"speed": slice(0, 1), "gps": slice(1, 4), "gear": slice(4, 5)}

    def test_unknown_fields_are_errors_with_the_near_names(self) -> None:
        for signal in (Link().sender.vehicle, Vehicle.read(Link().hold.y), Link().receiver.vehicle):
            with pytest.raises(ModelError, match=r"the bus Gps: no field 'positon'[\s\S]*did you mean: position"):
                signal.gps.positon  # noqa: B018
            assert not hasattr(signal, "positon")

        class Wrong(Diagram):
            def __init__(self) -> None:
                self.gps = Gps()
                self.gps.positon, self.gps.valid = torch.tensor([3.0, 4.0]), True

        with pytest.raises(ModelError, match=r"no port 'positon'[\s\S]*did you mean: position"):
            simulate(Wrong(), 0)

    def test_unwired_misshapen_and_wrong_buses_are_errors(self) -> None:
        class Forgotten(Diagram):
            def __init__(self) -> None:
                self.gps = Gps()
                self.gps.position = torch.tensor([3.0, 4.0])

        with pytest.raises(ModelError, match=r"gps\.valid: not connected"):
            simulate(Forgotten(), 0)
        with pytest.raises(ModelError, match=r"sender\.packed\.speed: driven by"):
            simulate(Link(torch.tensor([1.0, 2.0])), 0)
        with pytest.raises(ModelError, match="the bus Vehicle"):
            Gps.read(Link().sender.packed.bus)


class Heater(StateMachine):
    states = "idle", "heating", "fault"
    temperature, repair = Input(unit="degC"), Input(dtype="bool", default=False)
    power, entries = Output(unit="W"), Output(dtype="int64", initial=0)
    heated = State(0, dtype="int64")
    limit: Param = Param(0.5, unit="s")

    tired = transition("heating", "fault", after=limit)

    @transition("idle", "heating")
    def cold(self, temperature):  # type: ignore[no-untyped-def]
        return temperature < 18.0

    @transition("heating", "idle", after=0.2)
    def warm(self, temperature):  # type: ignore[no-untyped-def]
        return temperature > 22.0

    @transition("fault", "idle")
    def repaired(self, repair):  # type: ignore[no-untyped-def]
        return repair

    @on_entry("heating")
    def start(self, entries):  # type: ignore[no-untyped-def]
        return dict(power=1000.0, entries=entries + 1)

    @during("heating")
    def count(self, heated, elapsed):  # type: ignore[no-untyped-def]
        return dict(heated=heated + 1, power=1000.0 + 100.0 * elapsed)

    @on_exit("heating")
    def stop(self):  # type: ignore[no-untyped-def]
        return dict(power=0.0)


def heated(temperature: list[float], **inputs: Any) -> Any:
    times = [round(0.1 * k, 1) for k in range(len(temperature))]
    return simulate(Heater(period=0.1), times[-1], inputs={"temperature": (times, temperature), **inputs})


class TestStateMachine:
    def test_it_enters_its_first_state_at_the_first_tick_and_then_follows_its_conditions(self) -> None:
        run = heated([15, 15, 15, 23, 23, 23, 20])
        assert run["active"].values[0].tolist() == [0, 1, 1, 0, 0, 0, 0]

    def test_after_counts_seconds_from_the_entry(self) -> None:
        """Entered at 0.1; warm from 0.2 on, but it stays for 0.2 s: until 0.3."""
        assert heated([15, 15, 23, 23, 23])["active"].values[0].tolist() == [0, 1, 1, 0, 0]

    def test_the_first_transition_that_holds_is_taken(self) -> None:
        """Both the fault after 0.5 s and the warmth hold at 0.6: the fault was declared first."""
        run = heated([15] * 6 + [23] * 3)
        assert run["active"].values[0].tolist() == [0, 1, 1, 1, 1, 1, 2, 2, 2]

    def test_actions_on_entry_during_and_exit(self) -> None:
        run = heated([15, 15, 15, 15, 23, 23, 15])
        assert run["active"].values[0].tolist() == [0, 1, 1, 1, 0, 0, 1]
        close(run["power"].values[0], [0, 1000, 1010, 1020, 0, 0, 1000])
        assert run["entries"].values[0].tolist() == [0, 1, 1, 1, 1, 1, 2]
        assert run.final["heated"].tolist() == [2]

    def test_every_lane_is_in_a_state_of_its_own(self) -> None:
        model = Heater(period=0.1)
        limit = torch.tensor([0.3, 0.5, 9.0], dtype=F64)
        run = simulate(model, 0.9, set={model.limit: limit}, inputs={"temperature": 15.0})
        wanted = [[0] + [1] * n + [2] * (9 - n) for n in (3, 5, 9)]
        assert run["active"].values.tolist() == wanted
        for k in range(3):
            alone = simulate(model, 0.9, set={model.limit: limit[k : k + 1]}, inputs={"temperature": 15.0})
            assert torch.equal(alone["power"].values[0], run["power"].values[k])

    def test_times_are_exact_in_float32(self) -> None:
        found = []
        for dtype in (torch.float32, torch.float64):
            run = simulate(Heater(period=0.1, limit=0.3), 0.9, inputs={"temperature": 15.0}, dtype=dtype)
            found.append(run["active"].values[0].tolist())
        assert found[0] == found[1] == [0, 1, 1, 1, 2, 2, 2, 2, 2, 2]

    @settings(max_examples=25, deadline=None)
    @given(
        rules=st.lists(
            st.tuples(st.integers(-1, 3), st.integers(0, 3), st.integers(0, 2), st.integers(0, 3), st.integers(1, 5)),
            min_size=1, max_size=7,
        ),
        u=st.lists(st.integers(0, 2), min_size=12, max_size=12),
    )  # fmt: skip
    def test_random_machines_against_a_loop_in_python(self, rules: list[tuple[int, ...]], u: list[int]) -> None:
        """A rule is (source or -1 for any, target, the u it waits for, after and before in ticks)."""
        names: tuple[str, ...] = ("a", "b", "c", "d")
        members: dict[str, Any] = {}

        def equals(value: int) -> Any:
            return lambda self, u: (u > value - 0.5) & (u < value + 0.5)

        def writes(factor: int, number: int) -> Any:
            return lambda self, log: dict(log=factor * log % 10007 + number)

        for k, (source, target, value, after, before) in enumerate(rules):
            start = "*" if source < 0 else names[source]
            rule = transition(start, names[target], after=0.1 * after, before=0.1 * before)
            members[f"rule{k}"] = rule(equals(value))
        for k, name in enumerate(names):
            members[f"in{k}"] = on_entry(name)(writes(3, 2 * k))
            members[f"out{k}"] = on_exit(name)(writes(5, 2 * k + 1))
            members[f"stay{k}"] = during(name)(writes(7, k))
        kind = type("Machine", (StateMachine,), {"states": names, "u": Input(), "log": State(1.0), **members})
        times = [round(0.1 * k, 1) for k in range(len(u))]
        run = simulate(kind(period=0.1), times[-1], inputs={"u": (times, [float(x) for x in u])})
        state, since, log, wanted = 0, 0, 3 * 1 % 10007, [0]
        for now, value in list(enumerate(u))[1:]:
            for source, target, wait, after, before in rules:
                here = target != state if source < 0 else source == state
                if here and value == wait and after <= now - since < before:
                    log = 3 * (5 * log % 10007 + 2 * state + 1) % 10007 + 2 * target
                    state, since = target, now
                    break
            else:
                log = 7 * log % 10007 + state
            wanted.append(state)
        assert run["active"].values[0].tolist() == wanted
        assert run.final["log"].tolist() == [log]

    def test_before_and_any_state(self) -> None:
        class Door(StateMachine):
            states = "shut", "open", "alarm"
            push, fire = Input(dtype="bool"), Input(dtype="bool", default=False)

            @transition("*", "alarm")
            def burning(self, fire):  # type: ignore[no-untyped-def]
                return fire

            @transition("shut", "open", before=0.3)
            def pushed(self, push):  # type: ignore[no-untyped-def]
                return push

        def states(push: list[bool], fire: list[bool]) -> Any:
            times = [round(0.1 * k, 1) for k in range(len(push))]
            inputs = {"push": (times, push), "fire": (times, fire)}
            return simulate(Door(period=0.1), times[-1], inputs=inputs)["active"].values[0].tolist()

        never = [False] * 6
        assert states([False, False, True, False, False, False], never) == [0, 0, 1, 1, 1, 1]
        assert states([False, False, False, True, True, True], never) == [0] * 6  # too late: not before 0.3
        assert states(never, [False, False, True, True, False, False]) == [0, 0, 2, 2, 2, 2]

    def test_several_sources_and_a_way_back_to_the_same_state(self) -> None:
        class Lamp(StateMachine):
            states = "red", "green", "off"
            kick, out = Input(dtype="bool"), Input(dtype="bool")
            n = Output()
            swap = transition("red", "green", after=0.2)

            @transition(("red", "green"), "off")
            def stop(self, out):  # type: ignore[no-untyped-def]
                return out

            @transition("green", "green")
            def again(self, kick):  # type: ignore[no-untyped-def]
                return kick

            @on_entry("green")
            def count(self, n):  # type: ignore[no-untyped-def]
                return dict(n=n + 1)

        times = [round(0.1 * k, 1) for k in range(7)]
        kick, out = [False, False, False, True, True, False, False], [False] * 5 + [True, True]
        run = simulate(Lamp(period=0.1), 0.6, inputs={"kick": (times, kick), "out": (times, out)})
        assert run["active"].values[0].tolist() == [0, 0, 1, 1, 1, 2, 2]
        assert run["n"].values[0].tolist() == [0, 0, 1, 2, 3, 3, 3]

    def test_actions_set_no_inputs_and_nothing_of_the_machine_s_own(self) -> None:
        for name in ("u", "present", "active"):

            class Meddling(StateMachine):
                states = ("idle",)
                u = Input(default=0.0)
                stolen = name

                @during("idle")
                def act(self, u):  # type: ignore[no-untyped-def]
                    return {self.stolen: u}

            with pytest.raises(ModelError, match=f"returned '{name}'"):
                simulate(Meddling(period=1), 0)

    def test_within_is_a_condition_for_others(self) -> None:
        class Model(Diagram):
            hot = Output()

            def __init__(self) -> None:
                self.heater = Heater(period=0.1)
                self.heater.temperature = 15.0
                self.hot = self.heater.within("heating", "fault")

        assert simulate(Model(), 0.2, record="hot")["hot"].values[0].tolist() == [False, True, True]
        with pytest.raises(ModelError, match="did you mean: heating"):
            Heater(period=0.1).within("heatng")

    def test_misspelt_states_and_names_are_errors(self) -> None:
        with pytest.raises(ModelError, match=r"Wrong\.go: no state 'hetaing'[\s\S]*did you mean: heating"):

            class Wrong(StateMachine):
                states = "idle", "heating"
                go = transition("idle", "hetaing", after=1.0)

        with pytest.raises(ModelError, match=r"reads 'temprature'[\s\S]*did you mean: temperature"):

            class Unknown(StateMachine):
                states = "idle", "heating"
                temperature = Input()

                @transition("idle", "heating")
                def cold(self, temprature):  # type: ignore[no-untyped-def]
                    return temprature < 0

        class Returned(StateMachine):
            states = ("idle",)
            power = Output()

            @during("idle")
            def act(self):  # type: ignore[no-untyped-def]
                return dict(pwoer=1.0)

        with pytest.raises(ModelError, match=r"returned 'pwoer'[\s\S]*did you mean: power"):
            simulate(Returned(period=1), 0)

    def test_a_subclass_adds_states_and_transitions(self) -> None:
        class Careful(Heater):
            states = (*Heater.states, "off")
            off = transition("fault", "off", after=0.1)

        run = simulate(Careful(period=0.1), 0.9, inputs={"temperature": 15.0})
        assert run["active"].values[0].tolist() == [0, 1, 1, 1, 1, 1, 2, 3, 3, 3]


def test_a_pulse_counted_by_its_edges() -> None:
    class Model(Diagram):
        n = Output()

        def __init__(self) -> None:
            self.pulse, self.step = Pulse(cycle=0.4, duty=0.5), Step(at=1.0)
            self.edge, self.counter = Edge(period=0.1), Counter(period=0.1)
            self.edge.u = self.pulse.y > 0.5
            self.counter.count, self.counter.reset = self.edge.y, self.step.y > 0.5
            self.n = self.counter.y

    run = simulate(Model(), 1.3, record="n")
    assert run["n"].values[0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 0, 0, 1, 0]
