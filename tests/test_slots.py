"""Slots: one's own network in a stock loop, the stock loop untouched, and one error with the adapter to paste."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simdl import Block, Diagram, Input, Output, Param, State, compile_model, derivative, output, simulate, tick
from simdl.errors import NetworkError
from simdl.networks import Feature, ModelCard, Network, Recurrent, save
from simdl.slots import Place, Slot, fill, filling, slots_of, swap

SENSOR = Slot(
    "sensor", inputs={"voltage": Input(unit="V"), "current": Input(unit="A")},
    outputs={"soc": Output(), "ok": Output(dtype="bool")}, period="1 s", defaults={"ok": True},
)  # fmt: skip


class Cell(Block):
    """A cell of 2 A s that loses charge at 1 A."""

    soc = State(0.9)
    load: Param = Param(1.0, unit="A")

    @derivative(soc)
    def discharge(self, load):
        return -0.05 * load

    @output(unit="V")
    def voltage(self, soc):
        return 3.0 + soc

    @output(unit="A")
    def current(self, load):
        return load


class Counting(Block):
    """Counts charge; reads no voltage."""

    current = Input(unit="A")
    soc = State(0.5)

    @tick
    def count(self, current, soc, dt):
        return dict(soc=soc - 0.05 * current * dt)


class Loop(Diagram):
    """A cell and an estimate of its charge; what is read outside is the slot's."""

    estimate, error, ok = Output(), Output(), Output()
    start: Param = Param(1.0)

    def __init__(self) -> None:
        self.cell = Cell(load=self.start)
        self.sensor = SENSOR.place(Counting(period="1 s"))
        self.sensor.voltage = self.cell.voltage
        self.sensor.current = self.cell.current
        self.estimate = self.sensor.soc
        self.error = self.sensor.soc - self.cell.soc
        self.ok = self.sensor.ok


