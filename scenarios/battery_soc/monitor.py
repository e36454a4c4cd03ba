"""Fit the monitor of the charge sensor, and measure what it is worth when sensors fail:
`python -m simdl.scenarios.battery_soc.monitor fit --out FOLDER`, `… report --out FOLDER`."""

from dataclasses import dataclass, field
from pathlib import Path

import click
import torch

from simdl import RK4, simulate
from simdl.networks.ood import KNN, InputBox, Scorer, save_scorer
from simdl.requirements import requirement
from simdl.scenarios.battery_soc import estimators
from simdl.scenarios.battery_soc.monitoring import CARDS, FALLBACKS, TRIP, FaultyLoop, Watched, watched
from simdl.scenarios.battery_soc.scenario import REQUIREMENTS, SPACE
from simdl.scenarios.battery_soc.signature import FEATURES
from simdl.slots import swap
from simdl.space import draw

FIRST = 5_000_000  # the first of the lanes that nothing was trained, fitted or calibrated on
ROW, MONITOR = "sensor.inside.signature.row", "sensor.inside.monitor"
HOURS = 0.1  # wanted false alarms an hour
SPACE = {name: one for name, one in SPACE.items() if name != "faulty"}
EVERYTHING = "volts amps degrees"


@dataclass(frozen=True)
class Fault:
    """channels: which fail; how: parameters of FaultyChannel."""

    name: str
    severity: str
    channels: str
    how: dict[str, float] = field(default_factory=dict)


def _series(name, channels, parameter, unit, values, scale=1.0, **more):
    return [Fault(name, f"{value:g} {unit}", channels, {parameter: value * scale, **more}) for value in values]


def _lasting(name, channels, seconds, **how):
    found = [Fault(name, f"for {s} s", channels, {**how, "duration": float(s)}) for s in seconds[:-1]]
    return [*found, Fault(name, "for good", channels, how)] if seconds[-1] is None else found


FAULTS = (
    *_lasting("voltage stuck", "volts", (30, 120, None), freeze=1.0),
    *_series("voltage offset", "volts", "jump", "mV", (20, 50, 150), 1e-3),
    *_series("voltage drift", "volts", "ramp", "mV/h", (50, 150, 400), 1e-3),
    *_series("voltage noise, 60 s", "volts", "burst", "mV", (10, 30, 100), 1e-3, duration=60.0),
    *_series("current gain", "amps", "gain_fault", "x", (0.9, 0.7, 0.5)),
    *_lasting("current zero", "amps", (30, 120, None), gain_fault=0.0),
    *_series("current drift", "amps", "ramp", "A/h", (0.5, 2.0, 5.0)),
    *_lasting("temperature stuck", "degrees", (120, 600, None), freeze=1.0),
    *_series("temperature offset", "degrees", "jump", "K", (3, 8, 20)),
    *_lasting("all frozen", EVERYTHING, (20, 60, 300, None), freeze=1.0),
    Fault("unit swap", "degF for degC", "degrees", {"gain_fault": 1.8, "jump": 32.0}),
    Fault("unit swap", "K for degC", "degrees", {"jump": 273.15}),
    Fault("unit swap", "mA for A", "amps", {"gain_fault": 1000.0}),
    Fault("unit swap", "mV for V", "volts", {"gain_fault": 1000.0}),
)


def run(sensor, ids, faults, record):
    """The lanes `ids`, each with its entry of `faults` (None: sound), beginning between 15 and 40 minutes."""
    loop = swap(FaultyLoop(estimators.coulomb()), sensor=sensor)
    begin = began(ids)
    given = draw(SPACE, 0, ids)
    sound = {"begin": 1e9, "duration": 1e9, "gain_fault": 1.0}
    for channel in EVERYTHING.split():
        for name in ("begin", "duration", "gain_fault", "jump", "ramp", "burst", "freeze"):
            values = torch.full((len(ids),), sound.get(name, 0.0), dtype=torch.float64)
            for lane, fault in enumerate(faults):
                if fault is not None and channel in fault.channels.split():
                    values[lane] = float(begin[lane]) if name == "begin" else fault.how.get(name, sound.get(name, 0.0))
            given[f"{channel}.{name}"] = values
    return simulate(loop, 3600, ids=ids, set=given, every=10, record=record, solver=RK4(max_step="1 s"))


