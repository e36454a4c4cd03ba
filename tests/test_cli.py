"""The command line: what each command does, how it ends, and that its commands can be pasted."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from simdl.cli.program import COMMANDS, program
from simdl.data import Shards

ROOT = Path(__file__).parent.parent
STUDY = "tests.study:STUDY"
# No drawn value is left that decides: every lane is warm with a sensor that knows, and none with the raw one.
FIXED = "--set room.outside=5 --set room.loss=40 --set probe.fault=0".split()
KNOWS = ["--network", "sensor=tests.study:good"]


@pytest.fixture
def simdl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(program, [*arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


def started(*arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "simdl", *arguments], cwd=cwd, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


# ---- what must not be imported


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"], ["run", "--help"], ["--version"],
                                       ["codesign", "--help"], ["doctor", "--help"]])  # fmt: skip
def test_help_and_list_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom simdl.cli import main\n"
        f"sys.argv = ['simdl', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'jinja2', 'rich', 'pandas'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == "[]", done.stderr
    assert "simdl" in done.stdout or "battery_soc" in done.stdout


WRONG = [
    "nosuch", "--nosuch", "run nosuch", "run battery_soc --nosuch", "run battery_soc --until soon",
    "run battery_soc --engine fast", "run battery_soc --set a", "run battery_soc --network sensor=nosuch",
    "validate nosuch", "validate battery_soc --lanes none", "dataset nosuch", "codesign nosuch", "slots nosuch",
    "describe nosuch", "train nosuch .", "train battery_soc nosuch", "report nosuch", "network nosuch",
    "hub show nosuch", "bench nosuch --network pkg:made", "bench --network nosuch", "bench battery_soc",
    "export nosuch --to a.onnx",
    "export battery_soc --to a.onnx", "export battery_soc sensor --to a.doc", "export-c nosuch sensor --out a",
]  # fmt: skip


def test_what_is_wrong_with_the_words_alone_is_said_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom simdl.cli import main\n"
        f"for words in {WRONG!r}:\n"
        "    sys.argv = ['simdl', *words.split()]\n"
        "    print('>', words, file=sys.stderr)\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n"
        "        heavy = sorted({'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules))\n"
        "        if end.code != 2 or heavy:\n            sys.exit(f'{words}: {end.code}, {heavy}')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    said = re.split(r"^> ", done.stderr, flags=re.MULTILINE)[1:]
    assert len(said) == len(WRONG) and all("rror: " in one for one in said), done.stderr
    assert not list(tmp_path.iterdir())


def test_help_names_every_command_and_every_command_has_help(simdl: Any) -> None:
    text = simdl("--help").output
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
        own = simdl(name, "--help")
        assert own.exit_code == 0 and "--json" in own.output and "--quiet" in own.output


# ---- what commands do


def test_list_names_the_scenarios_of_the_index(simdl: Any) -> None:
    from simdl.scenario import names

    assert json.loads(simdl("list", "--json").stdout) == names()
    said = dict(line.split(maxsplit=1) for line in simdl("list").stdout.splitlines() if line)
    assert said == names()


def test_describe_and_slots_say_what_the_study_is(simdl: Any) -> None:
    said = simdl("describe", STUDY).stdout
    assert all(word in said for word in ("A heated room", "room.loss", "always(temperature < 22.5)", "30 s"))
    facts = json.loads(simdl("describe", STUDY, "--json").stdout)
    assert facts["requirements"]["not hot"] == "always(temperature < 22.5)" and facts["design"] is True
    slots = json.loads(simdl("slots", STUDY, "--json", *KNOWS).stdout)
    assert slots["sensor"]["inputs"] == {"measured": {"unit": "degC", "shape": None}}
    assert slots["sensor"]["holds"] == "Known"
    assert "measured [degC]" in simdl("slots", STUDY).stdout


def test_run_checks_one_lane_and_writes_its_page(simdl: Any) -> None:
    done = simdl("run", STUDY, *FIXED, *KNOWS)
    assert done.exit_code == 0, done.output
    page = Path(done.stdout.rsplit("Figures and numbers: ", 1)[1].strip())
    assert page.is_file() and "<svg" in page.read_text()
    assert {p.suffix for p in page.parent.iterdir()} == {".html", ".json", ".md", ".xml"}
    assert re.search(r"^warm +pass", done.stdout, re.MULTILINE)


def test_a_failed_requirement_ends_with_1(simdl: Any) -> None:
    done = simdl("run", STUDY, *FIXED)  # the raw sensor reads 2.5 K too much
    assert done.exit_code == 1 and done.stdout.startswith("FAILED")


def test_run_shows_the_lane_that_validate_counted(simdl: Any) -> None:
    checked = simdl("validate", STUDY, "--lanes", "20", "--seed", "3", "--out", "v", "--json")
    page = json.loads(checked.stdout)
    assert checked.exit_code == page["code"] == 1
    (worst,) = [t for s in page["sections"] for t in s["parts"] if t.get("title") == "Smallest margins"]
    name, lane, verdict, margin, _ = worst["rows"][0]
    line = next(line for line in _commands(page) if f"--lane {lane} " in line)
    alone = json.loads(simdl(*shlex.split(line)[1:], "--json").stdout)
    found = next(r for r in alone["requirements"] if r["name"] == name)
    assert found["counts"][verdict] == 1 and found["worst"] == margin


def test_validate_counts_every_lane_once_and_goes_on_in_its_folder(simdl: Any) -> None:
    first = json.loads(simdl("validate", STUDY, "--lanes", "12", "--out", "v", "--json").stdout)
    more = json.loads(simdl("validate", STUDY, "--lanes", "30", "--out", "v", "--json").stdout)
    fresh = json.loads(simdl("validate", STUDY, "--lanes", "30", "--out", "w", "--json").stdout)
    assert first["lanes"] == {"asked": 12, "ran": 12, "failed": 0, "missing": 0}
    assert more["requirements"] == fresh["requirements"]
    again = simdl("report", "v", "--json", "--tables")
    assert json.loads(again.stdout)["requirements"] == fresh["requirements"]
    assert len(list(Path("v/tables").glob("*.csv"))) > 5


def test_set_fixes_a_drawn_value_in_every_lane(simdl: Any) -> None:
    page = json.loads(simdl("validate", STUDY, "--lanes", "8", "--set", "room.loss=33.5", "--json").stdout)
    tables = {t["title"]: t for s in page["sections"] for t in s["parts"] if t["kind"] == "table"}
    assert "room.loss" not in [row[0] for row in tables["Varied"]["rows"]]
    assert ["room.loss", "33.5"] in tables["Fixed for all lanes"]["rows"]
    assert "--set room.loss=33.5" in page["origin"]["command"]


def test_until_and_quick_shorten_the_run(simdl: Any) -> None:
    for arguments, until in ((["--quick"], "26 min"), (["--until", "27 min"], "27 min"),
                             (["--quick", "--until", "1590"], "1590 s")):  # fmt: skip
        page = json.loads(simdl("run", STUDY, *arguments, "--json").stdout)
        assert page["origin"]["settings"]["until"] == until


def test_dataset_train_validate_use_each_others_folders(simdl: Any) -> None:
    made = json.loads(simdl("dataset", STUDY, "--lanes", "25", "--json", "--out", "data").stdout)
    assert made["lanes"] == 25 and made["complete"]
    assert made["signals"] == ["input measured [degC]", "target temperature [degC]"]
    assert torch.equal(Shards("data").lanes, torch.arange(25))
    trained = json.loads(simdl("train", STUDY, "data", "--epochs", "15", "--out", "net", "--json").stdout)
    assert Path(trained["card"], "card.json").is_file() and trained["metrics"]["lanes"] > 15
    done = simdl(*shlex.split(trained["next"])[1:], *FIXED, "--lanes", "5", "--out", "v")
    assert done.exit_code == 0, done.output


def test_codesign_runs_to_its_page_resumes_and_says_what_is_missing(simdl: Any) -> None:
    asked = ("codesign", STUDY, "--quick", "--lanes", "15", "--check", "20", "--out", "c", "--json")
    done = simdl(*asked)
    page = json.loads(done.stdout)
    assert done.exit_code in (0, 1) and page["complete"]
    assert [s["title"] for s in page["sections"]][:3] == ["Summary", "The loop", "The loop failing, then fixed"]
    before = {p: p.stat().st_mtime_ns for p in Path("c").rglob("*.safetensors")}
    assert json.loads(simdl(*asked).stdout)["requirements"] == page["requirements"]
    assert {p: p.stat().st_mtime_ns for p in Path("c").rglob("*.safetensors")} == before  # nothing is done twice
    told = simdl("report", "c", "--json")
    assert json.loads(told.stdout)["requirements"] == page["requirements"] and told.exit_code == done.exit_code
    shutil.rmtree("c/network-1")
    shutil.rmtree("c/check/after")
    done = simdl("report", "c", "--json")
    page = json.loads(done.stdout)
    assert done.exit_code == 3 and page["state"] in ("incomplete", "failed") and not page["complete"]
    assert "network, retrained" in page["missing"][0]
    assert page["resume"].startswith("simdl codesign") and "--out c" in page["resume"]
    assert "INCOMPLETE" in Path("c/report.html").read_text()


def test_doctor_names_versions_and_what_is_absent(simdl: Any) -> None:
    done = simdl("doctor", "--json")
    found = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    assert found["torch"]["value"] == torch.__version__ and found["torch"]["state"] == "good"
    assert {"C compiler", "GPU", "cache", "BLAS of numpy", "torch threads"} <= set(found)
    assert all(one["state"] == "good" or one["advice"] or one["name"] == "GPU" for one in found.values())
    assert done.exit_code == 0 and "torch" in simdl("doctor").stdout


# ---- endings


def test_a_lane_that_fails_prints_the_command_that_fails_alone(simdl: Any) -> None:
    done = simdl("validate", "tests.study:TROUBLE", "--lanes", "30", "--out", "v")
    assert done.exit_code == 1
    line = re.search(r"again and alone:\n  (simdl run .*)", done.stdout)
    assert line is not None
    alone = simdl(*shlex.split(line[1])[1:])
    assert alone.exit_code == 1 and re.search(r"lane \d+ failed at t = \d+ s", alone.stdout)


def test_an_interrupted_campaign_keeps_its_lanes_and_prints_how_to_go_on(simdl: Any, tmp_path: Path) -> None:
    arguments = ["validate", STUDY, "--lanes", "1536", "--until", "2 h", "--out", str(tmp_path / "v")]
    process = started(*arguments)
    while process.poll() is None and not list((tmp_path / "v").glob("lanes/*.safetensors")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate()
    assert process.returncode == 3, out + error
    assert "Traceback" not in error
    resume = re.search(r"^  (simdl validate .*)$", out + error, re.MULTILINE)
    assert resume is not None and shlex.split(resume[1])[1:3] == ["validate", STUDY]
    told = simdl("report", str(tmp_path / "v"), "--json")
    page = json.loads(told.stdout)
    done = page["lanes"]["ran"]
    assert 0 < done < 1536 and done % 256 == 0  # whole shards
    assert told.exit_code == 3 and page["lanes"] == {"asked": 1536, "ran": done, "failed": 0, "missing": 1536 - done}
    assert f"INCOMPLETE: {done} of 1536 lanes" in (tmp_path / "v" / "report.html").read_text()
    assert page["resume"] == resume[1]


def test_an_interrupted_codesign_begins_no_further_stage(simdl: Any, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    process = started(
        "codesign", STUDY, "--quick", "--lanes", "10", "--check", "6000", "--until", "1 h", "--out", str(folder)
    )
    while process.poll() is None and not list(folder.glob("check/before/*.safetensors")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate()
    assert process.returncode == 3 and "Traceback" not in error, out + error
    assert "searching" not in error and not (folder / "search").exists()
    assert re.search(r"^  simdl codesign tests.study:STUDY .*--check 6000", error, re.MULTILINE)
    told = simdl("report", str(folder), "--json")
    page = json.loads(told.stdout)
    assert told.exit_code == 3 and page["lanes"]["asked"] == 6000 and page["lanes"]["missing"] > 0
    assert page["banner"] == f"INCOMPLETE: {page['lanes']['ran']} of 6000 lanes"


def test_a_fault_of_the_scenario_is_no_traceback_unless_asked_for(simdl: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def study():\n    return 1 / 0\n")
    done = simdl("run", "mine:study")
    assert done.exit_code == 4 and "ZeroDivisionError" in done.stderr and "mine.py:2" in done.stderr
    assert "Traceback" not in done.stderr and "Traceback" in simdl("run", "mine:study", "-v").stderr


def test_an_error_is_one_json_document_too(simdl: Any) -> None:
    done = simdl("run", "batery_soc", "--json")
    assert done.exit_code == 2
    error = json.loads(done.stdout)
    assert error["schema"] == "simdl-error-1" and error["code"] == 2 and "battery_soc" in error["names"]


def test_quiet_prints_nothing_beside_the_outcome(simdl: Any) -> None:
    done = simdl("validate", STUDY, "--lanes", "3", "--out", "v", "-q")
    assert done.stderr == "" and "Figures and numbers" in done.stdout


def _commands(page: dict[str, Any]) -> list[str]:
    parts = [part for section in page["sections"] for part in section["parts"] if part["kind"] == "command"]
    return [line for part in parts for line in part["line"].splitlines()]


def test_the_reference_names_every_command_option_and_exit_code() -> None:
    import click

    from simdl.cli.program import Ending

    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    context = click.Context(program)
    for name in COMMANDS:
        assert f"| `{name}" in text
        command = program.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert any(f"`{flag}" in text for flag in parameter.opts), f"{name} {parameter.opts}"
    for code in Ending:
        assert f"| {int(code)} | " in text
