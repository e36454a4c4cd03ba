"""Thermistors in a voltage divider: `series` to the supply, the thermistor to ground. Continuous without a period."""

import torch

from simdl import Block, Input, Param, output

ZERO = 273.15  # K


class BetaThermistor(Block):
    """R = r25 exp(beta (1 / T - 1 / 298.15 K)), voltage = supply R / (R + series).

    Defaults: Vishay NTCLE100E3103, 10 kohm and 3977 K; the divider is chosen.

    >>> from simdl import simulate
    >>> float(simulate(BetaThermistor(), 0, inputs={"temperature": 25.0})["voltage"].at(0))
    2.5
    """

    temperature = Input(unit="degC")
    r25: Param = Param(10e3, unit="ohm", low=1e-12)
    beta: Param = Param(3977.0, unit="K")
    series: Param = Param(10e3, unit="ohm", low=1e-12)
    supply: Param = Param(5.0, unit="V")

    @output(unit="V")
    def voltage(self, temperature, r25, beta, series, supply):
        return divided(r25 * torch.exp(beta * (1 / (temperature + ZERO) - 1 / (25.0 + ZERO))), series, supply)


class Thermistor(Block):
    """1 / T = A + B ln R + C (ln R)^3, solved for R; voltage = supply R / (R + series).

    With x = (A - 1 / T) / (2 C) and y = sqrt((B / 3 C)^3 + x^2): ln R = (y - x)^(1/3) - (y + x)^(1/3). Steinhart &
    Hart, Deep-Sea Research 15 (1968) 497; coefficients commonly given for thermistors of 10 kohm.

    >>> from simdl import simulate
    >>> round(float(simulate(Thermistor(), 0, inputs={"temperature": 25.0})["voltage"].at(0)), 3)
    2.5
    """

    temperature = Input(unit="degC")
    A: Param = Param(1.129148e-3, unit="1/K")
    B: Param = Param(2.34125e-4, unit="1/K")
    C: Param = Param(8.76741e-8, unit="1/K", low=1e-12)
    series: Param = Param(10e3, unit="ohm", low=1e-12)
    supply: Param = Param(5.0, unit="V")

    @output(unit="V")
    def voltage(self, temperature, A, B, C, series, supply):
        x = (A - 1 / (temperature + ZERO)) / (2 * C)
        y = torch.sqrt((B / (3 * C)) ** 3 + x**2)
        roots = torch.exp(torch.log(y - x) / 3) - torch.exp(torch.log(y + x) / 3)
        return divided(torch.exp(roots), series, supply)


class SteinhartHart(Block):
    """The temperature from the voltage of a `Thermistor`, as the software behind it computes it.

    R = series voltage / (supply - voltage), temperature = 1 / (A + B ln R + C (ln R)^3) - 273.15.

    >>> from simdl import simulate
    >>> round(float(simulate(SteinhartHart(), 0, inputs={"voltage": 2.5})["temperature"].at(0)), 2)
    25.0
    """

    voltage = Input(unit="V")
    A: Param = Param(1.129148e-3, unit="1/K")
    B: Param = Param(2.34125e-4, unit="1/K")
    C: Param = Param(8.76741e-8, unit="1/K")
    series: Param = Param(10e3, unit="ohm", low=1e-12)
    supply: Param = Param(5.0, unit="V")

    @output(unit="degC")
    def temperature(self, voltage, A, B, C, series, supply):
        log = torch.log(series * voltage / (supply - voltage))
        return 1 / (A + log * (B + C * log**2)) - ZERO


def divided(resistance, series, supply):
    """The voltage over a resistance to ground."""
    return supply * resistance / (resistance + series)
