"""Wires over buses without tasks: against latency= and a hold, loss, arbitration, ages, borders, send on delta."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from simdl import RK4, Diagram, Input, Output, simulate, stack
from simdl.blocks import PI, Gain, Hold
from simdl.computer import CAN, TDMA, Frames, Ideal, Link, Loss, Processor, SwitchedEthernet, Task, Traffic
from simdl.errors import ModelError
from tests.computer_loop import Lag

ENGINES = ("torch", "native")
STEP = RK4(max_step="5 ms")


class Loop(Diagram):
    """A controller that reads the plant, or a hold of it with a latency."""

    y, seen = Output(), Output()

    def __init__(self, hold: Hold | None = None) -> None:
        self.plant = Lag()
        self.pi = PI(period="20 ms")
        y = self.plant.y
        if hold is not None:
            self.hold = hold
            self.hold.u = y
            y = self.hold.y
        self.pi.e = 1.0 - y
        self.plant.u = self.pi.u
        self.y = self.plant.y
        self.probe = Gain(k=1.0)
        self.probe.u = y
        self.seen = self.probe.y


def run(model: Diagram, **options):
    return simulate(model, **{"until": 0.3, "every": "1 ms", "solver": STEP, **options})


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_delay_a_link_is_a_hold_bit_for_bit(engine):
    link = Traffic([Link("plant.y", Ideal("wire"), period="10 ms")]).on(Loop(), horizon=1)
    options = {"engine": engine}
    found, wanted = run(link, **options), run(Loop(Hold(period="10 ms")), **options)
    assert torch.equal(found["seen"].values, wanted["seen"].values)
    assert torch.equal(found["y"].values, wanted["y"].values)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_constant_delay_is_a_latency(engine):
    link = Traffic([Link("plant.y", Ideal("wire", delay="7 ms"), period="10 ms")]).on(Loop(), horizon=1)
    options = {"engine": engine}
    found, wanted = run(link, **options), run(Loop(Hold(period="10 ms", latency="7 ms")), **options)
    assert torch.allclose(found["seen"].values, wanted["seen"].values, rtol=0, atol=1e-10)
    assert torch.allclose(found["y"].values, wanted["y"].values, rtol=0, atol=1e-10)
    assert float(found["y"].values.max()) > 0.1


def test_a_link_to_one_input_leaves_the_others_and_carries_formulas():
    """ "pi.e" is 1 - y: that is what is sent; the probe goes on reading the plant itself."""
    link = Traffic([Link("pi.e", Ideal("wire", delay="7 ms"), period="20 ms", initial=0.25)]).on(Loop(), horizon=1)
    found = run(link, record=["pi_e_link.y", "plant.y", "seen"])
    assert torch.equal(found["seen"].values, found["plant.y"].values)
    shown, y = found["pi_e_link.y"].values[0].numpy(), found["plant.y"].values[0].numpy()
    assert (shown[:7] == 0.25).all()
    assert np.allclose(shown[7:], np.repeat(1 - y[::20], 20)[: len(shown) - 7], rtol=0, atol=1e-12)


def test_a_lossy_link_holds_the_last_value_that_arrived():
    traffic = Traffic([Link("plant.y", Ideal("radio", delay="2 ms", faults=(Loss(0.4),)), period="10 ms")])
    found = run(traffic.on(Loop(), horizon=1), record=["plant_y_link.y", "plant_y_link_age.age", "plant.y"], lanes=3,
                seed=5, until=1)  # fmt: skip
    for lane in range(3):
        history = traffic.computer.schedule(1, seed=5, lane=lane)
        arrived = [message.captured // 10**6 for message in history.messages if not message.lost]
        assert 40 < len(arrived) < 80
        t = np.arange(1001)
        newest = np.array([max((c for c in arrived if c + 2 <= now), default=-1) for now in t])
        y, shown = found["plant.y"].values[lane].numpy(), found["plant_y_link.y"].values[lane].numpy()
        assert np.allclose(shown, np.where(newest < 0, 0.0, y[newest]), rtol=0, atol=1e-12)
        age = found["plant_y_link_age.age"].values[lane].numpy()
        assert np.allclose(age[newest >= 0], (t - newest)[newest >= 0] / 1000, rtol=0, atol=1e-9)


def test_two_links_on_one_can_go_by_their_identifiers():
    """Both are sampled every 10 ms; a frame of 8 bytes has 135 bits, 270 us at 500 kbit/s."""
    can = CAN("can")
    for first, second in (("plant.y", "pi.u"), ("pi.u", "plant.y")):
        traffic = Traffic([
            Link(second, can, period="10 ms", identifier=9), Link(first, can, period="10 ms", identifier=3),
        ])  # fmt: skip
        history = traffic.computer.schedule("25 ms")
        assert history.accesses(f"{first.replace('.', '_')}_link")[1].tolist() == [270_000, 10_270_000, 20_270_000]
        assert history.accesses(f"{second.replace('.', '_')}_link")[1].tolist() == [540_000, 10_540_000, 20_540_000]
    assert run(traffic.on(Loop(), horizon=1))["y"].values.max() > 0.1


def test_other_frames_and_tasks_are_on_the_same_bus():
    """A frame of others that began at 9.9 ms is sent to its end; the link of the lowest priority waits for three."""
    can, cpu = CAN("can"), Processor("cpu")
    traffic = Traffic([
        Link("plant.y", can, period="10 ms", identifier=100),
        Frames("began", can, arrivals=["9.9 ms"], identifier=200),
        Frames("a", can, period="10 ms", identifier=1),
        Frames("b", can, period="10 ms", identifier=2, bits=8),
    ], tasks=[Task("control", cpu, period="20 ms", execution="1 ms", runs=["pi"])])  # fmt: skip
    history = traffic.computer.schedule("15 ms")
    short = (47 + 8 + 41 // 4) * 2000
    wanted = [270_000 + short + 270_000, 9_900_000 + 270_000 + 270_000 + short + 270_000]
    assert history.accesses("plant_y_link")[1].tolist() == wanted
    model = traffic.on(Loop(), horizon=1)
    assert run(model, record=["pi.captured"])["pi.captured"].values.max() > 0.25


def test_senders_are_nodes_and_buses_of_every_kind_carry_wires():
    tdma = TDMA("tdma", slots=("plant", "controller"), slot="1 ms")
    node = Processor("plant", offset="-5 ms")
    traffic = Traffic([
        Link("plant.y", tdma, period="20 ms", sender=node),
        Link("pi.u", tdma, period="20 ms", sender="controller", trigger=None),
        Link("probe.u", SwitchedEthernet("eth"), period="10 ms", sender="plant", to="probe"),
    ])  # fmt: skip
    history = traffic.computer.schedule("60 ms")
    reads, writes, _ = history.accesses("plant_y_link")
    assert reads.tolist() == [5_000_000, 25_000_000, 45_000_000]  # the node's clock is 5 ms behind
    assert writes.tolist() == [6_064_000, 26_064_000, 46_064_000]  # it waits for an even slot; 64 bits at 1 Mbit/s
    assert history.accesses("pi_u_link")[1].tolist() == [1_064_000, 21_064_000, 41_064_000]
    assert history.accesses("probe_u_link")[1][0] - history.accesses("probe_u_link")[0][0] == 2 * 8 * 72 * 10


def test_a_link_can_answer_another_one():
    """What pi has computed is sent when the measurement arrives."""
    can = CAN("can")
    traffic = Traffic([Link("plant.y", can, period="20 ms"), Link("pi.u", can, trigger="plant.y")])
    history = traffic.computer.schedule("50 ms")
    assert history.accesses("pi_u_link")[0].tolist() == history.accesses("plant_y_link")[1].tolist()
    assert run(traffic.on(Loop(), horizon=1))["y"].values.max() > 0.1


class Car(Diagram):
    speed, force = Output(), Input()

    def __init__(self) -> None:
        self.body = Lag()
        self.body.u = self.force
        self.speed = self.body.y


class Controlled(Diagram):
    speed = Output()

    def __init__(self) -> None:
        self.car, self.pi = Car(), PI(period="20 ms")
        self.pi.e = 1.0 - self.car.speed
        self.car.force = self.pi.u
        self.speed = self.car.speed


@pytest.fixture(scope="module")
def held():
    """The loop whose controller reads a hold with a latency of 7 ms."""
    return run(Loop(Hold(period="20 ms", latency="7 ms")))["y"].values


@pytest.mark.parametrize("wire", ["car.speed", "car.body.y", "pi.e"])
def test_a_wire_is_found_through_the_borders_of_diagrams(wire, held):
    bus = Ideal("wire", delay="7 ms")
    model = Traffic([Link(wire, bus, period="20 ms", initial=1.0 if wire == "pi.e" else 0.0)]).on(Controlled(), 1)
    assert torch.allclose(run(model)["speed"].values, held, rtol=0, atol=1e-10)


@pytest.mark.parametrize("wire", ["car.force", "car.body.u", "pi.u"])
def test_both_ends_of_a_wire_name_it(wire):
    model = Traffic([Link(wire, Ideal("wire", delay="7 ms"), period="20 ms")]).on(Controlled(), horizon=1)
    found = run(model)["speed"].values[0].numpy()
    assert (found[:8] == 0).all() and found[8] > 0


def test_what_has_not_changed_by_delta_is_not_sent():
    """A ramp is sent at the first multiple of the period at which it has moved by delta."""

    class Rising(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.plant, self.probe = Lag(), Gain(k=1.0)
            self.plant.u = 1.0 + self.plant.y  # y' = 1
            self.probe.u = self.plant.y
            self.y = self.probe.y

    link = Link("probe.u", Ideal("wire", delay="1 ms"), period="10 ms", delta=0.0349)
    model = Traffic([link]).on(Rising())
    found = run(model, until=0.2)["y"].values[0].numpy()
    sent = np.arange(5) * 0.04
    wanted = sent[np.maximum(np.searchsorted(sent + 0.001, np.arange(201) / 1000 + 1e-6) - 1, 0)]
    assert np.allclose(found, wanted, rtol=0, atol=1e-9)
    with pytest.raises(ModelError, match="horizon"):
        Traffic([Link("probe.u", Ideal("wire"), period="10 ms")]).on(Rising())


class Wide(Diagram):
    y = Output((2,))

    def __init__(self) -> None:
        self.plant, self.far = Lag(), Gain(k=2.0)
        self.plant.u = 1.0
        self.far.u = stack(self.plant.y, 1.0 - self.plant.y)
        self.y = self.far.y


def test_vectors_and_pickles_go_over_a_link():
    model = Traffic([Link("far.u", Ideal("wire", delay="3 ms"), period="10 ms", initial=[5.0, 6.0])]).on(Wide(), 1)
    found = run(model)["y"].values
    assert found.shape == (1, 301, 2) and found[0, 0].tolist() == [10.0, 12.0]
    assert torch.allclose(found[0, 4:].sum(1), torch.full((297,), 2.0, dtype=torch.float64))
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(run(again)["y"].values, found)


def test_what_cannot_be_linked_is_said():
    wire = Ideal("wire")

    def on(*links):
        Traffic(links).on(Loop(), horizon=1)

    for link, said in (
        (Link("plant.z", wire, period=1), "no such wire"),
        (Link("plant", wire, period=1), "no such wire"),
        (Link("seen", wire, period=1), "the whole diagram"),
        (Link("pi.kp", wire, period=1), "no such wire"),
        (Link("probe.y", wire, period=1), "no block reads it"),
        (Link("plant.y", wire), "one of period"),
        (Link("plant.y", wire, period=1, trigger="x"), "one of period"),
        (Link("plant.y", "wire", period=1), "a bus"),
        (Link("plant.y", wire, delta=0.1), "a period"),
        ("plant.y", "a Link"),
    ):
        with pytest.raises(ModelError, match=said):
            on(link)
    with pytest.raises(ModelError, match="two links"):
        on(Link("plant.y", wire, period=1), Link("plant.y", wire, period=2))
