"""Stations on one medium: against Bianchi's model, a simulation slot by slot, and times that are counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simdl import simulate
from simdl.computer import CAN, Frames, Link, Traffic, Wireless
from simdl.errors import ModelError
from tests.computer_loop import Loop

SLOT, DIFS, ANSWER, PREAMBLE, BITS = 20_000, 50_000, 258_000, 192_000, 8000  # ns
FRAME = PREAMBLE + -(-(BITS + 272) * 10**9 // 11_000_000)


def saturated(stations: int, air: Wireless, until: str, seed: int, lane: int):
    """The schedule of stations that always have a message: a thousand come in a second, and 700 are carried."""
    frames = [Frames(f"f{k}", air, period=f"{stations} ms", bits=BITS) for k in range(stations)]
    return Traffic(frames).computer.schedule(until, seed=seed, lane=lane)


def slot_by_slot(stations: int, window: int, doublings: int, tries: int, end: int, seed: int) -> tuple[int, int]:
    """Messages received and given up by `end`, with numpy's draws, one busy period after another."""
    random = np.random.default_rng(seed)
    stage = np.zeros(stations, dtype=int)
    count = random.integers(0, window, stations)
    now = received = lost = 0
    while True:
        idle = count.min()
        senders = np.flatnonzero(count == idle)
        now += DIFS + int(idle) * SLOT + FRAME + ANSWER
        if now > end:
            return received, lost
        count = count - idle
        alone = len(senders) == 1
        received += alone
        for k in senders:
            stage[k] = 0 if alone else stage[k] + 1
            if stage[k] == tries:
                stage[k], lost = 0, lost + 1
            count[k] = random.integers(0, window << min(stage[k], doublings))


def bianchi(stations: int, window: int, doublings: int) -> float:
    """Messages received in a second in saturation. Bianchi (2000), IEEE J. Sel. Areas Commun. 18: eq. 7, 9, 13."""
    low, high = 0.0, 1.0
    for _ in range(200):
        p = (low + high) / 2
        bottom = (1 - 2 * p) * (window + 1) + p * window * (1 - (2 * p) ** doublings)
        tau = 2 * (1 - 2 * p) / bottom if abs(1 - 2 * p) > 1e-12 else 2 / (window + 1 + window * doublings / 2)
        low, high = (p, high) if 1 - (1 - tau) ** (stations - 1) > p else (low, p)
    some = 1 - (1 - tau) ** stations
    one = stations * tau * (1 - tau) ** (stations - 1)
    busy = (FRAME + ANSWER + DIFS) / 1e9
    return one / ((1 - some) * SLOT / 1e9 + some * busy)


@pytest.mark.parametrize("stations", [2, 8])
def test_stations_that_always_send_reach_bianchis_throughput(stations: int) -> None:
    air = Wireless("air", window=32, doublings=5, tries=7)
    found, given_up = [], 0
    for lane in range(4):
        messages = saturated(stations, air, "2 s", seed=1, lane=lane).messages
        found.append(sum(bool(one.arrivals) for one in messages))
        given_up += sum(one.lost for one in messages)
    by_slots = [slot_by_slot(stations, 32, 5, 7, 2 * 10**9, seed)[0] for seed in range(40)]
    error = math.hypot(np.std(found, ddof=1) / 2, np.std(by_slots, ddof=1) / math.sqrt(40))
    assert abs(np.mean(found) - np.mean(by_slots)) < 4 * max(error, 2.0)
    assert np.mean(found) / 2 == pytest.approx(bianchi(stations, 32, 5), rel=0.03)  # counts go on a slot later there
    assert given_up <= 2 + 0.01 * sum(found)


def test_messages_that_are_given_up_are_as_many_as_slot_by_slot() -> None:
    air = Wireless("air", window=4, doublings=1, tries=3)
    lost = [sum(one.lost for one in saturated(6, air, "1 s", 2, lane).messages) for lane in range(4)]
    by_slots = [slot_by_slot(6, 4, 1, 3, 10**9, seed)[1] for seed in range(60)]
    error = math.hypot(np.std(lost, ddof=1) / 2, np.std(by_slots, ddof=1) / math.sqrt(60))
    assert np.mean(by_slots) > 100 and abs(np.mean(lost) - np.mean(by_slots)) < 4 * error


