"""The learned sensors: physics-informed features, a recurrent corrector, and a feed-forward network on windows."""

import math

import torch
from torch import nn

from simdl.networks import architecture
from simdl.scenarios.battery_soc import cell, ocv

INPUTS = ("mean_voltage", "mean_current", "mean_temperature", "spread", "slope", "charge")
UNITS = ("V", "A", "degC", "A", "ohm", "A s")
STEP = 10.0  # s between rows
AVERAGES = (60.0, 300.0, 1500.0)  # s, forgetting times of the aligned averages
MEMORIES = (600.0, 3600.0)  # s, forgetting times of the least squares
GROWTH = (1.2, 1.4, 1.3)  # resistances of a half-aged cell relative to a new one
USABLE = 4.7  # A h, capacity of a half-aged cell
NOISE, PRIOR_SOC, PRIOR_SCALE = 0.03, 0.5, 0.3  # of the least squares: voltage [V], charge [-], resistance factor [-]
POINTS = 521


class Features(nn.Module):
    """What the rows say about the charge, computed one after the other: x (B, T, 6), state (B, 22) -> (B, T, 23).

    Each row's voltage, corrected by the overvoltage of a half-aged cell, is read off the new cell's OCV curve and moved
    to the start by the counted charge. Aligned in that way, all rows estimate one number: three forgetful averages, and
    two forgetful least-squares fits of (charge at the start, resistance factor), weighted by the slope of the curve.
    """

    width, memory = 23, 22
    soc: torch.Tensor
    volt: torch.Tensor
    rise: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        soc = torch.linspace(-0.02, 1.02, POINTS, dtype=torch.float64)
        new = [
            torch.tensor(v, dtype=torch.float64)
            for v in (ocv.X_EMPTY, ocv.X_FULL - ocv.X_EMPTY, ocv.Y_EMPTY, ocv.Y_EMPTY - ocv.Y_FULL)
        ]
        volt = ocv.ocv(soc, *new)
        self.register_buffer("soc", soc.float(), persistent=False)
        self.register_buffer("volt", volt.float(), persistent=False)
        self.register_buffer("rise", torch.gradient(volt, spacing=(soc,))[0].clamp(0.25, 4.0).float(), persistent=False)

    def charge_at(self, volt):
        """The charge and the slope [V] of the new cell's curve at an open-circuit voltage."""
        k = torch.searchsorted(self.volt, volt.contiguous()).clamp(1, POINTS - 1)
        low, high = self.volt[k - 1], self.volt[k]
        soc = self.soc[k - 1] + (self.soc[k] - self.soc[k - 1]) * ((volt - low) / (high - low)).clamp(0, 1)
        return soc, self.rise[((soc + 0.02) / 1.04 * (POINTS - 1)).round().long().clamp(0, POINTS - 1)]

    def forward(self, x, state=None):
        if state is None:
            state = x.new_zeros(x.shape[0], self.memory)
        v, i, t, spread, slope, charge = x.float().unbind(-1)
        inverse = (1 / (t.clamp(-60.0, 100.0) + 273.15) - 1 / cell.ROOM) / cell.GAS
        laws = zip((cell.SERIES, cell.TRANSFER, cell.DIFFUSION), GROWTH, strict=True)
        r0, r1, r2 = (value * growth * torch.exp(energy * inverse) for (value, energy, _), growth in laws)
        variance = spread**2
        covariance = slope * (variance + 0.01) * (spread > 0)
        counted = charge / (3600 * USABLE)
        rows = []
        for k in range(x.shape[1]):
            row, state = self._row(
                v[:, k],
                i[:, k],
                t[:, k],
                spread[:, k],
                charge[:, k],
                counted[:, k],
                variance[:, k],
                covariance[:, k],
                r0[:, k],
                r1[:, k],
                r2[:, k],
                state,
            )
            rows.append(row)
        return torch.stack(rows, 1), state

    def _row(self, v, i, t, spread, charge, counted, variance, covariance, r0, r1, r2, state):
        u1, u2, total, number, *rest = state.unbind(-1)
        sums, fits, (both, own) = rest[:6], rest[6:16], rest[16:18]
        a1 = torch.exp(-STEP / (r1 * cell.TRANSFER_CAPACITANCE))
        a2 = torch.exp(-STEP / (r2 * cell.DIFFUSION_CAPACITANCE))
        after1, after2 = a1 * u1 + (1 - a1) * r1 * i, a2 * u2 + (1 - a2) * r2 * i
        p1, p2 = (u1 + after1) / 2, (u2 + after2) / 2
        drop = r0 * i + p1 + p2
        total = total + counted
        soc, rise = self.charge_at(v + drop)
        start = soc + total  # the charge at the start that this row speaks for
        found = [soc, rise, number / 30 / (1 + number / 30)]
        kept = []
        for j, tau in enumerate(AVERAGES):
            keep = math.exp(-STEP / tau)
            weighted, weight = keep * sums[2 * j] + (1 - keep) * start, keep * sums[2 * j + 1] + 1 - keep
            kept += [weighted, weight]
            found.append(weighted / weight - total)
        for j, tau in enumerate(MEMORIES):
            keep = math.exp(-STEP / tau)
            terms = (rise * rise, rise * drop, drop * drop, rise * rise * start, rise * drop * start)
            m = [keep * old + new for old, new in zip(fits[5 * j : 5 * j + 5], terms, strict=True)]
            kept += m
            # Minimise sum (rise c - drop rho - rise start)^2 with priors c ~ (1/2, PRIOR_SOC), rho ~ (0, PRIOR_SCALE).
            a, c = m[0] + (NOISE / PRIOR_SOC) ** 2, m[2] + (NOISE / PRIOR_SCALE) ** 2
            e = m[3] + (NOISE / PRIOR_SOC) ** 2 * 0.5
            determinant = a * c - m[1] * m[1]
            found.append(((c * e - m[1] * m[4]) / determinant - total).clamp(-0.1, 1.1))
            found.append(((m[1] * e - a * m[4]) / determinant).clamp(-0.8, 1.5))
        keep = math.exp(-STEP / 900.0)
        both, own = keep * both + covariance, keep * own + variance + 0.01
        found += [
            torch.log((both / own / r0).clamp(0.3, 6.0)),
            torch.log(own + 0.01),
            torch.log(((covariance + 1e-3) / (variance + 0.01) / r0).clamp(0.3, 6.0)),
            torch.log1p(spread),
            t,
            i,
            drop,
            p1,
            p2,
            v,
            charge / 10,
            v + drop,
            r0,
        ]
        state = torch.stack([after1, after2, total, number + 1, *kept, both, own, 0 * v, 0 * v], -1)
        return torch.stack(found, -1), state


