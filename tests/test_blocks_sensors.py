"""The sensors of the library: each error alone against its definition, noises against their statistics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.transform import Rotation
from torch import Tensor

from simdl import RK4, Block, Diagram, ModelError, Output, simulate
from simdl.blocks import (
    ADC,
    GPS,
    IMU,
    AbsoluteEncoder,
    Accelerometer,
    BetaThermistor,
    Constant,
    Gyroscope,
    IncrementalEncoder,
    InertialSensor,
    JitteredSample,
    Quadrotor,
    Ramp,
    SensorChain,
    Sine,
    SpecificForce,
    StatisticalDetector,
    SteinhartHart,
    Thermistor,
)


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    a, b = torch.as_tensor(found, dtype=torch.float64), torch.as_tensor(wanted, dtype=torch.float64)
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def at_once(block: Block, name: str = "y", **inputs: Any) -> Tensor:
    """An output at t = 0 for constant inputs."""
    return simulate(block, 0, inputs=inputs)[name].values[:, 0]


class Measured(Diagram):
    """A source read by a sensor."""

    y = Output()

    def __init__(self, source: Any, sensor: Any, name: str = "u") -> None:
        self.source, self.sensor = source, sensor
        setattr(sensor, name, source.y)
        self.y = sensor.y if name == "u" else sensor.speed


class TestChain:
    def test_lost_samples_keep_the_value_before(self) -> None:
        chain = Measured(Ramp(), SensorChain(dropout=0.3, period=0.01))
        run = simulate(chain, 20, lanes=4, seed=2, record=["y", "sensor.valid"])
        y, valid, t = run["y"].values, run["sensor.valid"].values > 0.5, run["y"].t
        assert float((~valid).double().mean()) == pytest.approx(0.3, abs=0.02)
        assert torch.equal(y[valid], t.expand_as(y)[valid])
        assert torch.equal(y[:, 1:][~valid[:, 1:]], y[:, :-1][~valid[:, 1:]])

    def test_the_stamp_is_off_by_its_jitter(self) -> None:
        run = simulate(SensorChain(jitter=2e-3, period=0.1), 100, lanes=20, inputs={"u": 0.0}, seed=1, record="stamp")
        off = (run["stamp"].values - run["stamp"].t) / 2e-3
        assert stats.kstest(off.flatten().numpy(), "norm").pvalue > 1e-3

    def test_latency_delays_what_is_seen(self) -> None:
        run = simulate(Measured(Ramp(), SensorChain(period=0.1, latency="30 ms")), 0.5, every=0.01)
        t = run["y"].t
        close(run["y"].values[0], torch.where(t < 0.03, 0.0, torch.floor((t - 0.03 + 1e-9) / 0.1) * 0.1), 1e-9)


class TestConverters:
    @pytest.mark.parametrize("bits", [4, 8, 12])
    def test_quantisation_noise_has_the_power_of_bennett(self, bits: int) -> None:
        u = torch.rand(20000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4.5 + 0.2
        error = at_once(ADC(bits=bits, period=1), u=u) - u
        lsb = 5.0 / 2**bits
        assert float(error.abs().max()) <= lsb / 2 + 1e-12
        assert float(error.std()) == pytest.approx(lsb / math.sqrt(12), rel=0.02)

    def test_codes_stop_at_the_ends(self) -> None:
        u = torch.tensor([-5.0, 0.0, 0.9999, 5.0])
        run = simulate(ADC(bits=10, low=-1.0, high=1.0, period=1), 0, inputs={"u": u})
        assert run["code"].at(0).tolist() == [0, 512, 1023, 1023]

    def test_a_sine_with_jitter_keeps_the_ratio_of_walden(self) -> None:
        frequency, jitter = 3.0, 1e-3
        chain = Measured(Sine(frequency=frequency), JitteredSample(cycle=0.05, jitter=jitter))
        run = simulate(chain, 20, lanes=10, seed=4, every=0.05, record="y")
        # read half a cycle after each sample, when every lane has it
        late = simulate(chain, 20.025, lanes=10, seed=4, every=0.025, record="y")["y"].values[:, 1::2]
        ideal = torch.sin(2 * math.pi * frequency * run["y"].t)
        noise = (late[:, : len(ideal)] - ideal).square().mean()
        assert 10 * math.log10(0.5 / float(noise)) == pytest.approx(
            -20 * math.log10(2 * math.pi * frequency * jitter), abs=0.5
        )

    def test_jittered_samples_are_exact_at_times_of_their_own(self) -> None:
        chain = Measured(Ramp(), JitteredSample(cycle=0.1, jitter=5e-3))
        values = simulate(chain, 3.05, lanes=50, seed=1, every=0.05)["y"].values[:, 1::2]
        off = values - torch.arange(values.shape[1]) * 0.1
        assert float(off[:, 0].abs().max()) == 0.0
        assert float(off[:, 1:].std()) == pytest.approx(5e-3, rel=0.05)
        assert float(off.abs().max()) < 4 * 5e-3 + 1e-8
        lag = (off[:, 1:-1] * off[:, 2:]).mean() / off[:, 1:].var()
        assert abs(float(lag)) < 0.1  # the error of a sample does not carry on to the next


def allan_variance(y: Tensor, n: int) -> float:
    """The mean of half the squared difference of neighbouring means of n samples (lanes, ticks, ...)."""
    whole = y.shape[1] // n
    means = y[:, : whole * n].reshape(len(y), whole, n, *y.shape[2:]).mean(dim=2)
    return float((means[:, 1:] - means[:, :-1]).square().mean() / 2)


class TestInertial:
    def test_scale_misalignment_bias_steps_and_limits(self) -> None:
        matrix = [[1.02, 0.003, 0.0], [0.0, 0.98, -0.002], [0.001, 0.0, 1.0]]
        sensor = InertialSensor(matrix=matrix, bias=[0.1, 0.0, -0.2], step=0.01, limit=2.0, period=1)
        u = [1.0, -1.5, 3.0]
        raw = np.array(matrix) @ u + [0.1, 0.0, -0.2]
        close(at_once(sensor, u=u)[0], np.clip(np.round(raw / 0.01) * 0.01, -2.0, 2.0))

    @pytest.mark.parametrize(
        "errors",
        [dict(white=0.02), dict(walk=0.05), dict(instability=0.1, tau=0.5),
         dict(white=0.01, instability=0.1, tau=0.5, walk=0.02)],
    )  # fmt: skip
    def test_allan_variance_is_that_of_its_parameters(self, errors: dict[str, Any]) -> None:
        sensor = InertialSensor(period=0.01, **errors)
        y = simulate(sensor, 16, lanes=100, inputs={"u": [0.0, 0.0, 0.0]}, seed=6, record="y")["y"].values
        white, walk, b, tau = (errors.get(name, 0.0) for name in ("white", "walk", "instability", "tau"))
        for n in (20, 95, 300):  # 0.95 s is 1.89 tau, the peak of the instability
            s = 0.01 * n
            wanted = white**2 / s + walk**2 * s / 3
            if b:
                q = tau * (0.664 * b / 0.437) ** 2
                x = s / tau
                wanted += q / s * (1 - (3 - 4 * math.exp(-x) + math.exp(-2 * x)) / (2 * x))
            assert allan_variance(y, n) == pytest.approx(wanted, rel=0.07), n

    def test_the_peak_of_the_instability_is_where_data_sheets_read_it(self) -> None:
        x = np.linspace(0.5, 5, 2000)
        curve = np.sqrt((0.664 / 0.437) ** 2 / x * (1 - (3 - 4 * np.exp(-x) + np.exp(-2 * x)) / (2 * x)))
        assert float(x[curve.argmax()]) == pytest.approx(1.89, abs=0.01)
        assert float(curve.max()) == pytest.approx(0.664, rel=0.002)

    def test_the_bias_is_as_likely_at_the_start_as_later(self) -> None:
        sensor = InertialSensor(period=0.1, instability=0.3, tau=2.0)
        y = simulate(sensor, 20, lanes=3000, inputs={"u": [0.0] * 3}, seed=2, record="y")["y"]
        std = 0.664 / 0.437 * 0.3 / math.sqrt(2)
        for t in (0, 0.1, 20):
            assert float(y.at(t).std()) == pytest.approx(std, rel=0.03)

    def test_data_sheet_defaults_in_their_own_units(self) -> None:
        assert math.degrees(Gyroscope().settings["white"]) == pytest.approx(0.007)
        assert math.degrees(Gyroscope().settings["instability"]) * 3600 == pytest.approx(10.0)
        assert Accelerometer().settings["limit"] == pytest.approx(16 * 9.80665)

    def test_specific_force_against_scipy(self) -> None:
        turn, a = Rotation.from_euler("xyz", [0.2, -0.4, 1.3]), np.array([1.0, 2.0, -0.5])
        y = at_once(SpecificForce(), acceleration=a, attitude=turn.as_quat()[[3, 0, 1, 2]])
        close(y[0], turn.inv().apply(a + [0, 0, 9.81]))

    def test_a_unit_on_a_quadrotor_in_free_fall_feels_only_its_own_errors(self) -> None:
        class Falling(Diagram):
            force, turn = Output(), Output()

            def __init__(self) -> None:
                self.body, self.imu = Quadrotor(), IMU(period="10 ms")
                self.rotors, self.weight = Constant(value=[0.0] * 4), Constant(value=[0.0, 0.0, -9.81])
                self.body.rotors, self.imu.acceleration = self.rotors.y, self.weight.y
                self.imu.attitude, self.imu.rates = self.body.attitude, self.body.rates
                self.force, self.turn = self.imu.force, self.imu.turn

        errors = [f"{part}.{name}" for part in ("gyroscope", "accelerometer") for name in ("white", "instability")]
        clean = {f"imu.{error}": 0.0 for error in errors}
        run = simulate(Falling(), 0.1, set=clean | {"body.rates": [1.0, 0.0, 0.0]}, solver=RK4(max_step=0.01))
        close(run["force"].at(0.1), [[0.0, 0.0, 0.0]])
        close(run["turn"].at(0.1), [[1.0, 0.0, 0.0]])


class TestEncoders:
    @pytest.mark.parametrize("slope", [3.0, -3.0])
    def test_tracks_count_up_and_down(self, slope: float) -> None:
        shaft = Measured(Ramp(slope=slope, bias=0.3), IncrementalEncoder(lines=10, period=0.001), "theta")
        run = simulate(shaft, 2, record=["sensor.count", "sensor.a", "sensor.b"])
        a, b, count = (run[f"sensor.{name}"].values[0].long() for name in ("a", "b", "count"))
        quarter = 2 * math.pi / 40
        assert int(count[-1]) == math.floor((0.3 + 2 * slope) / quarter) - math.floor(0.3 / quarter)
        # decode the tracks as a counter does: a state of (0, 0), (1, 0), (1, 1), (0, 1) in turn
        phase = torch.tensor([0, 3, 1, 2])[2 * a + b]
        step = (phase[1:] - phase[:-1] + 1) % 4 - 1
        assert torch.equal(step.cumsum(0), count[1:])

    def test_speed_comes_in_steps(self) -> None:
        shaft = Measured(Ramp(slope=3.0), IncrementalEncoder(lines=100, period=0.01), "theta")
        speed = simulate(shaft, 5)["y"].values[0, 1:]
        step = 2 * math.pi / 400 / 0.01
        close(speed / step, torch.round(speed / step), 1e-9)
        assert float(speed.mean()) == pytest.approx(3.0, abs=step * 0.01)

    def test_absolute_encoder_repeats_every_turn_within_half_a_step(self) -> None:
        theta = torch.linspace(-12, 12, 481, dtype=torch.float64)
        run = simulate(AbsoluteEncoder(bits=10, period=1), 0, inputs={"theta": theta})
        error = torch.remainder(run["angle"].at(0) - theta + math.pi, 2 * math.pi) - math.pi
        assert float(error.abs().max()) <= math.pi / 2**10 + 1e-12
        assert int(run["code"].at(0).min()) >= 0 and int(run["code"].at(0).max()) < 2**10

    def test_a_disc_off_its_centre_errs_once_a_turn(self) -> None:
        theta = torch.linspace(0.1, 6.1, 200, dtype=torch.float64)
        angle = at_once(AbsoluteEncoder(bits=20, eccentricity=0.01, period=1), "angle", theta=theta)
        close(angle - theta, 0.01 * torch.sin(theta), 1e-5)


class TestGPS:
    STILL = {"position": [10.0, 20.0, 30.0], "velocity": [1.0, 0.0, 0.0]}

    def test_error_has_its_size_and_forgets_in_tau(self) -> None:
        gps = GPS(std=[2.0, 2.0, 4.0], noise=[0.0] * 3, tau=5.0, rate=4)
        error = simulate(gps, 10, lanes=4000, inputs=self.STILL, seed=1)["fix"]
        first, last = error.at(5) - error.at(5).mean(dim=0), error.at(7.5) - error.at(7.5).mean(dim=0)
        for t in (0, 10):
            close(error.at(t).std(dim=0), [2.0, 2.0, 4.0], 0.05)
        correlation = (first * last).mean(dim=0) / (first.std(dim=0) * last.std(dim=0))
        close(correlation, [math.exp(-0.5)] * 3, 0.05)

    def test_defaults_give_the_circular_error_of_the_data_sheet(self) -> None:
        run = simulate(GPS(noise=[0.0] * 3, rate=1), 0, lanes=4000, inputs=self.STILL, seed=1)
        miss = (run["fix"].at(0)[:, :2] - torch.tensor([10.0, 20.0])).square().sum(dim=1).sqrt()
        assert float(miss.median()) == pytest.approx(2.5, rel=0.05)

    def test_rate_latency_and_lost_fixes(self) -> None:
        gps = GPS(std=[0.0] * 3, noise=[0.0] * 3, velocity_noise=[0.0] * 3, dropout=0.2, rate=10, latency="150 ms")
        run = simulate(gps, 100, inputs=self.STILL, every=0.05, seed=5, record=["fix", "valid"])
        assert float(run["fix"].at(0.1).abs().max()) == 0.0
        close(run["fix"].at(50), [[10.0, 20.0, 30.0]])
        lost = 1 - float((run["valid"].values[0, 4::2] > 0.5).double().mean())
        assert lost == pytest.approx(0.2, abs=0.04)


class TestThermistors:
    T = torch.linspace(-40, 125, 166, dtype=torch.float64)

    def test_the_software_undoes_the_thermistor(self) -> None:
        volts = at_once(Thermistor(), "voltage", temperature=self.T)
        close(at_once(SteinhartHart(), "temperature", voltage=volts), self.T, 1e-9)

    def test_beta_law_passes_through_the_two_points_that_define_it(self) -> None:
        """B25/85 of 3977 K means 1070 ohm at 85 degC."""
        volts = at_once(BetaThermistor(), "voltage", temperature=torch.tensor([25.0, 85.0], dtype=torch.float64))
        close(10e3 * volts / (5 - volts), [10e3, 10e3 * math.exp(3977 * (1 / 358.15 - 1 / 298.15))], 1e-9)
        assert float(10e3 * volts[1] / (5 - volts[1])) == pytest.approx(1070, abs=2)


class Scene(Diagram):
    """Objects at rest before a detector."""

    def __init__(self, places: Any, **settings: Any) -> None:
        self.places, self.detector = Constant(value=places), StatisticalDetector(period="50 ms", **settings)
        self.detector.targets = self.places.y


EXACT: dict[str, Any] = dict(range_noise=0.0, angle_noise=0.0)


class TestDetector:
    def seen(self, places: Any, until: float = 10.0, lanes: int = 20, **settings: Any) -> dict[str, Tensor]:
        names = ("distance", "angle", "mask", "source", "count")
        run = simulate(Scene(places, **settings), until, lanes=lanes, seed=3, record=[f"detector.{n}" for n in names])
        return {name: run[f"detector.{name}"].values for name in names}

    def test_an_object_is_seen_as_often_as_its_distance_says(self) -> None:
        places = [[20.0, 0.0], [0.0, 50.0], [145.0, 0.0], [150.0, 1.0], [165.0, 0.0]]
        found = self.seen(places, miss=0.1, alarms=0.0, view=math.pi)
        for k, (x, y) in enumerate(places):
            wanted = 0.9 / (1 + math.exp((math.hypot(x, y) - 150) / 10))
            rate = float((found["source"] == k).any(dim=2).double().mean())
            assert rate == pytest.approx(wanted, abs=0.03), k

    def test_noise_grows_with_distance_and_angles_are_to_the_left(self) -> None:
        settings: dict[str, Any] = dict(range_noise=0.1, range_growth=0.01, angle_noise=0.01, angle_growth=1e-4)
        found = self.seen([[30.0, 40.0]], miss=0.0, alarms=0.0, **settings)
        mask = found["mask"][..., 0] > 0
        distance, angle = found["distance"][..., 0][mask], found["angle"][..., 0][mask]
        assert float(distance.mean()) == pytest.approx(50.0, abs=0.05)
        assert float(angle.mean()) == pytest.approx(math.atan2(40, 30), abs=1e-3)
        assert float(distance.std()) == pytest.approx(0.1 + 0.5, rel=0.05)
        assert float(angle.std()) == pytest.approx(0.01 + 0.005, rel=0.05)

    def test_false_alarms_are_as_many_as_said_and_anywhere_in_view(self) -> None:
        found = self.seen([[-1.0, 0.0]], alarms=1.5, reach=100.0)
        assert float(found["count"].double().mean()) == pytest.approx(1.5, abs=0.1)
        assert bool((found["source"] == -1).all())
        mask = found["mask"] > 0
        assert stats.kstest(found["distance"][mask].numpy() / 200, "uniform").pvalue > 1e-3
        assert stats.kstest(found["angle"][mask].numpy() / (2 * math.pi / 3) + 0.5, "uniform").pvalue > 1e-3

    def test_detections_are_packed_and_padded(self) -> None:
        found = self.seen([[10.0 * k, 0.0] for k in range(1, 7)], maximum=4, miss=0.3, alarms=2.0, lanes=5, **EXACT)
        mask, count, source = found["mask"] > 0, found["count"], found["source"]
        assert mask.shape[2] == 4 and int(count.max()) == 4
        assert torch.equal(mask.sum(dim=2), count.long())
        assert bool((mask[..., 1:] <= mask[..., :-1]).all())
        assert bool((found["distance"][~mask] == 0).all()) and bool((source[~mask] == -1).all())
        real = source >= 0
        close(found["distance"][real], 10.0 * (source[real] + 1), 1e-9)
        both = real[..., 1:] & real[..., :-1]
        assert bool((source[..., 1:][both] > source[..., :-1][both]).all())

    def test_what_is_not_there_is_not_seen(self) -> None:
        class Half(Diagram):
            def __init__(self) -> None:
                self.places = Constant(value=[[10.0, 0.0], [20.0, 0.0]])
                self.there = Constant(value=[1.0, 0.0])
                self.detector = StatisticalDetector(period=1, miss=0.0, alarms=0.0, **EXACT)
                self.detector.targets, self.detector.present = self.places.y, self.there.y > 0.5

        run = simulate(Half(), 0, record=["detector.source"])
        assert run["detector.source"].at(0)[0, :2].tolist() == [0, -1]

    def test_too_many_objects_are_refused(self) -> None:
        with pytest.raises(ModelError, match="at most 24"):
            simulate(Scene([[1.0, 0.0]] * 25), 0)
