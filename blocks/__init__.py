"""The block library: short exemplars, each with its equation in the docstring. Import it as `simdl.blocks`."""

if __name__ != "simdl.blocks":
    raise ImportError(
        f"the block library was imported as {__name__!r}; it is part of simdl: write `from simdl.blocks import ...`"
    )

from simdl.blocks.arithmetic import Gain, Product, Sum
from simdl.blocks.continuous import FirstOrder, Integrator, StateSpace, StateSpaceD
from simdl.blocks.control import PI, PID
from simdl.blocks.delay import Interpolation, Samples, TransportDelay
from simdl.blocks.discrete import DiscreteIntegrator, Hold, MovingAverage, RateLimiter, SampleClock, UnitDelay
from simdl.blocks.integrator import GatedIntegrator, LimitedIntegrator, ResettableIntegrator
from simdl.blocks.lookup import Lookup1D, Lookup2D
from simdl.blocks.noise import RandomWalk, WhiteNoise
from simdl.blocks.nonlinear import DeadZone, Quantiser, Relay, Saturation
from simdl.blocks.plants import BouncingBall, CartPole, Pendulum
from simdl.blocks.routing import Select, Switch
from simdl.blocks.sensors import SensorChain
from simdl.blocks.solve import Solve
from simdl.blocks.sources import Constant, Pulse, Ramp, Sine, Step
from simdl.blocks.transfer import LeadLag, Notch, Rational, RationalD, SecondOrder, TransferFunction, ZeroPoleGain
from simdl.blocks.variable_delay import VariableDelay, VariableInterpolation

__all__ = [
    "PI", "PID", "BouncingBall", "CartPole", "Constant", "DeadZone", "DiscreteIntegrator", "FirstOrder", "Gain",
    "GatedIntegrator", "Hold", "Integrator", "Interpolation", "LeadLag", "LimitedIntegrator", "Lookup1D", "Lookup2D",
    "MovingAverage", "Notch", "Pendulum", "Product", "Pulse", "Quantiser", "Ramp", "RandomWalk", "RateLimiter",
    "Rational", "RationalD", "Relay", "ResettableIntegrator", "SampleClock", "Samples", "Saturation", "SecondOrder",
    "Select", "SensorChain", "Sine", "Solve", "StateSpace", "StateSpaceD", "Step", "Sum", "Switch", "TransferFunction",
    "TransportDelay", "UnitDelay", "VariableDelay", "VariableInterpolation", "WhiteNoise", "ZeroPoleGain",
]  # fmt: skip
