"""Results: frozen traces and runs, that plot themselves and turn into tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from simdl.compile import Model
from simdl.errors import RunError
from simdl.port import Formula, Port, Signal

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded signal: t (time,) in seconds, values (lanes, time, *shape).

    kind: "held" values stay until the next one, "smooth" ones are interpolated; labels: the names of the values 0, 1, …
    of an enumeration.
    """

    path: str
    t: Tensor
    values: Tensor
    kind: Literal["held", "smooth"] = "held"
    unit: str = ""
    labels: tuple[str, ...] = ()

    def at(self, t: float) -> Tensor:
        """The values (lanes, *shape) at a time: held, or linear between samples. Raises RunError outside the trace."""
        if not len(self.t) or not float(self.t[0]) <= t <= float(self.t[-1]):
            span = f"{float(self.t[0]):g} to {float(self.t[-1]):g} s" if len(self.t) else "nothing"
            raise RunError(f"{self.path}.at({t:g})", "outside the recorded time", span)
        i = int(torch.searchsorted(self.t, torch.tensor(t, dtype=torch.float64), right=True)) - 1
        if self.kind == "held" or i + 1 >= len(self.t) or not self.values.is_floating_point():
            return self.values[:, i]
        part = (t - float(self.t[i])) / (float(self.t[i + 1]) - float(self.t[i]))
        return torch.lerp(self.values[:, i], self.values[:, i + 1], part)

    @property
    def names(self) -> NDArray[Any]:
        """An enumeration's values as text (lanes, time, *shape), "" for a number without a name. Raises RunError for
        signals without names."""
        if not self.labels:
            raise RunError(f"{self.path}.names", "a signal of numbers", "an enumeration: Output(labels=(...))")
        known = np.array([*self.labels, ""], dtype=object)
        values = self.values.detach().cpu().long()
        there = (values >= 0) & (values < len(self.labels))
        found: NDArray[Any] = known[torch.where(there, values, len(self.labels)).numpy()]
        return found

    def ragged(self, count: Trace) -> list[list[Tensor]]:
        """Of a padded signal (lanes, time, most, …) the first `count` elements: one tensor for each lane and time.

        Raises RunError unless count (lanes, time) was recorded at the same times.
        """
        if self.values.ndim < 3 or count.values.shape != self.values.shape[:2] or not torch.equal(count.t, self.t):
            found = f"values {tuple(self.values.shape)}, count {tuple(count.values.shape)}"
            raise RunError(f"{self.path}.ragged", found, "(lanes, time, most, …) and (lanes, time) at the same times",
                           "record both on one grid: every=")  # fmt: skip
        return [[row[:n] for row, n in zip(rows, counts)]
                for rows, counts in zip(self.values, count.values.long().tolist())]  # fmt: skip

    def plot(
        self, *, lanes: Iterable[int] | None = None, bands: bool | None = None, axes: Axes | None = None
    ) -> Axes:
        """Draw the lanes over time, held signals as steps; more than 20 as bands (median, 50 % and 90 % of the lanes)
        unless `bands` says otherwise. Returns the axes."""
        from simdl.plot import draw

        return draw([self], lanes=lanes, bands=bands, axes=axes)

    def to_pandas(self) -> pandas.DataFrame:
        """A table with the time as index and a column for each lane (and element)."""
        import pandas as pd

        values: Any = self.names if self.labels else self.values.detach().cpu().numpy()
        flat = values.reshape(values.shape[0], values.shape[1], -1)
        lanes, _, size = flat.shape
        names = [f"{self.path}[{i}]" if size > 1 else self.path for i in range(size)]
        columns = pd.MultiIndex.from_product([names, range(lanes)], names=["signal", "lane"])
        table = flat.transpose(1, 2, 0).reshape(flat.shape[1], -1)
        return pd.DataFrame(table, index=pd.Index(self.t.numpy(), name="t [s]"), columns=columns)

    def to_xarray(self) -> xarray.DataArray:
        """A DataArray with dimensions lane, t, and one for each axis of the signal."""
        import xarray as xr

        lanes = range(self.values.shape[0])
        dims = ["lane", "t", *(f"axis{i}" for i in range(self.values.ndim - 2))]
        attrs: dict[str, Any] = {"units": self.unit, "kind": self.kind}
        if self.labels:
            attrs |= {"flag_values": list(range(len(self.labels))), "flag_meanings": list(self.labels)}
        return xr.DataArray(
            self.values.detach().numpy(),
            dims=dims,
            coords={"t": self.t.numpy(), "lane": list(lanes)},
            name=self.path,
            attrs=attrs,
        )

    def __repr__(self) -> str:
        unit = f" [{self.unit}]" if self.unit else ""
        lanes, times = self.values.shape[:2]
        names = f", {' | '.join(self.labels[:8])}{' | …' if len(self.labels) > 8 else ''}" if self.labels else ""
        return f"<Trace {self.path}{unit}: {lanes} lanes x {times} times, {self.kind}{names}>"

    def _repr_html_(self) -> str:
        from html import escape

        if self.values.ndim > 2 or not self.values.numel():
            return f"<p>{escape(repr(self))}</p>"
        if self.labels and self.values.ndim == 2:
            names = self.names
            cells = "".join(f"<tr><td>{i}</td><td>{escape(str(v[0]))}</td><td>{escape(str(v[-1]))}</td></tr>"
                            for i, v in enumerate(names[:20]))  # fmt: skip
            head = "<tr><th>lane</th><th>first</th><th>last</th></tr>"
            return f"<p>{escape(repr(self))}</p><table>{head}{cells}</table>"
        values = self.values.detach().double()
        rows = "".join(
            f"<tr><td>{i}</td><td>{float(v[0]):.6g}</td><td>{float(v.min()):.6g}</td><td>{float(v.max()):.6g}</td>"
            f"<td>{float(v[-1]):.6g}</td></tr>"
            for i, v in enumerate(values[:20])
        )
        head = "<tr><th>lane</th><th>first</th><th>least</th><th>most</th><th>last</th></tr>"
        return f"<p>{escape(repr(self))}</p><table>{head}{rows}</table>"


