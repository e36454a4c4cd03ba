"""The commands by name, loaded when they are called; what becomes of errors; exit codes."""

from __future__ import annotations

import difflib
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib import import_module
from typing import Any, NoReturn

import click

import simdl
from simdl.errors import SimdlError


class Ending(IntEnum):
    """The exit codes, which stay as they are."""

    OK = 0
    FAILED = 1  # a requirement failed, or is unknown because a lane failed to run
    USAGE = 2  # the command, the model or a file is not as it must be; nothing is wrong with simdl
    INCOMPLETE = 3  # interrupted: what is done is kept
    INTERNAL = 4  # a fault of simdl


# Written here, so that help needs no command's module. A name is its module's; `list` is the module `listing`.
COMMANDS = {
    "list": ("listing", "The scenarios that can be run by name."),
    "describe": ("describe", "What a scenario is: what varies, what must hold, its slots, its schedule."),
    "slots": ("slots", "The places for networks in a scenario, and what fits there."),
    "run": ("run", "Run one lane and draw it."),
    "dataset": ("dataset", "Simulate lanes and write a data set to learn from."),
    "train": ("train", "Train the network of a scenario on data sets."),
    "validate": ("validate", "Check the requirements on many lanes."),
    "codesign": ("codesign", "Simulate, train, close the loop, check, learn from the worst, check again."),
    "surrogate": ("surrogate", "Replace a part of a scenario by a network, and compare both loops."),
    "export-c": ("export_c", "Write a sampled part of a scenario as C99, and put it back into the loop."),
    "report": ("report", "Write the page of a folder again, of an unfinished one too."),
    "export": ("export", "Write a network as ONNX, torch.export or C, and put the file back into the loop."),
    "network": ("network", "What a network is made of, what it costs, and what looks wrong about it."),
    "bench": ("bench", "Rank a network closed loop in every slot that it fits, beside the baselines."),
    "hub": ("hub", "The networks that ship with simdl."),
    "doctor": ("doctor", "What simdl finds on this machine, and how to get what it does not."),
}


@dataclass
class Session:
    """How this call was asked to speak, and what to say when it is cut short."""

    verbose: int = 0
    quiet: bool = False
    json: bool = False
    resume: str = ""

    @property
    def progress(self) -> bool | None:
        """For `progress=`: None lets the terminal decide."""
        return False if self.quiet else None


class Program(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"simdl.cli.{COMMANDS[cmd_name][0]}")
        found: click.Command = module.command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"No command {name!r}.{hint} There are: {', '.join(COMMANDS)}.", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
             standalone_mode: bool = True, **extra: Any) -> Any:  # fmt: skip
        """Run; turn what was raised into words for people and an exit code."""
        session = Session()
        extra["obj"] = session
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            code = int(result) if isinstance(result, int) else Ending.OK
        except Exception as error:  # click makes an Abort, which is a RuntimeError, of KeyboardInterrupt
            code = ended(error, session)
        if standalone_mode:
            _leave(code)
        return code


def ended(error: Exception, session: Session) -> int:
    """Say what went wrong, without a traceback unless -v asks for it; returns the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if session.verbose:
        traceback.print_exception(error)
    if isinstance(error, click.exceptions.Abort):
        text = str(error.__cause__ or "").strip()
        lines = ["Interrupted: what was finished is kept.", *([text] if text else [])]
        lines += [f"Go on with\n  {session.resume}"] if session.resume else []
        return _say(Ending.INCOMPLETE, "\n".join(lines), session, error)
    if isinstance(error, click.ClickException):
        if not session.json:
            error.show()
        return _say(Ending.USAGE, "" if not session.json else error.format_message(), session, error)
    if isinstance(error, BrokenPipeError):
        _hush()
        return Ending.OK
    if isinstance(error, SimdlError):
        return _say(Ending.USAGE, str(error), session, error)
    if isinstance(error, OSError) and error.filename:
        return _say(Ending.USAGE, f"{error.filename}: {error.strerror or error}", session, error)
    where = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    at = f" at {where.filename}:{where.lineno}" if where else ""
    text = f"{type(error).__name__}: {error}{at}\nThis is a fault in simdl or in the scenario's own code. "
    return _say(Ending.INTERNAL, text + "Repeat with -v for the traceback.", session, error)


def _say(code: Ending, text: str, session: Session, error: Exception) -> int:
    if text:
        click.echo(click.style("error: ", fg="red", bold=True) + text, err=True)
    if session.json:
        parts = {name: getattr(error, name, "") for name in ("where", "found", "expected", "fix")}
        shown = {"schema": "simdl-error-1", "code": int(code), "error": type(error).__name__, "text": text,
                 "names": list(getattr(error, "names", ())), "resume": session.resume, **parts}  # fmt: skip
        click.echo(json.dumps(shown, indent=1))
    return int(code)


def _hush() -> None:
    """The reader of our output is gone: let nothing more be written to it, not even on the way out."""
    import os

    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return


def _leave(code: int) -> NoReturn:
    sys.exit(code)


@click.group("simdl", cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(simdl.__version__, "--version", message="simdl %(version)s")
def program() -> None:
    """Simulate systems with neural networks in the loop.

    Start with `simdl list`, then `simdl run SCENARIO`. Each command has its own --help.

    Exit codes: 0 good, 1 a requirement failed, 2 wrong usage or input, 3 incomplete, 4 a fault of simdl.
    """
