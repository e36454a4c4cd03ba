"""Parts share no lane, keep their lanes, and leaks between parts are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl.data import Normalisation, Schema, Sequences, Shards, ShardWriter, Signal, Windows, leak_check, split_by_lane
from simdl.errors import DataError

SIGNALS = [Signal("u", 1), Signal("copy", 1), Signal("y", 1, role="target")]


def write(folder: Path, lanes: list[int], seed: int = 0, noise: int = 0, params: list[float] | None = None) -> Shards:
    schema = Schema(SIGNALS, ["mass", "gain"], "abc", seed)
    with ShardWriter(folder, schema) as writer:
        g = torch.Generator().manual_seed(noise)
        u, y = torch.randn(2, len(lanes), 20, generator=g)
        mass = torch.tensor(params if params is not None else [float(noise * 1000 + lane) for lane in lanes])
        writer.write(lanes, {"u": u, "copy": y, "y": y}, {"mass": mass, "gain": torch.ones(len(lanes))})
    return Shards(folder)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return write(tmp_path_factory.mktemp("split"), list(range(4000)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(10, 100), min_size=1, max_size=4), st.integers(-(2**40), 2**70))
def test_parts_share_nothing_and_leave_out_nothing(shards: Shards, weights: list[int], seed: int) -> None:
    fractions = [w / sum(weights) for w in weights]
    parts = split_by_lane(shards, fractions, seed)
    lanes = [lane for part in parts for lane in part.lanes.tolist()]
    assert sorted(lanes) == list(range(4000))
    for part, f in zip(parts, fractions):  # binomial, 5 sigma
        assert abs(len(part) - 4000 * f) <= 5 * np.sqrt(4000 * f * (1 - f)) + 1


def test_a_lane_keeps_its_part(shards: Shards) -> None:
    train, test = split_by_lane(shards, (0.8, 0.2), seed=3)
    fewer = shards.only(reversed(range(0, 4000, 7)))
    again, _ = split_by_lane(fewer, (0.8, 0.2), seed=3)
    assert set(again.lanes.tolist()) == set(train.lanes.tolist()) & set(range(0, 4000, 7))
    assert set(split_by_lane(shards, (0.8, 0.2), seed=4)[0].lanes.tolist()) != set(train.lanes.tolist())
    assert test.lanes.tolist() == [lane for lane in range(4000) if splitmix(lane ^ splitmix(3)) >= 0.8 * 2**64]


def splitmix(state: int) -> int:
    """SplitMix64 as published, in whole numbers. Old splits must never move."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_fractions_below_one_leave_lanes_out(shards: Shards) -> None:
    (part,) = split_by_lane(shards, (0.25,))
    assert 850 < len(part) < 1150


@pytest.mark.parametrize("fractions", [(), (0.5, 0.6), (0.5, -0.1), (1.0, 0.0)])
def test_fractions_that_make_no_sense_are_refused(shards: Shards, fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="positive numbers that sum to at most 1"):
        split_by_lane(shards, fractions)


def test_an_empty_part_is_said(shards: Shards) -> None:
    with pytest.raises(DataError, match="the part of 0.001 is empty: there are 3 lanes"):
        split_by_lane(shards.only([1, 2, 3]), (0.999, 0.001))


def test_a_clean_split_passes(shards: Shards) -> None:
    train, test = split_by_lane(shards.only(range(100)), (0.7, 0.3))
    report = leak_check(train, test)
    assert report.windows == (0, 0) and str(report).startswith(f"no leak: {len(train)} training and {len(test)} test")
    report = leak_check(Windows(train, ["u"], ["y"], length=4), Windows(test, ["u"], ["y"], length=4))
    assert report.windows == (17 * len(train), 17 * len(test))
    assert leak_check(Sequences(train, ["u"], ["y"]), Sequences(test, ["u"], ["y"])).windows == (len(train), len(test))


