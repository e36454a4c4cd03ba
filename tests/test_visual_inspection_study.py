"""The study of the line: counts and their bands, what both policies make of the same parts, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

from simdl.errors import DataError
from simdl.scenarios.visual_inspection import figure, study
from simdl.scenarios.visual_inspection.__main__ import main
from simdl.scenarios.visual_inspection.gate import BAD, GOOD, UNKNOWN
from simdl.scenarios.visual_inspection.journal import Journal
from simdl.scenarios.visual_inspection.outlet import TABLE
from simdl.scenarios.visual_inspection.parts import CHIP, OK, SCRATCH


def point(**counts: int) -> study.Point:
    """One lane of 30 s: "unknown_ok=3" and so on."""
    table = np.zeros(TABLE, dtype=int)
    for name, count in counts.items():
        verdict, kind = name.split("_")
        table[{"unknown": UNKNOWN, "good": GOOD, "bad": BAD}[verdict], int(kind)] = count
    return study.Point("load", 0.5, "fifo", 30, (tuple(table.flatten().tolist()),))


def test_a_late_part_escapes_when_the_gate_fails_open_and_is_thrown_away_when_it_fails_safe() -> None:
    one = point(**{f"good_{OK}": 80, f"bad_{OK}": 5, f"unknown_{OK}": 15, f"good_{SCRATCH}": 2, f"bad_{SCRATCH}": 7,
                   f"unknown_{SCRATCH}": 1, f"bad_{CHIP}": 9, f"unknown_{CHIP}": 1})  # fmt: skip
    assert one.parts == 120 and one.late()[0] == pytest.approx(17 / 120)
    assert one.escaped("fail-open")[0] == pytest.approx(4 / 20) and one.escaped("fail-safe")[0] == pytest.approx(2 / 20)
    assert one.escaped("fail-open", CHIP)[0] == pytest.approx(0.1) and one.escaped("fail-safe", CHIP)[0] == 0
    assert one.thrown("fail-open")[0] == pytest.approx(0.05) and one.thrown("fail-safe")[0] == pytest.approx(0.2)
    assert one.minute("fail-open") == pytest.approx(2 * 95) and one.minute("fail-safe") == pytest.approx(2 * 80)


def test_bands_are_clopper_pearson_where_lanes_are_alike() -> None:
    bounds = binomtest(6, 120).proportion_ci(0.95, "exact")
    assert study.fraction(np.array([2, 2, 2]), np.array([40, 40, 40])) == pytest.approx((0.05, bounds.low, bounds.high))
    assert study.fraction(np.array([0, 0]), np.array([0, 0])) == (0.0, 0.0, 1.0)


def test_bands_of_lanes_that_are_all_or_nothing_are_those_of_lanes() -> None:
    """Of 2 m lanes with ten parts each, half lose all: the scatter is that of 2 m - 1 independent parts."""
    value, low, high = study.fraction(np.array([10, 0] * 11), np.full(22, 10))
    wanted = study.fraction(np.array([10.5]), np.array([21.0]))
    assert (value, low, high) == pytest.approx((0.5, *wanted[1:]))
    assert high - low > 2.5 * np.ptp(study.fraction(np.array([110]), np.array([220]))[1:])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[study.Point]]:
    kept = tmp_path_factory.mktemp("study") / "counts.jsonl"
    return kept, study.sweep(3, 1, 2, kept, lambda _: None, loads=(0.0,), flows=(2.0, 12.0), progress=False)


def test_without_load_no_verdict_is_late_and_neither_policy_nor_order_matters(
    small: tuple[Path, list[study.Point]],
) -> None:
    fifo, first, *flows = small[1]
    assert [(p.sweep, p.at, p.order) for p in small[1]] == [
        ("load", 0.0, "fifo"), ("load", 0.0, "priority"), ("flow", 2.0, "fifo"), ("flow", 12.0, "fifo"),
    ]  # fmt: skip
    assert fifo.lanes == first.lanes and fifo.parts > 0 and fifo.late()[0] == 0
    assert fifo.escaped("fail-open") == fifo.escaped("fail-safe") and fifo.thrown("fail-open") == fifo.thrown(
        "fail-safe"
    )
    assert flows[1].parts > 2 * flows[0].parts and all(len(p.lanes) == 3 for p in flows)


def test_a_study_goes_on_behind_its_own_points_and_refuses_those_of_another(
    small: tuple[Path, list[study.Point]],
) -> None:
    kept, found = small
    lines = kept.read_bytes()
    kept.write_bytes(lines + b'{"sweep": "lo')  # killed while it wrote
    said: list[str] = []
    again = study.sweep(3, 1, 2, kept, said.append, loads=(0.0,), flows=(2.0, 12.0), progress=False)
    assert again == found and not said and kept.read_bytes() == lines
    with pytest.raises(DataError, match="another folder"):
        study.sweep(4, 1, 2, kept, said.append, loads=(0.0,), flows=(2.0,), progress=False)


def test_the_page_shows_what_was_counted(small: tuple[Path, list[study.Point]], tmp_path: Path) -> None:
    figure.rates(small[1], tmp_path / "rates.png")
    figure.kinds(small[1], tmp_path / "kinds.png")
    assert all((tmp_path / f"{name}.png").stat().st_size > 20_000 for name in ("rates", "kinds"))
    assert study.table(small[1]).count("\n") == 2 * len(small[1]) + 1
    assert study.kinds(small[1]).count("fail-safe") == 1


def test_a_journal_of_a_stranger_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    journal = Journal(path, {"tested": 3})
    journal.add([1, 2.5])
    assert Journal(path, {"tested": 3}).rows == [[1, 2.5]]
    path.write_text(path.read_text() + "not JSON\n")
    with pytest.raises(DataError, match="line 3"):
        Journal(path, {"tested": 3})
    path.write_text(json.dumps([1, 2]) + "\n")
    with pytest.raises(DataError, match="another folder"):
        Journal(path, {"tested": 3})


WRONG = {
    "study --lanes 0 --out x": "--lanes", "show --each -3 --out x": "--each", "train --epochs x --out x": "--epochs",
    "train --pictures 0 --out x": "--pictures", "transfer --seeds 0 --out x": "--seeds", "study": "--out",
    f"transfer --out {__file__}": "is a file", "studie --out x": "studie",
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG)
def test_wrong_input_is_one_line_and_exit_code_2(words: str) -> None:
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 2 and WRONG[words] in result.output and "Traceback" not in result.output


def test_a_folder_of_another_study_is_refused_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "counts.jsonl").write_text('{"request":{"lanes":1}}\n')
    result = CliRunner().invoke(main, ["study", "--out", str(tmp_path)])
    assert result.exit_code == 2 and "another folder for --out" in result.output
