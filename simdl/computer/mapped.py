"""A block that a task runs: it is evaluated when a job reads, and what it computed appears when the job writes.

The class of a mapped block derives from its own. Its ticks become hits at the times of a table, in each lane its own:

    job      reads inputs and states as a tick does, keeps the new states, and puts its outputs aside
    publish  shows what a job has put aside

So a snapshot of a loop holds the jobs under way, and both engines replay a timetable as they run any hit.
"""

from __future__ import annotations

import copyreg
import math
from collections.abc import Callable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import SECOND
from simdl.computer.placement import Placement
from simdl.declarations import Declaration, Input, Inputs, Noise, Output, Param, State
from simdl.methods import Hit, Method, OutputMethod, reading

if TYPE_CHECKING:
    from simdl.declarations import Shape

LIVE = {
    "started": "when its latest job has read, ns",
    "shown": "when its output changes, ns",
    "which": "the number of the job that is shown",
}
VARIANT = "what each job runs: 0 the whole, 1 what it says for late jobs, 2 for those over their budget"
NEVER = -1
"""No further time, in a table of waits."""


def become_mapped(block: Block, placement: Placement) -> Block:
    """Make a block, where it stands with its wires, one that a task runs."""
    cls = _class_of(type(block), placement)
    object.__setattr__(block, "__class__", cls)
    vars(block).update(period=None, rate=None, offset=None, latency=None, _placement=placement)
    block.settings.update({name: one.value for name, one in cls.declared().items()
                           if isinstance(one, Param) and name not in block.settings})  # fmt: skip
    return block


def _class_of(cls: type[Block], placement: Placement) -> type[Block]:
    kind: Any = type(cls)
    found: type[Block] = kind(cls.__name__, (cls,), _namespace(cls, placement))
    return found


def _namespace(cls: type[Block], placement: Placement) -> dict[str, Any]:
    """The body of the mapped class."""
    declared = cls.declared()
    methods = [*cls.methods("output"), *cls.methods("tick")]
    body: dict[str, Any] = {m.name: m.function for m in methods if m.name not in declared}
    outputs: dict[str, Output] = {}
    for name, one in declared.items():
        if isinstance(one, Output | OutputMethod):
            initial = placement.initial.get(name, 0.0 if one.initial is None else one.initial)
            outputs[name] = Output(placement.shapes[name], unit=one.unit, initial=initial, doc=one.doc)
            outputs[name].dtype = placement.dtypes[name]
    states = {name: one for name, one in declared.items() if isinstance(one, State)}
    tables = _tables(placement) if not placement.live else {
        name: Input((), dtype="int64", doc=doc) for name, doc in LIVE.items()
    }  # fmt: skip
    if placement.live and placement.varied:
        tables["variant"] = Input((), dtype="int64", doc=VARIANT)
    others = {f"{name}_of_{code}": _input(one) for name, one in outputs.items() for code in placement.instead}
    body |= {**outputs, **tables, **others, "job_number": State(0, dtype="int64", doc="jobs begun")}
    within = {f"{name}_of_job": _like(outputs[name]) for name in placement.within}
    reads = [n for n, d in declared.items() if isinstance(d, Input | Inputs | Param | State | Noise)]
    parts = _Parts(methods, tuple(outputs), tuple(states), placement)
    if placement.immediate:
        job = Hit(reading(parts.at_once, [*reads, "job_number", "waits", "t"]), tuple(outputs.values()))
        job.first = "begin"
        return {**body, **within, "job": job, **_common(cls, placement)}
    kept = {f"{name}_pending": _kept(name, one, placement) for name, one in outputs.items()}
    captured = Output((), unit="s", dtype="float64", doc="when the inputs of what is shown were read")
    begins = [*reads, *kept, "read_at", "job_number", "t", *(["started"] if placement.live else []), *others]
    begins += ["variant"] if placement.varied else []
    shows = [*kept, "read_at", "write_number"]
    times = (["waits"], ["write_waits", "written"]) if not placement.live else ([], ["which"])
    job = Hit(reading(parts.begin, [*begins, *times[0]]), tuple(within.values()))
    publish = Hit(reading(parts.publish, [*shows, *times[1]]), (*outputs.values(), captured))
    if placement.live:
        job.wake, publish.wake, job.few = ("started",), ("shown",), True
        job.first = publish.first = math.inf
    else:
        job.first, publish.first = "begin", "write_begin"
    ring: Shape = () if placement.pending == 1 else (placement.pending,)
    return {
        **body, **within, **kept, "captured": captured,
        "read_at": State(0.0, shape=ring, unit="s", dtype="float64", doc="when pending jobs have read"),
        "write_number": State(0, dtype="int64", doc="outputs shown"),
        "job": job, "publish": publish, **_common(cls, placement),
    }  # fmt: skip


