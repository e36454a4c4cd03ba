"""Scopes: what is drawn is what was recorded. Artists are checked, not pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

from simdl import Block, Diagram, Input, Output, Param, RunError, State, Trace, crossing, derivative, simulate, tick
from simdl.plot import BANDS, PALETTE, draw

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.collections import PolyCollection  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def trace(path: str, values: Any, kind: Any = "smooth", unit: str = "", times: Any = None) -> Trace:
    values = torch.as_tensor(values, dtype=torch.float64)
    t = torch.arange(values.shape[1], dtype=torch.float64) if times is None else torch.as_tensor(times)
    return Trace(path, t, values, kind, unit)


def lines(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.get_lines()}


class Ball(Block):
    """A ball that bounces; its height is read every 100 ms."""

    h: State = State(1.0, unit="m")
    v: State = State(0.0, unit="m/s")
    elastic: Param = Param(0.7)

    @derivative(h, v)
    def fall(self, h, v):
        return v, -9.81 + 0 * h

    @crossing
    def ground(self, h):
        return h

    @ground.reset
    def bounce(self, v, elastic):
        return dict(v=-elastic * v)


class Meter(Block):
    """What it reads at its ticks."""

    x = Input()
    y = Output(unit="m")

    @tick
    def read(self, x):
        return dict(y=x)


class Drop(Diagram):
    def __init__(self) -> None:
        self.ball, self.meter = Ball(), Meter(period="100 ms")
        self.meter.x = self.ball.h


def test_held_signals_are_steps_and_smooth_ones_lines() -> None:
    run = simulate(Drop(), 1, every=0.05)
    axes = run.plot("ball.h", "meter.y")
    found = lines(axes)
    assert found["ball.h"].get_drawstyle() == "default"
    assert found["meter.y"].get_drawstyle() == "steps-post"
    for path in ("ball.h", "meter.y"):
        np.testing.assert_array_equal(found[path].get_xdata(), run[path].t.numpy())
        np.testing.assert_array_equal(found[path].get_ydata(), run[path].values[0].numpy())


def test_signals_of_one_unit_share_an_axis_that_names_it() -> None:
    axes = simulate(Drop(), 1, every=0.05).plot("ball.h", "ball.v", "meter.y")
    rows = axes.figure.axes
    assert [row.get_ylabel() for row in rows] == ["[m]", "ball.v [m/s]"]
    assert {"ball.h", "meter.y"} <= set(lines(rows[0])) and "ball.v" in lines(rows[1])
    assert rows[-1].get_xlabel() == "t [s]"
    assert all(row.get_legend() is not None for row in rows)


def test_signals_differ_in_dashes_as_well_as_in_colour() -> None:
    axes = draw([trace(f"s{i}", [[0.0, 1.0]]) for i in range(4)])
    found = [lines(axes)[f"s{i}"] for i in range(4)]
    assert len({line.get_linestyle() for line in found}) == 4
    assert [to_hex(line.get_color()).upper() for line in found] == list(PALETTE[:4])


def test_up_to_twenty_lanes_are_lines_and_more_are_bands() -> None:
    few, many = torch.randn(20, 9), torch.randn(21, 9)
    assert len(draw([trace("x", few)]).get_lines()) == 20
    axes = draw([trace("x", many)])
    assert len(axes.get_lines()) == 1 and len(axes.collections) == 2
    assert len(draw([trace("x", many)], bands=False).get_lines()) == 21
    assert len(draw([trace("x", few)], bands=True).collections) == 2
    assert len(draw([trace("x", many)], lanes=[3, 4]).get_lines()) == 2


def extents(band: PolyCollection, t: float) -> tuple[float, float]:
    """The lowest and highest point that a band has at a time."""
    points = np.concatenate([path.vertices for path in band.get_paths()])
    here = points[np.isclose(points[:, 0], t), 1]
    return float(here.min()), float(here.max())


@pytest.mark.parametrize("lanes", [21, 100, 1000])
def test_bands_are_the_quantiles_over_the_lanes(lanes: int) -> None:
    values = torch.randn(lanes, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(lanes)).cumsum(1)
    axes = draw([trace("x", values, unit="V")])
    median = lines(axes)["x: median"]
    np.testing.assert_allclose(median.get_ydata(), np.quantile(values.numpy(), 0.5, axis=0), rtol=1e-12)
    for band, (low, high, _) in zip(axes.collections, BANDS, strict=True):
        assert band.get_label() == f"x: {round(100 * (high - low))} % of {lanes} lanes"
        for k in range(7):
            expected = np.quantile(values[:, k].numpy(), [low, high])
            np.testing.assert_allclose(extents(band, float(k)), expected, rtol=1e-9)
    assert axes.get_ylabel() == "x [V]"


def test_bands_of_held_signals_are_steps() -> None:
    values = torch.arange(30.0).unsqueeze(1) + torch.tensor([0.0, 10.0])
    axes = draw([trace("x", values, "held")])
    assert lines(axes)["x: median"].get_drawstyle() == "steps-post"
    corners = axes.collections[0].get_paths()[0].vertices
    assert {tuple(p) for p in corners} >= {(1.0, np.quantile(np.arange(30.0), 0.95))}, "the old value up to the step"


def test_lanes_without_a_number_do_not_count_in_bands() -> None:
    values = torch.arange(40.0, dtype=torch.float64).unsqueeze(1).repeat(1, 3)
    values[20:, 1:] = torch.nan
    values[:, 2] = torch.nan
    median = lines(draw([trace("x", values)]))["x: median"].get_ydata()
    np.testing.assert_array_equal(median, [19.5, 9.5, np.nan])


def test_crossings_are_marks_at_their_times() -> None:
    run = simulate(Drop(), 1.4, every=0.05)
    axes = run.plot("ball.h")
    times = [t for _, t, _ in run.events]
    (label,) = (name for name in lines(axes) if name.startswith("ball.ground"))
    assert label == f"ball.ground ({len(times)} crossings)"
    np.testing.assert_array_equal(lines(axes)[label].get_xdata(), times)
    assert times[0] == pytest.approx((2 / 9.81) ** 0.5, abs=1e-9)


def test_only_the_crossings_of_the_lanes_that_are_shown() -> None:
    run = simulate(Drop(), 1, every=0.05, set={"ball.elastic": torch.tensor([0.2, 0.7, 0.9])})
    axes = run.plot("ball.h", lanes=[2])
    times = [t for lane, t, _ in run.events if lane == 2]
    assert any(np.array_equal(line.get_xdata(), times) for line in axes.get_lines())


def test_a_lane_that_failed_ends_in_a_cross() -> None:
    class Blow(Block):
        """x' = x²"""

        x = State(1.0)

        @derivative(x)
        def grow(self, x):
            return x * x

    class Burst(Diagram):
        def __init__(self) -> None:
            self.b, self.meter = Blow(), Meter(period="50 ms")
            self.meter.x = self.b.x

    run = simulate(Burst(), 2, every=0.05, set={"b.x": torch.tensor([0.1, 1e300])})
    assert list(run.status) == [1]
    cross = lines(run.plot("b.x"))["failed"]
    assert list(cross.get_xdata()) == [run.status[1][0]]


def test_vectors_give_a_line_for_each_element() -> None:
    axes = draw([trace("v", torch.arange(12.0).reshape(1, 4, 3))])
    assert set(lines(axes)) == {"v[0]", "v[1]", "v[2]"}
    np.testing.assert_array_equal(lines(axes)["v[1]"].get_ydata(), [1, 4, 7, 10])


def test_what_cannot_be_drawn_is_an_error() -> None:
    with pytest.raises(RunError, match="no scalar signal"):
        draw([])
    with pytest.raises(RunError, match=r"shape \(8, 8\)"):
        draw([trace("image", torch.zeros(1, 2, 8, 8))])
    with pytest.raises(RunError, match="lane 5"):
        draw([trace("x", torch.zeros(2, 3))], lanes=[5])


def test_given_axes_are_drawn_into_and_names_are_no_formulas() -> None:
    _, axes = plt.subplots()
    assert draw([trace("$\\frac{_x$", [[1.0, 2.0]]), trace("_y", [[1.0, 2.0]], unit="V")], axes=axes) is axes
    assert {"$\\frac{_x$", " _y"} <= set(lines(axes))
    axes.figure.canvas.draw()
