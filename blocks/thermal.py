"""Heat: a room, and two streams that exchange it."""

import torch

from simdl import Block, Input, Param, State, derivative, initial, output
from simdl.blocks.limits import whole_number


class Room(Block):
    """Air and walls of a room, each one lump: two resistances and two capacities.

    C_air air' = heating + gains + (wall - air) / R_in + (outside - air) / R_window
    C_wall wall' = (air - wall) / R_in + (outside - wall) / R_out

    The structure "TiTe" of Bacher & Madsen, Energy and Buildings 43 (2011) 1511, with a window beside the wall; the
    values are chosen for an office of 20 m^2: a time constant of a quarter of an hour and one of two days.

    >>> from simdl import RK4, simulate
    >>> run = simulate(Room(), 30 * 86400, inputs={"heating": 500.0, "outside": 5.0}, solver=RK4(max_step=300.0))
    >>> round(float(run["air"].at(30 * 86400)), 2)  # 5 + 500 / (1/R_window + 1/(R_in + R_out))
    20.0
    """

    heating, outside = Input(unit="W"), Input(unit="degC")
    gains = Input(unit="W", default=0.0)
    air_capacity: Param = Param(250e3, unit="J/K", low=1e-12)
    wall_capacity: Param = Param(10e6, unit="J/K", low=1e-12)
    inner: Param = Param(0.004, unit="K/W", low=1e-12)
    outer: Param = Param(0.056, unit="K/W", low=1e-12)
    window: Param = Param(0.06, unit="K/W", low=1e-12)
    air, wall = State(20.0, unit="degC"), State(20.0, unit="degC")

    @derivative(air, wall)
    def flow(self, air, wall, heating, outside, gains, air_capacity, wall_capacity, inner, outer, window):
        inwards, through = (wall - air) / inner, (outside - air) / window
        outwards = (wall - outside) / outer
        return (heating + gains + inwards + through) / air_capacity, -(inwards + outwards) / wall_capacity


class HeatExchanger(Block):
    """Two streams that pass each other in opposite directions, each as a row of `cells` well-stirred ones.

    H_k' = n / hot_hold (hot_rate (H_(k-1) - H_k) - conductance / n (H_k - C_k)), and C_k' likewise from the other end.
    Rates are mass flow times specific heat, holds the heat capacity of a stream's whole contents.

    The outlets tend to the formulas of effectiveness and NTU as 1 / cells. Rates and conductance: the oil cooler of
    Incropera et al., Fundamentals of Heat and Mass Transfer, example 11.1 (0.1 kg/s of oil, 0.2 kg/s of water), where
    100 and 30 degC become 60 and 40.2 degC; the holds are chosen.

    >>> from simdl import RK4, simulate
    >>> cooler = HeatExchanger(cells=40)
    >>> run = simulate(cooler, 200, inputs={"hot_in": 100.0, "cold_in": 30.0}, solver=RK4(max_step=0.2), every=200)
    >>> [round(float(run[name].at(200)), 1) for name in ("hot_out", "cold_out")]
    [60.3, 40.1]
    """

    hot_in, cold_in = Input(unit="degC"), Input(unit="degC")
    hot_rate, cold_rate = Input(unit="W/K", default=213.1), Input(unit="W/K", default=835.6)
    conductance: Param = Param(197.3, unit="W/K", low=0.0)
    hot_hold: Param = Param(2000.0, unit="J/K", low=1e-12)
    cold_hold: Param = Param(4000.0, unit="J/K", low=1e-12)
    hot, cold = State(unit="degC"), State(unit="degC")

    def __init__(self, cells: int = 20, **settings):
        super().__init__(**settings)
        self.cells = whole_number("HeatExchanger.cells", cells)

    @initial
    def fill(self, hot_in, cold_in):
        return dict(hot=hot_in.unsqueeze(1).expand(-1, self.cells), cold=cold_in.unsqueeze(1).expand(-1, self.cells))

    @derivative(hot, cold)
    def flow(self, hot, cold, hot_in, cold_in, hot_rate, cold_rate, conductance, hot_hold, cold_hold):
        before = torch.cat([hot_in.unsqueeze(1), hot[:, :-1]], dim=1)
        behind = torch.cat([cold[:, 1:], cold_in.unsqueeze(1)], dim=1)
        across = conductance.unsqueeze(1) * (hot - cold) / self.cells
        return (self.cells / hot_hold.unsqueeze(1) * (hot_rate.unsqueeze(1) * (before - hot) - across),
                self.cells / cold_hold.unsqueeze(1) * (cold_rate.unsqueeze(1) * (behind - cold) + across))  # fmt: skip

    @output(unit="degC")
    def hot_out(self, hot):
        return hot[:, -1]

    @output(unit="degC")
    def cold_out(self, cold):
        return cold[:, 0]
