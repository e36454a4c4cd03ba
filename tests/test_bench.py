"""The bench: what it counts, how it ranks, what it widens, and that an interrupted one goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from simdl import Input, Output
from simdl.bench import bench, conditions, widened
from simdl.bench.seat import MINE, kept
from simdl.cli.program import program
from simdl.errors import NetworkError
from simdl.networks import Network
from simdl.report import bench_report
from simdl.requirements import Verdict
from simdl.space import Choice, LogUniform, Normal, Uniform
from tests.study import STUDY, Raw


def line(shift: float) -> nn.Module:
    """The reading, shifted: -2.5 is what the study's thermometer needs."""
    made = nn.Linear(1, 1)
    with torch.no_grad():
        made.weight.fill_(1.0)
        made.bias.fill_(shift)
    return made


def sensor(shift: float) -> Network:
    return Network(line(shift), inputs={"measured": Input(())}, outputs={"estimate": Output(())}, period="30 s")


def test_every_entry_runs_under_every_condition_and_shares_are_those_of_the_campaigns() -> None:
    board = bench(sensor(-2.5), [STUDY], lanes=16, progress=False)
    (seat,) = board.seats
    assert [one.name for one in seat.conditions] == ["as drawn", "a faulty probe", "out of distribution"]
    assert set(seat.campaigns) == {MINE, "raw"} and board.complete
    plain = STUDY.swap(sensor=sensor(-2.5)).campaign(16, progress=False)
    found = seat.campaigns[MINE]["as drawn"]
    for name, margin in plain.margins.items():
        assert torch.equal(margin.nan_to_num(), found.margins[name].nan_to_num())
    bad = [int(Verdict.FAIL), int(Verdict.ERROR)]
    good = sum(all(int(plain.verdicts[name][lane]) not in bad for name in plain.verdicts) for lane in range(16))
    assert seat.share(MINE, "as drawn") == good / 16 == float(kept(plain).double().mean())
    assert all("probe.fault" not in seat.campaigns[entry]["a faulty probe"].drawn for entry in seat.campaigns)


def test_a_sensor_that_knows_stands_above_the_raw_one_and_a_wrong_one_below() -> None:
    (seat,) = bench(sensor(-2.5), [STUDY], lanes=16, progress=False).seats
    assert seat.ranking() == [MINE, "raw"] and seat.score(MINE) > seat.score("raw")
    (seat,) = bench(sensor(9.0), [STUDY], lanes=16, progress=False).seats
    assert seat.share(MINE, "as drawn") <= seat.share("raw", "as drawn")
    assert seat.score("raw") == pytest.approx(sum(seat.share("raw", c.name) for c in seat.conditions) / 3)


def test_what_fits_no_slot_is_told_every_reason() -> None:
    with pytest.raises(NetworkError, match=r"(?s)it fits no slot:.*tests.study:STUDY, slot sensor: "):
        bench(Network(nn.Linear(2, 1), inputs=("a", "b"), outputs=("c",), period="1 s"), [STUDY], lanes=2)


def test_a_baseline_that_does_not_fit_is_a_row_and_not_the_end() -> None:
    design = STUDY.design
    assert design is not None
    study = replace(STUDY, design=replace(design, baselines={"late": lambda: Raw(period="1 s"), **design.baselines}))
    board = bench(sensor(-2.5), [study], lanes=4, progress=False)
    assert "rate" in board.seats[0].misfits["late"] and "raw" in board.seats[0].campaigns
    assert "Entries that do not fit" in bench_report(board).to_html()


def test_ranges_become_half_as_wide_again_and_stay_on_their_side() -> None:
    space = {"a": Uniform(2.0, 6.0), "b": Uniform(0.0, 1.0), "c": Uniform(-3.0, -1.0), "d": LogUniform(1.0, 100.0),
             "e": Normal(1.0, 2.0, -4.0, 4.0), "f": Choice((0.0, 1.0)), "g": Uniform(0.0, 1.0)}  # fmt: skip
    wide = widened(space, {"g": (0.0, 1.0)})
    assert wide["a"] == Uniform(1.0, 7.0) and wide["b"] == Uniform(0.0, 1.25) and wide["c"] == Uniform(-3.5, -0.5)
    assert wide["d"].low == pytest.approx(10**-0.5) and wide["d"].high == pytest.approx(10**2.5)
    assert wide["e"] == Normal(1.0, 3.0, -6.0, 6.0) and wide["f"] == space["f"] and wide["g"] == space["g"]


