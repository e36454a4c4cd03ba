"""Wrong input to the command line: each is refused with where, what, and what to do; with exit code 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from simdl.cli.options import number
from simdl.cli.program import COMMANDS, program
from simdl.cli.request import Request
from simdl.errors import UsageError
from simdl.hub import entries

ROOT = Path(__file__).parent.parent
STUDY = "tests.study:STUDY"


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command line, which must refuse; gives what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(program, [*arguments])
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        return result.output

    return call


def test_a_misspelt_command_gets_the_near_one(refused: Any) -> None:
    assert "Did you mean validate?" in refused("valdate")
    assert all(name in refused("xyz") for name in COMMANDS)


@pytest.mark.parametrize("command", ["describe", "slots", "run", "dataset", "validate", "codesign"])
def test_a_misspelt_scenario_gets_the_near_one(refused: Any, command: str) -> None:
    assert "did you mean: battery_soc" in refused(command, "batery_soc")
    assert "an importable module with that attribute" in refused(command, "nowhere.at_all:STUDY")
    assert "expected: a Scenario" in refused(command, "tests.study:NOT_A_STUDY")


@pytest.mark.parametrize("command", ["describe", "slots", "run", "dataset", "train", "validate", "codesign", "report"])
def test_a_missing_argument_is_named(refused: Any, command: str) -> None:
    assert "Missing argument" in refused(command)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_an_unknown_option_is_named(refused: Any, command: str) -> None:
    said = refused(command, "--sed", "3")
    assert "--sed" in said and f"Try 'simdl {command} --help'" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("room.loss", "is not path=value"),
        ("=3", "is not path=value"),
        ("room.loss=", "is not path=value"),
        ("room.loss=warm", "expected a number, true, false or a list"),
        ("room.loss=[1, x]", "expected a number"),
        ("room.los=3", "did you mean: room.loss"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told(refused: Any, given: str, said: str) -> None:
    assert said in refused("run", STUDY, "--set", given)


def test_one_setting_given_twice_is_refused(refused: Any) -> None:
    assert "'room.loss' is given twice" in refused("run", STUDY, "--set", "room.loss=1", "--set", "room.loss=2")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sensor", "is not slot=network"),
        ("senser=tests.study:good", "did you mean: sensor"),
        ("sensor=/no/such/folder", "no such file or folder"),
        ("sensor=tests.study:god", "did you mean: good"),
        ("sensor=no.module:f", "cannot be imported"),
        ("sensor=tests.study:wrong", "class Adapter(Diagram)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_wrong_network_is_told(refused: Any, command: str, given: str, said: str) -> None:
    assert said in refused(command, STUDY, "--network", given)


def test_a_pickle_in_a_slot_is_refused(refused: Any, tmp_path: Path) -> None:
    import pickle

    (tmp_path / "net.pt2").write_bytes(pickle.dumps({"a": 1}))
    assert "net.pt2" in refused("run", STUDY, "--network", "sensor=net.pt2")


@pytest.mark.parametrize(
    ("given", "said"),
    [("soon", "is not a time"), ("-5", "not after the start"), ("0 s", "not after the start"), ("nan", "not finite"),
     ("3 fortnights", "is not a time")],
)  # fmt: skip
def test_a_wrong_horizon_is_told(refused: Any, given: str, said: str) -> None:
    assert said in refused("run", STUDY, "--until", given)


def test_a_horizon_shorter_than_a_window_is_told(refused: Any) -> None:
    assert "1500" in refused("run", STUDY, "--until", "5 min")


@pytest.mark.parametrize("option", [["--lanes", "0"], ["--lanes", "many"], ["--seed", "-1"], ["--workers", "0"]])
@pytest.mark.parametrize("command", ["validate", "dataset", "codesign"])
def test_numbers_out_of_range_are_told(refused: Any, command: str, option: list[str]) -> None:
    assert option[0] in refused(command, STUDY, *option)


@pytest.mark.parametrize("command", ["dataset", "codesign"])
def test_a_study_without_a_design_is_told(refused: Any, command: str) -> None:
    assert "without a design" in refused(command, "tests.study:BARE")


def test_training_needs_data(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "does not exist" in refused("train", STUDY, "nowhere")
    assert "no manifest" in refused("train", STUDY, "empty")
    assert "--seconds" in refused("train", STUDY, "empty", "--seconds", "0")


def test_report_needs_a_folder_that_was_made_for_it(refused: Any, tmp_path: Path) -> None:
    assert "no such folder" in refused("report", "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no request.json" in refused("report", "empty")
    for text in ("{", "[]", '{"schema": "other"}', '{"schema": "simdl-request-1", "nonsense": 1}'):
        (tmp_path / "empty" / "request.json").write_text(text)
        assert "cannot be read" in refused("report", "empty")
    (tmp_path / "empty" / "request.json").unlink()
    Request("validate", STUDY, lanes=5).note(tmp_path / "empty")
    assert "no lane was finished" in refused("report", "empty")
    (tmp_path / "empty" / "request.json").unlink()
    Request("run", STUDY).note(tmp_path / "empty")
    assert "made by simdl run" in refused("report", "empty")


def test_a_folder_of_another_seed_is_refused(refused: Any) -> None:
    CliRunner().invoke(program, ["validate", STUDY, "--lanes", "3", "--out", "v"])
    before = Path("v/request.json").read_bytes()
    said = refused("validate", STUDY, "--lanes", "3", "--seed", "1", "--out", "v")
    assert "the work of another request: seed differ" in said
    assert Path("v/request.json").read_bytes() == before  # so that `simdl report v` still tells of what is there


WRITERS = [
    (["run", STUDY], "--out", "pages"),
    (["export-c", STUDY, "sensor"], "--out", "firmware"),
    (["export", STUDY, "sensor"], "--to", "net.onnx"),
    (["describe", STUDY], "--svg", "picture.svg"),
    (["hub", "load", next(iter(entries()))], "--to", "card"),
]


@pytest.mark.parametrize(("arguments", "option", "place"), WRITERS, ids=lambda one: str(one[0]))
def test_nothing_is_written_over_unless_asked(refused: Any, arguments: list[str], option: str, place: str) -> None:
    target = Path(place)
    kept = target if target.suffix else target / "mine.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    said = refused(*arguments, option, place)
    assert "it exists" in said and "--force" in said and kept.read_text() == "mine"
    assert [p for p in Path().rglob("*") if p.is_file()] == [kept]


def test_force_writes_over_what_is_there(refused: Any) -> None:
    (name,) = list(entries())[:1]
    Path("card").mkdir()
    Path("card/card.json").write_text("mine")
    done = CliRunner().invoke(program, ["hub", "load", name, "--to", "card", "--force"])
    assert done.exit_code == 0, done.output
    assert Path("card/card.json").read_bytes() == (entries()[name].folder / "card.json").read_bytes()
    Path("picture.svg").write_text("mine")
    assert CliRunner().invoke(program, ["describe", STUDY, "--svg", "picture.svg", "--force"]).exit_code == 0
    assert "<svg" in Path("picture.svg").read_text()


def test_a_file_in_place_of_the_folder_is_refused(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in refused("validate", STUDY, "--out", "file")


def test_numbers_are_read_as_json_and_nothing_else() -> None:
    assert number("1e-3") == 1e-3 and number("true") is True and number("[[1, 2], [3, 4]]") == [[1, 2], [3, 4]]
    for text in ("{}", '"a"', "null", "[]", "__import__('os')", "1_000"):
        with pytest.raises(ValueError, match="expected a number"):
            number(text)


def test_a_request_survives_its_folder(tmp_path: Path) -> None:
    asked = Request("validate", STUDY, 3, 40, None, {"room.loss": 2.0}, {"sensor": "tests.study:good"}, "2 min", True)
    asked.note(tmp_path)
    read = Request.read(tmp_path)
    assert read == Request(**{**vars(asked), "out": str(tmp_path)})
    assert read.command(out=None) == (
        "simdl validate tests.study:STUDY --lanes 40 --seed 3 --until '2 min' --quick --set room.loss=2.0 "
        "--network sensor=tests.study:good"
    )
    with pytest.raises(UsageError, match="no such folder"):
        Request.read(tmp_path / "other")
