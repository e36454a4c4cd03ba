"""Random numbers: known answers, an independent scalar implementation, lanes, ticks and distributions."""

from __future__ import annotations

import hashlib
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import stats

from simdl import random
from simdl.errors import RunError

MASK = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10 on plain integers, written from the paper's figure."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (second >> 32) ^ c1 ^ k0, second & MASK, (first >> 32) ^ c3 ^ k1, first & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def draw(key: int, lane: int, tick: int, index: int) -> int:
    """The 64-bit draw at this place, from the layout that the module's docstring states."""
    words = philox((tick & MASK, tick >> 32, lane, index // 2), (key & MASK, key >> 32))
    high, low = words[:2] if index % 2 == 0 else words[2:]
    return high << 32 | low


# Random123 1.14.0, tests/kat_vectors, the three lines "philox4x32 10": counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers_of_random123(counter: str, key: str, result: str) -> None:
    c, k, r = ([int(word, 16) for word in text.split()] for text in (counter, key, result))
    even, odd = (torch.tensor(pair).reshape(2, 1, 1, 1) for pair in (c[0::2], c[1::2]))
    high, low = random._philox(k[1] << 32 | k[0], even, odd)
    assert [int(high[0]), int(low[0]), int(high[1]), int(low[1])] == r
    assert list(philox(tuple(c), tuple(k))) == r


keys = st.integers(0, 2**64 - 1)
words = st.integers(0, MASK)
ticks = st.integers(0, 2**62)


@settings(max_examples=60, deadline=None)
@given(keys, words, ticks, st.integers(1, 7))
def test_uniforms_are_the_draws_of_the_scalar_reference(key: int, lane: int, tick: int, count: int) -> None:
    expected = [((draw(key, lane, tick, i) >> 12) + 0.5) * 2.0**-52 for i in range(count)]
    assert random.uniform(key, torch.tensor([lane]), tick, count)[0].tolist() == expected
    short = [((draw(key, lane, tick, i) >> 41) + 0.5) * 2.0**-23 for i in range(count)]
    assert random.uniform(key, torch.tensor([lane]), tick, count, torch.float32)[0].tolist() == short


@settings(max_examples=60, deadline=None)
@given(keys, words, ticks, st.integers(1, 7))
def test_normals_are_within_4_ulp_of_the_scalar_reference(key: int, lane: int, tick: int, count: int) -> None:
    got = random.normal(key, torch.tensor([lane]), tick, count)[0].tolist()
    for index, value in enumerate(got):
        pair = index // 2 * 2
        u, v = (((draw(key, lane, tick, i) >> 12) + 0.5) * 2.0**-52 for i in (pair, pair + 1))
        wave = math.cos if index % 2 == 0 else math.sin
        expected = math.sqrt(-2.0 * math.log(u)) * wave(v * (2.0 * math.pi))
        assert abs(value - expected) <= 4 * math.ulp(expected)


@settings(max_examples=60, deadline=None)
@given(keys, words, ticks, st.integers(-(2**40), 2**40), st.integers(1, 2**31))
def test_integers_are_the_high_word_of_an_exact_product(key: int, lane: int, tick: int, low: int, size: int) -> None:
    got = random.integers(key, torch.tensor([lane]), tick, 3, low, low + size)[0].tolist()
    assert got == [low + (draw(key, lane, tick, i) * size >> 64) for i in range(3)]


@settings(max_examples=30, deadline=None)
@given(keys, st.lists(st.integers(0, 10**6), min_size=1, max_size=40), ticks, st.integers(1, 9))
def test_a_lane_alone_draws_what_it_draws_in_a_batch(key: int, lanes: list[int], tick: int, count: int) -> None:
    for make in (random.uniform, random.normal):
        batch = make(key, torch.tensor(lanes), tick, count)
        assert batch.shape == (len(lanes), count)
        for row, lane in zip(batch, lanes, strict=True):
            assert torch.equal(row, make(key, torch.tensor([lane]), tick, count)[0])


def test_asking_for_more_numbers_keeps_the_first_ones() -> None:
    key, lanes = random.stream_key(1, "noise"), torch.arange(50)
    long = random.normal(key, lanes, 3, 33)
    for count in range(1, 33):
        assert torch.equal(random.normal(key, lanes, 3, count), long[:, :count])


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("first", [0, 2**32 - 5, 2**40])
def test_a_block_of_ticks_is_bit_equal_to_single_calls(count: int, first: int) -> None:
    key, lanes = random.stream_key(3, "car.gyro"), torch.tensor([0, 7, 1853, 99_999])
    for single, block in ((random.uniform, random.uniform_block), (random.normal, random.normal_block)):
        for dtype in (torch.float64, torch.float32):
            ahead = block(key, lanes, first, 64, count, dtype)
            assert ahead.shape == (64, 4, count) and ahead.dtype == dtype
            for tick in range(64):
                assert torch.equal(ahead[tick], single(key, lanes, first + tick, count, dtype))


def test_per_lane_tick_counters() -> None:
    key, lanes, tick = random.stream_key(3, "x"), torch.tensor([4, 5, 6]), torch.tensor([10, 0, 2**33])
    got, ahead = random.normal(key, lanes, tick, 3), random.normal_block(key, lanes, tick, 5, 3)
    for i in range(3):
        assert torch.equal(got[i], random.normal(key, lanes[i : i + 1], int(tick[i]), 3)[0])
        for later in range(5):
            assert torch.equal(ahead[later, i], random.normal(key, lanes[i : i + 1], int(tick[i]) + later, 3)[0])


def test_streams_are_named_by_seed_and_path() -> None:
    made = {random.stream_key(seed, path) for seed in (0, 1, -1, 2**70) for path in ("", "a", "a.b", "1", "ä")}
    assert len(made) == 20 and all(0 <= key < 2**64 for key in made)
    expected = hashlib.blake2b(b"7\0car.gyro", digest_size=8).digest()
    assert random.stream_key(7, "car.gyro") == int.from_bytes(expected, "little")


def test_draws_stay_inside_the_open_interval_at_the_extreme_words() -> None:
    for dtype, cell in ((torch.float64, 2.0**-53), (torch.float32, 2.0**-24)):
        ends = random._to_uniform(torch.tensor([0, MASK]), torch.tensor([0, MASK]), dtype)
        assert ends.tolist() == [cell, 1 - cell]
    assert torch.isfinite(random._to_normal(torch.tensor([0, 0]), torch.tensor([0, 0]), torch.float32)).all()


def test_uniforms_are_uniform_and_normals_are_normal() -> None:
    key, lanes = random.stream_key(20, "statistics"), torch.arange(500)
    u = random.uniform_block(key, lanes, 0, 100, 3).flatten().numpy()
    z = random.normal_block(key, lanes, 0, 100, 4).flatten().numpy()
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert stats.normaltest(z).pvalue > 1e-3
    n = random.integers(key, lanes, 0, 400, -3, 7).flatten().numpy()
    assert stats.chisquare([int((n == value).sum()) for value in range(-3, 7)]).pvalue > 1e-3


def test_lanes_ticks_indices_and_streams_are_uncorrelated() -> None:
    lanes = torch.arange(400)
    z = random.normal_block(random.stream_key(5, "a"), lanes, 0, 100, 4)  # (ticks, lanes, count)
    other = random.normal_block(random.stream_key(5, "b"), lanes, 0, 100, 4)
    pairs = {
        "ticks": (z[:-1], z[1:]),
        "lanes": (z[:, :-1], z[:, 1:]),
        "indices": (z[..., :-1], z[..., 1:]),
        "streams": (z, other),
        "squares of a pair": (z[..., 0] ** 2, z[..., 1] ** 2),
    }
    for name, (x, y) in pairs.items():
        r = stats.pearsonr(x.flatten().numpy(), y.flatten().numpy()).statistic
        assert abs(r) < 4.5 / math.sqrt(x.numel()), name


def test_wrong_arguments_are_refused() -> None:
    lanes = torch.arange(2)
    with pytest.raises(RunError, match="stream_key"):
        random.uniform(-1, lanes, 0, 1)
    with pytest.raises(RunError, match="low < high"):
        random.integers(1, lanes, 0, 1, 5, 5)
    with pytest.raises(RunError, match="float32"):
        random.uniform(1, lanes, 0, 1, torch.float16)