def _common(cls: type[Block], placement: Placement) -> dict[str, Any]:
    return {
        "lane_settings": _lane_settings, "lane_failures": _lane_failures, "until_ns": property(_until_ns),
        "hashed": _hashed,
        "__reduce__": _reduce, "__module__": cls.__module__, "__doc__": cls.__doc__,
        "__qualname__": cls.__qualname__, "_mapped_from": cls,
    }  # fmt: skip


def _tables(placement: Placement) -> dict[str, Declaration]:
    def table(length: int, doc: str) -> Param:
        return Param(torch.tensor(NEVER).expand(length), shape=(length,), dtype="int64", doc=doc)

    found: dict[str, Declaration] = {
        "begin": Param(NEVER, dtype="int64", doc="the first time of a job, ns; -1 for never"),
        "waits": table(placement.jobs, "from each job to the next, ns; -1 for none"),
    }
    if not placement.immediate:
        found |= {
            "write_begin": Param(NEVER, dtype="int64", doc="the first time at which an output appears, ns"),
            "write_waits": table(placement.writes, "from each write to the next, ns; -1 for none"),
            "written": table(placement.writes, "the number of the job that each write shows"),
        }
    if placement.varied:
        found["variant"] = table(placement.jobs, VARIANT)
    return found


def _like(one: Output) -> Output:
    made = copy(one)
    made.name = ""
    return made


def _input(one: Output) -> Input:
    made = Input(one.shape, unit=one.unit)
    made.dtype = one.dtype
    return made


def _kept(name: str, one: Output, placement: Placement) -> State:
    shape = tuple(one.shape or ())
    ring = shape if placement.pending == 1 else (placement.pending, *shape)
    first = torch.as_tensor(one.initial).expand(shape)
    made = State(first.expand(ring).clone() if ring else first, shape=ring, doc="computed and not shown yet")
    made.dtype = one.dtype
    made.keeps = f"{placement.path}.{name}, which a job{placement.by} has computed,"
    return made