@dataclass(frozen=True, eq=False)
class Run:
    """What a simulation recorded.

    traces by path; status: lane -> (time in s, text) of failed lanes; events: (lane, t, path) of crossings, in
    order of time, then of lanes;
    engine: which engine ran; why: what it did, or why it was not the other one; accuracy: the largest relative change
    by half the step on lane 0, over its first 64 quiet segments (NaN when there was none).
    """

    model: Model
    traces: Mapping[str, Trace]
    until: float
    lanes: int
    seed: int
    engine: str = "torch"
    status: Mapping[int, tuple[float, str]] = field(default_factory=dict)
    events: tuple[tuple[int, float, str], ...] = ()
    accuracy: float = float("nan")
    final: Mapping[str, Tensor] = field(default_factory=dict)
    why: str = ""

    def __getitem__(self, port: str | Signal) -> Trace:
        """The trace of a port or of a path; of a formula, its values over its ports' traces."""
        if isinstance(port, Formula):
            return self._formula(port)
        name = port if isinstance(port, str) else ""
        if isinstance(port, Port):
            base = self.model.flat.paths.get(id(port.owner), port.owner.path)
            name = f"{base}.{port.name}" if base else port.name
        if name in self.traces:
            return self.traces[name]
        key = self.model.flat.aliases.get(name, name)
        for trace in self.traces.values():
            if trace.path == key or self.model.flat.aliases.get(trace.path) == key:
                return trace
        raise RunError(
            "run", f"{name!r} was not recorded", "a recorded signal", f'record=[..., "{name}"]', self.traces, name
        )

    def _formula(self, formula: Formula) -> Trace:
        traces = {port: self[port] for port in formula.ports()}
        t = next(iter(traces.values())).t
        if any(len(trace.t) != len(t) or bool((trace.t != t).any()) for trace in traces.values()):
            raise RunError(str(formula), "signals recorded at different times", "one grid", "give every=")
        first = next(iter(traces.values())).values
        flat = formula.evaluate(lambda port: traces[port].values.flatten(0, 1))
        values = flat.reshape(first.shape[0], first.shape[1], *flat.shape[1:])
        smooth = any(trace.kind == "smooth" for trace in traces.values())
        return Trace(str(formula), t, values, "smooth" if smooth else "held")

    @property
    def failed(self) -> Tensor:
        """Which lanes failed, (lanes,) bool."""
        mask = torch.zeros(self.lanes, dtype=torch.bool)
        mask[list(self.status)] = True
        return mask

    def plot(
        self, *ports: str | Signal, lanes: Iterable[int] | None = None, bands: bool | None = None,
        axes: Axes | None = None,
    ) -> Axes:  # fmt: skip
        """Draw signals (all scalar ones by default) over time: held ones as steps, those of one unit on one axis, more
        than 20 lanes as bands (median, 50 % and 90 % of them) unless `bands` says otherwise; crossings and failures
        are marked. Returns the (first) axes."""
        from simdl.plot import draw

        traces = [self[p] for p in ports] if ports else [t for t in self.traces.values() if t.values.ndim == 2]
        failures = {lane: t for lane, (t, _) in self.status.items()}
        return draw(traces, lanes=lanes, bands=bands, axes=axes, events=self.events, failures=failures)

    def to_pandas(self) -> pandas.DataFrame:
        """All signals in one table; signals with their own times are joined on the union, missing values are NaN."""
        import pandas as pd

        tables = [trace.to_pandas() for trace in self.traces.values()]
        return pd.concat(tables, axis=1)

    def to_xarray(self) -> xarray.Dataset:
        """A Dataset; signals with the same times share the dimension t, others get one of their own."""
        import xarray as xr

        arrays: dict[str, Any] = {}
        times: list[Tensor] = []
        for path, trace in self.traces.items():
            i = next((i for i, t in enumerate(times) if len(t) == len(trace.t) and bool((t == trace.t).all())), None)
            if i is None:
                i = len(times)
                times.append(trace.t)
            array = trace.to_xarray()
            axes = {str(d): f"{path}.{d}" for d in array.dims if str(d).startswith("axis")}
            arrays[path] = array.rename(axes | ({"t": f"t{i}"} if i else {}))
        return xr.Dataset(arrays, attrs={"seed": self.seed, "engine": self.engine})

    def __repr__(self) -> str:
        failed = f", {len(self.status)} failed" if self.status else ""
        return (
            f"<Run of {self.model.name}: {self.lanes} lanes{failed}, until {self.until:g} s, {self.engine} engine, "
            f"signals {', '.join(self.traces)}>"
        )

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(path)}</td><td>{escape(t.unit)}</td><td>{t.kind}</td><td>{len(t.t)}</td></tr>"
            for path, t in self.traces.items()
        )
        head = "<tr><th>signal</th><th>unit</th><th>kind</th><th>times</th></tr>"
        return f"<p>{escape(repr(self).split(', signals')[0])}&gt;</p><table>{head}{rows}</table>"