def test_a_station_alone_waits_a_number_of_slots_and_no_two_messages_overlap() -> None:
    air = Wireless("air")
    messages = saturated(1, air, "1 s", seed=0, lane=0).messages
    waits = {one.begin - one.sent - DIFS for one in messages[:1]} | {
        late.begin - early.arrivals[0] - ANSWER - DIFS for early, late in zip(messages, messages[1:])
        if late.begin is not None and late.sent < early.arrivals[0]
    }  # fmt: skip
    assert all(wait % SLOT == 0 and 0 <= wait < 32 * SLOT for wait in waits)
    assert all(one.arrivals == (one.begin + FRAME,) for one in messages if one.end is not None)
    history = saturated(5, air, "0.2 s", seed=0, lane=0)
    spans = [(begin, end) for *_, begin, end in history.accelerators["air"]]
    assert all(b - a >= DIFS for (_, a), (b, _) in zip(spans, spans[1:]))
    assert any(what.startswith("collision of f") for _, _, what, *_ in history.accelerators["air"])


def test_stations_that_never_wait_collide_until_they_give_up_and_noise_costs_tries() -> None:
    air = Wireless("air", window=1, doublings=0, tries=3)
    pair = [Frames(name, air, period="1 s", bits=BITS) for name in ("a", "b")]
    messages = Traffic(pair).computer.schedule("0.5 s").messages
    assert [(one.lost, one.end) for one in messages] == [(True, 3 * (DIFS + FRAME + ANSWER))] * 2
    noisy = Wireless("air", window=1, doublings=0, tries=2, error=0.4)
    found = Traffic([Frames("a", noisy, period="4 ms", bits=BITS)]).computer.schedule("8 s").messages[:-1]
    late = [one.arrivals[0] - one.sent > DIFS + FRAME for one in found if one.arrivals]
    share, lost = np.mean([*late, *(True for one in found if one.lost)]), np.mean([one.lost for one in found])
    assert abs(share - 0.4) < 4 * math.sqrt(0.24 / len(found))
    assert abs(lost - 0.16) < 4 * math.sqrt(0.16 * 0.84 / len(found))


def test_a_loop_over_the_air_is_the_same_natively_and_differs_from_one_over_a_wire() -> None:
    air = Wireless("air", rate=1_000_000)
    others = [Frames(f"f{k}", air, period="40 ms", bits=BITS) for k in range(3)]
    loops = [Traffic([Link("plant.y", bus, period="20 ms"), *more]).on(Loop(), horizon="1 s")
             for bus, more in ((air, others), (CAN("can"), []))]  # fmt: skip
    runs = [simulate(loops[0], until=1, every=0.05, lanes=3, seed=4, engine=engine) for engine in ("torch", "native")]
    assert not runs[0].status and torch.allclose(runs[0]["y"].values, runs[1]["y"].values, rtol=0, atol=1e-12)
    assert len({tuple(row) for row in runs[0]["y"].values.tolist()}) == 3  # every lane has draws of its own
    wired = simulate(loops[1], until=1, every=0.05)
    assert float((runs[0]["y"].values - wired["y"].values).abs().max()) > 1e-4


@pytest.mark.parametrize(("wrong", "text"), [
    ({"window": 0}, "air: window"), ({"slot": 0}, "air: slot"), ({"error": 2.0}, "air: error"),
    ({"rate": 0.5}, "air: rate"), ({"tries": 0}, "air: tries"), ({"header": -1}, "air: header"),
])  # fmt: skip
def test_values_that_cannot_be_are_refused(wrong: dict[str, float], text: str) -> None:
    with pytest.raises(ModelError, match=text):
        Wireless("air", **wrong)
