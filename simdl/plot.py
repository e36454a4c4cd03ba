"""Drawing traces: held signals as steps, units on the axes, crossings as marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from simdl.errors import RunError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simdl.result import Trace

# Okabe & Ito (2008): eight hues that people with colour-vision deficiencies can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES = ("-", "--", "-.", ":")
MOST = 20  # lanes drawn when none are named


def draw(
    traces: Sequence[Trace],
    *,
    lanes: Iterable[int] | None = None,
    axes: Axes | None = None,
    events: Sequence[tuple[int, float, str]] = (),
) -> Axes:
    """Draw scalar traces over time, those of one unit together; returns the (first) axes.

    Without `axes` a new figure gets one row for each unit. Raises RunError for a signal that is not scalar."""
    import matplotlib.pyplot as plt

    if not traces:
        raise RunError("plot", "no scalar signal", "at least one recorded scalar signal")
    for trace in traces:
        if trace.values.ndim != 2:
            raise RunError(
                f"plot: {trace.path}",
                f"values of shape {tuple(trace.values.shape[2:])}",
                "a scalar signal",
                f"plot a formula of it, such as run[{trace.path}[0]]",
            )
    units = list(dict.fromkeys(trace.unit for trace in traces)) if axes is None else [""]
    if axes is None:
        _, grid = plt.subplots(
            len(units), sharex=True, squeeze=False, figsize=(7.0, 1.2 + 2.0 * len(units)), layout="constrained"
        )
        rows = list(grid[:, 0])
    else:
        rows = [axes]
    shown = list(lanes) if lanes is not None else list(range(min(MOST, traces[0].values.shape[0])))
    for number, trace in enumerate(traces):
        row = rows[units.index(trace.unit)] if axes is None else axes
        t, values = trace.t.numpy(), trace.values.detach().numpy()
        place = [tr for tr in traces if tr.unit == trace.unit].index(trace) if axes is None else number
        for i, lane in enumerate(shown):
            row.plot(
                t,
                values[lane],
                color=PALETTE[place % len(PALETTE)],
                linestyle=DASHES[place // len(PALETTE) % 4],
                drawstyle="steps-post" if trace.kind == "held" else "default",
                linewidth=1.2,
                alpha=1.0 if len(shown) == 1 else max(0.25, 1.0 / len(shown) ** 0.5),
                label=trace.path if i == 0 else None,
            )
    for row, unit in zip(rows, units, strict=False):
        row.set_ylabel(f"[{unit}]" if unit else "")
        row.grid(alpha=0.3)
        row.legend(loc="best", fontsize="small", framealpha=0.8)
        for lane, at, _ in events[:200]:
            if lane in shown:
                row.axvline(at, color="0.7", linewidth=0.6, zorder=0)
    rows[-1].set_xlabel("t [s]")
    first: Axes = rows[0]
    return first
