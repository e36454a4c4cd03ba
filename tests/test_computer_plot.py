"""Pictures of schedules show what is in them."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from simdl.computer import Accelerator, Computer, Processor, Run, Task
from simdl.computer.plot import gantt, histogram, load
from simdl.errors import RunError

matplotlib.use("Agg")
NPU = Accelerator("npu", batch=2)


def infer(job):
    yield Run(NPU, "4 ms")


@pytest.fixture
def schedule():
    cpu = Processor("cpu")
    return Computer([
        Task("control", cpu, period="5 ms", priority=1, execution="2 ms", deadline="1 ms"),
        Task("see", cpu, period="10 ms", priority=2, body=infer),
    ]).schedule("20 ms")  # fmt: skip


def test_a_gantt_chart_has_a_bar_for_each_use(schedule):
    axes = gantt(schedule, 0, "10 ms")
    extents = [bar.get_paths()[0].get_extents() for bar in axes.collections]
    found = sorted((round(e.x0, 6), round(e.x1, 6), round(e.y0 + 0.35)) for e in extents)
    assert found == [(0, 2, 1), (2, 6, 0), (5, 7, 1)]  # npu below cpu
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cpu", "npu"]
    with pytest.raises(RunError, match="nothing runs"):
        gantt(schedule, "8 ms", "9 ms")


def test_a_histogram_counts_every_time(schedule):
    axes = histogram(schedule.responses("control"), "response", limit=10**6)
    assert sum(patch.get_height() for patch in axes.patches) == len(schedule.responses("control")) == 4
    with pytest.raises(RunError, match="no times"):
        histogram(np.array([]), "response")


def test_load_shows_use_and_misses(schedule):
    widths = [bar.get_width() for bar in load(schedule).patches]
    assert widths[:2] == pytest.approx([40.0, 40.0])  # 4 x 2 of 20 ms, 2 x 4 of 20 ms
    assert widths[2] == 100.0 and widths[3] == 0.0