class _Parts:
    """The methods of a mapped block."""

    def __init__(
        self, methods: list[Method], outputs: tuple[str, ...], states: tuple[str, ...], placement: Placement
    ) -> None:  # fmt: skip
        self.methods, self.outputs, self.states, self.placement = methods, outputs, states, placement

    def evaluate(self, block: Any, values: dict[str, Any]) -> dict[str, Tensor]:
        """Outputs and new states by name, as a tick gives them, at the local time."""
        t, placement = values["t"], self.placement
        if placement.drift or placement.shift:
            t = t * (1 + placement.drift) + placement.shift
        values = {**values, "t": t, "dt": torch.full_like(t, placement.period)}
        found: dict[str, Any] = {}
        for method in self.methods:
            result = method.function(block, **{name: values[name] for name in method.reads})
            if method.kind == "tick":
                found |= result
            elif len(method.returns) == 1 and not isinstance(result, tuple | list):
                found[method.returns[0]] = result
            else:
                found |= dict(zip(method.returns, result))
        return found

    def within(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {f"{name}_of_job": found[name] for name in self.placement.within}

    def at_once(self, block: Any, values: dict[str, Any]) -> dict[str, Tensor]:
        found = self.evaluate(block, values)
        k = values["job_number"]
        return {**found, **self.within(found), "job_number": k + 1, "next": in_seconds(entry(values["waits"], k))}

    def begin(self, block: Any, values: dict[str, Any]) -> dict[str, Tensor]:
        found, read_at = self.evaluate(block, values), values["t"]
        k = values["job_number"]
        if self.placement.varied:
            found, read_at = self._chosen(found, values)
        new = {name: found[name] for name in self.states if name in found}
        for name in self.outputs:
            new[f"{name}_pending"] = self._put(values[f"{name}_pending"], found[name], k)
        new["read_at"] = self._put(values["read_at"], read_at, k)
        wait = torch.full_like(values["t"], torch.inf) if self.placement.live else in_seconds(entry(values["waits"], k))
        return {**new, **self.within(found), "job_number": k + 1, "next": wait}

    def _chosen(self, found: dict[str, Tensor], values: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Outputs and new states of a block that this job runs, or for which another one stands in, and when they were
        read: what does not run stays as it is."""
        placement, last = self.placement, values["job_number"] - 1
        variant = values["variant"] if placement.live else entry(values["variant"], values["job_number"])
        runs = _among(variant, placement.codes) if placement.codes else ~_among(variant, placement.instead)
        chosen: dict[str, Tensor] = {}
        for name, value in found.items():
            if name in self.states:
                chosen[name] = _where(runs, value, values[name])
            elif placement.codes:
                chosen[name] = _where(runs, value, self._get(values[f"{name}_pending"], last))
            else:
                for code in placement.instead:
                    value = _where(variant == code, values[f"{name}_of_{code}"], value)
                chosen[name] = value
        t = values["t"]
        return chosen, torch.where(runs, t, self._get(values["read_at"], last)) if placement.codes else t

    def publish(self, block: Any, values: dict[str, Any]) -> dict[str, Tensor]:
        m, live = values["write_number"], self.placement.live
        job = values["which"] if live else entry(values["written"], m)
        wait = torch.full_like(values["read_at"].reshape(len(m), -1)[:, 0], torch.inf)
        wait = wait if live else in_seconds(entry(values["write_waits"], m))
        shown = {name: self._get(values[f"{name}_pending"], job) for name in self.outputs}
        return {
            **shown, "captured": self._get(values["read_at"], job), "write_number": m + 1, "next": wait,
        }  # fmt: skip

    def _put(self, ring: Tensor, value: Tensor, k: Tensor) -> Tensor:
        if self.placement.pending == 1:
            return value
        here = torch.arange(self.placement.pending, device=k.device) == (k % self.placement.pending).unsqueeze(1)
        return torch.where(here.reshape(*here.shape, *(1,) * (ring.ndim - 2)), value.unsqueeze(1), ring)

    def _get(self, ring: Tensor, k: Tensor) -> Tensor:
        if self.placement.pending == 1:
            return ring
        at = (k.clamp(min=0) % self.placement.pending).reshape(-1, *(1,) * (ring.ndim - 1))
        return ring.gather(1, at.expand(-1, 1, *ring.shape[2:])).squeeze(1)


def entry(table: Tensor, k: Tensor) -> Tensor:
    """table (lanes, n) at k (lanes,)."""
    return table.gather(1, k.clamp(max=table.shape[1] - 1).unsqueeze(1)).squeeze(1)


def _among(variant: Tensor, codes: tuple[int, ...]) -> Tensor:
    found = variant == codes[0]
    for code in codes[1:]:
        found = found | (variant == code)
    return found


def _where(here: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Values of lanes by a condition for each lane."""
    return torch.where(here.reshape(-1, *(1,) * (one.ndim - 1)), one, other)


def in_seconds(wait: Tensor) -> Tensor:
    """ns as seconds, correctly rounded so that a hit is at the whole ns; never is inf."""
    whole = wait.double() / torch.full_like(wait, SECOND, dtype=torch.float64)
    return torch.where(wait < 0, torch.full_like(whole, torch.inf), whole)


def _lane_settings(self: Any, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
    placement: Placement = self._placement
    return placement.timetable.tables(placement.path, ids, seed)


def _lane_failures(self: Any, ids: Tensor, seed: int) -> Mapping[int, str]:
    placement: Placement = self._placement
    return placement.timetable.failures(ids, seed)


def _hashed(self: Any) -> tuple[Any, ...]:
    """What gives the times, and what the block itself computes."""
    timetable, own = self._placement.timetable, type(self)._mapped_from
    methods = [*own.methods("output"), *own.methods("tick")]
    source = getattr(timetable, "scheduler", timetable)  # what computes the times, or was told them
    computer = getattr(source, "computer", None)
    times = source if computer is None else (computer.tasks, computer.is_live, computer.events)
    return (times, *(method.function for method in methods))


def _until_ns(self: Any) -> int | None:
    placement: Placement = self._placement
    return placement.timetable.horizon


def _reduce(self: Any) -> Any:
    cls = type(self)._mapped_from
    remade = getattr(cls, "_made_from", None)
    shell: tuple[Callable[..., Any], Any]
    if remade is not None:
        from simdl.networks.network import _remade

        shell = (_remade, (remade, self._plan))
    else:
        shell = (copyreg.__newobj__, (cls,))  # type: ignore[attr-defined]
    return _again, (*shell, self._placement), self.__getstate__()


def _again(make: Callable[..., Any], args: tuple[Any, ...], placement: Placement) -> Any:
    """An empty mapped block, read back from a pickle; its state follows."""
    block = make(*args)
    object.__setattr__(block, "__class__", _class_of(type(block), placement))
    return block
