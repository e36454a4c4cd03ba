"""The page of a loop on a computer says what the computer did."""

from __future__ import annotations

from typing import Any

import pytest

from simdl import Scenario, Uniform
from simdl.computer import (
    Compute,
    Computer,
    Exponential,
    Processor,
    Read,
    Replay,
    Task,
    Write,
    computer_of,
    schedule_of,
)
from simdl.computer.describe import describe
from simdl.errors import ModelError
from simdl.report import campaign_report
from simdl.report.computer import computer
from tests.computer_loop import Loop


def body(job: Any):
    yield Read("pi")
    yield Compute()
    yield Write("pi")


def busy(live: bool = False) -> Computer:
    cpu = Processor("cpu")
    control = Task("control", cpu, period="20 ms", priority=1, execution="2 ms", runs=["pi"], body=body)
    others = Task("others", cpu, arrivals=Exponential("15 ms"), priority=0, execution="8 ms")
    return Computer([control, others], live=live)


def study(on: Any) -> Scenario:
    return Scenario(
        "busy", "A loop beside other work", Loop, until=0.6, every=0.02, space={"pi.kp": Uniform(1.0, 2.0)},
        requirements={"stays small": "always[0:0.6](y < 2)"}, computer=on,
    )  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["timetables", "live"])
def case(request):
    scenario = study(busy(request.param))
    campaign = scenario.campaign(3, seed=4, progress=False)
    return scenario, campaign, computer(campaign, 1)


def test_jobs_and_use_are_those_of_the_schedule_of_that_lane(case) -> None:
    _, campaign, section = case
    known = busy().schedule(0.6, seed=4, lane=1)
    jobs = next(part for part in section.parts if getattr(part, "title", "") == "Jobs of lane 1")
    rows = {row[0]: row for row in jobs.rows}
    assert rows["control"][1] == len(known.of("control"))
    # A live job is told what it has read 1 ns later than it reads.
    assert rows["control"][4] == pytest.approx(known.responses("control").max() / 1e6, abs=1e-4)
    assert rows["control"][5] == pytest.approx(100 * known.miss_ratio("control"))
    assert rows["others"][5] is None  # it has no deadline
    used = next(part for part in section.parts if getattr(part, "title", "") == "Used by lane 1")
    assert used.rows[0][0] == "cpu" and used.rows[0][1] == pytest.approx(100 * known.utilisation("cpu"), rel=1e-3)


def test_charts_show_the_slowest_job(case) -> None:
    scenario, _, section = case
    titles = [part.title for part in section.parts if hasattr(part, "svg")]
    states = [] if scenario.computer.is_live else ["What tasks do"]  # a live lane cannot run again without its loop
    assert [title.partition(",")[0] for title in titles] == [
        "Who uses what", *states, "Response times of control"
    ]  # fmt: skip
    begin, end = (float(x) for x in titles[0].split("lane 1, ")[1].removesuffix(" s").split(" to "))
    job = max(busy().schedule(0.6, seed=4, lane=1).jobs, key=lambda one: (one.end or 0) - one.arrival)
    assert begin <= job.arrival / 1e9 <= end
    assert all(part.svg.startswith("<svg") and part.alt for part in section.parts if hasattr(part, "svg"))


def test_the_page_has_the_section_of_the_worst_lane(case) -> None:
    scenario, campaign, _ = case
    page = campaign_report(campaign, scenario)
    section = next(one for one in page.sections if one.title == "The computer")
    worst = campaign.worst("stays small", 1)[0]
    assert any(getattr(part, "title", "") == f"Jobs of lane {worst}" for part in section.parts)


def test_a_scenario_is_described_with_its_computer(case) -> None:
    scenario, campaign, _ = case
    text = scenario.describe()
    found = computer_of(campaign.job.model)
    assert found is not None and all(line in text for line in describe(found).splitlines())
    row = next(line for line in text.splitlines() if line.strip().startswith("control"))
    for word in ("cpu", "every 20 ms", "2 ms", "pi"):
        assert word in row


def test_a_loop_on_no_computer_has_no_section() -> None:
    campaign = study(None).campaign(1, progress=False)
    assert computer(campaign, 0) is None and computer_of(campaign.job.model) is None
    with pytest.raises(ModelError, match="a diagram on a computer"):
        schedule_of(campaign.job.model)


def test_a_log_is_named_as_such() -> None:
    scenario = study(Replay({"pi": ([0.0, 0.02], [0.01, 0.03])}))
    section = computer(scenario.campaign(1, progress=False), 0)
    assert section is not None and "times of a log" in section.parts[0].text
    assert "times of a log" in scenario.describe()


def test_descriptions_say_what_differs_from_the_usual() -> None:
    from simdl.computer import EDF, Degrade, FixedPriority

    slow = Processor("slow", cores=2, policy=FixedPriority(preemptive=False), context_switch="5 us", drift=50e-6)
    tasks = [Task("a", slow, period="10 ms", offset="1 ms", execution=lambda job: 0, late=Degrade("1 ms")),
             Task("b", slow, trigger="a", execution="1 ms", deadline="4 ms", budget="2 ms", over="kill"),
             Task("c", Processor("edge", policy=EDF()), arrivals=[0, 1], deadline=1, execution=0.5)]  # fmt: skip
    text = describe(Computer(tasks))
    for word in ("every 10 ms from 1 ms", "late: then 1 ms", "by a", "budget 2 ms, over: kill", "at 2 times", "0.5 s",
                 "slow: 2 cores, fixed priority, without pre-emption, context switch 5 us, its clock +50 ppm",
                 "edge: 1 core, EDF"):  # fmt: skip
        assert word in text, (word, text)
