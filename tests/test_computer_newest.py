"""Receivers that drop what was overtaken: never an older capture after a newer one, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl.computer import (
    CAN,
    BurstLoss,
    Computer,
    Duplicate,
    Ideal,
    Link,
    Loss,
    Processor,
    Read,
    Reorder,
    Send,
    Task,
    Traffic,
)
from simdl.simulate import simulate
from tests.computer_loop import Loop

chances = st.floats(0.0, 1.0)


def sender(faults, newest, seed=1, **options):
    air = Ideal("air", faults, "0.1 ms")

    def body(job):
        yield Read("x")
        yield Send(air, "x", newest=newest)

    task = Task("a", Processor("cpu"), period="1 ms", body=body, runs=["x"], **options)
    return Computer([task]).schedule("60 ms", seed)


def arrived(history):
    """(when, which) of every copy in the order of arrival, of equal times that of the message sent first."""
    copies = [(at, message.which) for message in history.messages for at in message.arrivals if at <= history.until]
    return sorted(copies)


@settings(max_examples=60, deadline=None)
@given(chances, st.integers(1, 9), chances, st.integers(1, 9), chances, st.integers(0, 99))
def test_never_an_older_capture_after_a_newer_one(late, by, twice, after, lost, seed):
    faults = (Reorder(late, f"{by}.5 ms"), Duplicate(twice, f"{after}.2 ms"), Loss(0.3 * lost))
    history = sender(faults, True, seed)
    _, writes, source = history.accesses("x")
    assert (np.diff(source) > 0).all()
    newest, wanted = -1, []
    for at, which in arrived(history):
        if which > newest:
            newest = which
            wanted.append((at, which))
    assert list(zip(writes.tolist(), source.tolist())) == wanted
    assert sum(message.stale for message in history.messages) == len(arrived(history)) - len(wanted)


def test_what_is_not_overtaken_is_shown_alike():
    for faults in ((), (Loss(0.3),), (BurstLoss(0.1, 0.3),)):
        one, two = sender(faults, True), sender(faults, False)
        assert all(np.array_equal(a, b) for a, b in zip(one.accesses("x"), two.accesses("x")))
        assert not any(message.stale for message in one.messages) and len(one.messages) > 50
    assert not any(message.stale for message in sender((Reorder(0.5, "5 ms"), Duplicate(1, 0)), False).messages)


def test_a_message_that_is_dropped_releases_nobody():
    can = CAN("can", faults=(Duplicate(1.0, "3 ms"),))
    for newest, answers in ((True, 5), (False, 10)):
        there = Link("plant.y", can, period="10 ms", identifier=1, newest=newest)
        traffic = Traffic([there, Link("plant.u", can, trigger="plant.y", identifier=2)])
        assert len(traffic.computer.schedule("49 ms").of("send plant.u")) == answers


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_link_shows_the_newest_that_has_arrived_unless_told_otherwise(engine):
    air = Ideal("air", (Reorder(0.4, "25 ms"),), "2 ms")
    shown = {}
    for newest in (True, False):
        traffic = Traffic([Link("plant.y", air, period="10 ms", newest=newest)])
        run = simulate(traffic.on(Loop(), horizon=1), until=0.6, every="3.3333 ms", seed=3, engine=engine,
                       record=["plant_y_link_age.age"])  # fmt: skip
        age = run["plant_y_link_age.age"].values[0].numpy()
        t = np.arange(len(age)) * 0.0033333
        history = traffic.computer.schedule(1, seed=3)
        copies = np.array([(at, message.captured) for message in history.messages for at in message.arrivals]) / 1e9
        copies = copies[np.argsort(copies[:, 0], kind="stable")]
        captured = np.maximum.accumulate(copies[:, 1]) if newest else copies[:, 1]
        last = np.searchsorted(copies[:, 0], t, side="right") - 1
        assert np.allclose(age[last >= 0], (t - captured[last])[last >= 0], rtol=0, atol=1e-9)
        shown[newest] = torch.as_tensor(t - age)
    assert (shown[True].diff()[5:] >= -1e-9).all() and (shown[False].diff()[5:] < -1e-9).sum() > 5