def began(ids):
    """When the fault of each lane begins [s]: the same in every run."""
    return (900.0 + (ids * 7919 % 1500)).double()


def blind() -> Watched:
    """A monitor that sees nothing strange, to record what it would judge."""
    huge = torch.full((len(FEATURES),), 1e9, dtype=torch.float64)
    return Watched(InputBox().between(-huge, huge))


def signatures(first, lanes):
    """Rows (lanes, time, features) of sound lanes, every 10 s."""
    ids = torch.arange(first, first + lanes)
    found = run(blind(), ids, [None] * lanes, [ROW])
    assert not found.status, found.status
    return found[ROW].values


def fitted(lanes: int) -> tuple[Scorer, Scorer]:
    """The scorer and the box: fitted on the first lanes that the network was trained on, the threshold counted on as
    many of the following ones."""
    rows, other = signatures(0, lanes), signatures(lanes, lanes)
    scorer = KNN(bank=128).fit(rows.flatten(0, 1)).calibrate(other, per_hour=HOURS, period="10 s", trip=TRIP)
    return scorer, InputBox(margin=0.05).fit(torch.cat([rows, other]).flatten(0, 1))


@dataclass(frozen=True)
class Row:
    """One fault: detected [%], delay [s] (median, 95th percentile), and by kind of loop the lanes that fail the
    requirement on the error, those that leave the limits of charge, and the 95th percentile of the worst error [%]."""

    fault: Fault
    detected: float
    delay: tuple[float, float]
    fails: tuple[int, ...]
    limits: tuple[int, ...]
    worst: tuple[float, ...]


def kinds():
    """What is compared: the network alone, and watched with each fallback."""
    return {"network": CARDS / "recurrent", **{f"monitor, {name}": watched(name) for name in FALLBACKS}}


def failing(found, names):
    """Which lanes fail one of these requirements."""
    failed = torch.zeros(found.lanes, dtype=torch.bool)
    for name in names:
        margin = requirement(REQUIREMENTS[name]).margin(lambda signal: found[signal].values, 10, 361)
        failed |= margin.values < 0
    return failed


def study(lanes: int, sound: int):
    """The rows of the table, and for sound lanes: alarms an hour, and lanes that fail by kind of loop."""
    error, *limits = (name for name in REQUIREMENTS if "recovers" not in name)
    faults = [fault for fault in FAULTS for _ in range(lanes)]
    ids = torch.arange(FIRST, FIRST + len(faults))
    others = torch.arange(FIRST + 100_000, FIRST + 100_000 + sound)
    begin = began(ids)[:, None]
    t = torch.arange(361) * 10.0
    fails, out, worst, plain = [], [], [], []
    healthy = alarms = None
    for kind, sensor in kinds().items():
        more = [f"{MONITOR}.healthy"] if kind != "network" else []
        record = ["error", "current", "soc", *more]
        found = run(sensor, ids, faults, record)
        quiet = run(sensor, others, [None] * sound, record)
        assert not found.status and not quiet.status
        fails.append(failing(found, [error]).reshape(-1, lanes).sum(1))
        out.append(failing(found, limits).reshape(-1, lanes).sum(1))
        size = torch.where(t >= begin, found["error"].values.abs(), 0.0).amax(1).reshape(-1, lanes)
        worst.append(100 * size.quantile(0.95, dim=1))
        plain.append((int(failing(quiet, [error]).sum()), int(failing(quiet, limits).sum())))
        if more and healthy is None:
            healthy, calm = found[more[0]].values.bool(), quiet[more[0]].values.bool()
            alarms = int((~calm[:, 1:] & calm[:, :-1]).sum()) / sound  # one hour each
    assert healthy is not None
    lasts = torch.tensor([fault.how.get("duration", 1e9) for fault in faults])[:, None]
    trips = torch.cat((torch.zeros(len(ids), 1, dtype=torch.bool), ~healthy[:, 1:] & healthy[:, :-1]), 1)
    due = trips & (t >= begin) & (t <= begin + lasts + 60.0)
    seen, delay = due.any(1).reshape(-1, lanes), (due.double().argmax(1) * 10.0 - begin[:, 0]).reshape(-1, lanes)
    rows = []
    for k, fault in enumerate(FAULTS):
        late = delay[k][seen[k]]
        times = (float(late.quantile(0.5)), float(late.quantile(0.95))) if len(late) else (float("nan"),) * 2
        failed, left = (tuple(int(one[k]) for one in part) for part in (fails, out))
        largest = tuple(float(one[k]) for one in worst)
        rows.append(Row(fault, 100 * float(seen[k].double().mean()), times, failed, left, largest))
    return rows, alarms, plain


