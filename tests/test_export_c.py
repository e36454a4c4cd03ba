"""Exported C gives the bits of the native engine, refuses what is no step, and takes no name from a user."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from simdl import (
    Block,
    Callback,
    Diagram,
    Input,
    Network,
    Noise,
    Output,
    Param,
    Recurrent,
    enabled,
    simulate,
    tick,
)
from simdl.blocks import (
    IIR,
    PI,
    Biquads,
    BouncingBall,
    FirstOrder,
    KalmanFilter,
    Lookup1D,
    MovingAverage,
    StateMachine,
    UnitDelay,
    Window,
    on_entry,
    transition,
)
from simdl.engine.simulator import Simulator
from simdl.errors import LoweringError, ModelError, UsageError
from simdl.export.c import CompiledC, Exported, check_in_loop, export_c, in_loop, lane_samples
from simdl.export.c.names import mangled
from simdl.networks import Monitor
from simdl.networks.ood import Mahalanobis
from simdl.scenario import scenario

GCC = shutil.which("gcc")
STRICT = ("-std=c99", "-O2", "-pedantic", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
SANITIZED = ("-std=c99", "-g", "-O1", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")
TICKS = 2000


def ran(exported: Exported, *flags: str, compiler: str = "gcc") -> str:
    """Compile an export with its test, and run it."""
    names = [f"{exported.name}_test.c", f"{exported.name}.c"]
    build = subprocess.run([compiler, *flags, *names, "-lm", "-o", "test"], cwd=exported.folder, capture_output=True,
                           text=True)  # fmt: skip
    assert build.returncode == 0, build.stderr
    done = subprocess.run(["./test"], cwd=exported.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Valve(StateMachine):
    """Opens when it is warm, stays open for some ticks at least."""

    states = "shut", "open", "stuck"
    level, flow = Input(), Output()
    limit: Param = Param(0.5)

    @transition("shut", "open")
    def warm(self, level, limit):
        return level > limit

    @transition("open", "shut", after="30 ms")
    def cold(self, level):
        return level < 0.0

    @transition("open", "stuck")
    def far(self, level):
        return level > 2.5

    @transition("stuck", "shut", after="50 ms")
    def again(self, level):
        return level < 1.0

    @on_entry("open")
    def begin(self, level):
        return dict(flow=level)

    @on_entry("shut")
    def end(self):
        return dict(flow=0.0)


class Table(Diagram):
    u, y = Input(), Output()

    def __init__(self) -> None:
        self.hold = UnitDelay(period="10 ms")
        self.table = Lookup1D(breaks=[-1.0, 0.0, 0.5, 2.0], table=[3.0, 1.0, 4.0, 1.5])
        self.hold.u = self.u
        self.table.u = 2 * self.hold.y
        self.y = (self.table.y - 1).clamp(-2.0, 2.5)


class Rates(Diagram):
    """Four clocks, an offset, a latency, formulas between, and a block that is enabled at times."""

    u, v, on = Input(), Input(shape=(2,)), Input(dtype="bool")
    y, z, w = Output(), Output(), Output()
    k: Param = Param(1.3)

    def __init__(self) -> None:
        self.pi = PI(period="10 ms", kp=self.k * 2)
        self.slow = UnitDelay(period="30 ms")
        self.late = UnitDelay(period="20 ms", latency="40 ms")
        self.mean = MovingAverage(4, period="20 ms", **({"offset": "10 ms"} if self.shifted else {}))
        self.pi.e, self.slow.u = self.u, self.pi.u
        self.late.u = self.slow.y * self.k * self.u + self.k * self.k * self.u
        self.mean.u = self.late.y + self.u
        self.y, self.z, self.w = self.mean.y, self.late.y * self.k + 1, self.slow.y
        if not self.shifted:
            enabled(self.mean, when=self.on)

    shifted = True


class Gated(Rates):
    shifted = False


class Sensor(Diagram):
    """A virtual sensor: a filter, a window, a network, and a rule that watches it."""

    u, y, ok = Input(), Output(), Output()

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.filter = Biquads.butterworth(2, cutoff=5.0, period="10 ms")
        self.window = Window(8, period="10 ms")
        self.network = Network(nn.Sequential(nn.Linear(8, 20), nn.Tanh(), nn.Linear(20, 1)), inputs={
            "x": Input(shape=(8,))}, outputs={"y": Output(shape=())}, period="20 ms")  # fmt: skip
        self.filter.u, self.window.u = self.u, self.filter.y
        self.network.x = (self.window.y - 0.1) / 0.7
        self.y, self.ok = self.network.y, self.network.y < 0.3


class Plant(Diagram):
    """A plant with a virtual sensor in it."""

    r: Param = Param(1.0)
    y, estimate = Output(), Output()

    def __init__(self, sensor: Any = None) -> None:
        self.lag, self.delay = FirstOrder(tau=0.3), UnitDelay(period="20 ms")
        self.sensor = Sensor() if sensor is None else sensor
        self.lag.u, self.sensor.u = self.r - 0.5 * self.delay.y, self.lag.y
        self.delay.u = self.sensor.y
        self.y, self.estimate = self.lag.y, self.sensor.y


def recurrent(kind: Any) -> Any:
    torch.manual_seed(1)
    return Recurrent(kind(3, 9, num_layers=2), inputs={"x": Input(shape=(3,))}, outputs={"y": Output(shape=(9,))},
                     period="10 ms")  # fmt: skip


def mlp() -> Any:
    torch.manual_seed(2)
    layers = nn.Sequential(nn.Linear(3, 33), nn.Tanh(), nn.Linear(33, 17), nn.GELU(), nn.Linear(17, 2), nn.Sigmoid())
    return Network(layers, inputs={"x": Input(shape=(3,))}, outputs={"y": Output(shape=(2,))}, period="10 ms")


def kalman() -> Any:
    one = [[1.0, 0.0], [0.0, 1.0]]
    return KalmanFilter(A=[[1.0, 0.1], [0.0, 1.0]], C=[[1.0, 0.0]], Q=[[0.01, 0.0], [0.0, 0.01]], R=[[0.5]],
                        start=[0.0, 0.0], doubt=one, period="10 ms")  # fmt: skip


def watched() -> Any:
    """A network with a monitor (box, strangeness with hysteresis, bounds, slope, switch) and a fallback."""
    torch.manual_seed(3)
    layers = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    net = Network(layers, inputs=("x", "v"), outputs=("u",), period="10 ms")
    rows = torch.randn(2000, 2)
    scorer = Mahalanobis().fit(rows[:1000]).calibrate(rows[1000:], per_sample=0.05)
    safe = Network(nn.Linear(2, 1), inputs=("x", "v"), outputs=("u",), period="10 ms")
    return Monitor.around(net, safe, scorer=scorer)


PARTS = {
    "mlp": mlp, "lstm": lambda: recurrent(nn.LSTM), "gru": lambda: recurrent(nn.GRU),
    "iir": lambda: IIR(b=[0.2, 0.3], a=[1.0, -0.5], period="10 ms"), "kalman": kalman,
    "butterworth": lambda: Biquads.butterworth(4, cutoff=5.0, period="10 ms"),
    "pi": lambda: PI(kp=2.0, ki=3.0, low=-1.0, high=1.0, period="10 ms"), "machine": lambda: Valve(period="10 ms"),
    "window": lambda: Window(5, period="10 ms"), "table": Table, "rates": Rates, "gated": Gated, "sensor": Sensor,
    "monitor": watched,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PARTS)
def test_every_bit_is_that_of_the_native_engine(name: str, dtype: str, tmp_path: Path) -> None:
    exported = export_c(PARTS[name](), "", tmp_path, dtype=dtype, name="part", ticks=TICKS)
    assert ran(exported, *STRICT) == f"0 differences in {TICKS} ticks\n"


@pytest.mark.parametrize("name", ["lstm", "machine", "rates", "gated", "kalman", "sensor"])
def test_sanitizers_find_nothing(name: str, tmp_path: Path) -> None:
    exported = export_c(PARTS[name](), "", tmp_path, name="part", ticks=300)
    ran(exported, *SANITIZED)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("name", ["gru", "machine", "kalman"])
def test_it_is_cpp_too(name: str, tmp_path: Path) -> None:
    exported = export_c(PARTS[name](), "", tmp_path, name="part", ticks=300)
    ran(exported, "-x", "c++", "-std=c++17", *STRICT[1:], compiler="g++")


def test_a_wrong_constant_is_found_by_the_test_that_goes_with_it(tmp_path: Path) -> None:
    exported = export_c(PARTS["iir"](), "", tmp_path, name="part")
    text = (tmp_path / "part.c").read_text()
    changed = re.sub(r"(static const float p\d+\[\d+\] = \{\n    0x1\.)(\w)", r"\g<1>8", text, count=1)
    assert changed != text
    (tmp_path / "part.c").write_text(changed)
    with pytest.raises(AssertionError, match="differences"):
        ran(exported, *STRICT)


def test_only_the_standard_headers_and_no_allocation(tmp_path: Path) -> None:
    export_c(Sensor(), "", tmp_path, name="part")
    text = (tmp_path / "part.c").read_text() + (tmp_path / "part.h").read_text()
    assert set(re.findall(r"#include ([<\"].*?[>\"])", text)) == {"<math.h>", "<stdint.h>", "<string.h>", '"part.h"'}
    assert not re.search(r"\b(malloc|calloc|free|omp|_Thread_local|__builtin_\w+)\b", text)
    subprocess.run(["gcc", *STRICT, "-c", "part.c"], cwd=tmp_path, check=True)
    symbols = subprocess.run(["nm", "part.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    wanted = {line.split()[-1] for line in symbols.splitlines() if " U " in line}
    assert wanted <= {"fma", "fmaf", "memcpy", "memset", "sqrt", "sqrtf", "floor", "floorf", "rint", "rintf", "memmove"}
    given = {line.split()[-1] for line in symbols.splitlines() if " T " in line}
    assert given == {"part_init", "part_step"}


# -- parts of a diagram --------------------------------------------------------


def test_parameters_of_the_outer_diagram_and_of_set_are_written_into_the_file(tmp_path: Path) -> None:
    class Outer(Diagram):
        gain: Param = Param(2.0)
        y = Output()

        def __init__(self) -> None:
            self.inner = PI(kp=self.gain * 3, ki=0.0, period=1)
            self.inner.e = 1.0
            self.y = self.inner.u

    outer = Outer()
    for given, wanted in ((None, 6.0), ({"gain": 5.0}, 15.0)):
        exported = export_c(outer, "inner", tmp_path, dtype="float64", set=given, name="part")
        assert exported.inputs == ()  # a number on a wire is a constant
        block: Any = CompiledC
        assert simulate(block(exported), 3)["u"].values[0, -1] == wanted
    assert simulate(outer, 3)["y"].values[0, -1] == 6.0


def test_the_side_file_says_what_the_members_are(tmp_path: Path) -> None:
    export_c(Plant(), "sensor", tmp_path, name="part")
    about = json.loads((tmp_path / "part.json").read_text())
    assert about["path"] == "sensor" and about["period_ns"] == 10_000_000
    assert [(p["name"], p["member"]) for p in about["inputs"]] == [("u", "b0_u")]
    assert [(p["name"], p["type"]) for p in about["outputs"]] == [("y", "f4"), ("ok", "b1")]
    size = about["size"]
    assert size["macs"] == 8 * 20 + 20 and size["state"] > 0 and size["stack"] > 0 and size["code"] > 0
    assert size["parameters"] >= 4 * (8 * 20 + 20 + 20 + 1)


class Loud(Block):
    y, n = Output(), Noise()

    @tick
    def step(self, n):
        return dict(y=n)


class Late(Block):
    u, y = Input(), Output()

    @tick
    def step(self, u):
        return dict(y=u)


def alone(block: Any) -> Any:
    class Alone(Diagram):
        u, y = Input(default=0.0), Output()

        def __init__(self) -> None:
            self.inner = block
            if "u" in type(block).declared():
                self.inner.u = self.u
            name = "y" if "y" in type(block).declared() else "height"
            self.y = getattr(block, name)

    return Alone()


@pytest.mark.parametrize(("block", "found"), [
    (lambda: FirstOrder(tau=1.0), "a state in continuous time"),
    (lambda: Loud(period=1), "noise"),
    (lambda: BouncingBall(), "(a state in continuous time|a crossing)"),
    (lambda: Late(period="20 ms", latency="7 ms"), "a latency of 7000000 ns"),
    (lambda: Late(rate=30), "not evenly spaced"),
    (lambda: Callback(lambda: None, predict=lambda m, x: x, inputs="u", outputs="y", period=1), "numpy"),
])  # fmt: skip
def test_what_is_no_step_is_refused_by_the_name_of_its_block(block: Any, found: str, tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match=found) as caught:
        export_c(alone(block()), "", tmp_path)
    assert caught.value.where.startswith("inner")
    assert not list(tmp_path.iterdir())


def test_a_condition_outside_and_wrong_words_are_refused(tmp_path: Path) -> None:
    class Outer(Diagram):
        on, u, y = Input(dtype="bool", default=True), Input(default=1.0), Output()

        def __init__(self) -> None:
            self.inner = enabled(Late(period=1), when=self.on)
            self.inner.u = self.u
            self.y = self.inner.y

    with pytest.raises(LoweringError, match="which is outside"):
        export_c(Outer(), "inner", tmp_path)
    with pytest.raises(ModelError, match="inner"):
        export_c(Outer(), "iner", tmp_path)
    for wrong in ("A", "1a", "a b", "a" * 33, "a;b", "../a"):
        with pytest.raises(UsageError):
            export_c(Late(period=1), "", tmp_path, name=wrong)
    with pytest.raises(UsageError, match="float16"):
        export_c(Late(period=1), "", tmp_path, dtype="float16")


# -- hostile names --------------------------------------------------------

HOSTILE = (
    'x; system("touch owned");//', "*/ int owned = 1; /*", "??/\n#error owned", "back\\\nslash", 'quote"',
    "\u202eowned", "int", "volatile", "a" * 300, "Same Name", "same_name", "SAME-NAME", "%s%n", "\x00", "${owned}",
)  # fmt: skip


@pytest.mark.parametrize("label", HOSTILE)
def test_a_hostile_block_name_reaches_the_side_file_only(label: str, tmp_path: Path) -> None:
    class Outer(Diagram):
        u, y = Input(), Output(unit=label)

        def __init__(self) -> None:
            self.parts = {label: Late(period=1)}
            self.parts[label].u = self.u
            self.y = self.parts[label].y

    export_c(Outer(), "", tmp_path, name="part", ticks=8)
    for file in ("part.c", "part.h", "part_test.c"):
        text = (tmp_path / file).read_text(encoding="ascii")
        assert "??/" not in text and "system(" not in text and "#error owned" not in text and "a" * 25 not in text
        words = set(re.findall(r"\bb\d+_\w*", text))
        assert words and all(re.fullmatch(r"b\d+_[a-z0-9_]{0,24}", word) for word in words)
    assert json.loads((tmp_path / "part.json").read_text(encoding="ascii"))["outputs"][0]["unit"] == label


def test_names_that_are_equal_after_mangling_stay_apart() -> None:
    made = [mangled(i, name) for i, name in enumerate(HOSTILE)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"b\d+_[a-z0-9_]{0,24}", name) for name in made)


# -- back in the loop --------------------------------------------------------


def test_the_c_takes_the_place_of_the_part_in_both_engines(tmp_path: Path) -> None:
    plant = Plant()
    exported = export_c(plant, "sensor", tmp_path, dtype="float64")
    swapped = in_loop(plant, "sensor", exported)
    designed = simulate(plant, 2, every=0.02, set={"r": torch.linspace(0, 2, 5)})
    for engine in ("torch", "native"):
        run = simulate(swapped, 2, every=0.02, set={"r": torch.linspace(0, 2, 5)}, engine=engine)
        for name in ("y", "estimate"):
            torch.testing.assert_close(run[name].values, designed[name].values, rtol=1e-5, atol=1e-6)
    assert type(plant.sensor) is Sensor  # the design is left as it is


def test_snapshots_and_resets_move_the_state_of_the_c(tmp_path: Path) -> None:
    plant = Plant()
    exported = export_c(plant, "sensor", tmp_path)
    swapped = in_loop(plant, "sensor", exported)
    once = Simulator(swapped, lanes=3)
    once.run_until(0.5)
    kept = once.snapshot()
    once.run_until(1.0)
    first = once["estimate"].clone()
    once.restore(kept)
    once.run_until(1.0)
    assert torch.equal(once["estimate"], first)
    once.restore(kept)
    early = once["estimate"].clone()
    once.reset([1])
    once.run_until(1.0)
    assert torch.equal(once["estimate"][[0, 2]], first[[0, 2]]) and once["estimate"][1] != first[1]
    ticks = once["sensor.c_whole"][:, 0] // exported.base  # its time, as readers see it: a tick ago
    assert ticks.tolist() == [100, 49, 100]
    assert not torch.allclose(first, early)


@pytest.mark.usefixtures("lightly")
def test_a_campaign_of_battery_soc_with_the_sensor_in_c_has_the_same_verdicts(tmp_path: Path) -> None:
    study = replace(scenario("battery_soc").quickly(), engine="native")
    samples = lane_samples(study, "sensor")
    exported = export_c(study.build(), "sensor", tmp_path, name="soc", ticks=256, samples=samples)
    assert ran(exported, *STRICT).startswith("0 differences")
    check = check_in_loop(study, exported, 24, progress=False)
    assert check.agrees and check.lanes == 24
    assert check.signals["estimate"][0] < 1e-4 < check.signals["estimate"][1]


@pytest.mark.usefixtures("lightly")
def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from simdl.cli.program import program

    where = str(tmp_path / "c")
    done = CliRunner().invoke(program, ["export-c", "battery_soc", "sensor", "--out", where, "--quick", "--engine",
                                        "native", "--check", "4", "--json"])  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["loop"]["agrees"] and told["size"]["stack"] and all(Path(file).is_file() for file in told["files"])
    wrong = CliRunner().invoke(program, ["export-c", "battery_soc", "cell", "--out", where, "--quick"])
    assert wrong.exit_code == 2
