"""The plant: one NMC cell of a vehicle pack as an electrical, thermal and ageing equivalent circuit."""

import torch

from simdl import Block, Input, Param, State, derivative, initial, output
from simdl.scenarios.battery_soc import ocv

GAS = 8.314462618  # J/(mol K)
ROOM = 298.15  # K

# Resistance at 25 degC and mid charge [ohm], activation energy [J/mol] and rise towards empty [-] of the series
# resistance, the charge-transfer pair and the diffusion pair. Magnitudes of a 5 Ah 21700 cell; the energies are those
# usually fitted: ionic conduction about 15, diffusion 20-25, charge transfer 30-50 kJ/mol.
SERIES = (0.020, 14e3, 0.3)
TRANSFER = (0.010, 32e3, 1.5)
DIFFUSION = (0.012, 22e3, 2.0)
TRANSFER_CAPACITANCE = 8.0 / TRANSFER[0]  # F
DIFFUSION_CAPACITANCE = 180.0 / DIFFUSION[0]  # F
EMPTY_SCALE = 0.10  # the charge over which the rise towards empty fades
CAPACITY_SLOPE = 0.0012  # 1/K, relative capacity lost per kelvin below 25 degC
HYSTERESIS_RATE = 30.0  # the loop closes after about 1/30 of the capacity


def resistances(soc, temperature):
    """Series, transfer and diffusion resistance of a new cell [ohm] at this charge and temperature [degC]."""
    inverse = (1 / (temperature + 273.15) - 1 / ROOM) / GAS
    rise = torch.exp(-soc.clamp(min=-0.05) / EMPTY_SCALE)
    return tuple(
        value * torch.exp(energy * inverse) * (1 + gain * rise) for value, energy, gain in (SERIES, TRANSFER, DIFFUSION)
    )


def usable(capacity, temperature):
    """Capacity [A h] at a temperature [degC] from that at 25 degC; constant above 35 degC."""
    return capacity * (1 + CAPACITY_SLOPE * (temperature.clamp(max=35.0) - 25.0))


class Cell(Block):
    """A second-order RC cell with hysteresis, self-heating and ageing; current > 0 discharges.

    soc'         = -I / (3600 C(T))
    v1', v2'     = I / C_i - v_i / (R_i(soc, T) C_i)
    hysteresis'  = -|I| k / (3600 C) (hysteresis + sign(I))         in [-1, 1], times `loop` volts (Plett 2004)
    temperature' = (I (OCV - V) - h A (T - ambient)) / C_th
    voltage      = OCV(soc) + loop hysteresis - v1 - v2 - R_0 I

    Ageing is one number `age` in [0, 1] times the cell's own rates: lithium lost, electrode material lost (both shift
    and stretch the OCV and shrink the capacity, see `ocv.window`) and growth of each resistance.
    """

    current = Input(unit="A")
    ambient = Input(unit="degC")

    age: Param = Param(0.0)
    lithium_rate: Param = Param(0.14)
    negative_rate: Param = Param(0.05)
    positive_rate: Param = Param(0.06)
    series_growth: Param = Param(0.5)
    transfer_growth: Param = Param(0.8)
    diffusion_growth: Param = Param(0.5)
    spread: Param = Param(1.0)
    capacity_spread: Param = Param(1.0)
    loop: Param = Param(0.010, unit="V")
    heat_capacity: Param = Param(72.0, unit="J/K")
    exchange: Param = Param(0.06, unit="W/K")
    initial_soc: Param = Param(0.6)
    initial_hysteresis: Param = Param(0.0)
    initial_current: Param = Param(0.0, unit="A")
    initial_warmth: Param = Param(0.0, unit="K")

    soc, v1, v2 = State(0.6), State(0.0, unit="V"), State(0.0, unit="V")
    hysteresis, temperature = State(0.0), State(25.0, unit="degC")
    capacity, x_empty, x_span, y_empty, y_span = State(5.0, unit="A h"), State(), State(), State(), State()
    series, transfer, diffusion = State(1.0), State(1.0), State(1.0)

    @initial
    def start(
        self,
        ambient,
        age,
        lithium_rate,
        negative_rate,
        positive_rate,
        series_growth,
        transfer_growth,
        diffusion_growth,
        spread,
        capacity_spread,
        initial_soc,
        initial_hysteresis,
        initial_current,
        initial_warmth,
    ):
        x_empty, x_span, y_empty, y_span, capacity = ocv.window(
            age * lithium_rate, age * negative_rate, age * positive_rate
        )
        temperature = ambient + initial_warmth
        _, transfer_new, diffusion_new = resistances(initial_soc, temperature)
        transfer, diffusion = spread * (1 + transfer_growth * age), spread * (1 + diffusion_growth * age)
        return dict(
            soc=initial_soc,
            hysteresis=initial_hysteresis,
            temperature=temperature,
            capacity=capacity * capacity_spread,
            x_empty=x_empty,
            x_span=x_span,
            y_empty=y_empty,
            y_span=y_span,
            series=spread * (1 + series_growth * age),
            transfer=transfer,
            diffusion=diffusion,
            v1=0 * initial_current,
            v2=initial_current * diffusion * diffusion_new,
        )

    @derivative(soc, v1, v2, hysteresis, temperature)
    def motion(
        self,
        soc,
        v1,
        v2,
        hysteresis,
        temperature,
        current,
        ambient,
        capacity,
        series,
        transfer,
        diffusion,
        loop,
        heat_capacity,
        exchange,
    ):
        r0, r1, r2 = resistances(soc, temperature)
        rate = current / (3600 * usable(capacity, temperature))
        drop = series * r0 * current + v1 + v2 - loop * hysteresis
        return (
            -rate,
            (current - v1 / (transfer * r1)) / TRANSFER_CAPACITANCE,
            (current - v2 / (diffusion * r2)) / DIFFUSION_CAPACITANCE,
            -HYSTERESIS_RATE * (rate.abs() * hysteresis + rate),
            (current * drop - exchange * (temperature - ambient)) / heat_capacity,
        )

    @output
    def voltage(self, soc, v1, v2, hysteresis, temperature, current, series, loop, x_empty, x_span, y_empty, y_span):
        r0 = resistances(soc, temperature)[0]
        return ocv.ocv(soc, x_empty, x_span, y_empty, y_span) + loop * hysteresis - v1 - v2 - series * r0 * current
