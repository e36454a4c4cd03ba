"""From 1 Hz samples to one row of features per 10 s: what the network sees."""

import torch

from simdl import Block, Input, Output, State, tick


class Sums(Block):
    """Running sums of the samples at 1 Hz; differences over a block give its statistics without any reset."""

    voltage = Input(unit="V")
    current = Input(unit="A")
    temperature = Input(unit="degC")
    sums = State(shape=(6,))
    total = Output(shape=(6,))

    @tick
    def add(self, voltage, current, temperature, sums):
        v = voltage - 3.7  # centred, so that the later difference of squares keeps its digits
        row = torch.stack((torch.ones_like(v), v, current, temperature, current * current, v * current), -1)
        return dict(sums=sums + row, total=sums + row)


class BlockStatistics(Block):
    """Means, spread and slope of the samples since the last tick (period 10 s).

    `slope` = -cov(V, I) / (var(I) + 0.01 A^2): the resistance seen within the block; `charge` counts A s out.
    """

    sums = Input(shape=(6,))
    last = State(shape=(6,))
    voltage, current, temperature = Output(unit="V"), Output(unit="A"), Output(unit="degC")
    spread, slope, charge = Output(unit="A"), Output(unit="ohm"), Output(unit="A s")

    @tick
    def close(self, sums, last):
        n, v, i, temperature, ii, vi = (sums - last).unbind(-1)
        v, i, temperature = v / n, i / n, temperature / n
        variance = (ii / n - i * i).clamp(min=0.0)
        covariance = vi / n - v * i
        return dict(
            last=sums,
            voltage=v + 3.7,
            current=i,
            temperature=temperature,
            charge=i * n,
            spread=variance.sqrt(),
            slope=-covariance / (variance + 0.01),
        )
