"""`simdl surrogate`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simdl.cli.options import Assignments, Positive, Time, Whole, _collected, options
from simdl.cli.program import Ending
from simdl.cli.request import Request, spare
from simdl.cli.terminal import document, session, tell
from simdl.errors import UsageError

if TYPE_CHECKING:
    from simdl.compile import Model
    from simdl.scenario import Scenario
    from simdl.surrogate import Surrogate

HELD = 10  # periods that an excitation holds a level, at most


def between(text: str) -> tuple[float, float]:
    """Two numbers, the lower one first. Raises ValueError for anything else.

    >>> between("-2:5.5")
    (-2.0, 5.5)
    """
    low, colon, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = (0.0, 0.0)
    if not colon or not float("-inf") < found[0] < found[1] < float("inf"):
        raise ValueError(f"expected two numbers, the lower one first, such as -2:5, found {text!r}")
    return found


def widths(ctx: click.Context, param: click.Parameter, text: str) -> tuple[int, ...]:
    if text.strip() == "linear":
        return ()
    try:
        found = tuple(int(one) for one in text.split(","))
    except ValueError:
        found = (0,)
    if min(found) < 1:
        raise click.BadParameter(f"{text!r} is neither widths such as 24 or 32,32 nor the word linear", ctx, param)
    return found


_BETWEEN = Assignments("path=low:high, such as motor.voltage=-2:2", between)


@click.command("surrogate")
@options("scenario", "seed", "set", "network", "until", "quick", "force", "engine")
@click.argument("part")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to write to.")
@click.option("--period", type=Time(), help="Between ticks of the network.  [default: that of a sampled part]")
@click.option("--excite", type=_BETWEEN, multiple=True, callback=_collected, metavar="INPUT=LOW:HIGH",
              help="Add random levels in this range to what drives an input; repeatable.")  # fmt: skip
@click.option("--hold", type=Time(), help=f"A level of --excite holds as long, at most.  [default: {HELD} periods]")
@click.option("--range", "ranges", type=_BETWEEN, multiple=True, callback=_collected, metavar="PATH=LOW:HIGH",
              help="What else varies over the lanes, beside what the scenario draws; repeatable.")  # fmt: skip
@click.option("--state", "states", multiple=True, metavar="NAME", help="A state to keep, such as omega or heat[3]; "
              "repeatable.  [default: all]")  # fmt: skip
@click.option("--lanes", type=Whole(2), default=32, show_default=True, help="How many to learn from.")
@click.option("--test", type=Whole(1), default=16, show_default=True, help="How many to compare on.")
@click.option("--hidden", default="24", show_default=True, callback=widths, help="Widths of the network's layers, such "
              "as 32,32; or linear.")  # fmt: skip
@click.option("--horizon", type=Whole(1), default=32, show_default=True, help="Steps of a training run.")
@click.option("--steps", type=Whole(0), default=600, show_default=True, help="How many steps to train.")
@click.option("--seconds", type=Positive(), help="How long to train, at most.")
@click.option("--within", type=Positive(), help="The worst error that is good, as a part "
              "of a signal's range: beyond it the exit code is 1.")  # fmt: skip
def command(
    scenario: str, part: str, out: Path, period: Any, excite: dict[str, tuple[float, float]], hold: Any,
    ranges: dict[str, tuple[float, float]], states: tuple[str, ...], lanes: int, test: int, hidden: tuple[int, ...],
    horizon: int, steps: int, seconds: float | None, within: float | None, seed: int, settings: dict[str, Any],
    networks: dict[str, str], until: Any, quick: bool, force: bool, engine: str,
) -> int:  # fmt: skip
    """Replace the part of SCENARIO at PART, such as loop.motor, by a network: excite it in the loop, learn it, put the
    network in its place, and compare both loops on unseen lanes, signal by signal and in time.

    Writes card.json, model.safetensors and a picture. Ctrl-C ends the training and keeps the best so far.
    """
    spare(out, force)
    study = Request("surrogate", scenario, seed, None, None, settings, networks, until, quick, engine=engine).study()
    from simdl.space import Uniform
    from simdl.surrogate import save_surrogate, surrogate

    speak = session()
    model, space = _varied(study, part, ranges)
    every = period if period is not None else _own_period(model, part)
    tell(f"{part} of {study.name}: {lanes} lanes to learn from, {test} to compare on, seed {seed}")
    if not excite and not ranges:
        tell("nothing is excited: it learns from what the loop does by itself (--excite INPUT=LOW:HIGH)")

    def keep(network: Any, card: Any) -> None:
        save_surrogate(out, network, card.model_copy(update={"model": scenario}))
        tell(f"learnt, and kept in {out}; comparing")

    found = surrogate(
        study.build(), part, period=every, until=study.until, excite=_excitations(excite, every, hold),
        space={**space, **{path: Uniform(*limits) for path, limits in ranges.items()}}, inputs=study.inputs,
        set=study.set, states=states or None, lanes=lanes, test=test, seed=seed, hidden=hidden, horizon=horizon,
        steps=steps, seconds=seconds, solver=study.solver, engine=engine,
        engines=("torch", "native") if engine == "auto" else (engine,), progress=speak.progress, learnt=keep,
    )  # fmt: skip
    card = save_surrogate(out, found.network, found.card.model_copy(update={"model": scenario}))
    found.plot(out / "surrogate.png")
    good = within is None or found.worst <= within
    stopped = found.training.stopped == "interrupted"
    code = Ending.INCOMPLETE if stopped else Ending.OK if good else Ending.FAILED
    if speak.json:
        document({"schema": "simdl-surrogate-1", "code": int(code), "folder": str(out), **_facts(found),
                  "card": card.model_dump(mode="json")})  # fmt: skip
        return int(code)
    click.echo(str(found))
    if not good:
        click.echo(f"\nThe worst error is {found.worst:.2%} of a signal's range, more than {within:.2%}")
    if stopped:
        click.echo(f"\nThe training was stopped after {found.training.rows[-1][0]} of {steps} steps; the best was kept")
    click.echo(f"\nKept in {out}; in Python: simdl.surrogate.place(diagram, {str(out)!r})")
    return int(code)


def _varied(study: Scenario, part: str, ranges: Mapping[str, Any]) -> tuple[Model, dict[str, Any]]:
    """The model, and what the scenario draws but for parameters of the part: the network stands for one value of them.

    Raises UsageError for paths of --range that are nothing that varies.
    """
    from simdl.compile import compile_model
    from simdl.surrogate.replacement import own_parameters

    model = compile_model(study.build())
    able = [*model.params, *model.continuous, *model.discrete, *model.modes, *model.externals]
    for path in ranges:
        if path not in able and model.flat.aliases.get(path) not in able:
            raise UsageError(f"--range {path}", "is nothing that can vary", "a parameter, an initial state or an "
                             "external input", "", sorted(able), path)  # fmt: skip
    keys = {model.key(path): path for path in study.space}
    fixed = [keys[key] for key in own_parameters(model, part, keys)]
    if fixed:
        tell(f"not drawn, since the network stands for one value of them: {', '.join(fixed)}")
    return model, {path: what for path, what in study.space.items() if path not in fixed and path not in ranges}


def _own_period(model: Model, part: str) -> Any:
    """Of a sampled part. Raises UsageError for one that is continuous."""
    from fractions import Fraction

    from simdl.clock import SECOND

    clocks = {leaf.clock for path, leaf in model.blocks.items() if path == part or path.startswith(f"{part}.")}
    if len(clocks) != 1 or None in clocks:
        raise UsageError("--period", "not given, and the part is not sampled at one rate", "the time between ticks of "
                         "the network", '--period "10 ms"')  # fmt: skip
    (clock,) = clocks
    return Fraction(clock.numerator, clock.denominator * SECOND) if clock is not None else None


def _excitations(given: Mapping[str, tuple[float, float]], every: Any, hold: Any) -> dict[str, Any]:
    """Random levels for each input, held for one to HELD ticks of a shift register."""
    from simdl.blocks import APRBS
    from simdl.clock import nanoseconds

    ns = nanoseconds(hold, "--hold") // HELD if hold is not None else nanoseconds(every, "--period")
    period = f"{max(1, ns)} ns"
    return {path: APRBS(length=HELD, low=low, high=high, period=period) for path, (low, high) in given.items()}


def _facts(found: Surrogate) -> dict[str, Any]:
    """The table as JSON; what is not a finite number is null."""

    def plain(values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}

    signals: Sequence[Any] = [{**vars(one), "relative": one.relative(one.worst)} for one in found.differences]
    return {
        **plain({"worst": found.worst, "stable": found.free_run.stable}), "signals": [plain(one) for one in signals],
        "speeds": [plain({**vars(one), "gain": one.gain if not one.why else None}) for one in found.speeds],
        "stopped": found.training.stopped, "failed": [len(run.status) for run in (found.original, found.run)],
    }  # fmt: skip
