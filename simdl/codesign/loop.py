"""Simulate, learn, close the loop, check, learn from the worst, check again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simdl.campaign.campaign import Campaign
from simdl.campaign.dataset import write_dataset
from simdl.campaign.shard import check as margins
from simdl.clock import SECOND, nanoseconds
from simdl.codesign.design import Design, Training
from simdl.codesign.outcome import Checked, Confirmed, Outcome
from simdl.data import Shards, split_by_lane
from simdl.data.durable import write_file
from simdl.engine.solver import RK4, AdaptiveSolver, DormandPrince, Solver
from simdl.errors import UsageError
from simdl.scenario import Scenario

# Lanes are numbered apart, so that nothing that was learnt from is checked on.
LEARN, CHECK, SEARCH = 0, 1_000_000, 2_000_000

Tell = Callable[[str], None]


def codesign(
    scenario: Scenario, out: str | Path, *, seed: int = 0, lanes: int | None = None, check: int | None = None,
    quick: bool = False, seconds: float | None = None, workers: int = 1, progress: bool | None = None,
    tell: Tell = lambda text: None, shown: Callable[[Path], None] = lambda path: None,
) -> Outcome:  # fmt: skip
    """Design the network of a scenario in the loop. Raises UsageError for a scenario without a design.

    Everything is kept in `out`; a run that was killed goes on where it stopped. `tell` gets a line for each stage,
    `shown` the first figure as soon as there is one.
    """
    design = designed(scenario)
    if quick:
        design = replace(design, **design.quick)
        scenario = scenario.quickly()
    design = replace(
        design, lanes=lanes or design.lanes, check=check or design.check,
        seconds=seconds if seconds is not None else design.seconds,
    )  # fmt: skip
    scenario = replace(scenario, design=design)
    return _Codesign(scenario, design, Path(out), seed, workers, progress, tell, shown, quick).run()


def designed(scenario: Scenario, what: str = "codesign") -> Design:
    """The scenario's design. Raises UsageError when it has none; what: is to be done with it."""
    if scenario.design is None:
        raise UsageError(f"{what} {scenario.name}", "a scenario without a design, which says what is learnt from what",
                         "Scenario(design=Design(...))", "in Python: campaign.dataset(folder, inputs=..., targets=...)",
                         )  # fmt: skip
    return scenario.design


class _Codesign:
    def __init__(
        self, scenario: Scenario, design: Design, out: Path, seed: int, workers: int, progress: bool | None, tell: Tell,
        shown: Callable[[Path], None], quick: bool,
    ) -> None:  # fmt: skip
        self.scenario, self.design, self.out, self.seed = scenario, design, out, seed
        self.workers, self.progress, self.tell, self.shown = workers, progress, tell, shown
        asked = {
            "scenario": scenario.name, "seed": seed, "lanes": design.lanes, "check": design.check,
            "search": design.search, "worst": design.worst, "seconds": design.seconds, "epochs": design.epochs,
            "until": str(scenario.until), "quick": quick,
        }  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        note = out / "codesign.json"
        if note.exists():
            before = json.loads(note.read_text())
            changed = [f"{k}: {before.get(k)!r} there, {v!r} asked" for k, v in asked.items() if before.get(k) != v]
            if changed:
                raise UsageError(str(out), "another co-design: " + "; ".join(changed), "the same arguments",
                                 "give another --out, or the same arguments to resume")  # fmt: skip
        else:
            write_file(note, json.dumps(asked, indent=2).encode())
        self.outcome = Outcome(scenario, asked)

    def stage(self, name: str, text: str) -> _Timer:
        self.tell(text)
        return _Timer(self.outcome.seconds, name)

    def run(self) -> Outcome:
        design, outcome = self.design, self.outcome
        driver = self.scenario.swap(**{design.slot: design.baselines[design.driver]()})
        self._first_figure(driver)
        with self.stage("data", f"simulating {design.lanes} lanes to learn from, {design.driver} in the loop"):
            shards = self._data(driver, torch.arange(LEARN, LEARN + design.lanes), self.out / "data")
        with self.stage("train", f"training for up to {design.seconds:g} s"):
            card = self._train([shards], self.out / "network-0", None)
        with self.stage("check", f"checking {design.check} unseen lanes, the network in the loop"):
            outcome.checked["before"] = self._check("before", card)
        with self.stage("search", f"searching {design.search} other lanes for bad ones"):
            more = self._worst(card)
        with self.stage("retrain", f"training again with the {len(outcome.added)} worst of them"):
            better = self._train([shards, more], self.out / "network-1", card)
        with self.stage("check again", f"checking the same {design.check} lanes again"):
            outcome.checked["after"] = self._check("after", better)
        with self.stage("compare", f"comparing {len(design.baselines)} other estimators on the same lanes"):
            for name, make in design.baselines.items():
                self.tell(f"  {name}")
                outcome.checked[name] = self._check(name, make())
        with self.stage("confirm", "repeating the worst lanes with half the step and with another method"):
            final = self.scenario.swap(**{design.slot: better})
            outcome.confirmed = confirm(final, outcome.checked["after"].campaign)
        return outcome

    def _data(self, scenario: Scenario, ids: Tensor, folder: Path) -> Shards:
        job = scenario._job(scenario.build(), self.seed, None)
        design = self.design
        return write_dataset(
            job, ids, folder, inputs=design.inputs, targets=design.targets, labels=design.labels, every=design.every,
            progress=self.progress, workers=self.workers,
        )  # fmt: skip

    def _train(self, shards: list[Shards], folder: Path, start: Path | None) -> Path:
        design = self.design
        done = folder / "card.json"
        self.outcome.histories[folder.name] = folder / "history.jsonl"
        if done.exists():
            return folder
        learn, stop = split_by_lane(shards[0], (0.85, 0.15), seed=self.seed)
        seconds = design.seconds if start is None else design.seconds / 2
        training = Training(seconds, design.epochs, self.seed, start, self.progress)
        return design.train([learn, *shards[1:]], stop, folder, training)

    def _check(self, name: str, network: Any) -> Checked:
        design = self.design
        scenario = self.scenario.swap(**{design.slot: network})
        campaign = scenario.campaign(
            design.check, seed=self.seed, first=CHECK, out=self.out / "check" / _slug(name), keep=True,
            workers=self.workers, progress=self.progress,
        )  # fmt: skip
        return Checked(name, _whole(campaign), design.evaluate(campaign))

    def _worst(self, card: Path) -> Shards:
        design = self.design
        scenario = self.scenario.swap(**{design.slot: card})
        campaign = scenario.campaign(
            design.search, seed=self.seed, first=SEARCH, out=self.out / "search", keep=True, workers=self.workers,
            progress=self.progress,
        )  # fmt: skip
        headline = next(iter(design.evaluate(_whole(campaign)).values()))
        order = torch.argsort(headline.nan_to_num(nan=torch.inf), descending=True)
        ids = campaign.ids[order[: design.worst]]
        self.outcome.added = ids.tolist()
        return self._data(scenario, ids.sort().values, self.out / "data-worst")

    def _first_figure(self, driver: Scenario) -> None:
        path = self.out / "first.png"
        if not path.exists() and self.design.figure:
            import matplotlib

            matplotlib.use("Agg", force=False)
            axes = driver.run(seed=self.seed, lane=CHECK).plot(*self.design.figure)
            figure = axes.get_figure(root=True)
            assert figure is not None
            figure.suptitle(f"{self.scenario.name}: {self.design.driver} in the loop, lane {CHECK}")
            figure.savefig(path, dpi=110)
        if path.exists():
            self.shown(path)


