"""Type checkers accept the language as it is meant, and refuse misspelt names and wrong kinds of values."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests" / "programs"
RIGHT, WRONG = PROGRAMS / "typing_right.py", PROGRAMS / "typing_wrong.py"
CASES = Path(os.environ.get("SIMDL_CASES", ROOT.parent / "shared" / "cases"))
PUBLISHED = CASES / "typing_probe.py"
FILES = [RIGHT, WRONG, *([PUBLISHED] if PUBLISHED.is_file() else [])]

COMMANDS = {
    "mypy": ["mypy", "--config-file", str(PROGRAMS / "mypy.ini"), "--cache-dir", os.devnull, "--strict",
             "--no-error-summary", "--no-pretty", "--hide-error-context", "--show-absolute-path"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=sorted(COMMANDS))
def refused(request: pytest.FixtureRequest) -> tuple[str, dict[Path, dict[int, str]]]:
    """The checker, and the lines with errors by file."""
    command = [sys.executable, "-m", *COMMANDS[request.param], *map(str, FILES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
    found: dict[Path, dict[int, str]] = {}
    for path, line, text in re.findall(
        r"^\s*(/\S+\.py):(\d+)(?::\d+)?(?: -|:) error:? (.*)$", done.stdout, re.MULTILINE
    ):
        found.setdefault(Path(path), {})[int(line)] = text
    assert found, done.stdout + done.stderr
    return request.param, found


def marked(path: Path, checker: str) -> set[int]:
    """The lines of a file that this checker must refuse."""
    pattern = re.compile(rf"# refuse( by {checker})?:")
    return {k for k, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1) if pattern.search(line)}


def test_right_uses_pass(refused: tuple[str, dict[Path, dict[int, str]]]) -> None:
    assert refused[1].get(RIGHT, {}) == {}


def test_wrong_uses_are_refused_line_by_line(refused: tuple[str, dict[Path, dict[int, str]]]) -> None:
    checker, found = refused
    assert set(found.get(WRONG, {})) == marked(WRONG, checker), found.get(WRONG)


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"no external cases: {PUBLISHED} is absent (set SIMDL_CASES)")
def test_published_probe(refused: tuple[str, dict[Path, dict[int, str]]]) -> None:
    checker, found = refused
    assert set(found.get(PUBLISHED.resolve(), found.get(PUBLISHED, {}))) == marked(PUBLISHED, checker)


def test_wrong_uses_fail_at_run_time_too() -> None:
    """What a checker refuses does not fail late: the same parameters are errors where they are written."""
    from simdl import ModelError
    from simdl.blocks import PI, Pendulum

    for wrong in (dict(mas=1.3), dict(mass="x")):
        with pytest.raises(ModelError):
            Pendulum(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        PI(perid="20 ms")  # type: ignore[call-arg]
