"""Numbers that make no sense at the command line: refused in words, by the name of the option, before any work."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from simdl.cli.options import Positive, Whole
from simdl.cli.program import COMMANDS, program

STUDY = "tests.study:STUDY"
NO_NUMBERS = ("nan", "inf", "-inf", "words", "", " ", "1.5.2", "0x10", "1e", "١٫٥")
NOT_WHOLE = (*NO_NUMBERS, "1.5", "1e3", "1e400")


def numeric() -> list[tuple[str, str, click.ParamType]]:
    """The options of all commands that take a number, but for the groups."""
    context = click.Context(program)
    found = []
    for name in COMMANDS:
        command = program.get_command(context, name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.type, click.types.IntParamType |
                                                               click.types.FloatParamType):  # fmt: skip
                if not option.count:
                    found.append((name, option.opts[0], option.type))
    return found


def refused(command: str, option: str, value: str) -> str:
    """What is said of a value, without its usage lines."""
    context = click.Context(program)
    words = program.get_command(context, command)
    assert words is not None
    given = [STUDY if one.name == "scenario" else "x" for one in words.params if isinstance(one, click.Argument)]
    done = CliRunner().invoke(program, [command, *given, f"{option}={value}"])
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit), done.output
    return done.stderr.rsplit("Error: ", 1)[1].strip()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_number_is_of_a_kind_that_is_tried_here() -> None:
    kinds = {(name, option): type(kind) for name, option, kind in numeric()}
    assert set(kinds.values()) == {Whole, Positive}
    assert {("run", "--seed"), ("run", "--lane"), ("validate", "--lanes"), ("validate", "--workers")} <= set(kinds)


@pytest.mark.parametrize(("command", "option", "kind"), numeric(), ids=lambda one: one if isinstance(one, str) else "")
def test_what_is_no_number_is_told_by_the_name_of_the_option(
    folder: Path, command: str, option: str, kind: click.ParamType
) -> None:
    for value in NOT_WHOLE if isinstance(kind, Whole) else NO_NUMBERS:
        said = refused(command, option, value)
        assert said.startswith(f"Invalid value for '{option}'") and repr(value) in said
        assert "is not a whole number" in said or "is not a number" in said or "is not finite" in said
    assert not list(folder.iterdir())


@pytest.mark.parametrize(("command", "option", "kind"), numeric(), ids=lambda one: one if isinstance(one, str) else "")
def test_what_is_out_of_range_is_told_with_the_range(
    folder: Path, command: str, option: str, kind: click.ParamType
) -> None:
    least = kind.min if isinstance(kind, Whole) else 0
    below = [least - 1, -(10**30)] if isinstance(kind, Whole) else [0, -1, -1e300]
    for value in below:
        assert f"is not in the range x>{'=' * isinstance(kind, Whole)}{least}" in refused(command, option, str(value))
    if isinstance(kind, Whole):
        assert f"{10**30} is more than {2**63 - 1}" in refused(command, option, str(10**30))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize(
    ("value", "said"),
    [("nan", "expected a number"), ("NaN", "NaN is not a number"), ("[1, NaN]", "NaN is not a number"),
     ("words", "expected a number"), ("", "is not path=value"), ("1e400", "1e400 is too large"),
     ("[-1e400]", "-1e400 is too large"), ("9" * 400, "is too large"), ("[]", "expected a number"),
     ('"1"', "expected a number"), ("null", "expected a number"), ("{}", "expected a number"),
     ("[[1], []]", "expected a number"), ("1,5", "expected a number")],
)  # fmt: skip
def test_what_is_set_to_no_number_is_told(folder: Path, command: str, value: str, said: str) -> None:
    found = refused(command, "--set", f"room.loss={value}")
    assert found.startswith("Invalid value for '--set'") and said in found
    assert not list(folder.iterdir())


@pytest.mark.parametrize("command", ["run", "validate", "codesign", "dataset"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "words", "", "1e400", "1e30", "-5 s", "5 lightyears"])
def test_a_horizon_that_is_none_is_told(folder: Path, command: str, value: str) -> None:
    assert refused(command, "--until", value).startswith("Invalid value for '--until'")
    assert not list(folder.iterdir())
