"""The margin of a requirement over the lanes of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from simdl.clock import Duration, nanoseconds, seconds
from simdl.errors import RequirementError
from simdl.port import Port
from simdl.requirements.algebra import BEYOND, Exact, Smooth, Truth
from simdl.requirements.evaluation import Values, core, evaluate, needed, tested
from simdl.requirements.tree import Node, Requirement, beyond, walk
from simdl.requirements.verdict import Verdict
from simdl.requirements.worst import Place, places

Read = Callable[[Any], Tensor]
"""Gives the trace (lanes, samples, *shape) of a signal, named by its port or path."""


@dataclass(frozen=True)
class Margin:
    """By how much each lane meets a requirement; positive where it holds, in the unit of what is compared.

    `values` (lanes,) is differentiable where the traces are. It is infinite where booleans alone decide, and NaN in
    lanes with an error. `verdict` (lanes,) holds `Verdict` numbers; at a margin of exactly 0 it tells `<` from `<=`.
    `signal` (lanes, time) is the exact margin of the requirement started at each sample, for as long as its windows
    fit into the trace. `at` (lanes,) is the sample that decides, and `by` (lanes,) the comparison, a number into
    `comparisons`; both are -1 in lanes with an error.
    """

    values: Tensor
    verdict: Tensor
    signal: Tensor = field(repr=False)
    at: Tensor = field(repr=False)
    by: Tensor = field(repr=False)
    comparisons: tuple[str, ...] = field(repr=False)
    every: float

    def __len__(self) -> int:
        return len(self.values)

    def of(self, lane: int) -> Verdict:
        """The verdict on a lane."""
        return Verdict(int(self.verdict[lane]))

    @property
    def overall(self) -> Verdict:
        """The verdict on all lanes together."""
        return Verdict(int(self.verdict.max())) if len(self) else Verdict.UNTESTED

    def count(self, verdict: Verdict) -> int:
        """How many lanes have this verdict."""
        return int((self.verdict == verdict).sum())

    def worst(self, n: int = 1) -> list[int]:
        """The n lanes with the smallest margin, worst first; lanes with an error are left out."""
        known = (self.verdict != Verdict.ERROR).nonzero().squeeze(1)
        order = self.values.detach()[known].argsort(stable=True)
        return [int(lane) for lane in known[order[:n]]]

    def reason(self, lane: int) -> str:
        """Which comparison decides a lane, and when."""
        if self.of(lane) is Verdict.ERROR:
            return "the lane failed, or the margin is not a number"
        return f"{self.comparisons[int(self.by[lane])]} at t = {int(self.at[lane]) * self.every:.9g} s"


def margin(
    root: Requirement, read: Read, every: Duration, samples: int, *, failed: Any = None, smooth: float | None = None
) -> Margin:
    """What `Requirement.margin` gives."""
    step = nanoseconds(every, "every")
    if step < 1:
        raise RequirementError("every", f"{every!r}", "a positive time")
    if smooth is not None and not smooth > 0:
        raise RequirementError("smooth", f"{smooth!r}", "a positive temperature, in the unit of the margin")
    traces = _Traces(root, read, samples)
    if needed(root, step) > samples:
        raise beyond(root, (samples - 1) * step)
    traces.load(failed)
    plan = core(root)
    with torch.no_grad():
        truth, exact = evaluate(plan, lambda node: traces[node].detach(), step, (Truth(), Exact()))
        signal = exact[id(plan)].expand(traces.lanes, -1)
        # A lane that failed is known not to hold; a NaN anywhere in the windows ends up in the margin.
        bad = traces.failed | signal[:, 0].isnan()
        holds = truth[id(plan)][:, 0]
        proved = tested(plan, truth, step)[:, 0] if any(node.op == "implies" for node in walk(plan)) else holds
        verdict = torch.where(holds, torch.where(proved, Verdict.PASS, Verdict.UNTESTED), Verdict.FAIL)
        verdict = torch.where(bad, Verdict.ERROR, verdict.expand(traces.lanes))
        good = (~bad).nonzero().squeeze(1)
        decided = places(plan, exact, good, step)
    values = signal[:, 0].clone()
    if smooth is not None:
        values = _smooth(plan, traces, step, smooth, bad)
    elif traces.differentiable:
        values = _attach(values, decided, traces, step, truth)
    values = torch.where(bad, torch.nan, values)
    at, by = torch.full_like(verdict, -1), torch.full_like(verdict, -1)
    for number, place in enumerate(decided):
        at[place.lanes], by[place.lanes] = place.at, number
    names = tuple(str(place.atom) for place in decided)
    return Margin(values, verdict, signal, at, by, names, seconds(step))


class _Traces:
    """The traces of the signals of a requirement, each read once."""

    def __init__(self, root: Requirement, read: Read, samples: int) -> None:
        self.signals, self.read, self.samples, self.where = root.signals(), read, samples, f"requirement {root}"
        self.traces: dict[str, Tensor] = {}
        self.lanes = 0
        self.failed = torch.zeros(0, dtype=torch.bool)

    def load(self, failed: Any) -> None:
        for signal in self.signals:
            path = signal.path if isinstance(signal, Port) else signal
            trace = torch.as_tensor(self.read(signal))
            if trace.ndim < 2 or trace.shape[1] != self.samples:
                raise RequirementError(f"{self.where}: {path}", f"a trace of shape {tuple(trace.shape)}",
                                       f"(lanes, {self.samples}, …)")  # fmt: skip
            self.traces[path] = trace
        sizes = {len(trace) for trace in self.traces.values()} - {1} or {1}
        if len(sizes) > 1:
            found = ", ".join(f"{path}: {len(trace)}" for path, trace in self.traces.items())
            raise RequirementError(self.where, f"unequal numbers of lanes ({found})", "one number of lanes, or 1")
        self.lanes = sizes.pop()
        device = next(iter(self.traces.values())).device
        self.failed = torch.zeros(self.lanes, dtype=torch.bool, device=device)
        if failed is not None:
            self.failed = self.failed | torch.as_tensor(failed, dtype=torch.bool, device=device)

    @property
    def differentiable(self) -> bool:
        return torch.is_grad_enabled() and any(trace.requires_grad for trace in self.traces.values())

    def __getitem__(self, node: Node) -> Tensor:
        return self.traces[node.path]


def _attach(values: Tensor, decided: list[Place], traces: _Traces, step: int, truth: Values) -> Tensor:
    """The values with their gradients: each lane's deciding comparison computed again at the one sample that counts."""
    for place in decided:

        def sample(x: Tensor, place: Place = place) -> Tensor:  # (lanes, time, …) -> (n, 1, …)
            return x[place.lanes if x.shape[0] > 1 else torch.zeros_like(place.lanes), place.at].unsqueeze(1)

        # A count of changes looks at other samples; it is known, and has no gradient.
        counts = {id(node): sample(truth[id(node)]) for node in walk(place.atom) if node.op == "changes"}
        _, exact = evaluate(place.atom, lambda node: sample(traces[node]), step, (Truth(), Exact()), counts)  # noqa: B023
        attached = (exact[id(place.atom)][:, 0] * place.sign).to(values.dtype)
        finite = values[place.lanes].isfinite()
        values = values.index_put((place.lanes[finite],), attached.expand(len(place.lanes))[finite])
    return values


def _smooth(plan: Requirement, traces: _Traces, step: int, temperature: float, bad: Tensor) -> Tensor:
    """The smooth margin; lanes with an error are replaced first, so that their gradient is zero and not NaN."""

    def clean(node: Node) -> Tensor:
        trace = traces[node].expand(traces.lanes, *traces[node].shape[1:])
        return torch.where(bad.reshape(-1, *(1,) * (trace.ndim - 1)), torch.zeros_like(trace), trace)

    _, smooth = evaluate(plan, clean, step, (Truth(), Smooth(temperature)))
    values = smooth[id(plan)][:, 0].expand(traces.lanes)
    infinite = values.detach().sign() * torch.inf
    return torch.where(values.detach().abs() > BEYOND / 2, infinite, values)