class Corrector(nn.Module):
    """The least-squares estimate plus a learnt correction: features (B, T, 23) -> (B, T, 1)."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, hidden: int = 48, kind: str = "GRU", base: int = 8) -> None:
        super().__init__()
        self.base = base
        self.rnn = getattr(nn, kind)(Features.width, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden + Features.width, 48), nn.SiLU(), nn.Linear(48, 1))
        self.register_buffer("mean", torch.zeros(Features.width))
        self.register_buffer("deviation", torch.ones(Features.width))

    def normalise(self, features) -> None:
        """Take over mean and deviation of these features."""
        flat = features.reshape(-1, features.shape[-1])
        self.mean.copy_(flat.mean(0))
        self.deviation.copy_(flat.std(0) + 1e-6)

    def forward(self, features, state=None):
        z = ((features - self.mean) / self.deviation).clamp(-6, 6)
        h, state = self.rnn(z, state)
        return features[..., self.base : self.base + 1] + 0.1 * self.head(torch.cat([h, z], -1)), state


@architecture("battery_soc.recurrent")
class RecurrentSensor(nn.Module):
    """Features and corrector in one: rows (B, T, 6) -> charge (B, T, 1)."""

    def __init__(self, hidden: int = 48, kind: str = "GRU") -> None:
        super().__init__()
        self.features, self.corrector = Features(), Corrector(hidden, kind)

    def forward(self, x, state=None):
        memory, hidden = state if state is not None else (None, None)
        features, memory = self.features(x, memory)
        y, hidden = self.corrector(features, hidden)
        return y, (memory, hidden)


LENGTH = 30  # rows in a window: five minutes


@architecture("battery_soc.window")
class WindowSensor(nn.Module):
    """A network, or with `hidden` 0 a linear map, on the last five minutes: (B, 30, 6) -> (B, 1)."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        size = LENGTH * len(INPUTS)
        self.register_buffer("mean", torch.zeros(len(INPUTS)))
        self.register_buffer("deviation", torch.ones(len(INPUTS)))
        self.net = (
            nn.Linear(size, 1)
            if not hidden
            else nn.Sequential(
                nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1)
            )
        )

    def normalise(self, rows) -> None:
        """Take over mean and deviation of these rows."""
        flat = squash(rows).reshape(-1, rows.shape[-1])
        self.mean.copy_(flat.mean(0))
        self.deviation.copy_(flat.std(0) + 1e-6)

    def forward(self, x):
        z = ((squash(x.float()) - self.mean) / self.deviation).clamp(-6, 6)
        return self.net(z.flatten(1)) * 0.25 + 0.5


def squash(rows):
    """Rows with the spread on a logarithmic scale and the slope limited: both have long tails."""
    v, i, t, spread, slope, charge = rows.unbind(-1)
    return torch.stack((v, i, t, torch.log1p(spread), torch.tanh(slope / 0.1), charge), -1)