def test_declared_limits_of_parameters_hold_in_the_wider_space() -> None:
    from simdl.scenario import scenario

    kinds = {one.name: one for one in conditions(scenario("battery_soc"))}
    assert kinds["out of distribution"].scenario.space["age"] == Uniform(0.0, 1.0)
    assert kinds["out of distribution"].scenario.space["ambient"] == Uniform(-36.25, 61.25)
    assert kinds["sensor fault"].scenario.set["faulty"] == 1.0 and "faulty" not in kinds["sensor fault"].scenario.space


def test_the_page_holds_the_numbers_and_nothing_that_was_not_asked(tmp_path: Path) -> None:
    board = bench(sensor(-2.5), [STUDY], lanes=8, progress=False)
    report = bench_report(board, command="simdl bench")
    page = report.save(tmp_path / "card.html")
    kept_twin = json.loads((tmp_path / "card.json").read_text())
    tables = {t["title"]: t for s in kept_twin["sections"] for t in s["parts"] if t["kind"] == "table"}
    (seat,) = board.seats
    for row in tables["Ranking"]["rows"]:
        assert row[2] == pytest.approx(100 * seat.score(row[0]))
    assert len(tables["Margins"]["rows"]) == 3 * 3 * 2
    assert kept_twin["lanes"] == {"asked": 48, "ran": 48, "failed": 0, "missing": 0}
    html = page.read_text()
    assert html.count("<svg") >= 2 and "http://" not in html.replace("http://www.w3.org", "")


def test_a_program_without_names_fits_by_order_and_the_command_ends_as_the_requirements_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    axes = ({0: torch.export.Dim.DYNAMIC},)
    for name, shift in (("good", -2.5), ("bad", 9.0)):
        torch.export.save(torch.export.export(line(shift), (torch.zeros(2, 1),), dynamic_shapes=axes), f"{name}.pt2")

    def asked(name: str, *more: str) -> Any:
        return CliRunner().invoke(program, ["bench", "tests.study:STUDY", "--network", f"{name}.pt2", "--lanes", "8",
                                            "--out", name, "-q", *more])  # fmt: skip

    fixed = asked("good", "--json")
    page = json.loads(fixed.stdout)
    assert fixed.exit_code == page["code"] == (1 if page["state"] == "failed" else 0)
    again = json.loads(asked("good", "--json").stdout)
    assert again["requirements"] == page["requirements"]
    assert (tmp_path / "good" / "report.html").is_file()
    bad = asked("bad")
    assert bad.exit_code == 1 and bad.output.startswith("FAILED") and "Ranking" not in bad.output.splitlines()[0]
    nothing = CliRunner().invoke(program, ["bench", "tests.study:STUDY", "--network", "nothing.pt2"])
    assert nothing.exit_code == 2 and "no such file or folder" in nothing.output


def test_an_interruption_between_campaigns_keeps_what_is_done(tmp_path: Path) -> None:
    told: list[str] = []

    def stop(text: str) -> None:
        told.append(text)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench(sensor(-2.5), [STUDY], lanes=8, out=tmp_path, progress=False, tell=stop)
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert len(told) == 3 and done
    board = bench(sensor(-2.5), [STUDY], lanes=8, out=tmp_path, progress=False)
    fresh = bench(sensor(-2.5), [STUDY], lanes=8, progress=False)
    for entry, found in board.seats[0].campaigns.items():
        for condition, campaign in found.items():
            other = fresh.seats[0].campaigns[entry][condition]
            assert all(torch.equal(m.nan_to_num(), other.margins[n].nan_to_num()) for n, m in campaign.margins.items())
