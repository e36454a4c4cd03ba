"""Sources, excitation, playback and noise against closed forms, NumPy and SciPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import interpolate, signal
from torch import Tensor

from simdl import RK4, Block, Diagram, ModelError, Output, connect, simulate
from simdl.blocks import (
    APRBS,
    PRBS,
    AllanNoise,
    BandLimitedNoise,
    Chirp,
    ColouredNoise,
    GaussMarkov,
    Integrator,
    Multisine,
    Playback,
    Staircase,
    Time,
)

F64 = torch.float64


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    found, wanted = torch.as_tensor(found, dtype=F64), torch.as_tensor(wanted, dtype=F64)
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def recorded(block: Block, until: float, every: float | str, **more: Any) -> tuple[Tensor, Tensor]:
    """t and y of lane 0."""
    y = simulate(block, until, every=every, **more)["y"]
    return y.t, y.values[0]


class Integral(Diagram):
    """The integral of a source."""

    y = Output()

    def __init__(self, source: Any) -> None:
        self.source, self.integrator = source, Integrator()
        connect(source.y, self.integrator.u)
        self.y = self.integrator.y


class TestTime:
    def test_it_is_the_time_one_would_write(self) -> None:
        assert recorded(Time(), 0.3, 0.1)[1].tolist() == [0.0, 0.1, 0.2, 0.3]


class TestStaircase:
    def test_levels(self) -> None:
        t, y = recorded(Staircase(width=0.1, height=2.0, steps=3, at=0.2, bias=1.0), 1, "10 ms")
        close(y, 1 + 2 * np.clip(np.floor(np.round((t.numpy() - 0.2) / 0.1, 9)), 0, 3))

    def test_no_step_of_an_integrator_crosses_a_rise(self) -> None:
        run = simulate(Integral(Staircase(width=1 / 7, steps=5)), 1, solver=RK4(max_step=1.0))
        close(run["y"].at(1), [(0 + 1 + 2 + 3 + 4 + 5 + 5) / 7], 1e-8)


class TestChirp:
    @pytest.mark.parametrize(("sweep", "method"), [("linear", "linear"), ("logarithmic", "logarithmic")])
    def test_against_scipy(self, sweep: str, method: str) -> None:
        t, y = recorded(Chirp(sweep, f0=0.5, f1=8.0, duration=5.0, amplitude=2.0, bias=1.0), 5, 0.01)
        close(y, 1 + 2 * signal.chirp(t.numpy(), 0.5, 5.0, 8.0, method=method, phi=-90), 1e-10)

    def test_the_last_frequency_goes_on_without_a_jump_of_phase(self) -> None:
        t, y = recorded(Chirp(f0=1.0, f1=3.0, duration=2.0), 4, 0.01)
        late = t >= 2
        close(y[late], torch.sin(2 * math.pi * (4.0 + 3.0 * (t[late] - 2))), 1e-10)

    def test_equal_frequencies_are_a_sine(self) -> None:
        t, y = recorded(Chirp("logarithmic", f0=2.0, f1=2.0), 3, 0.01)
        close(y, torch.sin(4 * math.pi * t), 1e-10)

    def test_another_sweep_is_refused_with_the_names(self) -> None:
        with pytest.raises(ModelError, match="did you mean: logarithmic"):
            Chirp("logaritmic")


class TestMultisine:
    def test_its_spectrum_is_flat_on_its_harmonics_and_empty_elsewhere(self) -> None:
        harmonics = [1, 2, 3, 5, 8, 13, 21]
        _, y = recorded(Multisine(harmonics, frequency=0.5, rms=3.0), 2, 2 / 256)
        lines = np.abs(np.fft.rfft(y[:256].numpy())) * 2 / 256
        wanted = np.zeros(129)
        wanted[harmonics] = 3 * math.sqrt(2 / 7)
        close(lines, wanted, 1e-10)

    @pytest.mark.parametrize("count", [8, 32, 100])
    def test_schroeder_phases_keep_the_crest_factor_below_two(self, count: int) -> None:
        _, y = recorded(Multisine(range(1, count + 1)), 1, 1 / 2000)
        assert float(y.abs().max()) < 2.0
        _, cosines = recorded(Multisine(range(1, count + 1), phases=[0.0] * count), 1, 1 / 2000)
        close(cosines.abs().max(), math.sqrt(2 * count), 1e-9)


class TestPRBS:
    @pytest.mark.parametrize("length", range(2, 12))
    def test_it_is_of_maximal_length_and_white(self, length: int) -> None:
        size = 2**length - 1
        y = simulate(PRBS(length, period=1), 2 * size - 1)["y"].values[0]
        assert torch.equal(y[:size], y[size:])
        assert int((y[:size] > 0).sum()) == 2 ** (length - 1)
        spectrum = torch.fft.fft(y[:size])
        correlation = torch.fft.ifft(spectrum.abs() ** 2).real / size
        close(correlation, [1.0] + [-1.0 / size] * (size - 1), 1e-9)

    @pytest.mark.parametrize("length", range(12, 32))
    def test_long_registers_come_back_only_after_their_whole_length(self, length: int) -> None:
        """The order of the feedback matrix over GF(2): its power 2^n - 1 is the identity, no power (2^n - 1) / p is."""
        from simdl.blocks.excitation import TAPS

        step = np.eye(length, k=-1, dtype=np.int64)
        step[0, [tap - 1 for tap in TAPS[length]]] = 1

        def power(exponent: int) -> np.ndarray:
            found, base = np.eye(length, dtype=np.int64), step
            while exponent:
                found, base, exponent = (found @ base % 2 if exponent & 1 else found), base @ base % 2, exponent >> 1
            return found

        size, rest, primes = 2**length - 1, 2**length - 1, []
        for p in range(3, 50000, 2):
            while rest % p == 0:
                rest //= p
                primes.append(p)
        primes += [rest] if rest > 1 else []
        assert (power(size) == np.eye(length)).all()
        assert not any((power(size // p) == np.eye(length)).all() for p in set(primes) - {size})

    def test_lanes_start_where_they_are_told(self) -> None:
        block = PRBS(5, period=1)
        y = simulate(block, 61, set={block.start: torch.tensor([0, 7, 31])})["y"].values
        assert torch.equal(y[0, :31], y[2, :31])  # 31 = 2^5 - 1 is the start again
        assert any(torch.equal(y[1, k : k + 31], y[0, :31]) for k in range(31)) and not torch.equal(y[0], y[1])

    def test_a_length_without_taps_is_refused(self) -> None:
        with pytest.raises(ModelError, match="2 to 31 bits"):
            PRBS(32, period=1)


class TestAPRBS:
    def test_levels_change_where_a_prbs_changes_and_fill_the_range(self) -> None:
        y = simulate(APRBS(9, low=2.0, high=6.0, period=1), 1022, lanes=4, seed=2)["y"].values
        bits = simulate(PRBS(9, period=1), 1022)["y"].values[0]
        assert torch.equal((y[:, 1:] != y[:, :-1]).all(0), bits[1:] != bits[:-1])
        levels = y[:, 1:][y[:, 1:] != y[:, :-1]]
        assert float(levels.min()) > 2.0 and float(levels.max()) < 6.0
        close(levels.mean(), 4.0, 0.05)
        close(levels.std(), 4 / math.sqrt(12), 0.05)


TIMES = [0.0, 0.3, 0.7, 1.1, 2.0]
VALUES = [1.0, -2.0, 0.5, 4.0, 1.0]


class TestPlayback:
    @pytest.mark.parametrize("beyond", ["hold", "periodic"])
    @pytest.mark.parametrize("kind", ["hold", "linear", "cubic"])
    @pytest.mark.parametrize("even", [True, False])
    def test_against_scipy(self, kind: str, beyond: str, even: bool) -> None:
        times = [0.0, 0.5, 1.0, 1.5, 2.0] if even else TIMES
        block = Playback(times, VALUES, kind=kind, beyond=beyond)
        assert block.even is even
        t, y = recorded(block, 7, "10 ms")
        x = np.round(t.numpy() % 2.0, 9) % 2.0 if beyond == "periodic" else t.numpy().clip(0, 2)
        if kind == "hold":
            wanted = np.array(VALUES)[np.searchsorted(times, x, side="right") - 1]
        elif kind == "linear":
            wanted = np.interp(x, times, VALUES)
        else:
            bc = "periodic" if beyond == "periodic" else "not-a-knot"
            wanted = interpolate.CubicSpline(times, VALUES, bc_type=bc)(x)
        close(y, wanted, 1e-8)

    @settings(max_examples=5, deadline=None)
    @given(ns=st.lists(st.integers(10**8, 10**9), min_size=2, max_size=8, unique=True), again=st.booleans())
    def test_a_held_record_changes_exactly_at_its_times(self, ns: list[int], again: bool) -> None:
        """What an integrator collects is the sum of value times width: a late or early edge would show."""
        ns, beyond = [0, *sorted(ns)], "periodic" if again else "hold"
        times, values = [n / 1e9 for n in ns], [float(k * k % 7) for k in range(len(ns))]
        run = simulate(Integral(Playback(times, values, kind="hold", beyond=beyond)), 1, solver=RK4(max_step=4.0))
        cycles = [0] if beyond == "hold" else range(0, 10**9, ns[-1])
        area, end = 0, 10**9
        for cycle in cycles:
            for a, b, value in zip(ns, ns[1:], values):
                area += max(0, min(cycle + b, end) - cycle - a) * int(value)
        if beyond == "hold":
            area += max(0, end - ns[-1]) * int(values[-1])
        close(run["y"].at(1), [area / 1e9], 1e-9)

    def test_every_sample_of_a_long_even_record_is_its_own(self) -> None:
        """0.1 k in a second cycle is not 0.1 k in floating point."""
        values = list(range(50))
        block = Playback([round(0.1 * k, 1) for k in range(50)], values, kind="hold", beyond="periodic")
        y = recorded(block, 30, 0.1)[1]
        assert y.tolist() == [k % 49 for k in range(301)]

    def test_held_and_linear_records_are_exact_under_integration(self) -> None:
        linear = simulate(Integral(Playback(TIMES, VALUES)), 3, solver=RK4(max_step=4.0))["y"].at(3)
        close(linear, [np.trapezoid(VALUES, TIMES) + VALUES[-1]])

    def test_vectors_and_a_record_for_each_lane(self) -> None:
        both = Playback([0.0, 1.0], [[0.0, 5.0], [2.0, 5.0]])
        close(simulate(both, 1, every=0.5)["y"].values[0], [[0, 5], [1, 5], [2, 5]])
        block = Playback([0.0, 1.0], [0.0, 0.0])
        y = simulate(block, 1, set={block.values: torch.tensor([[0.0, 1.0], [4.0, 2.0]])}, every=0.5)["y"]
        close(y.values, [[0, 0.5, 1], [4, 3, 2]])

    def test_beyond_its_end_error_fails_the_lane(self) -> None:
        run = simulate(Integral(Playback([0.0, 1.0], [1.0, 1.0], beyond="error")), 2, solver=RK4(max_step=0.1))
        assert list(run.status) == [0]
        inside = simulate(Integral(Playback([0.0, 1.0], [1.0, 1.0], beyond="error")), 1, solver=RK4(max_step=0.1))
        close(inside["y"].at(1), [1.0])

    def test_from_files_and_frames(self, tmp_path: Path) -> None:
        columns = {"time": TIMES, "Speed": VALUES, "grade": [0.0, 1.0, 2.0, 3.0, 4.0]}
        frame = pd.DataFrame(columns)
        frame.to_csv(tmp_path / "cycle.csv", index=False)
        np.savez(tmp_path / "cycle.npz", **{name: np.array(column) for name, column in columns.items()})
        wanted = np.interp([0.0, 0.5, 1.0, 1.5, 2.0], TIMES, VALUES)
        dates = pd.Timestamp("2024-05-06") + pd.to_timedelta(TIMES, "s")
        for block in (
            Playback.from_csv(tmp_path / "cycle.csv", time="time", value="Speed"),
            Playback.from_npz(tmp_path / "cycle.npz", time="time", value="Speed"),
            Playback.from_frame(frame, time="time", value="Speed"),
            Playback.from_frame(frame.set_index("time"), value="Speed"),
            Playback.from_frame(frame.set_index(dates), value="Speed"),
        ):
            close(recorded(block, 2, 0.5)[1], wanted)
        pair = Playback.from_csv(tmp_path / "cycle.csv", time="time", value=["Speed", "grade"])
        close(simulate(pair, 0.3, every=0.3)["y"].values[0], [[1, 0], [-2, 1]])
        with pytest.raises(ModelError, match=r"cycle\.csv: no column 'speed'[\s\S]*did you mean: Speed"):
            Playback.from_csv(tmp_path / "cycle.csv", time="time", value="speed")

    @pytest.mark.parametrize(
        ("times", "values", "options", "said"),
        [
            ([0.0, 0.0], [1.0, 2.0], {}, "times that do not increase"),
            ([0.0, 1.0], [1.0, math.nan], {}, "Playback.values: NaN"),
            ([0.0, 1.0], [1.0, math.inf], {}, "1 values that are not finite"),
            ([0.0], [1.0], {}, "a value for each"),
            ([0.0, 1.0], [1.0, 2.0], {"kind": "liner"}, "did you mean: linear"),
            ([0.0, 1.0], [1.0, 2.0], {"beyond": "wrap"}, "names: hold, periodic, error"),
            ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], {"kind": "cubic", "beyond": "periodic"}, "ends as it begins"),
        ],
    )
    def test_bad_records_are_refused(self, times: Any, values: Any, options: Any, said: str) -> None:
        with pytest.raises(ModelError, match=said):
            Playback(times, values, **options)


def allan_variance(y: Tensor, m: int) -> float:
    """The overlapping Allan variance of samples (lanes, n) at m samples, averaged over lanes (IEEE Std 952)."""
    total = torch.nn.functional.pad(y.cumsum(1), (1, 0))
    means = (total[:, m:] - total[:, :-m]) / m
    return float((means[:, m:] - means[:, :-m]).square().mean()) / 2


class TestNoise:
    def test_the_integral_of_band_limited_noise_has_its_power_at_any_period(self) -> None:
        for period in (0.01, 0.05):
            run = simulate(Integral(BandLimitedNoise(power=0.3, period=period)), 2, lanes=4000, seed=5)
            assert float(run["y"].at(2).var()) == pytest.approx(0.6, rel=0.08)

    @pytest.mark.parametrize("period", [0.01, 0.04])
    def test_autocorrelation_of_gauss_markov_noise(self, period: float) -> None:
        y = simulate(GaussMarkov(std=2.0, tau=0.2, period=period), 0.4, lanes=20000, seed=5)["y"]
        first, later = y.values[:, 0], y.at(0.4)
        assert float(first.var()) == pytest.approx(4.0, rel=0.05)  # from the first tick on
        assert float(later.var()) == pytest.approx(4.0, rel=0.05)
        assert float((first * later).mean()) == pytest.approx(4 * math.exp(-2), abs=0.12)

    @pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.5, 2.0])
    def test_density_of_coloured_noise(self, alpha: float) -> None:
        period, std, length = 0.01, 0.7, 64
        block = ColouredNoise(alpha, length=length, std=std, period=period)
        y = simulate(block, 30, lanes=64, seed=5)["y"].values[:, 440:]
        f, density = signal.welch(y.numpy(), fs=1 / period, nperseg=512, axis=1)
        found, inside = density.mean(0) / 2, (f > 2) & (f < 49)
        if alpha < 2:  # the exact density of the truncated recursion; that of alpha = 2 has its pole at zero
            weights = np.cumprod([1.0] + [(i - 1 - alpha / 2) / i for i in range(1, length + 1)])
            _, response = signal.freqz([1.0], weights, worN=f, fs=1 / period)
            np.testing.assert_allclose(found[inside], std**2 * period * np.abs(response[inside]) ** 2, rtol=0.25)
        slope = np.polyfit(np.log(f[(f > 3) & (f < 12)]), np.log(found[(f > 3) & (f < 12)]), 1)[0]
        assert slope == pytest.approx(-alpha, abs=0.12)

    def test_brown_noise_is_a_random_walk(self) -> None:
        y = simulate(ColouredNoise(2.0, period=1), 50, lanes=3, seed=5)["y"].values
        steps = y[:, 1:] - y[:, :-1]
        white = simulate(ColouredNoise(0.0, period=1), 50, lanes=3, seed=5)["y"].values
        close(steps, white[:, 1:])

    def test_allan_deviation_of_an_inertial_sensor(self) -> None:
        n, b, k, tau, period = 0.05, 0.08, 0.01, 2.0, 0.1
        block = AllanNoise(white=n, instability=b, walk=k, tau=tau, period=period)
        y = simulate(block, 400, lanes=400, seed=5)["y"].values[:, 200:]
        q = 0.664 * b / (0.437 * math.sqrt(tau))
        for m in (5, 10, 20, 40, 80, 200):
            s = m * period
            flicker = 3 - 4 * math.exp(-s / tau) + math.exp(-2 * s / tau)
            wanted = n**2 / s + (q * tau) ** 2 / s * (1 - tau / (2 * s) * flicker) + k**2 * s / 3
            assert allan_variance(y, m) == pytest.approx(wanted, rel=0.05), m

    def test_each_part_of_allan_noise_alone(self) -> None:
        def variance(m: int, **parts: float) -> float:
            zero = {"white": 0.0, "instability": 0.0, "walk": 0.0}
            block = AllanNoise(**{**zero, **parts}, period=0.1)
            return allan_variance(simulate(block, 100, lanes=400, seed=6)["y"].values, m)

        assert variance(10, white=0.3) == pytest.approx(0.09, rel=0.05)
        assert variance(100, walk=0.3) == pytest.approx(0.09 * 10 / 3, rel=0.1)
        assert variance(19, instability=0.3, tau=1.0) == pytest.approx((0.664 * 0.3) ** 2, rel=0.06)  # its peak
