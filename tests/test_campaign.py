"""Campaigns: the same bits whatever shards, processes, threads and interruptions; bounded memory; statistics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl import Campaign, Choice, Uniform, monte_carlo
from simdl.campaign.statistics import Gathered, moments, summarised
from simdl.engine.native.compiler import find_compiler
from simdl.errors import DataError, RunError
from simdl.result import Trace
from tests.study import House

SPACE = {"probe.fault": Choice([0, 1]), "room.capacity": Uniform(1e5, 3e5),
         "room.trouble": Choice([0.0, 2.0], [0.9, 0.1])}  # fmt: skip
ENGINES = ["torch", pytest.param("native", marks=pytest.mark.skipif(find_compiler() is None, reason="no compiler"))]
HOUSE = House()


def campaign(engine: str, **options: Any) -> Campaign:
    given: dict[str, Any] = dict(
        lanes=150, until=1800, every=30, seed=3, statistics=True, progress=False, threads=1,
        requirements={"warm": "always[600:1800](temperature > 15)"},
    )  # fmt: skip
    return monte_carlo(HOUSE, SPACE, engine=engine, **given | options)


def assert_equal(one: Campaign, other: Campaign) -> None:
    """Bit for bit: draws, margins, verdicts, causes of failure, statistics; traces where both have them."""
    assert torch.equal(one.ids, other.ids) and dict(one.status) == dict(other.status)
    assert one.complete and other.complete and one.engine == other.engine
    assert all(torch.equal(value, other.drawn[name]) for name, value in one.drawn.items())
    assert torch.equal(one.margins["warm"].nan_to_num(), other.margins["warm"].nan_to_num())
    assert torch.equal(one.verdicts["warm"], other.verdicts["warm"])
    assert one.statistics.keys() == other.statistics.keys() and one.statistics
    for path, found in one.statistics.items():
        for field in ("t", "mean", "std", "min", "max"):
            assert torch.equal(getattr(found, field), getattr(other.statistics[path], field)), (path, field)
    for path in one.traces if other.traces else ():
        assert torch.equal(one.traces[path].values, other.traces[path].values)


@pytest.fixture(scope="module", params=ENGINES)
def whole(request: pytest.FixtureRequest) -> Campaign:
    """All lanes at once."""
    return campaign(request.param)


class TestTheSameBits:
    @pytest.mark.parametrize("options", [
        {"shard": 7}, {"shard": 64, "keep": False}, {"shard": 40, "threads": 3}, {"memory": 1 << 18},
        {"shard": 50, "workers": 2},
    ], ids=str)  # fmt: skip
    def test_however_it_is_cut(self, whole: Campaign, options: dict[str, Any]) -> None:
        assert_equal(whole, campaign(whole.engine, **options))

    def test_resumed_with_other_shards(self, whole: Campaign, tmp_path: Path) -> None:
        """The folder says on which engine its lanes ran: going on with engine="auto", they all do."""
        first = campaign(whole.engine, lanes=70, shard=30, out=tmp_path)
        assert first.lanes == 70
        assert_equal(whole, campaign("auto", shard=64, out=tmp_path, keep=False))
        again = campaign("auto", out=tmp_path, keep=False)
        assert_equal(whole, again)
        assert str(tmp_path) in again.why

    def test_a_folder_is_of_one_engine(self, whole: Campaign, tmp_path: Path) -> None:
        campaign(whole.engine, lanes=5, out=tmp_path)
        other = {"torch": "native", "native": "torch"}[whole.engine]
        if find_compiler() is not None:
            with pytest.raises(DataError, match="engine"):
                campaign(other, lanes=9, out=tmp_path)

    def test_a_lane_alone(self, whole: Campaign) -> None:
        """Replayed on the campaign's engine, to the end and to a time on the way."""
        lane = next(i for i in whole.ids.tolist() if i not in whole.status)
        replay = whole.replay(lane)
        run = replay.run
        assert run.engine == whole.engine
        assert torch.equal(run["temperature"].values[0], whole["temperature"].values[lane])
        for t in (900.0, 1234.0, 300.0):
            at = replay.at(t)
            assert at.t == t // 30 * 30
            assert torch.equal(at["temperature"], whole["temperature"].at(at.t)[lane : lane + 1])

    def test_a_failed_lane_is_a_row_with_its_cause(self, whole: Campaign) -> None:
        assert whole.status and all("not finite" in why for _, why in whole.status.values())
        assert whole.count("warm", "error") == len(whole.status)
        assert whole.statistics["temperature"].lanes == whole.lanes - len(whole.status)


