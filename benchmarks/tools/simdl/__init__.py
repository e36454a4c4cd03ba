"""simdl: one small file per model, each with a form that can be run again and again, for an engine given by name."""

from __future__ import annotations

import os

import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