def test_shared_lanes_are_found(shards: Shards) -> None:
    with pytest.raises(DataError, match=r"lanes 3-4 of the same campaign \(seed 0\) in both") as error:
        leak_check(shards.only(range(5)), shards.only(range(3, 8)))
    assert "2 parameter rows (mass, gain) in both: train lane 3 = test lane 3, train lane 4 = test lane 4" in str(
        error.value
    )
    leak_check(shards.only(range(5)), shards.only(range(3, 8)), ignore=["lanes", "params"])


def test_equal_numbers_of_another_campaign_are_other_lanes(tmp_path: Path) -> None:
    leak_check(write(tmp_path / "a", [0, 1], seed=0), write(tmp_path / "b", [0, 1], seed=1, noise=1))


def test_shared_parameters_are_found_in_another_campaign(tmp_path: Path) -> None:
    train = write(tmp_path / "a", [0, 1], 0, params=[1.0, 2.0])
    test = write(tmp_path / "b", [5, 6], 1, 1, params=[3.0, 2.0])
    with pytest.raises(DataError, match=r"1 parameter rows \(mass, gain\) in both: train lane 1 = test lane 6"):
        leak_check(train, test)
    constant = [write(tmp_path / f"c{i}", [i], i, i, params=[9.0]) for i in (1, 2)]
    leak_check(*constant)  # nothing varies but the noise


def test_a_target_in_disguise_is_found(shards: Shards) -> None:
    train, test = split_by_lane(shards.only(range(60)), (0.5, 0.5))
    pair = [Sequences(part, ["u", "copy"], ["y"]) for part in (train, test)]
    with pytest.raises(DataError, match="the input 'copy' equals the target 'y' in every sample"):
        leak_check(*pair)


@pytest.mark.parametrize("memory", [0, 2**30])
def test_repeated_windows_are_found_whatever_the_normalisation(tmp_path: Path, memory: int) -> None:
    train = write(tmp_path / "a", [0, 1, 2], noise=4)
    with ShardWriter(tmp_path / "b", Schema(SIGNALS, ["mass", "gain"], "abc", 1)) as writer:
        u = torch.cat([torch.randn(1, 13), train.signal("u")[1:2, 5:12]], 1)  # seven samples of lane 1
        writer.write([0], {"u": u, "copy": u, "y": torch.zeros(1, 20)}, {"mass": torch.zeros(1), "gain": torch.ones(1)})
    test = Shards(tmp_path / "b")
    pair = [
        Windows(p, ["u"], ["y"], length=5, memory=memory, normalise=Normalisation.of(p, ["u", "y"]))
        for p in (train, test)
    ]
    with pytest.raises(DataError, match="3 of 16 test windows are also training windows, bit for bit"):
        leak_check(*pair)
    assert leak_check(*pair, ignore=["windows"]).windows == (0, 0)


def test_a_system_at_rest_is_no_leak(tmp_path: Path) -> None:
    parts = []
    for i in (1, 2):
        with ShardWriter(tmp_path / str(i), Schema([Signal("u", 1), Signal("y", 1, role="target")], seed=i)) as writer:
            writer.write([0], {"u": torch.zeros(1, 20), "y": torch.randn(1, 20)})
        parts.append(Windows(Shards(tmp_path / str(i)), ["u"], ["y"], length=4))
    assert leak_check(*parts).windows == (0, 0)


def test_many_windows_are_sampled_and_it_is_said(shards: Shards) -> None:
    train, test = split_by_lane(shards.only(range(200)), (0.5, 0.5))
    report = leak_check(*(Windows(p, ["u"], ["y"], length=4) for p in (train, test)), limit=100)
    assert report.sampled and max(report.windows) <= 100 and "(a sample)" in str(report)


def test_an_unknown_check_is_named(shards: Shards) -> None:
    with pytest.raises(DataError, match="no check 'lane'\n  did you mean: lanes"):
        leak_check(shards, shards, ignore=["lane"])
