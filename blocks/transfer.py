"""Transfer functions in continuous time."""

import numpy as np
import torch

from simdl import Block, Diagram, Input, ModelError, Output, Param, State, derivative, initial, output
from simdl.blocks.arithmetic import Gain


class Rational(Block):
    """y = (b_1 s^(n-1) + … + b_n) / (a_0 s^n + a_1 s^(n-1) + … + a_n) u: strictly proper, starting at rest.

    The controllable canonical form: with w = u / (a_0 s^n + …), the states x are w and its derivatives, the highest
    last. `numerator` is (n,), `denominator` (n + 1,), highest powers first; y does not depend on u at once.

    >>> from simdl import RK4, simulate
    >>> lag = Rational(numerator=[1.0], denominator=[0.5, 1.0])
    >>> round(float(simulate(lag, 1, inputs={"u": 1.0}, solver=RK4(max_step=0.01))["y"].at(1)), 6)  # 1 - exp(-2)
    0.864665
    """

    u = Input()
    numerator: Param = Param()
    denominator: Param = Param()
    x = State()

    @initial
    def rest(self, numerator, denominator):
        return dict(x=torch.zeros_like(denominator[:, 1:]))

    @derivative(x)
    def flow(self, x, u, denominator):
        lead, rest = denominator[:, :1], denominator[:, 1:].flip(1)
        highest = (u.unsqueeze(1) - (rest * x).sum(1, keepdim=True)) / lead
        return torch.cat([x[:, 1:], highest], dim=1)

    @output
    def y(self, x, numerator):
        return (numerator.flip(1) * x).sum(1)


class RationalD(Rational):
    """y = (b_0 s^n + b_1 s^(n-1) + … + b_n) / (a_0 s^n + … + a_n) u: y depends on u at once, by b_0 / a_0.

    `numerator` and `denominator` are (n + 1,).

    >>> from simdl import Tsit5, simulate
    >>> lead = RationalD(numerator=[2.0, 1.0], denominator=[0.5, 1.0])
    >>> float(simulate(lead, 0, inputs={"u": 1.0}, solver=Tsit5())["y"].at(0))
    4.0
    """

    @output
    def y(self, x, u, numerator, denominator):
        through = numerator[:, :1] / denominator[:, :1]
        rest = numerator[:, 1:] - through * denominator[:, 1:]
        return (rest.flip(1) * x).sum(1) + through[:, 0] * u


class TransferFunction(Diagram):
    """y = numerator(s) / denominator(s) u, coefficients from the highest power down, starting at rest.

    Proper: no more zeros than poles. With as many, y depends on u at once; with fewer it does not, and breaks loops.

    >>> from simdl import RK4, simulate
    >>> plant = TransferFunction([1.0], [1.0, 1.0, 0.0])  # 1 / (s (s + 1))
    >>> round(float(simulate(plant, 1, inputs={"u": 1.0}, solver=RK4(max_step=0.01))["y"].at(1)), 6)  # exp(-1)
    0.367879
    """

    u, y = Input(), Output()
    numerator: Param = Param(1.0)
    denominator: Param = Param(1.0)

    def __init__(self, numerator, denominator):
        above, below = np.trim_zeros(np.atleast_1d(numerator), "f"), np.trim_zeros(np.atleast_1d(denominator), "f")
        if not len(below) or len(above) > len(below):
            found = f"degree {len(above) - 1} over degree {len(below) - 1}"
            raise ModelError("TransferFunction", found, "no more zeros than poles",
                             "add fast poles: a derivative s is s / (tau s + 1)")  # fmt: skip
        through = len(above) == len(below)
        above = np.concatenate([np.zeros(len(below) - len(above)), above])
        self.numerator, self.denominator = above if through else above[1:], below
        self.system = rational(self.numerator, self.denominator, len(below) - 1, through)
        self.system.u = self.u
        self.y = self.system.y


def rational(numerator, denominator, order, through):
    """The block of a transfer function: a gain, or one with states."""
    if order == 0:
        return Gain(k=numerator[0] / denominator[0])
    return (RationalD if through else Rational)(numerator=numerator, denominator=denominator)