@pytest.mark.skipif(find_compiler() is None, reason="no compiler")
class TestEngine:
    def test_both_agree(self) -> None:
        one, other = campaign("native"), campaign("torch")
        torch.testing.assert_close(one.margins["warm"], other.margins["warm"], rtol=1e-12, atol=1e-12, equal_nan=True)
        assert torch.equal(one.verdicts["warm"], other.verdicts["warm"]) and dict(one.status) == dict(other.status)

    def test_decided_once_for_all_lanes(self) -> None:
        """What pays for the whole campaign is done in shards that would not pay, and the same with few lanes is not."""
        options: dict[str, Any] = dict(requirements={}, statistics=False, keep=False)
        many = campaign("auto", lanes=300, until=36000, every=900, shard=20, **options)
        assert many.engine == "native" and "one C loop" in many.why
        assert "native engine" in many.report()
        few = campaign("auto", lanes=3)
        assert few.engine == "torch" and "does not pay" in few.why

    def test_it_cannot_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(RunError, match="one of"):
            campaign("fast")
        monkeypatch.setenv("SIMDL_CC", "none")
        with pytest.raises(Exception, match="SIMDL_CC"):
            monte_carlo(House(), SPACE, lanes=3, until=1800, every=30, engine="native")
        found = monte_carlo(House(), SPACE, lanes=3000, until=90, every=30, engine="auto", shard=3000)
        assert found.engine == "torch"


def test_ctrl_c_keeps_the_shards_that_are_done() -> None:
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    found = campaign("auto", lanes=4000, until=3600, shard=5, requirements={}, keep=False)
    timer.join()
    assert not found.complete and 0 < found.lanes < 4000 and found.lanes % 5 == 0
    assert found.statistics["temperature"].lanes == found.lanes - len(found.status)


KILLED = """
    import sys
    from tests.test_campaign import campaign
    campaign(sys.argv[1], shard=10, out=sys.argv[2])
"""


def test_killed_and_resumed(whole: Campaign, tmp_path: Path) -> None:
    folder = tmp_path / "lanes"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED), whole.engine, str(folder)],
                               cwd=Path(__file__).parents[1])  # fmt: skip
    while process.poll() is None and len(list(folder.glob("lanes-*"))) < 3:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert_equal(whole, campaign("auto", shard=13, out=folder))


class TestStatistics:
    @given(st.integers(1, 300), st.integers(0, 1000), st.data())
    @settings(max_examples=30, deadline=None)
    def test_neither_shards_nor_their_order_show(self, lanes: int, first: int, data: Any) -> None:
        ids = torch.arange(first, first + lanes)
        values = torch.randn(lanes, 3, generator=torch.Generator().manual_seed(lanes), dtype=torch.float64) * 1e-3 + 1.0
        t = torch.arange(3).double()
        cuts = sorted(data.draw(st.sets(st.integers(1, lanes))) | {0, lanes})
        parts = [slice(a, b) for a, b in zip(cuts, cuts[1:])]
        found = []
        for order in (data.draw(st.permutations(parts)), [slice(0, lanes)]):
            gathered = Gathered(ids)
            for part in order:
                gathered.add({"x": summarised(Trace("x", t, values[part], "smooth", ""), ids[part])})
            found.append(gathered.statistics()["x"])
        for field in ("mean", "std", "min", "max"):
            one, other = (getattr(f, field) for f in found)
            assert torch.equal(one.nan_to_num(), other.nan_to_num())
        torch.testing.assert_close(found[0].mean, values.mean(0), rtol=1e-15, atol=0)
        if lanes > 1:
            torch.testing.assert_close(found[0].std, values.std(0), rtol=1e-12, atol=0)

    def test_moments_of_nothing_change_nothing(self) -> None:
        some, nothing = moments(torch.tensor([[[1.0], [3.0]]]))[0], moments(torch.zeros(1, 0, 1))[0]
        assert nothing + some == some and some + nothing == some
        assert (some.count, float(some.mean), float(some.square)) == (2, 2.0, 2.0)