class Exact(nn.Module):
    """The right answer for this cell: voltage - 3."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] - 3.0


def errors(model: Diagram) -> list[float]:
    run = simulate(model, until=4.0, every=1.0, record=["error"])
    return [round(float(e), 12) for e in run["error"].values[0]]


def test_swap_in_six_lines_and_the_stock_loop_stays_as_it_is() -> None:
    stock = Loop()
    mine = swap(stock, sensor=Network(Exact(), inputs=("voltage", "current"), outputs=("soc",), period="1 s"))
    assert errors(mine) == [0.0] * 5
    assert errors(stock) == [-0.4] * 5
    assert errors(swap(mine, sensor=Counting(period="1 s"))) == [-0.4] * 5
    assert errors(mine) == [0.0] * 5


def test_wires_and_readers_of_the_place_stay() -> None:
    stock = Loop()
    mine = swap(stock, sensor=Exact())
    assert str(mine.sensor.wires["soc"]) == "sensor.inside.soc" and str(mine.wires["estimate"]) == "sensor.soc"
    assert mine.sensor.inside.wires["voltage"] == mine.sensor.voltage and mine.sensor.parent is mine
    assert isinstance(mine.sensor, Place) and isinstance(stock.sensor.inside, Counting)
    assert type(mine) is Loop and mine.cell is not stock.cell


def test_a_module_alone_gets_the_ports_and_the_rate_of_the_slot() -> None:
    block = filling(swap(Loop(), sensor=Exact()))["sensor"]
    assert isinstance(block, Network) and str(block.clock) == "1 s" and block.voltage.unit == "V"


def test_a_recurrent_module_becomes_recurrent_and_its_ok_is_wired() -> None:
    class Sensor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 1)

        def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
            y, state = self.rnn(x, state)
            return self.head(y), state

    model = swap(Loop(), sensor=Sensor())
    assert isinstance(model.sensor.inside, Recurrent)
    assert str(model.sensor.wires["ok"]) == "sensor.inside.ok"
    warm = Recurrent(Sensor(), inputs=("voltage", "current"), outputs=("soc",), period="1 s", warmup="2.5 s")
    run = simulate(swap(Loop(), sensor=warm), until=4.0, every=1.0)
    assert run["ok"].values[0].bool().tolist() == [False, False, False, True, True]


def test_defaults_stand_for_outputs_that_a_network_lacks() -> None:
    run = simulate(Loop(), until=2.0, every=1.0)
    assert run["ok"].values[0].bool().all()


def test_weights_are_shared_and_state_is_not() -> None:
    net = Recurrent(nn.GRU(2, 3), head=nn.Linear(3, 1), inputs=("voltage", "current"), outputs=("soc",), period="1 s")
    one, two = swap(Loop(), sensor=net), swap(Loop(), sensor=net)
    assert one.sensor.inside is not two.sensor.inside
    assert one.sensor.inside.module is two.sensor.inside.module is net.module and net.parent is None
    assert errors(one) == errors(two)
    was = errors(one)
    with torch.no_grad():
        net.module["head"].bias += 1.0
    assert errors(one) == errors(two) == pytest.approx([error + 1 for error in was], abs=1e-6)


def test_parameters_of_the_diagram_still_reach_its_blocks() -> None:
    mine = swap(Loop(), sensor=Exact())
    run = simulate(mine, until=2.0, set={"start": 2.0})
    assert float(run.final["cell.soc"][0]) == pytest.approx(0.9 - 0.2, abs=1e-12)
    with_port = simulate(mine, until=2.0, set={mine.start: 2.0})
    assert torch.equal(run.final["cell.soc"], with_port.final["cell.soc"])


def test_a_diagram_fills_a_slot_and_may_have_clocks_of_its_own() -> None:
    class Fast(Diagram):
        voltage = Input(unit="V")
        soc = Output()

        def __init__(self) -> None:
            self.net = Network(nn.Identity(), inputs=("v",), outputs=("y",), period="100 ms")
            self.net.v = self.voltage
            self.soc = self.net.y - 3.0

    assert errors(swap(Loop(), sensor=Fast())) == [0.0] * 5


def test_slots_are_found_by_name_and_by_path_when_a_name_is_taken_twice() -> None:
    class Pair(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.front, self.rear = Loop(), Loop()
            self.y = self.front.estimate - self.rear.estimate

    assert list(slots_of(Loop())) == ["sensor"]
    pair = Pair()
    assert list(slots_of(pair)) == ["front.sensor", "rear.sensor"]
    mine = swap(pair, front__sensor=Exact())
    assert isinstance(mine.front.sensor.inside, Network) and isinstance(mine.rear.sensor.inside, Counting)
    with pytest.raises(NetworkError, match=r"no slot 'sensor'[\s\S]*front.sensor, rear.sensor"):
        swap(pair, sensor=Exact())


def test_an_unknown_slot_is_named_with_those_there_are() -> None:
    with pytest.raises(NetworkError, match=r"no slot 'senser'[\s\S]*did you mean: sensor"):
        swap(Loop(), senser=Exact())


def test_diagrams_with_slots_can_be_pickled() -> None:
    net = Recurrent(nn.GRU(2, 3), head=nn.Linear(3, 1), inputs=("voltage", "current"), outputs=("soc",), period="1 s")
    mine = pickle.loads(pickle.dumps(swap(Loop(), sensor=net)))
    assert slots_of(mine)["sensor"].clock == SENSOR.clock and len(errors(mine)) == 5


def test_a_place_is_pickled_without_what_a_run_compiled() -> None:
    loop = Loop()
    place = next(one for one in vars(loop).values() if isinstance(one, Place))
    vars(place)["_compiled"] = lambda: None  # as a run of it alone leaves one
    again = pickle.loads(pickle.dumps(loop))
    places = [one for one in vars(again).values() if isinstance(one, Place)]
    assert places and not any("_compiled" in vars(one) for one in places)


# -- the contract -----------------------------------------------------------------------------------------------------


def test_everything_that_does_not_fit_is_one_error() -> None:
    net = Network(
        nn.Linear(3, 1), outputs={"charge": Output(unit="%")}, period="2 s",
        inputs={"volts": Input(unit="mV"), "current": Input(unit="mA"), "temperature": Input(unit="degC")},
    )  # fmt: skip
    with pytest.raises(NetworkError) as caught:
        swap(Loop(), sensor=net)
    text = str(caught.value)
    for part in (
        "input volts [mV]: not offered; the slot has voltage [V], current [A]", "input current: in mA, the slot in A",
        "input temperature [degC]: not offered", "output soc: missing; it has charge",
        "rate: every 2 s, the slot runs every 1 s", "voltage [V], current [A] -> soc, ok every 1 s",
        "class Adapter(Diagram):", "self.network.current = self.current * 1e3",
        "swap(diagram, sensor=Adapter(network))",
    ):  # fmt: skip
        assert part in text, part


def test_the_proposed_adapter_can_be_pasted() -> None:
    class MilliVolts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, :1] / 1000 - 3.0) * 100

    net = Network(
        MilliVolts(), inputs={"voltage": Input(unit="mV"), "i": Input(unit="A")}, outputs={"charge": Output(unit="%")},
        period="1 s",
    )  # fmt: skip
    slot = Slot("sensor", SENSOR.inputs, {"soc": Output(unit="1"), "ok": Output()}, "1 s", defaults={"ok": True})
    with pytest.raises(NetworkError) as caught:
        fill(slot, net)
    text = str(caught.value).partition("adapter around it:\n")[2].partition("    swap(")[0]
    names: dict[str, Any] = {}
    exec("\n".join(line[4:] for line in text.splitlines() if "swap(" not in line), names)
    assert errors(swap(Loop(), sensor=names["Adapter"](net))) == pytest.approx([0.0] * 5, abs=1e-6)


def test_shapes_and_types_are_part_of_the_contract() -> None:
    slot = Slot("camera", {"image": Input(shape=(1, 4, 4), dtype="uint8")}, {"angle": Output(shape=())}, "1 s")
    good = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    assert isinstance(fill(slot, good), Network)
    net = Network(nn.Linear(3, 2), inputs={"image": Input(shape=(3,))}, outputs=("angle",), period="1 s")
    with pytest.raises(NetworkError, match=r"image: shape \(3,\), the slot \(1, 4, 4\)[\s\S]*angle: shape \(2,\)"):
        fill(slot, net)
    wrong = Network(good, inputs={"image": Input(shape=(1, 4, 4), dtype="bool")}, outputs=("angle",), period="1 s")
    with pytest.raises(NetworkError, match="image: bool, the slot uint8"):
        fill(slot, wrong)


def test_another_rate_is_allowed_only_when_asked_for() -> None:
    net = Network(Exact(), inputs=("voltage", "current"), outputs=("soc",), period="2 s")
    with pytest.raises(NetworkError, match="rate: every 2 s, the slot runs every 1 s"):
        swap(Loop(), sensor=net)
    assert errors(swap(Loop(), sensor=net, allow_rate=True)) == [0.0, 0.05, 0.0, 0.05, 0.0]


def test_a_module_that_does_not_fit_names_the_slot() -> None:
    with pytest.raises(NetworkError, match=r"slot sensor: Linear does not fit[\s\S]*voltage \[V\], current"):
        swap(Loop(), sensor=nn.Linear(5, 1))


@pytest.mark.parametrize(
    ("slot", "message"),
    [
        (lambda: Slot("a b", {"x": Input()}, {"y": Output()}), "the name 'a b'"),
        (lambda: Slot("s", {}, {"y": Output()}), "no inputs"),
        (lambda: Slot("s", {"x": Output()}, {"y": Output()}), "'x' is Output"),  # type: ignore[dict-item]
        (lambda: Slot("s", {"x": Input()}, {"y": Output()}, defaults={"z": 1.0}), "default for 'z'"),
        (lambda: SENSOR.place(3), "slot sensor: 3"),  # type: ignore[arg-type]
        (lambda: SENSOR.place(nn.GRU(2, 3, bidirectional=True)), "bidirectional"),
        (lambda: Slot("s", {"x": Input()}, {"y": Output()}).place(nn.Identity()), "without a period"),
    ],
)
def test_slots_that_cannot_be_are_refused(slot: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        slot()


# -- files and text ---------------------------------------------------------------------------------------------------


def card(**more: Any) -> ModelCard:
    return ModelCard(
        factory="mlp", kwargs={"inputs": 2, "outputs": 1, "hidden": [4]},
        inputs=(Feature(name="voltage", unit="V", mean=3.5, std=0.5), Feature(name="current", unit="A")),
        outputs=(Feature(name="soc", mean=0.5, std=0.1),), sample_time_ns=10**9, **more,
    )  # fmt: skip


def test_a_card_fills_a_slot_by_its_path(tmp_path: Path) -> None:
    from simdl.networks.architecture import mlp

    module = mlp(2, 1, hidden=[4])
    save(tmp_path / "net", module, card())
    save(tmp_path / "net.safetensors", module, card())
    direct = errors(swap(Loop(), sensor=Network(module, card=card())))
    for path in (tmp_path / "net", str(tmp_path / "net"), tmp_path / "net.safetensors", tmp_path / "net.json"):
        assert errors(swap(Loop(), sensor=path)) == direct


def test_a_card_of_another_rate_is_refused(tmp_path: Path) -> None:
    from simdl.networks.architecture import mlp

    save(tmp_path, mlp(2, 1, hidden=[4]), card().model_copy(update={"sample_time_ns": 2 * 10**9}))
    with pytest.raises(NetworkError, match="rate: every 2 s, the slot runs every 1 s"):
        swap(Loop(), sensor=tmp_path)
    assert str(filling(swap(Loop(), sensor=tmp_path, allow_rate=True))["sensor"].clock) == "1 s"


def test_an_exported_program_fills_a_slot(tmp_path: Path) -> None:
    module = nn.Linear(2, 1).eval()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 0.0]]))
        module.bias.fill_(-3.0)
    path = tmp_path / "mine.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(1, 2),)), path)  # for one lane only
    assert errors(swap(Loop(), sensor=path)) == pytest.approx([0.0] * 5, abs=1e-6)
    many = simulate(swap(Loop(), sensor=path), until=2.0, set={"start": torch.linspace(0, 1, 5).double()})
    assert many.final["cell.soc"].shape == (5,)


def test_a_factory_by_its_name_fills_a_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets_of_test.py").write_text(
        "from torch import nn\n"
        "class Exact(nn.Module):\n"
        "    def forward(self, x): return x[:, :1] - 3.0\n"
        "def build(): return Exact()\n"
        "def number(): return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    assert errors(swap(Loop(), sensor="my_nets_of_test:build")) == [0.0] * 5
    for text, message in (
        ("my_nets_of_test:bild", "did you mean: build"), ("my_nets_of_test:number", "returned int"),
        ("no_such_package:build", "cannot be imported"), ("bad name:build", "package:function"),
    ):  # fmt: skip
        with pytest.raises(NetworkError, match=message):
            swap(Loop(), sensor=text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.onnx", b"\x80\x04K\x01.", "is a Python pickle"), ("net.pt", b"PK\x03\x04", "is no archive"),
        ("net.pkl", b"\x80\x04K\x01.", "is a Python pickle"), ("gone.pt2", None, "no such file"),
        ("net.safetensors", b"\x80\x04K\x01.", "is a Python pickle"),
        ("net.pt2", b"\x80\x04K\x01.", "is a Python pickle"),
    ],
)  # fmt: skip
def test_files_that_are_no_networks_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(NetworkError, match=message):
        swap(Loop(), sensor=tmp_path / name)


def test_describe_shows_what_is_in_the_slot() -> None:
    assert "sensor.inside" in compile_model(swap(Loop(), sensor=Exact())).describe()


SEER = Slot("seer", inputs={"image": Input((2, 3), dtype="uint8")}, period="1 s",
            outputs={"predicted": Output(labels=("dark", "light")), "scores": Output((2,))})  # fmt: skip


class Looking(Diagram):
    image = Input((2, 3), dtype="uint8")
    seen = Output()

    def __init__(self, fill: Any) -> None:
        self.seer = SEER.place(fill)
        self.seer.image = self.image
        self.seen = self.seer.predicted


def test_a_module_of_logits_fills_a_slot_for_classes() -> None:
    class Brightness(nn.Module):
        """The logit of light grows with the mean of a picture from 0 to 1."""

        def forward(self, image: Tensor) -> Tensor:
            mean = image.mean((1, 2)).unsqueeze(1) - 0.5
            return torch.cat([-4.0 * mean, 4.0 * mean], 1)

    for level, name in ((50, "dark"), (200, "light")):
        image = torch.full((2, 3), level, dtype=torch.uint8)
        run = simulate(Looking(Brightness()), until=1, inputs={"image": image}, record=["seen", "seer.scores"])
        assert run["seen"].labels[int(run["seen"].values[0, -1])] == name
        mean = level / 255 - 0.5
        wanted = torch.softmax(torch.tensor([-4.0 * mean, 4.0 * mean]), 0)
        torch.testing.assert_close(run["seer.scores"].values[0, -1].float(), wanted, rtol=1e-5, atol=1e-6)


def test_a_module_without_a_logit_for_each_class_is_told_what_fills_the_slot() -> None:
    with pytest.raises(NetworkError, match=r"a logit for each of dark, light\n.*Classifier\(module, labels=\('dark'"):
        Looking(nn.Sequential(nn.Flatten(), nn.Linear(6, 3)))
