"""Tasks whose times depend on what the loop does: every lane's computer runs beside it, told what its jobs read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import FOREVER, SECOND
from simdl.computer.edge import Edge
from simdl.computer.history import History
from simdl.declarations import Input, Output, Param, State
from simdl.errors import RunError
from simdl.methods import Hit, reading

if TYPE_CHECKING:
    from simdl.computer.computer import Computer

UNSEEN = -1


class LiveLane:
    """The computer of one lane. What its jobs read at one time is told to it at its next time, 1 ns later at least."""

    def __init__(self, live: Live, lane: int, seed: int) -> None:
        self.kernel = live.computer.live(seed, lane)
        self.live, self.where = live, f"computer: lane {lane}"
        self.shown = [UNSEEN, UNSEEN, 0] * len(live.names)  # of each name: last read, last write, which read that shows
        self.reads = dict.fromkeys(live.names, 0)

    def advance(self, ns: int, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], int]:
        """Go on to ns; values: what each name's blocks gave when they were last read, then the numbers of the edges
        just seen."""
        kernel, given = self.kernel, dict(zip(self.live.names, values))
        if kernel.asked is not None:
            self._note(kernel.advance(kernel.now, given), ns)
        for number in values[-1]:
            kernel.raise_(self.live.edges[number], ns)
        while kernel.asked is None and kernel.peek() <= ns:
            self._note(kernel.advance(int(kernel.peek()), given), ns)
        later = kernel.peek()
        return tuple(self.shown), FOREVER if later == float("inf") else max(ns + 1, int(later))

    def _note(self, accesses: Sequence[Any], ns: int) -> None:
        for one in accesses:
            at = 3 * self.live.names.index(one.block)
            if one.kind == "read":
                self.shown[at] = ns
                self.reads[one.block] += 1
                continue
            if self.reads[one.block] - one.number > self.live.pending:
                raise RunError(f"{self.where}: {one.block}", f"{self.reads[one.block] - one.number} jobs under way",
                               f"at most {self.live.pending}", "on(diagram, live=True, pending=...)")  # fmt: skip
            self.shown[at + 1], self.shown[at + 2] = ns, one.number


@dataclass(eq=False)
class Live:
    """A computer that runs beside the lanes: names of what tasks run, how many jobs may be under way, and the edges of
    signals that release them."""

    computer: Computer
    names: tuple[str, ...]
    pending: int
    edges: tuple[Edge, ...] = ()
    horizon: int | None = None
    history: History = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(lambda lane, seed: LiveLane(self, lane, seed))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "history"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    def tables(self, path: str, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        return {}

    def block(self, widths: Mapping[str, int]) -> Block:
        """The block that runs the computers: inputs v0, v1, … are what the blocks of each name gave, one number or a
        vector, e0, e1, … when each edge was last seen; outputs say when each name was last read and shown, ns."""
        return _class_of(self, widths)()


def _class_of(live: Live, widths: Mapping[str, int]) -> Callable[[], Block]:
    count = len(live.names)
    inputs = {f"v{k}": Input() for k in range(count)}
    edges = {f"e{k}": Input(dtype="int64") for k in range(len(live.edges))}
    outputs: dict[str, Output] = {}
    for k in range(count):
        outputs[f"started{k}"] = Output((), dtype="int64", initial=UNSEEN)
        outputs[f"shown{k}"] = Output((), dtype="int64", initial=UNSEEN)
        outputs[f"which{k}"] = Output((), dtype="int64", initial=0)

    def wake(self: Block, values: dict[str, Tensor]) -> dict[str, Tensor]:
        t, entry, due, kept = values["t"], values["entry"], values["due"], values["kept"]
        now = torch.round(t * SECOND).to(torch.int64)
        columns = [values[name].detach().tolist() for name in inputs]
        rows = zip(now.tolist(), due.tolist(), entry.tolist(), values["lane"].tolist(), values["of_seed"].tolist())
        stamps = [values[name].tolist() for name in edges]
        numbers, later, shown = entry.tolist(), due.tolist(), kept.tolist()
        for i, (ns, at, number, lane, seed) in enumerate(rows):
            seen = tuple(k for k, stamp in enumerate(stamps) if stamp[i] == ns)
            if ns == at or seen:
                given = (*(tuple(c[i]) if isinstance(c[i], list) else c[i] for c in columns), seen)
                numbers[i], shown[i], later[i] = live.history.advance(lane, seed, number, ns, given)
        new = torch.tensor([list(one) for one in shown], dtype=torch.int64, device=t.device)
        following = torch.tensor(later, dtype=torch.int64, device=t.device)
        wait = (following - now).double() / SECOND
        return {
            **dict(zip(outputs, new.unbind(1))), "kept": new, "due": following,
            "entry": torch.tensor(numbers, dtype=torch.int64, device=t.device),
            "next": torch.where(following >= FOREVER, torch.full_like(wait, torch.inf), wait),
        }  # fmt: skip

    def settings(self: Block, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        return {"lane": ids.to(torch.int64), "of_seed": torch.full_like(ids, seed, dtype=torch.int64)}

    method = Hit(reading(wake, [*inputs, *edges, "kept", "entry", "due", "lane", "of_seed", "t"]))
    method.wake = tuple(edges)
    body: dict[str, Any] = {
        **inputs, **edges, **outputs,
        "kept": State([UNSEEN, UNSEEN, 0] * count, dtype="int64"),
        "entry": State(0, dtype="int64"), "due": State(0, dtype="int64"),
        "lane": Param(0, dtype="int64"), "of_seed": Param(0, dtype="int64"),
        "wake": method,
        "lane_settings": settings, "__reduce__": lambda self: (_again, (live, dict(widths)), self.__getstate__()),
        "__module__": __name__, "__doc__": "The computers of the lanes.",
    }  # fmt: skip
    kind: Any = type(Block)
    made: Callable[[], Block] = kind("Computers", (Block,), body)
    return made


def _again(live: Live, widths: Mapping[str, int]) -> Block:
    made: Any = _class_of(live, widths)
    return object.__new__(made)  # type: ignore[no-any-return]
