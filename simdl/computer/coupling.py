"""A diagram on a computer: which task runs which of its blocks, and the timetable of every lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from simdl.block import Block
from simdl.clock import SECOND, Clock, Duration, nanoseconds
from simdl.compile import Model, compile_model
from simdl.computer.edge import watch
from simdl.computer.fit import check_sample, unfit
from simdl.computer.instead import Instead, announce, join, outputs, variants, wire
from simdl.computer.mapped import LIVE, become_mapped
from simdl.computer.placement import Placement, Timetable
from simdl.computer.schedule import Schedule
from simdl.computer.timetable import SPARE, Accessed, Placed, Scheduler, Timetables, checked, in_flight
from simdl.declarations import Input, Output
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.errors import LaneError, ModelError
from simdl.methods import OutputMethod, output, tick
from simdl.port import Formula, Port
from simdl.slots.copying import copied

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simdl.computer.computer import Computer
    from simdl.computer.live import Told

    Times = NDArray[np.int64]

Whole = TypeVar("Whole", bound=Diagram)
TRIED = 4  # lanes of which one must have a schedule


class Age(Block):
    """How old the inputs are from which a shown output was computed: t - captured."""

    captured = Input(unit="s", dtype="float64")

    @output(unit="s")
    def age(self, t, captured):  # type: ignore[no-untyped-def]
        return t - captured


class Releases(Block):
    """The clock of blocks that tasks run: it keeps the instants at which their jobs are released."""

    count = Output(dtype="int64")

    @tick
    def step(self, t):  # type: ignore[no-untyped-def]
        return {"count": torch.zeros_like(t).to(torch.int64)}


def place(
    diagram: Whole, scheduler: Scheduler, horizon: Duration, most: int | None = None, pending: int | None = None,
    instead: Instead = MappingProxyType({}),
) -> Whole:  # fmt: skip
    """A copy of a diagram in which the blocks that tasks run keep the times of their jobs.

    horizon: how long it can run; the schedule of every lane is computed to there before it runs. most: room for jobs of
    a block in a lane, where their number is random; pending: how many of them may be under way at once. instead: which
    blocks degraded jobs run in place of others.
    A lane whose schedule ends in an error, as a body raises, fails at t = 0. Where all lanes have one schedule, and
    where it is so in each of the first four, the error is raised at once.
    Raises ModelError naming every block that cannot be run by a task, and why.
    """
    end = nanoseconds(horizon, "horizon")
    model = compile_model(diagram)
    made = copied(diagram)
    blocks = {block.path: block for block in made.leaves()}
    names = join(_assigned(scheduler, model, blocks), instead, model, blocks)
    sample = _sample(scheduler, end)
    if isinstance(sample, Schedule):
        check_sample(sample, model)
    timetables = Timetables(scheduler, end, names, varied=frozenset(path for path in names if _varied(path, instead)))
    several = {names[path] for path in timetables.varied}
    for name in dict.fromkeys(names.values()):
        reads, writes, source = checked(sample.accesses(name), name)
        room = 0 if scheduler.deterministic else SPARE + len(reads) // 2
        extra = 0 if scheduler.deterministic else SPARE + len(writes) // 2
        timetables.lengths[name] = (most or max(1, len(reads) + room), most or max(1, len(writes) + extra))
        if len(reads) and np.array_equal(reads, writes) and name not in several:
            timetables.immediate |= {name}
        room = 1 if scheduler.deterministic else scheduler.under_way(name)
        timetables.pending[name] = pending or max(room, in_flight(reads, writes, source))
    _wire_within(blocks, names, instead)
    _keep_clocks(made, model, names)
    for path, name in names.items():
        jobs, shown = timetables.lengths[name]
        placed = _placement(path, blocks[path], model, timetables, scheduler.placed()[name], timetables.pending[name])
        by = _by(scheduler, name)
        placed = replace(placed, immediate=name in timetables.immediate, jobs=jobs, writes=shown, by=by)
        _map(blocks[path], replace(placed, **variants(path, instead)))
    wire(instead, blocks)
    compile_model(made)
    return made


def _sample(scheduler: Scheduler, end: int) -> Accessed:
    """The schedule of the first lane that has one, of a few. Raises LaneError where none of them has."""
    for lane in range(TRIED):
        try:
            return scheduler.schedule(end, 0, lane)
        except LaneError:
            if scheduler.deterministic or lane == TRIED - 1:
                raise
    raise AssertionError("a lane is tried")


def place_live(diagram: Whole, computer: Computer, pending: int = 8) -> Whole:
    """A copy of a diagram beside which the computer of every lane runs, told what its jobs read.

    pending: how many jobs of a block may be under way at once. Raises ModelError as `place` does.
    """
    from simdl.computer.live import Live

    model = compile_model(diagram)
    made = copied(diagram)
    blocks = {block.path: block for block in made.leaves()}
    instead = computer.instead
    names = join(_assigned(computer, model, blocks), instead, model, blocks)
    edges = watch(made, model, computer.edges)
    ports = {f"{p}.{n}": Port(blocks[p], f"{n}_of_job", "output") for p in names for n in outputs(blocks[p])}
    told = _told(model, names, list(ports))
    live = Live(computer, tuple(dict.fromkeys(names.values())), pending, told, tuple(edge for edge, _ in edges))
    _wire_within(blocks, names, instead)
    _keep_clocks(made, model, names)
    for path in names:
        vars(blocks[path]).setdefault("_within", set()).update(outputs(blocks[path]))
    computers = live.block()
    made.computers = computers  # type: ignore[attr-defined]
    for k, port in enumerate(ports.values()):
        computers.wires[f"v{k}"] = port
    for k, (_, stamp) in enumerate(edges):
        computers.wires[f"e{k}"] = stamp
    for path, name in names.items():
        block, k = blocks[path], live.names.index(name)
        placed = _placement(path, block, model, live, computer.placed()[name], pending)
        placed = replace(placed, live=True, by=_by(computer, name), **variants(path, instead))
        _map(block, placed)
        for port_name in (*LIVE, *(["variant"] if placed.varied else [])):
            block.wires[port_name] = Port(computers, f"{port_name}{k}", "output")
    wire(instead, blocks)
    compile_model(made)
    return made


def _told(model: Model, names: Mapping[str, str], keys: list[str]) -> Told:
    """What jobs are told that read these outputs: a number by the name of what gave it, an array by its own path."""
    from simdl.computer.live import Told

    ports = {key: k for k, key in enumerate(keys)}
    aliases = {path: ports[key] for path, key in model.flat.aliases.items() if key in ports}
    given: dict[str, dict[str, int]] = {}
    arrays: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys(names.values()):
        own = ports if name in names else aliases  # a diagram has outputs of its own
        parts = {path.removeprefix(f"{name}."): k for path, k in own.items() if path.rpartition(".")[0] == name}
        if name not in names:
            declared = type(model.flat.owners[name]).declared()
            parts = {short: k for short, k in parts.items() if isinstance(declared.get(short), Output)}
        arrays[name] = tuple(short for short, k in parts.items() if model.values[keys[k]].shape)
        given[name] = {short: k for short, k in parts.items() if short not in arrays[name]}
    return Told(len(keys), {**ports, **aliases}, given, arrays)


def _placement(
    path: str, block: Block, model: Model, timetable: Timetable, moved: tuple[float, float], pending: int
) -> Placement:  # fmt: skip
    given = outputs(block)
    values, clock = {n: model.values[f"{path}.{n}"] for n in given}, model.blocks[path].clock
    return Placement(
        path=path, timetable=timetable, immediate=False, jobs=0, writes=0, pending=pending,
        shapes={n: value.shape or () for n, value in values.items()},
        dtypes={n: value.dtype for n, value in values.items()},
        within=_within(block, given),
        period=clock.period if clock is not None else 0.0, drift=moved[0], shift=moved[1],
        initial=vars(block).pop("_initial", {}),
    )  # fmt: skip


def _by(scheduler: Placed, name: str) -> str:
    task = scheduler.task(name)
    return f" of task {task}" if task else ""


def _within(block: Block, given: list[str]) -> tuple[str, ...]:
    """The outputs that other blocks of the job read at once, as noted while wiring."""
    noted = vars(block).pop("_within", ())
    return tuple(name for name in given if name in noted)


def _map(block: Block, placement: Placement) -> None:
    """Make a block one that a task runs, and put the age of what it shows beside it."""
    become_mapped(block, placement)
    if not placement.immediate:
        assert isinstance(block.parent, Diagram)
        age = Age()
        setattr(block.parent, f"{block.label.replace('.', '_')}_age", age)
        age.captured = Port(block, "captured", "output")


def _assigned(scheduler: Placed, model: Model, blocks: Mapping[str, Block]) -> dict[str, str]:
    """Path of each block that a task runs -> the name under which it does."""
    faults: list[Any] = []
    found: dict[str, str] = {}
    regions = {path for region in model.regions for path in region.blocks}
    for name in scheduler.placed():
        inside = [path for path in blocks if path == name or path.startswith(f"{name}.")]
        if not inside:
            faults.append(ModelError(f"runs {name!r}", "no such block", "the path of a block or diagram",
                                     names=list(blocks), wrong=name))  # fmt: skip
        for path in inside:
            block = blocks[path]
            why = unfit(block, path in regions)
            if path in found:
                why = why or f"run as {found[path]!r} too"
            if why:
                faults.append(ModelError(path, why, "a sampled block, run by one task"))
            found[path] = name
    if faults:
        raise ModelError.collect("computer", faults)
    return found


def _varied(path: str, instead: Instead) -> bool:
    return path in instead or any(path in others.values() for others in instead.values())


def _wire_within(blocks: Mapping[str, Block], names: Mapping[str, str], instead: Instead) -> None:
    """What a block reads of another one that the same job runs is what this job has computed, not what is shown.

    What stands in for a block, and that block, see what the other one shows.
    """
    announce(instead, blocks)
    standing = {other for others in instead.values() for other in others.values()}
    for path, name in names.items():
        replaced = {full for full, others in instead.items() if path in others.values()}
        group = {id(blocks[p]) for p, n in names.items() if n == name and p not in standing | replaced}
        block = blocks[path]
        for port, source in block.wires.items():
            many = isinstance(source, tuple)
            new = tuple(_rewired(one, group) for one in (source if many else (source,)))
            block.wires[port] = new if many else new[0]


def _rewired(source: Any, group: set[int]) -> Any:
    if isinstance(source, Formula):
        args = [_rewired(one, group) for one in source.args]
        changed = any(a is not b for a, b in zip(args, source.args))
        return Formula(source.op, *args) if changed else source
    if not isinstance(source, Port):
        return source
    owner = source.owner
    if id(owner) in group:
        if isinstance(type(owner).declared().get(source.name), Output | OutputMethod):
            vars(owner).setdefault("_within", set()).add(source.name)
            return Port(owner, f"{source.name}_of_job", "output")
        return source
    if source.name in owner.wires:
        through = _rewired(owner.wires[source.name], group)
        return source if through is owner.wires[source.name] else through
    return source


def _keep_clocks(made: Diagram, model: Model, names: Mapping[str, str]) -> None:
    """A block for each clock of mapped blocks, so that their instants stay, and with them the steps between."""
    clocks = sorted({clock for path in names if (clock := model.blocks[path].clock) is not None})
    for number, clock in enumerate(clocks):
        setattr(made, f"releases_{number}", Releases(**_timing(clock)))


def _timing(clock: Clock) -> dict[str, Any]:
    from fractions import Fraction

    if clock.rational:
        return {"rate": Fraction(SECOND * clock.denominator, clock.numerator), "offset": Fraction(clock.offset, SECOND)}
    return {"period": Fraction(clock.numerator, SECOND), "offset": Fraction(clock.offset, SECOND)}


def mapped_blocks(diagram: Declared) -> list[str]:
    """The paths of the blocks of a diagram that tasks run."""
    return [block.path for block in diagram.leaves() if "_placement" in vars(block)]
