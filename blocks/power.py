"""Power electronics."""

from simdl import Block, Input, Param, State, derivative, output


class BuckConverter(Block):
    """L i' = duty source - r i - v,  C v' = i - v / load: averaged for a duty in [0, 1], switched for a gate of 0 or 1.

    One pair of equations is both: drive `duty` from a `Pulse` for the switched circuit with an ideal diode, or from a
    number for its average over a period. Continuous conduction: the current must not fall to zero, where a real diode
    blocks. Erickson & Maksimovic, Fundamentals of Power Electronics, chapters 2 and 7; components of the regulator of
    section 9.5: 28 V to 15 V at 5 A, 100 kHz; r is an addition, zero there.

    >>> from simdl import RK4, simulate
    >>> run = simulate(BuckConverter(), 0.02, inputs={"duty": 15.0 / 28.0}, solver=RK4(max_step=1e-5), every=0.01)
    >>> round(float(run["v"].at(0.02)), 1)
    15.0
    """

    duty = Input()
    source, load = Input(unit="V", default=28.0), Input(unit="ohm", default=3.0)
    inductance: Param = Param(50e-6, unit="H", low=1e-12)
    capacitance: Param = Param(500e-6, unit="F", low=1e-12)
    resistance: Param = Param(0.0, unit="ohm")
    i, v = State(0.0, unit="A"), State(0.0, unit="V")

    @derivative(i, v)
    def flow(self, i, v, duty, source, load, inductance, capacitance, resistance):
        return (duty * source - resistance * i - v) / inductance, (i - v / load) / capacitance

    @output(unit="A")
    def source_current(self, i, duty):
        return duty * i
