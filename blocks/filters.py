"""Digital filters: weighted sums of past samples. Designs are SciPy's; b and a are in powers of z^-1, as there."""

import torch

from simdl import Block, Input, ModelError, Output, Param, State, initial, tick
from simdl.blocks.limits import whole_number
from simdl.clock import nanoseconds, seconds


class FIR(Block):
    """y_k = b_0 u_k + b_1 u_{k-1} + …: a filter with a finite impulse response, at rest at first.

    >>> from simdl import simulate
    >>> simulate(FIR(b=[0.5, 0.25, 0.25], period=1), 3, inputs={"u": 4.0})["y"].values
    tensor([[2., 3., 4., 4.]], dtype=torch.float64)
    """

    u, y = Input(), Output()
    b: Param = Param()
    past = State(0.0)

    @initial
    def rest(self, b):
        return dict(past=torch.zeros_like(b))

    @tick
    def filter(self, u, past, b):
        past = torch.cat([u.unsqueeze(1), past[:, :-1]], dim=1)
        return dict(y=(b * past).sum(dim=1), past=past)


class IIR(Block):
    """a_0 y_k = b_0 u_k + b_1 u_{k-1} + … - a_1 y_{k-1} - …: a rational filter, at rest at first.

    b and a have one length (ModelError): pad with zeros at the end. It is computed in the transposed direct form II.
    From order four on, or with a cutoff far below the sample rate, use `Biquads`: its coefficients lose less to
    rounding.

    >>> from simdl import simulate
    >>> simulate(IIR(b=[0.5, 0.0], a=[1.0, -0.5], period=1), 3, inputs={"u": 1.0})["y"].values
    tensor([[0.5000, 0.7500, 0.8750, 0.9375]], dtype=torch.float64)
    """

    u, y = Input(), Output()
    b: Param = Param()
    a: Param = Param()
    z = State(0.0)

    @initial
    def rest(self, b, a):
        if b.shape != a.shape:
            raise ModelError(str(self), f"{b.shape[1]} of b, {a.shape[1]} of a", "as many: pad with zeros at the end")
        return dict(z=torch.zeros_like(b[:, 1:]))

    @tick
    def filter(self, u, z, b, a):
        y = (b[:, 0] * u + z[:, 0]) / a[:, 0]
        later = torch.cat([z[:, 1:], torch.zeros_like(z[:, :1])], dim=1)
        return dict(y=y, z=later + b[:, 1:] * u.unsqueeze(1) - a[:, 1:] * y.unsqueeze(1))


class DiscreteTransferFunction(IIR):
    """y = numerator(z) / denominator(z) u, coefficients from the highest power of z down; at rest at first.

    As in Simulink and python-control: [1.0] over [1.0, -0.5] is 1 / (z - 0.5), a delayed lag. Raises ModelError for
    more zeros than poles, and for a denominator that is a number or begins with 0.

    >>> from simdl import simulate
    >>> simulate(DiscreteTransferFunction([1.0], [1.0, -0.5], period=1), 3, inputs={"u": 1.0})["y"].values
    tensor([[0.0000, 1.0000, 1.5000, 1.7500]], dtype=torch.float64)
    """

    def __init__(self, numerator, denominator, **settings):
        if len(numerator) > len(denominator) or len(denominator) < 2 or denominator[0] == 0:
            found = f"{numerator!r} over {denominator!r}"
            raise ModelError("DiscreteTransferFunction", found, "no more zeros than poles, and a pole or more")
        padded = [0.0] * (len(denominator) - len(numerator)) + list(numerator)
        super().__init__(b=padded, a=list(denominator), **settings)


class Biquads(Block):
    """A cascade of second-order sections, each y_k = b_0 u_k + b_1 u_{k-1} + b_2 u_{k-2} - a_1 y_{k-1} - a_2 y_{k-2}.

    `sections` is (n, 6): b_0 b_1 b_2 1 a_1 a_2, SciPy's "sos". At rest at first. `butterworth` designs one.

    >>> from simdl import simulate
    >>> smooth = Biquads.butterworth(4, cutoff=5.0, period=0.01)
    >>> round(float(simulate(smooth, 3, inputs={"u": 1.0})["y"].at(3)), 9)
    1.0
    """

    u, y = Input(), Output()
    sections: Param = Param()
    z = State(0.0)

    @initial
    def rest(self, sections):
        if sections.ndim != 3 or sections.shape[2] != 6:
            raise ModelError(f"{self}.sections", f"the shape {tuple(sections.shape[1:])}", "(n, 6)")
        return dict(z=torch.zeros_like(sections[:, :, :2]))

    @tick
    def filter(self, u, z, sections):
        after = []
        for k in range(z.shape[1]):
            b0, b1, b2, _, a1, a2 = sections[:, k].unbind(1)
            y = b0 * u + z[:, k, 0]
            after.append(torch.stack([z[:, k, 1] + b1 * u - a1 * y, b2 * u - a2 * y], dim=1))
            u = y
        return dict(y=u, z=torch.stack(after, dim=1))

    @classmethod
    def butterworth(cls, order: int, cutoff, period, kind: str = "lowpass", **settings):
        """A Butterworth filter with a period: kind "lowpass", "highpass", and with two cutoffs "bandpass", "bandstop".

        cutoff: where the gain is 1 / sqrt(2), in Hz, below half the sample rate (ModelError).
        """
        return cls.designed("butter", order, cutoff, period, kind, **settings)

    @classmethod
    def designed(cls, family, order: int, cutoff, period, kind: str = "lowpass", ripple=None, stop=None, **settings):
        """Any design of scipy.signal.iirfilter: "butter", "cheby1" (ripple in dB), "cheby2" (stop in dB), "ellip"
        (both), "bessel". Raises ModelError for a design that SciPy does not know."""
        from scipy.signal import iirfilter

        rate = 1.0 / seconds(nanoseconds(period))
        edges = cutoff if isinstance(cutoff, list | tuple) else [cutoff]
        if not all(0.0 < edge < rate / 2 for edge in edges):
            limit = f"between 0 and half the sample rate, {rate / 2:g} Hz"
            raise ModelError(cls.__name__, f"cutoff={cutoff!r} Hz", limit)
        whole_number(f"{cls.__name__}: order", order)
        try:
            sos = iirfilter(order, cutoff, rp=ripple, rs=stop, btype=kind, ftype=family, output="sos", fs=rate)
        except ValueError as error:
            raise ModelError(cls.__name__, str(error), "a design of scipy.signal.iirfilter") from None
        return cls(sections=sos, period=period, **settings)
