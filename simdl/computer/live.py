"""Tasks whose times depend on what the loop does: every lane's computer runs beside it, told what its jobs read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import FOREVER
from simdl.computer.edge import Edge
from simdl.computer.history import History, Look, Shown, stepped
from simdl.computer.raised import raised
from simdl.declarations import Input, Output, Param, State
from simdl.errors import LaneError, RunError, SimdlError
from simdl.methods import Hit, reading

if TYPE_CHECKING:
    from simdl.computer.computer import Computer
    from simdl.computer.task import Task

UNSEEN = -1


@dataclass(frozen=True)
class Told:
    """What a job may be told of what it reads.

    count: of the values; ports: path of an output -> which of them; given: a name that a task runs -> what a job is
    told that reads it, short name of an output -> which of the values; arrays: outputs that only their path gives.
    """

    count: int
    ports: Mapping[str, int]
    given: Mapping[str, Mapping[str, int]]
    arrays: Mapping[str, tuple[str, ...]]


class Values(dict[str, Any]):
    """What a block of several outputs gave, by their names."""

    def __init__(self, values: Mapping[str, Any], name: str, arrays: Sequence[str]) -> None:
        super().__init__(values)
        self.name, self.arrays = name, arrays

    def __missing__(self, key: str) -> Any:
        if key in self.arrays:
            raise KeyError(f'{key} is an array: yield Read("{self.name}.{key}") gives it')
        raise KeyError(f"no output {key!r} of {self.name}; there are {', '.join([*self, *self.arrays])}")


class LiveLane:
    """The computer of one lane. What its jobs read at one time is told to it at its next time, 1 ns later at least."""

    def __init__(self, live: Live, lane: int, seed: int) -> None:
        self.kernel = live.computer.live(seed, lane)
        self.live, self.where = live, f"computer: lane {lane}"
        self.places = {name: 4 * k for k, name in enumerate(live.names)}
        # of each name: last read, last write, which read that shows, the variant of the job that read
        self.shown = [UNSEEN, UNSEEN, 0, 0] * len(live.names)
        self.reads = dict.fromkeys(live.names, 0)
        self.shows = [queue for queue in self.kernel.queues.values() if queue.task.name in live.shows]
        self.ahead = False  # whether it said a time up to which nothing can be seen, beyond what happens next

    def advance(self, ns: int, look: Look) -> tuple[Shown, int]:
        """Go on to ns; look: at the values that blocks gave when they were last read, then at the times of edges.

        Raises LaneError where a body or a policy raises."""
        try:
            return self._advance(ns, look)
        except SimdlError:
            raise
        except Exception as error:
            raise raised(self.where, "its computer", error, f"at {self.kernel.now} ns", "catch it") from error

    def _advance(self, ns: int, look: Look) -> tuple[Shown, int]:
        kernel, first = self.kernel, self.live.told.count
        if kernel.asked is not None:
            self.ahead = False
            self._note(kernel.advance(kernel.now, {name: self._answer(name, look) for name in kernel.asked_for}), ns)
        for k, edge in enumerate(self.live.edges):
            if look(first + k) == ns:
                kernel.raise_(edge, ns)
        while kernel.asked is None and kernel.peek() <= ns:
            self._note(kernel.advance(int(kernel.peek())), ns)
        kernel.log.clear()  # the history has what is needed of it
        later, seen = kernel.peek(), self._seen_next()
        self.ahead = seen > later
        following = min(FOREVER, seen if self.ahead else later)
        return tuple(self.shown), max(ns + 1, int(following))

    def _seen_next(self) -> int:
        """Before when nothing is read or written, whatever the other tasks do meanwhile; 0 when that is not known."""
        if self.kernel.messages or any(queue.under_way or queue.pending for queue in self.shows):
            return 0
        return min((queue.due for queue in self.shows), default=FOREVER)

    def _answer(self, name: str, look: Look) -> Any:
        """What a job is told that reads a name."""
        told = self.live.told
        if name in told.given:
            given, arrays = told.given[name], told.arrays[name]
            if len(given) == 1 and not arrays:
                return look(next(iter(given.values())))
            return Values({short: look(k) for short, k in given.items()}, name, arrays)
        if name not in told.ports:
            raise RunError(self.where, f"Read({name!r})", "what a task runs, or an output of it",
                           names=[*told.given, *told.ports], wrong=name)  # fmt: skip
        return look(told.ports[name])

    def _note(self, accesses: Sequence[Any], ns: int) -> None:
        if accesses and self.ahead and self.kernel.now < ns:
            raise RunError(f"{self.where}: {accesses[0].block}", "read or written by a task that does not run it",
                           "a task that does", "name it in runs=")  # fmt: skip
        for one in accesses:
            if one.block not in self.places:
                raise RunError(self.where, f"a job that reads {one.block!r}", "what a task runs", names=self.places)
            at = self.places[one.block]
            if one.kind == "read":
                self.shown[at], self.shown[at + 3] = ns, one.variant
                self.reads[one.block] += 1
                continue
            if self.reads[one.block] - one.number > self.live.pending:
                found = f"{self.reads[one.block] - one.number} jobs under way, and room for {self.live.pending}"
                raise LaneError(f"{self.where}: {one.block}", f"{found} pending, at {self.kernel.now} ns", "fewer",
                                "on(diagram, pending=...)")  # fmt: skip
            self.shown[at + 1], self.shown[at + 2] = ns, one.number


@dataclass(eq=False)
class Live:
    """A computer that runs beside the lanes: names of what tasks run, how many jobs may be under way, what jobs are
    told, and the edges of signals that release them."""

    computer: Computer
    names: tuple[str, ...]
    pending: int
    told: Told
    edges: tuple[Edge, ...] = ()
    horizon: int | None = None
    history: History = field(init=False)
    shows: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.shows = showing(self.computer.tasks)
        self.history = History(lambda lane, seed: LiveLane(self, lane, seed))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("history", "shows")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    def tables(self, path: str, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        return {}

    def failures(self, ids: Tensor, seed: int) -> Mapping[int, str]:
        return {}

    def block(self) -> Block:
        """The block that runs the computers: inputs v0, v1, … are the outputs of the blocks that tasks run, e0, e1, …
        when each edge was last seen; outputs say when each name was last read and shown, ns."""
        return _class_of(self)()


def showing(tasks: Sequence[Task]) -> frozenset[str]:
    """The tasks whose jobs read and write, or may release such jobs."""
    found = {task.name for task in tasks if task.runs}
    while True:
        triggers = {task.trigger for task in tasks if task.name in found and isinstance(task.trigger, str)}
        names = {task.name for task in tasks if task.name in triggers}
        if triggers - names:  # an event, which any body may raise
            names |= {task.name for task in tasks if task.body is not None}
        if names <= found:
            return frozenset(found)
        found |= names


def _class_of(live: Live) -> Callable[[], Block]:
    inputs = {f"v{k}": Input() for k in range(live.told.count)}
    edges = {f"e{k}": Input(dtype="int64") for k in range(len(live.edges))}
    outputs: dict[str, Output] = {}
    for k in range(len(live.names)):
        outputs[f"started{k}"] = Output((), dtype="int64", initial=UNSEEN)
        outputs[f"shown{k}"] = Output((), dtype="int64", initial=UNSEEN)
        outputs[f"which{k}"] = Output((), dtype="int64", initial=0)
        outputs[f"variant{k}"] = Output((), dtype="int64", initial=0)

    def wake(self: Block, values: dict[str, Tensor]) -> dict[str, Any]:
        stamps = [values[name] for name in edges]
        lanes, shown, state = stepped(live.history, values, [values[name] for name in inputs], stamps)
        kept = values["kept"]
        rows = torch.tensor(shown, dtype=torch.int64, device=kept.device).reshape(len(lanes), len(live.names), 4)
        times = rows[..., :2]  # of the program
        times = torch.where(times >= 0, times + state["begun"][lanes].reshape(-1, 1, 1), times)
        rows = torch.cat([times, rows[..., 2:]], dim=2).reshape(len(lanes), kept.shape[1])
        kept = kept.index_copy(0, lanes, rows)
        return {**dict(zip(outputs, kept.unbind(1))), "kept": kept, **state}

    method = Hit(reading(wake, [*inputs, *edges, "kept", "entry", "due", "begun", "lane", "of_seed", "t"]))
    method.wake, method.few = tuple(edges), True
    body: dict[str, Any] = {
        **inputs, **edges, **outputs,
        "kept": State([UNSEEN, UNSEEN, 0, 0] * len(live.names), dtype="int64"),
        "entry": State(0, dtype="int64"), "due": State(0, dtype="int64"), "begun": State(0, dtype="int64"),
        "lane": Param(0, dtype="int64"), "of_seed": Param(0, dtype="int64"),
        "wake": method, "_live": live,
        "lane_settings": lambda self, ids, seed: live.history.settings(ids, seed),
        "__reduce__": lambda self: (_again, (live,), self.__getstate__()),
        "__module__": __name__, "__doc__": "The computers of the lanes.",
    }  # fmt: skip
    kind: Any = type(Block)
    made: Callable[[], Block] = kind("Computers", (Block,), body)
    return made


def _again(live: Live) -> Block:
    made: Any = _class_of(live)
    return object.__new__(made)  # type: ignore[no-any-return]
