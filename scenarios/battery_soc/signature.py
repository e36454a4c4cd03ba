"""How measurements hang together: the row that the monitor of the charge sensor judges."""

import math

import torch

from simdl import Block, Input, Output, State, tick
from simdl.scenarios.battery_soc import cell
from simdl.scenarios.battery_soc.controller import CAPACITY

FEATURES = (
    "log variance of voltage steps",
    "log variance of current steps",
    "log apparent resistance, relative to a new cell",
    "log variance of voltage steps that current does not explain",
    "log share of voltage readings that changed",
    "log share of current readings that changed",
    "log largest unexplained voltage step of late",
    "log largest temperature step of late",
    "what the network corrected of the counted charge in a minute",
    "what the filter corrected of the counted charge in a minute",
    "network less filter",
    "voltage less ohmic drop",
    "current",
    "temperature",
)
AGED = 1.3  # series resistance of a middle-aged cell, relative to a new one
SHORT, MINUTE = math.exp(-1 / 30), math.exp(-1 / 60)  # forgetting in 30 s and 60 s of samples at 1 Hz


class Signature(Block):
    """Fourteen numbers from readings at 1 Hz and from what a network and a filter make of them; see FEATURES.

    Steps are differences of neighbouring samples; variances and shares are forgotten in 30 s, peaks in 60 s. A leaky
    sum of (change of the estimate + counted charge) says what an estimator corrected. What depends on the estimators
    counts fully only after 300 s: before that they still search.
    """

    voltage, current, temperature = Input(unit="V"), Input(unit="A"), Input(unit="degC")
    estimate, other = Input(), Input()
    row = Output(shape=(14,))
    n = State(0.0)
    before = State(shape=(5,))
    # Variances, covariance and shares start as those of an ordinary drive.
    vv, vi, ii = State(4e-5), State(-1e-3), State(4e-2)
    moved_v, moved_i = State(0.8), State(0.8)
    peak_v, peak_t = State(1.0), State(0.0)
    fixed, other_fixed = State(0.0), State(0.0)

    @tick
    def judge(
        self, voltage, current, temperature, estimate, other, n, before, vv, vi, ii, moved_v, moved_i, peak_v, peak_t,
        fixed, other_fixed,
    ):  # fmt: skip
        now = torch.stack((voltage, current, temperature, estimate, other), -1)
        dv, di, dt, de, do = torch.where((n > 0)[:, None], now - before, 0.0).unbind(-1)
        warm = temperature.clamp(-60.0, 100.0)
        r = AGED * cell.resistances(torch.full_like(warm, 0.5), warm)[0]
        vv, vi, ii = (SHORT * old + (1 - SHORT) * new for old, new in ((vv, dv * dv), (vi, dv * di), (ii, di * di)))
        moved_v = SHORT * moved_v + (1 - SHORT) * (dv != 0)
        moved_i = SHORT * moved_i + (1 - SHORT) * (di != 0)
        peak_v = torch.maximum(MINUTE * peak_v, (dv + r * di).abs() / (0.003 + 0.3 * r * di.abs()))
        peak_t = torch.maximum(MINUTE * peak_t, dt.abs())
        counted = current / (3600 * CAPACITY)
        fixed, other_fixed = MINUTE * fixed + de + counted, MINUTE * other_fixed + do + counted
        known = ((n - 60.0) / 240.0).clamp(0.0, 1.0)
        row = (
            torch.log(vv + 1e-7),
            torch.log(ii + 1e-4),
            torch.log(((1e-3 * r - vi) / (ii + 1e-3) / r).clamp(0.05, 20.0)),
            torch.log((vv - vi * vi / (ii + 1e-3)).clamp(min=0.0) + 1e-7),
            torch.log(moved_v + 0.02),
            torch.log(moved_i + 0.02),
            torch.log(peak_v + 0.1),
            torch.log(peak_t + 0.3),
            known * fixed,
            known * other_fixed,
            known * (estimate - other),
            voltage + r * current,
            current,
            temperature,
        )
        return dict(
            row=torch.stack(row, -1), n=n + 1, before=now, vv=vv, vi=vi, ii=ii, moved_v=moved_v, moved_i=moved_i,
            peak_v=peak_v, peak_t=peak_t, fixed=fixed, other_fixed=other_fixed,
        )  # fmt: skip
