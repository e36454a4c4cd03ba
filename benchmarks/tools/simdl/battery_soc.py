"""W5: the validation of the scenario battery_soc."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.data import Data
from simdl import monte_carlo, scenario


def battery_soc(case: Case, data: Data, engine: str) -> Any:
    """The scenario's quick form as `simdl validate` runs it: requirements checked, traces not kept."""
    study = scenario("battery_soc").quickly()
    options: dict[str, Any] = {"keep": False, "progress": False}
    if "engine" in inspect.signature(monte_carlo).parameters:
        options["engine"] = engine
    elif engine != "torch":
        raise NotImplementedError("monte_carlo() has no engine=")

    def run() -> Any:
        return study.campaign(lanes=case.lanes, seed=1, **options)

    def read(campaign: Any) -> dict[str, np.ndarray]:
        return {f"margin {name}": np.asarray(campaign.margins[name].double()) for name in campaign.margins}

    return run, read
