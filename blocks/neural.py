"""Neural mass models: the mean activity of a population of neurons, as The Virtual Brain has them.

Their own unit of time is the millisecond, in equations and parameters; `PER_SECOND` turns their rates into those of a
run, so that a run of 3 s is 3000 ms of the model.
"""

import torch

from simdl import Block, Input, Param, State, derivative, output

PER_SECOND = 1000.0  # ms


class Epileptor(Block):
    """Seizures that come and go by themselves, in milliseconds:

    x1' = y1 - z + i1 + x1 (x1 < 0 ? b x1 - a x1^2 : slope - x2 + 0.6 (z - 4)^2),  y1' = c - d x1^2 - y1
    z' = r (4 (x1 - x0) - z + (z < 0 ? -0.1 z^7 : 0))
    x2' = -y2 + x2 - x2^3 + i2 + bb g - 0.3 (z - 3.5),  y2' = (-y2 + (x2 < -0.25 ? 0 : aa (x2 + 0.25))) / tau
    g' = -0.01 (g - 0.1 x1)

    `fast` and `slow` (inputs) couple it to others and add to x1' and r (...). Seizures come for x0 > -2.05 or so.
    It is stiff: RK4 needs steps of 0.1 ms. Jirsa et al., Brain 137 (2014) 2210, with the defaults of The Virtual Brain.

    >>> from simdl import RK4, simulate
    >>> run = simulate(Epileptor(), 0.2, set={"x0": -2.2}, solver=RK4(max_step=1e-4), every=0.1)
    >>> float(run["x1"].at(0.2)) < -1.7  # quiet
    True
    """

    fast, slow = Input(default=0.0), Input(default=0.0)
    x0: Param = Param(-1.6)
    i1: Param = Param(3.1)
    i2: Param = Param(0.45)
    a: Param = Param(1.0)
    b: Param = Param(3.0)
    c: Param = Param(1.0)
    d: Param = Param(5.0)
    r: Param = Param(0.00035)
    slope: Param = Param(0.0)
    aa: Param = Param(6.0)
    bb: Param = Param(2.0)
    tau: Param = Param(10.0, unit="ms", low=1e-12)
    x1, y1, z = State(-1.5), State(-10.0), State(3.5)
    x2, y2, g = State(-1.0), State(0.0), State(0.0)

    @derivative(x1, y1, z, x2, y2, g)
    def flow(self, x1, y1, z, x2, y2, g, fast, slow, x0, i1, i2, a, b, c, d, r, slope, aa, bb, tau):
        spiking = torch.where(x1 < 0, b * x1 - a * x1**2, slope - x2 + 0.6 * (z - 4) ** 2)
        recovery = torch.where(x2 < -0.25, 0.0, aa * (x2 + 0.25))
        rates = (
            y1 - z + i1 + fast + x1 * spiking,
            c - d * x1**2 - y1,
            r * (4 * (x1 - x0) - z + torch.where(z < 0, -0.1 * z**7, 0.0) + slow),
            -y2 + x2 - x2**3 + i2 + bb * g - 0.3 * (z - 3.5),
            (recovery - y2) / tau,
            -0.01 * (g - 0.1 * x1),
        )
        return tuple(PER_SECOND * rate for rate in rates)

    @output
    def field(self, x1, x2):
        """The local field potential, x2 - x1."""
        return x2 - x1


class JansenRit(Block):
    """A cortical column: pyramidal cells between excitatory and inhibitory interneurons; potentials in mV, time in ms.

    y0'' = A a S(y1 - y2) - 2 a y0' - a^2 y0
    y1'' = A a (p + afferent + a2 J S(a1 J y0)) - 2 a y1' - a^2 y1
    y2'' = B b a4 J S(a3 J y0) - 2 b y2' - b^2 y2,  S(v) = 2 nu / (1 + exp(r (v0 - v)))

    The output y1 - y2 is the simulated EEG. Jansen & Rit, Biological Cybernetics 73 (1995) 357, with the defaults of
    The Virtual Brain.

    >>> from simdl import RK4, simulate
    >>> run = simulate(JansenRit(p=0.09), 2, solver=RK4(max_step=1e-3))
    >>> round(float(run["eeg"].at(2)), 3)  # too little input for a rhythm
    0.599
    """

    afferent = Input(unit="1/ms", default=0.0)
    p: Param = Param(0.22, unit="1/ms")
    A: Param = Param(3.25, unit="mV")
    B: Param = Param(22.0, unit="mV")
    a: Param = Param(0.1, unit="1/ms")
    b: Param = Param(0.05, unit="1/ms")
    v0: Param = Param(5.52, unit="mV")
    nu: Param = Param(0.0025, unit="1/ms")
    r: Param = Param(0.56, unit="1/mV")
    J: Param = Param(135.0)
    a1: Param = Param(1.0)
    a2: Param = Param(0.8)
    a3: Param = Param(0.25)
    a4: Param = Param(0.25)
    y0, y1, y2 = State(0.0, unit="mV"), State(0.0, unit="mV"), State(0.0, unit="mV")
    v_y0, v_y1, v_y2 = State(0.0, unit="mV/ms"), State(0.0, unit="mV/ms"), State(0.0, unit="mV/ms")

    @derivative(y0, y1, y2, v_y0, v_y1, v_y2)
    def flow(self, y0, y1, y2, v_y0, v_y1, v_y2, afferent, p, A, B, a, b, v0, nu, r, J, a1, a2, a3, a4):
        def firing(potential):
            return 2 * nu / (1 + torch.exp(r * (v0 - potential)))

        rates = (
            v_y0,
            v_y1,
            v_y2,
            A * a * firing(y1 - y2) - 2 * a * v_y0 - a**2 * y0,
            A * a * (p + afferent + a2 * J * firing(a1 * J * y0)) - 2 * a * v_y1 - a**2 * y1,
            B * b * a4 * J * firing(a3 * J * y0) - 2 * b * v_y2 - b**2 * y2,
        )
        return tuple(PER_SECOND * rate for rate in rates)

    @output(unit="mV")
    def eeg(self, y1, y2):
        return y1 - y2
