"""What tasks do, as signals of the diagram: against the schedule that a lane has."""

from __future__ import annotations

import pickle

import pytest
import torch

from simdl import always, monte_carlo, simulate
from simdl.computer import Computer, Exponential, Processor, Task, Uniform
from simdl.computer.signals import STATES
from simdl.computer.states import states
from simdl.errors import ModelError
from tests.computer_loop import Loop

UNTIL, SEED = 0.5, 3


def busy() -> Computer:
    cpu = Processor("cpu")
    control = Task("control", cpu, period="20 ms", priority=1, execution=Uniform("1 ms", "4 ms"), runs=["pi"],
                   deadline="9 ms", late="skip next")  # fmt: skip
    others = Task("all others", cpu, arrivals=Exponential("15 ms"), priority=0, execution="8 ms")
    return Computer([control, others])


@pytest.fixture(scope="module")
def model():
    return busy().on(Loop(), horizon=UNTIL, signals=True)


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_signals_are_those_of_the_schedule_of_each_lane(model, engine: str) -> None:
    """Looked at between whole milliseconds, where nothing changes at the moment of looking."""
    paths = [f"{task}_task.{name}" for task in ("control", "all_others") for name in ("state", "response", "missed")]
    run = simulate(model, until=UNTIL, every=0.00211, lanes=3, seed=SEED, record=paths, engine=engine)
    late = 0
    for lane in range(3):
        schedule = busy().schedule(UNTIL, SEED, lane)
        spans = states(schedule)
        for k, t in enumerate((run.traces[paths[0]].t * 1e9).round().long().tolist()):
            for task, label in (("control", "control_task"), ("all others", "all_others_task")):
                inside = [name for name, begin, end in spans[task] if begin <= t < end]
                assert STATES[int(run[f"{label}.state"].values[lane, k])] == (inside[0] if inside else "idle")
                jobs = schedule.of(task)
                ended = max(
                    (job for job in jobs if job.end is not None and job.end <= t), key=lambda j: j.end, default=None
                )
                response = 0.0 if ended is None else (ended.end - ended.arrival) / 1e9
                assert float(run[f"{label}.response"].values[lane, k]) == pytest.approx(response, abs=1e-12)
                missed = sum(
                    job.arrival <= t if job.status == "skipped"
                    else job.deadline < t and (job.end is None or job.end > job.deadline)
                    for job in jobs if job.deadline is not None
                )  # fmt: skip
                assert int(run[f"{label}.missed"].values[lane, k]) == missed
                late += missed
    assert late > 0


def test_a_requirement_may_speak_of_response_times(model) -> None:
    computer = busy()
    longest = [computer.schedule(UNTIL, SEED, lane).responses("control").max() / 1e9 for lane in range(6)]
    campaign = monte_carlo(
        model, {}, lanes=6, until=UNTIL, every=0.0001, seed=SEED, progress=False,
        requirements={"in time": always(model.control_task.response < 0.012)},
    )  # fmt: skip
    margins = campaign.margins["in time"]
    assert torch.allclose(margins, 0.012 - torch.tensor(longest, dtype=torch.float64), atol=1e-9)


def test_states_have_names_in_traces(model) -> None:
    run = simulate(pickle.loads(pickle.dumps(model)), until=0.1, every=0.01, record=["control_task.state"])
    assert run["control_task.state"].labels == STATES


def test_what_cannot_have_signals_is_refused() -> None:
    with pytest.raises(ModelError, match="signals=True, and a live computer"):
        busy().on(Loop(), signals=True, live=True)
    taken = Loop()
    taken.control_task = Loop()
    with pytest.raises(ModelError, match="'control_task' is there already"):
        busy().on(taken, horizon=1, signals=True)
