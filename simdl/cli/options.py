"""The options that commands share. Importing this imports neither torch nor a scenario."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simdl.cli.program import Session

MOST = 2**63 - 1
F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    Kind = click.ParamType[Any]
else:
    Kind = click.ParamType  # generic since click 8.5


class Assignments(Kind):
    """Repeated `name=value` options as a dict."""

    name = "name=value"

    def __init__(self, what: str, read: Callable[[str], Any]) -> None:
        self.what, self.read = what, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip() or not text.strip():
            self.fail(f"{value!r} is not {self.what}", param, ctx)
        try:
            return name.strip(), self.read(text.strip())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class Time(Kind):
    """A duration: "90 s", "5 min", or a number of seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from simdl.clock import nanoseconds
        from simdl.errors import ClockError

        text = str(value).strip()
        try:
            time: Any = float(text)
        except ValueError:
            time = text
        try:
            if nanoseconds(time, "--until") <= 0:
                self.fail(f"{value!r} is not after the start", param, ctx)
        except ClockError as error:
            self.fail(f"{error.found}; expected {error.expected}", param, ctx)
        return text if isinstance(time, str) else time


class Whole(click.IntRange):
    """A whole number of at least `min`, as large as a machine has them."""

    def __init__(self, min: int) -> None:
        super().__init__(min)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            found = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if found > MOST:
            self.fail(f"{value} is more than {MOST}", param, ctx)
        return int(super().convert(found, param, ctx))


class Positive(click.FloatRange):
    """A number above 0, and finite."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            found = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not finite", param, ctx)
        return float(super().convert(found, param, ctx))


def number(text: str) -> Any:
    """A number, yes or no, or a list of numbers, as text. Raises ValueError for anything else.

    >>> number("2.5"), number("true"), number("[1, 2]")
    (2.5, True, [1, 2])
    """
    try:
        value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_infinite)
    except json.JSONDecodeError:
        value = None
    if isinstance(value, bool | int | float) or (isinstance(value, list) and _numbers(value)):
        return value
    raise ValueError(f"expected a number, true, false or a list such as [1, 2], found {text!r}")


def _whole(text: str) -> int | float:
    value = int(text)
    return value if abs(value) <= MOST else _finite(text)


def _finite(text: str) -> float:
    if math.isinf(float(text)):
        raise ValueError(f"{text} is too large; Infinity is written so")
    return float(text)


def _infinite(text: str) -> float:
    if text == "NaN":
        raise ValueError("NaN is not a number")
    return float(text)


def _numbers(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(v, int | float) or (isinstance(v, list) and _numbers(v)) for v in values)


def _collected(ctx: click.Context, param: click.Parameter, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise click.BadParameter(f"{twice[0]!r} is given twice", ctx, param)
    return dict(pairs)


def _note(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if isinstance(ctx.obj, Session) and value:
            setattr(ctx.obj, name, value)
        return value

    return callback


def _scenarios(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from simdl.scenario import names

    return [name for name in names() if name.startswith(incomplete)]


_SETTING = Assignments("path=value, such as cell.capacity=2.5", number)
_FILLING = Assignments("slot=network, such as sensor=folder/of/a/card or sensor=package:function", str)

OPTIONS: dict[str, Callable[[Any], Any]] = {
    "scenario": click.argument("scenario", shell_complete=_scenarios),
    "seed": click.option("--seed", type=Whole(0), default=0, show_default=True, help="Of all draws and "
                         "noise."),
    "lanes": click.option("--lanes", type=Whole(1), help="How many lanes."),
    "lane": click.option("--lane", type=Whole(0), default=0, show_default=True, help="Which lane."),
    "set": click.option("--set", "settings", type=_SETTING, multiple=True, callback=_collected, metavar="PATH=VALUE",
                        help="Fix a parameter or an input in every lane; repeatable."),
    "network": click.option("--network", "networks", type=_FILLING, multiple=True, callback=_collected,
                            metavar="SLOT=NETWORK", help="What goes into a slot: a card's folder, a .pt2 file, or "
                            "package:function; repeatable."),
    "until": click.option("--until", type=Time(), help='Another horizon: "90 s", "5 min", or seconds.'),
    "quick": click.option("--quick", is_flag=True, help="The scenario's shorter form, for a first look."),
    "out": click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The folder to write to; one "
                        "with the work of an interrupted call goes on.  [default: under runs/]"),
    "force": click.option("--force", is_flag=True, help="Write over what is there."),
    "engine": click.option("--engine", type=click.Choice(["auto", "native", "torch"]), default="auto",
                           show_default=True, help="Compiled C, eager torch, or what is faster."),
    "workers": click.option("--workers", type=Whole(1), default=1, show_default=True, help="Processes."),
}  # fmt: skip
_ALWAYS = (
    click.option("--json", "as_json", is_flag=True, is_eager=True, expose_value=False, callback=_note("json"),
                 help="Print one JSON document."),
    click.option("-q", "--quiet", is_flag=True, is_eager=True, expose_value=False, callback=_note("quiet"),
                 help="Print the outcome only: no progress, no stages."),
    click.option("-v", "--verbose", count=True, is_eager=True, expose_value=False, callback=_note("verbose"),
                 help="Print the traceback of an error, and more of what is done."),
)  # fmt: skip


def options(*names: str) -> Callable[[F], F]:
    """Give a command these options, and --json, -q and -v."""

    def decorate(function: F) -> F:
        for option in (*[OPTIONS[name] for name in names], *_ALWAYS)[::-1]:
            function = option(function)
        return function

    return decorate