class ZeroPoleGain(Diagram):
    """y = k (s - z_1) (s - z_2) … / ((s - p_1) (s - p_2) …) u, starting at rest: complex zeros and poles in pairs.

    A chain of sections of first and second order, which high orders need: their coefficients span too many decades.

    >>> from simdl import RK4, simulate
    >>> filter = ZeroPoleGain(zeros=[], poles=[-1 + 1j, -1 - 1j], k=2.0)
    >>> round(float(simulate(filter, 9, inputs={"u": 1.0}, solver=RK4(max_step=0.01))["y"].at(9)), 3)
    1.0
    """

    u, y = Input(), Output()

    def __init__(self, zeros, poles, k=1.0):
        if len(zeros) > len(poles):
            raise ModelError("ZeroPoleGain", f"{len(zeros)} zeros, {len(poles)} poles", "no more zeros than poles")
        from scipy import signal  # at use: importing it takes longer than the rest of the library

        try:
            sections = signal.zpk2sos(zeros, poles, k, pairing="minimal", analog=True)
        except ValueError as error:
            raise ModelError("ZeroPoleGain", str(error), "complex zeros and poles in pairs") from None
        self.sections = [TransferFunction(section[:3], section[3:]) for section in sections]
        source = self.u
        for section in self.sections:
            section.u = source
            source = section.y
        self.y = source


class SecondOrder(Block):
    """y'' = omega^2 (k u - y) - 2 zeta omega y': k / (s^2 / omega^2 + 2 zeta s / omega + 1); y(0) = start, at rest.

    A low-pass filter (Butterworth with zeta = sqrt(1/2)), or a mass on a spring.

    >>> from simdl import RK4, simulate
    >>> run = simulate(SecondOrder(omega=2.0, zeta=1.0), 1, inputs={"u": 1.0}, solver=RK4(max_step=0.01))
    >>> round(float(run["y"].at(1)), 6)  # 1 - 3 exp(-2)
    0.593994
    """

    u = Input()
    k: Param = Param(1.0)
    omega: Param = Param(1.0, unit="rad/s", low=1e-12)
    zeta: Param = Param(0.5**0.5, low=0.0)
    start: Param = Param(0.0)
    y, slope = State(0.0), State(0.0)

    @initial
    def begin(self, start):
        return dict(y=start)

    @derivative(y, slope)
    def flow(self, y, slope, u, k, omega, zeta):
        return slope, omega**2 * (k * u - y) - 2 * zeta * omega * slope


class LeadLag(Block):
    """y = k (lead s + 1) / (lag s + 1) u, starting at rest: phase lead with lead > lag, lag with lead < lag.

    lag x' = u - x, y = k (x + lead x'): y depends on u at once.

    >>> from simdl import RK4, simulate
    >>> run = simulate(LeadLag(lead=2.0, lag=0.5), 9, inputs={"u": 1.0}, solver=RK4(max_step=0.01))
    >>> float(run["y"].at(0)), round(float(run["y"].at(9)), 6)
    (4.0, 1.0)
    """

    u = Input()
    lead: Param = Param(1.0, unit="s")
    lag: Param = Param(1.0, unit="s", low=1e-12)
    k: Param = Param(1.0)
    x = State(0.0)

    @derivative(x)
    def flow(self, x, u, lag):
        return (u - x) / lag

    @output
    def y(self, x, u, lead, lag, k):
        return k * (x + lead * (u - x) / lag)


class Notch(Block):
    """y = (s^2 + 2 depth width s + omega^2) / (s^2 + 2 width s + omega^2) u, starting at rest.

    The gain at omega is `depth`, far off it is 1; the band in which it attenuates is about 2 width wide. With
    v = s u / (s^2 + 2 width s + omega^2), which only the band passes, y = u - 2 (1 - depth) width v.

    >>> from simdl import RK4, simulate
    >>> float(simulate(Notch(omega=50.0), 0, inputs={"u": 1.0}, solver=RK4(max_step=0.01))["y"].at(0))
    1.0
    """

    u = Input()
    omega: Param = Param(1.0, unit="rad/s", low=0.0)
    width: Param = Param(0.1, unit="rad/s", low=0.0)
    depth: Param = Param(0.0)
    x, v = State(0.0), State(0.0)

    @derivative(x, v)
    def flow(self, x, v, u, omega, width):
        return v, u - 2 * width * v - omega**2 * x

    @output
    def y(self, v, u, width, depth):
        return u - 2 * (1 - depth) * width * v
