"""Extended Kalman filters for the state of charge: new-cell parameters, resistance estimated too, or the cell's own."""

import torch

from simdl import Block, Input, Output, Param, State, initial, tick
from simdl.scenarios.battery_soc import cell, ocv

NEW = (ocv.X_EMPTY, ocv.X_FULL - ocv.X_EMPTY, ocv.Y_EMPTY, ocv.Y_EMPTY - ocv.Y_FULL)


class Kalman(Block):
    """An extended Kalman filter at 1 Hz over (soc, v1, v2, resistance scale) with the structure of `Cell`.

    Between samples:  soc - I dt / C,  v_i a_i + R_i theta (1 - a_i) I with a_i = exp(-dt / (R_i theta C_i)), theta;
    measured:         V = OCV(soc) + loop h - v1 - v2 - theta R_0 I, variance (volt_noise^2 + (current_noise I)^2).
    `scale_deviation` 0 leaves theta at 1 (resistances of a new cell). The hysteresis h is predicted, not corrected.
    `guess` is the charge remembered from before; `capacity`, `window`, `scales` and `loop` are those of a new cell, or,
    for the bound, the truth.
    """

    voltage = Input(unit="V")
    current = Input(unit="A")
    temperature = Input(unit="degC")
    capacity = Input(unit="A h")
    window = Input(shape=(4,))
    scales = Input(shape=(3,))
    guess, loop = Input(), Input(unit="V")

    guess_deviation: Param = Param(0.15)
    relaxation_deviation: Param = Param(0.03, unit="V")
    soc_walk: Param = Param(1e-5)
    voltage_walk: Param = Param(1e-4, unit="V")
    volt_noise: Param = Param(0.01, unit="V")
    current_noise: Param = Param(0.005, unit="ohm")
    scale_deviation: Param = Param(0.0)
    scale_walk: Param = Param(0.0)

    x = State(shape=(4,))  # soc, v1, v2, theta
    cov = State(shape=(4, 4))
    h, before = State(0.0), State(0.0, unit="A")
    soc = Output()

    @initial
    def start(self, guess, guess_deviation, relaxation_deviation, scale_deviation):
        zero = torch.zeros_like(guess)
        deviation = torch.stack(
            (
                guess_deviation + zero,
                0.3 * relaxation_deviation + zero,
                relaxation_deviation + zero,
                scale_deviation + zero,
            ),
            -1,
        )
        return dict(x=torch.stack((guess, zero, zero, zero + 1), -1), cov=torch.diag_embed(deviation**2))

    @tick
    def filter(
        self,
        voltage,
        current,
        temperature,
        capacity,
        window,
        scales,
        x,
        cov,
        h,
        before,
        t,
        dt,
        soc_walk,
        voltage_walk,
        volt_noise,
        current_noise,
        scale_walk,
        loop,
    ):
        soc, v1, v2, theta = x.unbind(-1)
        step = dt * (t > 0)  # the first tick only corrects
        r0, r1, r2 = cell.resistances(soc, temperature)
        r0, r1, r2 = r0 * scales[:, 0], r1 * scales[:, 1], r2 * scales[:, 2]
        ampere_seconds = 3600 * cell.usable(capacity, temperature)
        # predict
        tau1, tau2 = r1 * theta * cell.TRANSFER_CAPACITANCE, r2 * theta * cell.DIFFUSION_CAPACITANCE
        a1, a2 = torch.exp(-step / tau1), torch.exp(-step / tau2)
        one = torch.ones_like(soc)
        keep = torch.stack((one, a1, a2, one), -1)
        lean = torch.stack(  # derivative of the prediction with respect to theta
            (
                0 * one,
                r1 * (1 - a1) * before + a1 * step / (tau1 * theta) * (v1 - r1 * theta * before),
                r2 * (1 - a2) * before + a2 * step / (tau2 * theta) * (v2 - r2 * theta * before),
                0 * one,
            ),
            -1,
        )
        rate = before * step / ampere_seconds
        x = torch.stack(
            (soc - rate, a1 * v1 + r1 * theta * (1 - a1) * before, a2 * v2 + r2 * theta * (1 - a2) * before, theta), -1
        )
        h = (h - cell.HYSTERESIS_RATE * (rate.abs() * h + rate)).clamp(-1.0, 1.0)
        cov = keep[:, :, None] * cov + lean[:, :, None] * cov[:, 3:, :]
        cov = cov * keep[:, None, :] + cov[:, :, 3:] * lean[:, None, :]
        walk = torch.stack((soc_walk * one, voltage_walk * one, voltage_walk * one, scale_walk * one), -1)
        cov = cov + torch.diag_embed(walk**2 * step[:, None])
        # correct
        soc, v1, v2, theta = x.unbind(-1)
        volt, slope = ocv.ocv_and_slope(soc.clamp(0.0, 1.0), *window.unbind(-1))
        row = torch.stack((slope, -one, -one, -r0 * current), -1)
        gain = (cov * row[:, None, :]).sum(-1)
        spread = (row * gain).sum(-1) + volt_noise**2 + (current_noise * current) ** 2
        innovation = voltage - (volt + loop * h - v1 - v2 - theta * r0 * current)
        x = x + gain * (innovation / spread)[:, None]
        cov = cov - gain[:, :, None] * gain[:, None, :] / spread[:, None, None]
        soc, v1, v2, theta = x.unbind(-1)
        x = torch.stack((soc.clamp(-0.02, 1.02), v1, v2, theta.clamp(0.4, 4.0)), -1)
        return dict(x=x, cov=cov, h=h, before=current, soc=x[:, 0])
