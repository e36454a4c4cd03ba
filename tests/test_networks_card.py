"""Model cards: what travels with the weights, that both belong together, and that it is used as it was trained."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from simdl import Input, Output
from simdl.errors import NetworkError, SimdlError
from simdl.networks import (
    Ensemble,
    Feature,
    Gaussian,
    MCDropout,
    ModelCard,
    Network,
    Quantile,
    Recurrent,
    Window,
    architecture,
    load,
    save,
)
from simdl.networks.architecture import gru, lstm, mlp, rnn
from simdl.networks.card import CardWindow

HERE = f"{__name__}:line"


def line(slope: float = 1.0) -> nn.Module:
    """A factory that a card of this test names."""
    module = nn.Linear(2, 1)
    nn.init.constant_(module.weight, slope)
    return module


def card(**more: Any) -> ModelCard:
    given: dict[str, Any] = dict(
        factory="mlp", kwargs={"inputs": 2, "outputs": 1, "hidden": [4]},
        inputs=(Feature(name="voltage", unit="V", mean=3.7, std=0.4), Feature(name="current", unit="A", std=2.0)),
        outputs=(Feature(name="soc", unit="%", mean=50.0, std=25.0),), sample_time_ns=10**9,
        metrics={"rmse": 0.007}, data_hash="f" * 64,
    )  # fmt: skip
    return ModelCard(**{**given, **more})


def module() -> nn.Module:
    torch.manual_seed(0)
    return mlp(2, 1, hidden=[4])


# -- keeping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net", "net.safetensors", "deep/er/net.json"])
def test_what_is_saved_comes_back(tmp_path: Path, name: str) -> None:
    own = module()
    kept = save(tmp_path / name, own, card())
    back, read = load(tmp_path / name)
    assert read == kept and read.weights is not None and read.weights.size > 0
    assert read.versions["torch"] == torch.__version__ and read.dtype == "float32"
    x = torch.randn(5, 2)
    assert torch.equal(back(x), own(x)) and not back.training
    assert sorted(p.suffix for p in (tmp_path / name).parent.rglob("*") if p.is_file()) == [".json", ".safetensors"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_type_of_the_weights_is_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    own = module().to(dtype)
    save(tmp_path, own, card())
    back, _ = load(tmp_path)
    assert all(p.dtype == dtype and torch.equal(p, q) for p, q in zip(back.parameters(), own.parameters()))


def test_every_registered_architecture_comes_back_and_runs(tmp_path: Path) -> None:
    for kind, make in (("gru", gru), ("lstm", lstm), ("rnn", rnn)):
        own = make(2, 1, hidden=5, layers=2, head=0)
        save(tmp_path / kind, own, card(factory=kind, kind="recurrent", warmup_ns=3 * 10**9,
                                        kwargs={"inputs": 2, "hidden": 5, "layers": 2, "head": 0}))  # fmt: skip
        net = Network.from_card(tmp_path / kind)
        assert isinstance(net, Recurrent) and net.warmup_ticks == 3 and str(net.clock) == "1 s"


def test_cards_survive_their_json() -> None:
    one = card(window=CardWindow(length=8, hop=2, fill="hold"), sample_time_divisor=30)
    assert ModelCard.from_json(one.to_json()) == one
    assert one.windowed() == Window(8, 2, "hold") and one.clock.rational


def test_the_card_of_a_network_in_a_loop_makes_the_same_network_again(tmp_path: Path) -> None:
    own = gru(2, 1, hidden=5, head=0)
    net = Recurrent(own, inputs={"voltage": Input(unit="V"), "current": Input(unit="A")},
                    outputs={"soc": Output(unit="%")}, rate=30, warmup="2 s")  # fmt: skip
    one = ModelCard.of(net, "gru", {"inputs": 2, "hidden": 5, "head": 0}, scales={"voltage": (3.7, 0.4)},
                       boxes={"current": (-5.0, 5.0)}, name="soc-gru", metrics={"rmse": 0.01})  # fmt: skip
    save(tmp_path, own, one)
    back = Network.from_card(tmp_path)
    assert (back.clock, back.warmup_ticks, back.voltage.unit) == (net.clock, net.warmup_ticks, "V")
    assert load(tmp_path)[1].inputs[1].low == -5.0
    for options, message in (({"scales": {"volts": (0, 1)}}, "did you mean: voltage"), ({"name": 3}, "name:")):
        with pytest.raises(NetworkError, match=message):
            ModelCard.of(net, "gru", **options)  # type: ignore[arg-type]
    windowed = Network(module(), inputs=("a", "b"), outputs=("y",), period="1 s")
    assert ModelCard.of(windowed, "mlp").window is None


# -- using ------------------------------------------------------------------------------------------------------------


def test_inputs_are_normalised_and_outputs_denormalised() -> None:
    own = module().double()
    net = Network(own, card=card())
    v, i = torch.randn(6).double() + 3.7, torch.randn(6).double()
    wanted = own(torch.stack(((v - 3.7) / 0.4, i / 2.0), 1))[:, 0] * 25.0 + 50.0
    assert torch.allclose(net.step(v, i)["soc"], wanted, rtol=1e-12)


def test_normalisation_is_done_in_the_type_of_the_run() -> None:
    """1e6 + 1e-3 has no float32 of its own; its deviation from the mean has."""
    features = (Feature(name="x", mean=1e6, std=1e-3),)
    own = nn.Identity()
    net = Network(own, card=card(inputs=features, outputs=(Feature(name="y", mean=1e6, std=1e-3),)))
    x = torch.tensor([1e6 + 1e-3], dtype=torch.float64)
    assert float(net.step(x)["y"][0] - 1e6) == pytest.approx(1e-3, rel=1e-6)


def test_statistics_of_an_image_belong_to_its_channels() -> None:
    seen: list[Tensor] = []

    class Look(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.flatten(1)[:, :1]

    image = Feature(name="image", shape=(2, 3, 3), dtype="uint8", mean=[10.0, 20.0], std=[1.0, 2.0])
    net = Network(Look(), card=card(inputs=(image,), outputs=(Feature(name="y"),)))
    net.step(torch.full((1, 2, 3, 3), 30, dtype=torch.uint8))
    assert (seen[-1][0, 0] == 20).all() and (seen[-1][0, 1] == 5).all()


def test_windows_are_normalised_per_feature() -> None:
    own = nn.Linear(4, 1).double()
    net = Network(nn.Sequential(nn.Flatten(), own), card=card(window=CardWindow(length=2, fill="hold")))
    memory = {"history": torch.zeros(1, 2, 2).double(), "ticks": torch.zeros(1, dtype=torch.int64)}
    found = net.step(torch.tensor([4.1]).double(), torch.tensor([2.0]).double(), **memory)
    assert torch.allclose(found["soc"], own(torch.tensor([[1.0, 1.0, 1.0, 1.0]]).double())[:, 0] * 25 + 50)


def test_ports_come_in_the_order_of_the_card_whatever_the_order_given() -> None:
    own = module().double()
    turned = Network(own, inputs=("current", "voltage"), outputs=("soc",), card=card())
    straight = Network(own, card=card())
    v, i = torch.tensor([3.5]).double(), torch.tensor([1.0]).double()
    assert torch.equal(turned.step(voltage=v, current=i)["soc"], straight.step(voltage=v, current=i)["soc"])
    assert turned.voltage.unit == "V"


def test_the_rate_of_the_card_is_taken_and_no_other() -> None:
    assert str(Network(module(), card=card()).clock) == "1 s"
    assert str(Network(module(), card=card(), period="1000 ms").clock) == "1 s"
    thirty = card(sample_time_ns=10**9, sample_time_divisor=30)
    assert Network(module(), card=thirty).clock == Network(module(), card=thirty, rate=30).clock
    for options in ({"period": "500 ms"}, {"rate": 3}, {"triggered": True}):
        with pytest.raises(NetworkError, match="trained every 1 s"):
            Network(module(), card=card(), **options)
    assert str(Network(module(), card=card(), period="500 ms", allow_rate=True).clock) == "500 ms"


def test_every_mismatch_with_the_card_is_in_one_error() -> None:
    class Sensor(Network):
        """Wrong in all ways."""

        voltage = Input(unit="mV")
        amps = Input(unit="A")
        soc = Output(unit="1")

    with pytest.raises(NetworkError) as caught:
        Sensor(module(), card=card(), period="2 s")
    for part in ("input current: in the card", "input amps: not in the card", "voltage: in mV, trained in V",
                 "soc: in 1, trained in %", "every 2 s, trained every 1 s"):  # fmt: skip
        assert part in str(caught.value)


def test_a_typed_network_from_a_card(tmp_path: Path) -> None:
    class Sensor(Network):
        """Right."""

        voltage = Input(unit="V")
        current = Input(unit="A")
        soc = Output(unit="%")

    save(tmp_path, module(), card())
    assert isinstance(Sensor.from_card(tmp_path), Sensor)


# -- trust ------------------------------------------------------------------------------------------------------------


def test_a_card_cannot_make_simdl_import_code(tmp_path: Path) -> None:
    save(tmp_path, line(2.0), card(factory=HERE, kwargs={"slope": 2.0}))
    with pytest.raises(NetworkError, match=rf"names the factory '{HERE}'[\s\S]*factory='{HERE}'"):
        load(tmp_path)
    with pytest.raises(NetworkError, match="the same"):
        load(tmp_path, factory="other:line")
    for factory in (HERE, line):
        assert load(tmp_path, factory=factory)[0].weight[0, 0].item() == 2.0  # type: ignore[union-attr, index]
        assert isinstance(Network.from_card(tmp_path, factory=factory), Network)


def test_a_hostile_factory_is_not_called(tmp_path: Path) -> None:
    save(tmp_path, module(), card())
    text = json.loads((tmp_path / "card.json").read_text())
    text |= {"factory": "os:mkdir", "kwargs": {"path": str(tmp_path / "made")}}
    (tmp_path / "card.json").write_text(json.dumps(text))
    with pytest.raises(NetworkError, match="os:mkdir"):
        Network.from_card(tmp_path)
    assert not (tmp_path / "made").exists()


def test_a_card_cannot_ask_for_more_memory_than_its_weights_have(tmp_path: Path) -> None:
    save(tmp_path, module(), card())
    text = json.loads((tmp_path / "card.json").read_text())
    text["kwargs"] = {"inputs": 60000, "hidden": [60000, 60000, 60000]}  # 43 GB if it were made
    (tmp_path / "card.json").write_text(json.dumps(text))
    with pytest.raises(NetworkError, match="in the weights"):
        load(tmp_path)
    text["kwargs"] = {"inputs": 2, "hidden": [4] * 100}
    (tmp_path / "card.json").write_text(json.dumps(text))
    with pytest.raises(NetworkError, match="at most 64"):
        load(tmp_path)


def test_an_own_architecture_can_be_registered(tmp_path: Path) -> None:
    name = f"line-{tmp_path.name}"
    architecture(name)(line)
    save(tmp_path, line(3.0), card(factory=name, kwargs={}))
    assert load(tmp_path)[0].weight[0, 0].item() == 3.0  # type: ignore[union-attr, index]
    with pytest.raises(NetworkError, match="registered already"):
        architecture(name)(lambda: nn.Linear(1, 1))


def damaged(data: bytes, how: str) -> bytes:
    return {"cut": data[:-3], "longer": data + b"\0", "changed": data[:-1] + bytes([data[-1] ^ 1]), "empty": b"",
            "pickle": pickle.dumps({"a": 1})}[how]  # fmt: skip


@pytest.mark.parametrize("how", ["cut", "longer", "changed", "empty", "pickle"])
def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path: Path, how: str) -> None:
    save(tmp_path, module(), card())
    file = tmp_path / "model.safetensors"
    file.write_bytes(damaged(file.read_bytes(), how))
    with pytest.raises(NetworkError, match=r"as the card says[\s\S]*save both together"):
        load(tmp_path)


def test_a_pickle_is_refused_even_if_the_card_vouches_for_it(tmp_path: Path) -> None:
    import hashlib

    save(tmp_path, module(), card())
    data = pickle.dumps({"a": 1})
    (tmp_path / "model.safetensors").write_bytes(data)
    text = json.loads((tmp_path / "card.json").read_text())
    text["weights"] |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (tmp_path / "card.json").write_text(json.dumps(text))
    with pytest.raises(NetworkError, match="pickle"):
        load(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a", module(), card())
    torch.manual_seed(9)
    save(tmp_path / "b", mlp(2, 1, hidden=[4]), card())
    (tmp_path / "a" / "model.safetensors").write_bytes((tmp_path / "b" / "model.safetensors").read_bytes())
    with pytest.raises(NetworkError, match="SHA-256"):
        load(tmp_path / "a")


def test_what_cannot_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    for wrong, message in (
        (card(kwargs={"inputs": 3, "outputs": 1, "hidden": [4]}), r"0\.weight: \(4, 2\) in the weights, \(4, 3\)"),
        (card(kwargs={"inputs": 2, "hidden": [4, 4]}), "4.weight: not among the weights"),
        (card(kwargs={"inpts": 2}), "inpts"), (card(factory="mpl"), "did you mean: mlp"),
        (card(factory="no_such:thing"), "cannot be imported"),
    ):  # fmt: skip
        with pytest.raises(NetworkError, match=message):
            save(tmp_path / "net", module(), wrong)
    assert not (tmp_path / "net").exists()


CASES: list[tuple[str, dict[str, Any] | bytes, str]] = [
    ("unknown field", {"colour": "red"}, "colour"),
    ("other format", {"format": "card-9"}, "simdl-card-1"),
    ("no inputs", {"inputs": []}, "inputs"),
    ("a name twice", {"outputs": [{"name": "voltage"}]}, "voltage: two ports of one name"),
    ("no name", {"inputs": [{"name": "a b"}]}, "no name of a port"),
    ("std zero", {"inputs": [{"name": "a", "std": 0.0}]}, "not above zero"),
    ("too many means", {"inputs": [{"name": "a", "mean": [1.0, 2.0]}]}, "2 numbers for shape"),
    ("sample time zero", {"sample_time_ns": 0}, "greater than 0"),
    ("fraction of ns", {"sample_time_ns": 0.5}, "sample_time_ns"),
    ("weights elsewhere", {"weights": {"file": "../x", "sha256": "0" * 64, "size": 1}}, "beside the card"),
    ("unknown type", {"inputs": [{"name": "a", "dtype": "float8"}]}, "float8"),
    ("NaN", b'{"sample_time_ns": NaN}', "NaN"),
    ("infinite", b'{"sample_time_ns": 1e999}', "1e999"),
    ("doubled key", b'{"name": "a", "name": "b"}', "'name' occurs twice"),
    ("deep", b'{"kwargs": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
    ("large", b'{"notes": "' + b"x" * 2**20 + b'"}', "more than"),
    ("not JSON", b"card: yes", "not readable as JSON"),
    ("a list", b"[]", "model card"),
]


@pytest.mark.parametrize(("change", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_cards_that_are_none_are_refused(tmp_path: Path, change: dict[str, Any] | bytes, message: str) -> None:
    save(tmp_path, module(), card())
    file = tmp_path / "card.json"
    text = json.loads(file.read_text())
    file.write_bytes(change if isinstance(change, bytes) else json.dumps({**text, **change}).encode())
    with pytest.raises(NetworkError, match=message):
        load(tmp_path)


@given(data=st.data())
def test_no_changed_byte_of_a_card_gives_anything_but_a_card_or_a_network_error(data: st.DataObject) -> None:
    text = bytearray(card().to_json().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(ModelCard.from_json(bytes(text)), ModelCard)
    except SimdlError as error:
        assert isinstance(error, NetworkError)


def test_a_folder_without_a_card_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"no model card at .*card\.json[\s\S]*save\(folder, module, card\)"):
        load(tmp_path)


def test_heads_that_say_how_sure_they_are_take_a_card_but_do_not_give_one() -> None:
    def plain() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    ports: dict[str, Any] = {"inputs": ("a", "b"), "period": "1 s"}
    heads = [Gaussian(plain(), **ports), Quantile(plain(), levels=(0.1, 0.9), **ports),
             Ensemble([plain(), plain()], **ports), MCDropout(plain(), samples=4, **ports)]  # fmt: skip
    for head in heads:
        kind = type(head).__name__
        with pytest.raises(NetworkError, match=rf"a {kind}: [\s\S]*give it to {kind}\(module, card=card\)"):
            ModelCard.of(head, "mlp")
    module = plain()
    made = ModelCard.of(Network(module, outputs=("mean", "std"), **ports), "mlp")
    x = torch.ones(3), torch.zeros(3)
    own, carded = Gaussian(module, **ports).step(*x), Gaussian(module, card=made, **{"period": "1 s"}).step(*x)
    assert all(torch.equal(own[name], carded[name]) for name in ("mean", "std"))
