"""Settings shared by all tests: one thread for torch, and Hypothesis profiles."""

from __future__ import annotations

import os

import torch
from hypothesis import HealthCheck, settings

# Two workers with as many threads each as the machine has cores are slower than two with one.
torch.set_num_threads(1)

settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Programs that tests give to other tools; not tests, and some are wrong on purpose.
collect_ignore_glob = ["programs/*"]
