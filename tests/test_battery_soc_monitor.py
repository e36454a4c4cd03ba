"""The watched charge sensor: gross sensor faults are found, and sound lanes are left alone."""

from __future__ import annotations

import pytest
import torch

from simdl.networks.ood import load_scorer
from simdl.scenarios.battery_soc import monitor, monitoring
from simdl.scenarios.battery_soc.scenario import SCENARIO
from simdl.scenarios.battery_soc.signature import FEATURES

FAULTS = {(fault.name, fault.severity): fault for fault in monitor.FAULTS}
HEALTHY = "sensor.inside.monitor.healthy"


def test_the_scorer_that_ships_is_of_these_features_and_says_its_rate() -> None:
    scorer = load_scorer(monitoring.CARDS / "monitor")
    assert scorer.features == len(FEATURES) == 14
    assert scorer.calibration is not None and scorer.calibration.per_hour is not None
    assert scorer.calibration.per_hour <= monitor.HOURS and scorer.calibration.trip == monitoring.TRIP


@pytest.mark.slow
def test_a_sound_faulty_channel_is_a_channel() -> None:
    ids = torch.arange(3)
    found = monitor.run(monitoring.CARDS / "recurrent", ids, [None] * 3, ["error", "voltage"])
    stock = SCENARIO.campaign(3, set={"faulty": 0.0})
    for name in ("error", "voltage"):
        assert torch.allclose(found[name].values, stock[name].values, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_gross_faults_are_found_within_a_minute_and_sound_lanes_are_left_alone() -> None:
    chosen = [
        ("voltage stuck", "for good"), ("unit swap", "K for degC"), ("unit swap", "mV for V"),
        ("current zero", "for good"), ("all frozen", "for good"), ("temperature offset", "20 K"),
    ]  # fmt: skip
    ids = torch.arange(9_000_000, 9_000_000 + 20)
    given = [*(FAULTS[name] for name in chosen), *[None] * 14]
    found = monitor.run(monitoring.watched(), ids, given, ["error", HEALTHY])
    assert not found.status
    healthy, t = found[HEALTHY].values.bool(), torch.arange(361) * 10.0
    for lane in range(len(chosen)):
        begin = float(monitor.began(ids)[lane])
        assert bool((~healthy[lane] & (t >= begin) & (t <= begin + 60)).any()), chosen[lane]
    assert float((~healthy[6:]).double().mean()) < 0.02


@pytest.mark.slow
def test_counting_on_from_the_trusted_value_holds_where_the_network_is_misled() -> None:
    ids = torch.arange(9_100_000, 9_100_000 + 12)
    stuck = [FAULTS["voltage stuck", "for good"]] * 12
    alone = monitor.run(monitoring.CARDS / "recurrent", ids, stuck, ["error"])["error"].values
    seen = monitor.run(monitoring.watched(), ids, stuck, ["error"])["error"].values
    late = torch.arange(361) * 10.0 >= monitor.began(ids)[:, None]
    worst_alone, worst = (torch.where(late, one.abs(), 0.0).amax(1) for one in (alone, seen))
    assert float(worst.quantile(0.75)) < 0.05 < float(worst_alone.quantile(0.5))