def _whole(campaign: Campaign) -> Campaign:
    """A campaign that ran to its end. Raises KeyboardInterrupt for one that was cut short: what it has is kept."""
    if not campaign.complete:
        raise KeyboardInterrupt
    return campaign


class _Timer:
    def __init__(self, table: dict[str, float], name: str) -> None:
        self.table, self.name = table, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.table[self.name] = time.perf_counter() - self.start


def confirm(scenario: Scenario, campaign: Campaign, worst: int = 3) -> list[Confirmed]:
    """Repeat the worst lanes of each requirement with half the step on the torch engine, whichever ran them, and with
    another method: the error bar."""
    found: list[Confirmed] = []
    sound = {name: campaign.worst(name, worst + len(campaign.status)) for name in campaign.margins}
    wanted = {name: [i for i in lanes if i not in campaign.status][:worst] for name, lanes in sound.items()}
    ids = torch.tensor(sorted({lane for lanes in wanted.values() for lane in lanes}), dtype=torch.int64)
    if not len(ids):
        return found
    job = campaign.job
    repeated = [
        margins(job.simulate(ids, solver=solver, engine=engine)[0], job.requirements, job.every)
        for solver, engine in zip(_others(scenario, job), ("torch", "auto"), strict=True)
    ]
    rows = {int(lane): row for row, lane in enumerate(ids)}
    places = {int(lane): row for row, lane in enumerate(campaign.ids)}
    for name, lanes in wanted.items():
        for lane in lanes:
            here = float(campaign.margins[name][places[lane]])
            again = [float(result[name].values[rows[lane]]) for result in repeated]
            found.append(Confirmed(name, lane, here, *again))
    return found


def _others(scenario: Scenario, job: Any) -> list[Any]:
    """The same method with half its step, and another method."""
    solver: Solver = job.solver if job.solver is not None else RK4()
    if isinstance(solver, AdaptiveSolver):
        return [replace(solver, rtol=solver.rtol / 16, atol=solver.atol / 16), RK4(max_step="1 ms")]
    from simdl.compile import compile_model

    model = compile_model(job.model)
    given = solver.max_step
    if given is None:
        step = min((c.period for c in model.clocks), default=1.0) / 4
    else:
        step = nanoseconds(given) / SECOND if isinstance(given, str) else float(given)
    return [replace(solver, max_step=step / 2), DormandPrince(rtol=1e-8, atol=1e-10)]


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
