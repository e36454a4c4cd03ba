"""Batteries as equivalent circuits; a positive current discharges."""

import torch

from simdl import Block, Input, Param, State, derivative, initial, output
from simdl.blocks.arithmetic import spread


class BatteryCell(Block):
    """A cell of lithium polymer: a voltage that falls with the charge, a resistance, and two RC pairs.

    soc' = -current / (3600 capacity),  v_k' = current / C_k - v_k / (R_k C_k)
    voltage = ocv(soc) - v_short - v_long - growth R_0 current

    R_0, R_k and C_k depend on the charge, see `impedance`; growth scales the resistances of an aged cell. Chen &
    Rincon-Mora, IEEE Trans. Energy Conversion 21 (2006) 504: their cell TCL PL-383562 of 850 mA h.

    >>> from simdl import RK4, simulate
    >>> cell = BatteryCell()
    >>> run = simulate(cell, 1800, inputs={"current": 0.85}, set={"soc": 1.0}, solver=RK4(max_step=1.0), every=600)
    >>> round(float(run["soc"].at(1800)), 9), round(float(run["voltage"].at(0)), 4)
    (0.5, 4.0396)
    """

    current = Input(unit="A")
    capacity: Param = Param(0.85, unit="A h", low=1e-12)
    growth: Param = Param(1.0, low=1e-12)
    soc, v_short, v_long = State(1.0), State(0.0, unit="V"), State(0.0, unit="V")

    @derivative(soc, v_short, v_long)
    def flow(self, soc, v_short, v_long, current, capacity, growth):
        _, r1, c1, r2, c2 = impedance(soc)
        return (-current / (3600 * capacity), (current - v_short / (growth * r1)) / c1,
                (current - v_long / (growth * r2)) / c2)  # fmt: skip

    @output(unit="V")
    def voltage(self, soc, v_short, v_long, current, growth):
        return open_circuit(soc) - v_short - v_long - growth * impedance(soc)[0] * current


class BatteryPack(Block):
    """Cells of `BatteryCell` in a grid: rows of parallel cells, in series; `capacity` (series, parallel) spreads them.

    In a row all cells have one voltage V = (sum E_k / R_k - current) / sum 1 / R_k, where E_k is the voltage of cell k
    without its R_0, and cell k gives (E_k - V) / R_k. The pack has the sum of the V. `capacity` and
    `growth` have a number for each cell; all start with the charge `start`, 0 to 1.

    >>> from simdl import RK4, simulate
    >>> pack = BatteryPack(capacity=[[0.85, 0.80], [0.85, 0.85]], growth=[[1.0, 1.1], [1.0, 1.0]])
    >>> run = simulate(pack, 60, inputs={"current": 1.7}, solver=RK4(max_step=0.5), every=60)
    >>> first, second = run["voltages"].at(60)[0].tolist()
    >>> first < second and abs(first + second - float(run["voltage"].at(60))) < 1e-12
    True
    """

    current = Input(unit="A")
    capacity: Param = Param([[0.85, 0.85], [0.85, 0.85]], unit="A h", low=1e-12)
    growth: Param = Param([[1.0, 1.0], [1.0, 1.0]], low=1e-12)
    start: Param = Param(1.0)
    soc, v_short, v_long = State(), State(unit="V"), State(unit="V")

    @initial
    def begin(self, capacity, start):
        none = torch.zeros_like(capacity)
        return dict(soc=none + spread(start, none), v_short=none, v_long=none)

    @derivative(soc, v_short, v_long)
    def flow(self, soc, v_short, v_long, current, capacity, growth):
        _, r1, c1, r2, c2 = impedance(soc)
        _, each = row(soc, v_short, v_long, current, growth)
        return (-each / (3600 * capacity), (each - v_short / (growth * r1)) / c1,
                (each - v_long / (growth * r2)) / c2)  # fmt: skip

    @output(unit="V")
    def voltage(self, soc, v_short, v_long, current, growth):
        return sum(row(soc, v_short, v_long, current, growth)[0].unbind(dim=1))

    @output(unit="V")
    def voltages(self, soc, v_short, v_long, current, growth):
        return row(soc, v_short, v_long, current, growth)[0]

    @output(unit="A")
    def currents(self, soc, v_short, v_long, current, growth):
        return row(soc, v_short, v_long, current, growth)[1]


def open_circuit(soc):
    """The voltage at rest [V]."""
    return -1.031 * torch.exp(-35 * soc) + 3.685 + soc * (0.2156 + soc * (-0.1178 + soc * 0.3201))


def impedance(soc):
    """R_0 [ohm], then R [ohm] and C [F] of either pair, the short one first; held below 2 % charge: C_long vanishes."""
    soc = soc.clamp(min=0.02)
    return (
        0.1562 * torch.exp(-24.37 * soc) + 0.07446,
        0.3208 * torch.exp(-29.14 * soc) + 0.04669, -752.9 * torch.exp(-13.51 * soc) + 703.6,
        6.603 * torch.exp(-155.2 * soc) + 0.04984, -6056.0 * torch.exp(-27.12 * soc) + 4475.0,
    )  # fmt: skip


def row(soc, v_short, v_long, current, growth):
    """The voltage of each row (lanes, series) and the current of each cell (lanes, series, parallel)."""
    inner, resistance = open_circuit(soc) - v_short - v_long, growth * impedance(soc)[0]
    total = current.unsqueeze(1)
    short = sum((inner / resistance).unbind(dim=2))  # a chain, whose bits no batch changes
    voltage = (short - total) / sum((1 / resistance).unbind(dim=2))
    return voltage, (inner - voltage.unsqueeze(2)) / resistance