def table(rows, lanes):
    """The rows as Markdown."""
    names = list(kinds())
    head = ["fault", "severity", "detected", "delay median / p95", *(f"fails, {n}" for n in names),
            *(f"p95 of worst error, {n}" for n in names), *(f"leaves limits, {n}" for n in names)]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * 2 + " ---: |" * (len(head) - 2)]
    for row in rows:
        delay = f"{row.delay[0]:.0f} / {row.delay[1]:.0f} s" if row.detected else "never"
        cells = [row.fault.name, row.fault.severity, f"{row.detected:.0f} %", delay, *map(str, row.fails),
                 *(f"{one:.1f} %" for one in row.worst), *map(str, row.limits)]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(rows, path):
    """Detection, and worst errors with and without, fault by fault."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from simdl.plot import PALETTE

    made, (left, right) = plt.subplots(1, 2, figsize=(9.5, 8.6), sharey=True, layout="constrained", width_ratios=(1, 2))
    places = range(len(rows))
    left.barh(places, [row.detected for row in rows], color=PALETTE[5], height=0.6)
    left.set(xlabel="lanes in which it is detected [%]", xlim=(0, 100))
    left.set_yticks(places, [f"{row.fault.name}, {row.fault.severity}" for row in rows], fontsize="small")
    left.invert_yaxis()
    for k, (name, mark) in enumerate(zip(kinds(), "osDx", strict=True)):
        right.plot([row.worst[k] for row in rows], places, mark, color=PALETTE[k], label=name, fillstyle="none")
    right.axvline(5.0, color="0.4", linestyle=":", linewidth=1, label="required: below 5 %")
    right.set(xlabel="worst error after the fault, 95th percentile of the lanes [% of charge]", xscale="log")
    right.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    right.legend(fontsize="small", loc="best")
    for axis in (left, right):
        axis.grid(alpha=0.3, which="major")
    made.savefig(path, dpi=110)


@click.group()
def main() -> None:
    """The monitor of the charge sensor."""


@main.command()
@click.option("--out", type=Path, default=CARDS / "monitor", show_default="the shipped one")
@click.option("--lanes", default=400)
def fit(out: Path, lanes: int) -> None:
    """Fit scorer and box on lanes that the network was trained on, and save them."""
    scorer, box = fitted(lanes)
    notes = f"fitted on lanes 0 to {lanes - 1} of seed 0 without faults, calibrated on as many of the following ones"
    save_scorer(out, scorer, features=FEATURES, notes=notes)
    save_scorer(out, box, name="box", features=FEATURES, notes=notes)
    click.echo(f"{out}: {scorer.calibration}")


@main.command()
@click.option("--out", type=Path, required=True)
@click.option("--lanes", default=64, help="of each fault")
@click.option("--sound", default=1000, help="lanes without a fault")
def report(out: Path, lanes: int, sound: int) -> None:
    """Write table.md and figure.png, the numbers of the report."""
    rows, alarms, plain = study(lanes, sound)
    names = list(kinds())
    lines = [f"{alarms:.3g} false alarms an hour in {sound} lanes of an hour without a fault, of which fail on the "
             "error, and leave the limits of charge:", ""]  # fmt: skip
    lines += [f"- {name}: {fail}, {limit}" for name, (fail, limit) in zip(names, plain, strict=True)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text("\n".join([*lines, "", f"{lanes} lanes a fault:", "", table(rows, lanes), ""]))
    figure(rows, out / "figure.png")
    click.echo(f"{out}")


if __name__ == "__main__":
    main()
