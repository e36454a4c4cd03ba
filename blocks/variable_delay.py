"""Transport delay that is a signal itself."""

import math

from simdl import Diagram, Input, ModelError, Output, Param
from simdl.blocks.delay import Interpolation, Samples
from simdl.blocks.nonlinear import Saturation
from simdl.clock import Duration, nanoseconds, seconds


class VariableDelay(Diagram):
    """y(t) = u(t - delay(t)), and `start` where that is before 0: the flow of a pipe, the age of a message.

    A ring of samples of u, its own period `sample`, read by cubic interpolation as in `TransportDelay`. The delay is
    limited to [4 sample, longest]. y depends on the delay at once, on u not: it breaks loops through u.

    >>> from simdl import simulate
    >>> from simdl.blocks.sources import Ramp
    >>> delay = VariableDelay(longest=1.0, sample=0.05)
    >>> inputs = {"u": Ramp(), "delay": ([0.0, 2.0], [0.5, 0.25])}
    >>> y = simulate(delay, 3, inputs=inputs, every=1)["y"]
    >>> [round(value, 9) for value in y.values[0].tolist()]
    [0.0, 0.5, 1.75, 2.75]
    """

    u, delay, y = Input(), Input(unit="s"), Output()
    start: Param = Param(0.0)

    def __init__(self, longest: float, sample: Duration = "10 ms", start: float = 0.0) -> None:
        period = seconds(nanoseconds(sample))
        if longest / period < 4 - 1e-9:
            raise ModelError("VariableDelay", f"longest={longest:g}, sample={sample!r}", "at least four samples")
        self.samples = Samples(math.ceil(longest / period) + 4, start=self.start, spacing=period, period=sample)
        self.samples.u = self.u
        self.limit = Saturation(low=4 * period, high=longest)
        self.limit.u = self.delay
        self.read = VariableInterpolation(start=self.start, spacing=period)
        self.read.ring, self.read.newest, self.read.delay = self.samples.ring, self.samples.newest, self.limit.y
        self.y = self.read.y


class VariableInterpolation(Interpolation):
    """The cubic through the four samples around t - delay, the delay an input; its value has no edge known before."""

    delay = Input(unit="s")
    arrival = None
