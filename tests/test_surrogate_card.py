"""A surrogate in a folder, and the command that makes one."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from simdl import RK4, Diagram, Input, Output, simulate
from simdl.blocks import PI
from simdl.cli.program import program
from simdl.cli.surrogate import between
from simdl.errors import ModelError, NetworkError
from simdl.surrogate import Difference, Surrogate, load_surrogate, place, save_surrogate, surrogate
from tests.study import STUDY
from tests.test_surrogate import Heated, Lag, Loop, linear

NAME = "tests.study:STUDY"


@pytest.fixture(scope="module")
def heated() -> Surrogate:
    """Vector states, an output that is none, and a network that is not linear."""
    return linear(Heated(), "rod", inputs={"r": 1.0}, excite={}, steps=4, hidden=(5,), lanes=4, test=2, until=2)


def test_what_was_saved_runs_as_what_was_learnt(heated: Surrogate, tmp_path: Path) -> None:
    heated.save(tmp_path)
    network, card = load_surrogate(tmp_path)
    assert card.errors[0].path == heated.differences[0].path and card.errors[0].rms == heated.differences[0].rms
    assert [one.unit for one in card.states] == ["K"] * 10 and card.hidden == (5,) and card.path == "rod"
    again = place(Heated(), tmp_path)
    options: dict[str, Any] = {"inputs": {"r": torch.tensor([0.5, 2.0])}, "every": 0.1, "engine": "torch"}
    a, b = simulate(heated.diagram, 2, **options), simulate(again, 2, **options)
    for name in ("y", "all", "rod.power"):
        assert torch.equal(a[name].values, b[name].values)
    low, high = card.inputs[0].low, card.inputs[0].high
    assert low < high and card.states[3].initial is not None


def test_a_card_tells_what_was_excited(tmp_path: Path) -> None:
    found = linear(Loop(), "plant")
    card = found.save(tmp_path)
    (u,), (x,) = card.inputs, card.states
    assert (u.name, u.key, x.name, x.key, x.index) == ("u", "plant.u", "x", "plant.x", None)
    assert u.low < u.mean < u.high and x.std > 0
    assert card.clock.numerator == 10**8 and card.stopped == "steps"


def test_a_card_can_hold_what_left_all_bounds(tmp_path: Path) -> None:
    found = linear(Loop(), "plant")
    lost = Difference("y", "", math.nan, math.inf, 1.0, -1)
    card = save_surrogate(tmp_path, found.network, found.card.compared([lost]))
    assert load_surrogate(tmp_path)[1] == card and card.errors[0].model_dump() == {
        "path": "y", "unit": "", "rms": None, "worst": None, "range": 1.0,
    }  # fmt: skip


class Other(Diagram):
    """A plant at the same path that is read otherwise."""

    r, y = Input(), Output()

    def __init__(self) -> None:
        self.rod = Lag()
        self.rod.u = self.r
        self.y = self.rod.x


def test_a_folder_is_refused_where_it_does_not_fit(heated: Surrogate, tmp_path: Path) -> None:
    heated.save(tmp_path)
    with pytest.raises(ModelError, match="no block 'rod'"):
        place(Loop(), tmp_path)
    with pytest.raises(ModelError, match=r"no state 'heat\[0\]'"):
        place(Other(), tmp_path)


class Driven(Diagram):
    """The loop of `Loop` with nothing that drives its plant."""

    y = Output()

    def __init__(self) -> None:
        self.plant, self.pi = Lag(), PI(period=0.1)
        self.plant.u = 1.0
        self.pi.e = 1.0 - self.plant.x
        self.y = self.pi.u


def test_a_part_that_nothing_drives_is_refused(tmp_path: Path) -> None:
    linear(Loop(), "plant").save(tmp_path)
    with pytest.raises(ModelError, match="nothing drives its input u"):
        place(Driven(), tmp_path)


def damaged(folder: Path, **changes: Any) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


@pytest.mark.parametrize(("changes", "message"), [
    ({"format": "simdl-card-1"}, "format: "), ({"hidden": [6]}, r"step.net.0.weight: \(5, 11\)"),
    ({"hidden": [65537]}, "hidden"), ({"hidden": [60000] * 64}, "step.net"), ({"sample_time_ns": 0}, "sample_time_ns"),
    ({"extra": 1}, "extra"), ({"states": []}, "states"), ({"weights": None}, "without weights"),
    ({"weights": {"file": "../card.json", "sha256": "0" * 64, "size": 1}}, "not the name of a file"),
    ({"weights": {"file": "none", "sha256": "0" * 64, "size": 1}}, "no such file"),
    ({"weights": {"file": "model.safetensors", "sha256": "0" * 64, "size": 10**6}}, "other weights"),
])  # fmt: skip
def test_a_damaged_card_is_refused(heated: Surrogate, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    heated.save(tmp_path)
    damaged(tmp_path, **changes)
    with pytest.raises(NetworkError, match=message):
        load_surrogate(tmp_path)


def test_damaged_weights_and_folders_without_a_card_are_refused(heated: Surrogate, tmp_path: Path) -> None:
    heated.save(tmp_path)
    path = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(NetworkError, match="other weights than the card says"):
        load_surrogate(tmp_path)
    with pytest.raises(NetworkError, match=r"no card.json in it"):
        load_surrogate(tmp_path / "nowhere")


def test_what_is_learnt_is_told_before_it_is_compared() -> None:
    told: list[Any] = []
    found = surrogate(
        Loop(), "plant", period=0.1, until=2, inputs={"r": 1.0}, lanes=4, test=2, horizon=4, hidden=(), steps=0,
        solver=RK4(0.01), engines=(), engine="torch", progress=False, learnt=lambda *args: told.append(args),
    )  # fmt: skip
    ((network, card),) = told
    assert network is found.network and card.errors == () and found.card.errors != ()


# ---- the command


@pytest.fixture
def simdl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 0) -> Result:
        words = ("--until", "10 min", "--lanes", "6", "--test", "2", "--engine", "torch", "--horizon", "4", "-q")
        result = CliRunner().invoke(program, ["surrogate", NAME, *arguments, *words])
        assert result.exit_code == code, result.output
        return result

    return call


LINEAR = ("--hidden", "linear", "--steps", "0", "--period", "30 s", "--out", "a")


def test_a_room_is_learnt_exactly_and_kept(simdl: Any, tmp_path: Path) -> None:
    done = simdl("room", *LINEAR, "--excite", "room.heat=-300:300", "--range", "room.temperature=10:20", "--json")
    said = json.loads(done.stdout)
    assert said["worst"] < 1e-6 and said["code"] == 0  # T(k+1) = a T(k) + b P(k) + c: linear
    assert {one["path"] for one in said["signals"]} >= {"room.heat", "room.temperature", "estimate"}
    assert said["stable"] > 0 and said["failed"] == [0, 0]
    assert [one["engine"] for one in said["speeds"]] == ["torch"] and said["speeds"][0]["surrogate"] > 0
    assert (tmp_path / "a" / "surrogate.png").read_bytes().startswith(b"\x89PNG")
    _, card = load_surrogate(tmp_path / "a")
    assert card.model == NAME and card.model_dump(mode="json") == said["card"]
    diagram = place(STUDY.build(), tmp_path / "a")
    run = simulate(diagram, 600, every=30, seed=3, engine="torch", set={"room.temperature": 12.0})
    truth = simulate(STUDY.build(), 600, every=30, seed=3, engine="torch", set={"room.temperature": 12.0})
    torch.testing.assert_close(run["temperature"].values, truth["temperature"].values, rtol=0, atol=1e-4)


def test_nothing_is_written_over_unasked_and_a_poor_one_fails(simdl: Any, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("x")
    assert "--force to write over it" in simdl("room", *LINEAR, code=2).output
    done = simdl("room", *LINEAR, "--force", "--within", "1e-12", code=1)
    assert "more than 0.00%" in done.output and "worst/range" in done.output and "speed-up" in done.output
    assert (tmp_path / "a" / "card.json").is_file() and (tmp_path / "a" / "mine").read_text() == "x"


def test_parameters_of_the_part_are_not_drawn_and_the_period_of_a_sampled_part_is_its_own(simdl: Any) -> None:
    arguments = ["surrogate", NAME, "room", *LINEAR, "--until", "5 min", "--lanes", "4", "--test", "1", "--horizon",
                 "4", "--engine", "torch"]  # fmt: skip
    done = CliRunner().invoke(program, arguments)
    assert done.exit_code == 0 and "stands for one value of them: room.loss, room.outside" in done.stderr
    assert "nothing is excited" in done.stderr
    refused = CliRunner().invoke(program, ["surrogate", NAME, "room", "--out", "b"])
    assert refused.exit_code == 2 and "--period: not given" in refused.stderr


@pytest.mark.parametrize(("words", "message"), [
    (("rom", *LINEAR), "did you mean: room"),
    (("room", *LINEAR, "--excite", "room.het=-1:1"), "did you mean: heat"),
    (("room", *LINEAR, "--range", "room.temprature=1:2"), "did you mean: room.temperature"),
    (("room", *LINEAR, "--range", "room.loss=1:2"), "room.loss, a parameter of it"),
    (("room", *LINEAR, "--state", "temp"), "no state 'temp'"),
    (("room", *LINEAR, "--range", "room.temperature=2:1"), "the lower one first"),
    (("room", *LINEAR, "--excite", "room.heat=1"), "two numbers"),
    (("room", *LINEAR, "--excite", "room.heat"), "is not path=low:high"),
    (("room", "--out", "a", "--hidden", "8,x"), "neither widths"),
    (("heater", "--out", "a"), "it has no state"),
    (("probe", "--out", "a", "--period", "20 s"), "ticks every"),
], ids=lambda one: one if isinstance(one, str) else " ".join(one[-2:]))  # fmt: skip
def test_wrong_words_are_refused_with_the_near_ones(simdl: Any, words: tuple[str, ...], message: str) -> None:
    said = simdl(*words, code=2).output
    assert message in said and "Traceback" not in said


def test_two_numbers_are_read() -> None:
    assert between("-2:5e1") == (-2.0, 50.0)
    for text in ("1", "a:b", "2:2", "1:2:3", "nan:1", "0:inf"):
        with pytest.raises(ValueError, match="the lower one first"):
            between(text)


def pressed(where: str, heeded: bool = False) -> threading.Thread:
    """Ctrl-C once the main thread is inside a function; heeded: and that one has a handler of its own."""
    main = threading.main_thread().ident
    before = signal.getsignal(signal.SIGINT)

    def inside() -> bool:
        frame = sys._current_frames().get(main or 0)
        while frame is not None:
            if frame.f_code.co_qualname == where:
                return not heeded or signal.getsignal(signal.SIGINT) is not before
            frame = frame.f_back
        return False

    def press() -> None:
        until = time.monotonic() + 60
        while not inside() and time.monotonic() < until:
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    return thread


@pytest.mark.usefixtures("interrupts")
def test_ctrl_c_in_training_keeps_the_best_compares_and_says_so(simdl: Any, tmp_path: Path) -> None:
    thread = pressed("train", heeded=True)
    done = simdl("room", "--period", "30 s", "--out", "a", "--steps", "1000000", code=3)
    thread.join()
    assert "the best was kept" in done.output and "worst/range" in done.output
    assert load_surrogate(tmp_path / "a")[1].stopped == "interrupted"


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("where", ["monte_carlo", "speeds"])
def test_ctrl_c_before_and_after_the_training_ends_it_and_keeps_what_was_learnt(
    simdl: Any, tmp_path: Path, where: str
) -> None:  # fmt: skip
    thread = pressed(where)
    done = simdl("room", *LINEAR, code=3)
    thread.join()
    assert "Interrupted" in done.output
    if where == "speeds":
        assert load_surrogate(tmp_path / "a")[1].errors == ()
    else:
        assert not (tmp_path / "a").exists()
