"""The block library: short exemplars, each with its equation in the docstring. Import it as `simdl.blocks`."""

if __name__ != "simdl.blocks":
    raise ImportError(
        f"the block library was imported as {__name__!r}; it is part of simdl: write `from simdl.blocks import ...`"
    )

from simdl.blocks.arithmetic import Gain, Product, Sum
from simdl.blocks.attitude import FrameTransform
from simdl.blocks.battery import BatteryCell, BatteryPack
from simdl.blocks.continuous import FirstOrder, Integrator, StateSpace, StateSpaceD
from simdl.blocks.control import PI, PID
from simdl.blocks.delay import Interpolation, Samples, TransportDelay
from simdl.blocks.detector import Detector
from simdl.blocks.discrete import DiscreteIntegrator, Hold, MovingAverage, RateLimiter, SampleClock, UnitDelay
from simdl.blocks.encoders import AbsoluteEncoder, IncrementalEncoder
from simdl.blocks.gps import GPS
from simdl.blocks.imu import IMU, Accelerometer, Gyroscope, InertialSensor, SpecificForce
from simdl.blocks.integrator import GatedIntegrator, LimitedIntegrator, ResettableIntegrator
from simdl.blocks.lookup import Lookup1D, Lookup2D
from simdl.blocks.machines import PMSM, DCMotor, HeatedPMSM, MotorHeat
from simdl.blocks.mechanics import TORA, BouncingBall, MagneticLevitation, MassSpringDamper
from simdl.blocks.neural import Epileptor, JansenRit
from simdl.blocks.noise import RandomWalk, WhiteNoise
from simdl.blocks.nonlinear import DeadZone, Quantiser, Relay, Saturation
from simdl.blocks.pendulums import CartPole, DoublePendulum, Pendulum
from simdl.blocks.power import BuckConverter
from simdl.blocks.quadrotor import Quadrotor
from simdl.blocks.routing import Select, Switch
from simdl.blocks.sensors import ADC, JitteredSample, SensorChain
from simdl.blocks.solve import Solve
from simdl.blocks.sources import Constant, Pulse, Ramp, Sine, Step
from simdl.blocks.tanks import TwoTanks
from simdl.blocks.thermal import HeatExchanger, Room
from simdl.blocks.thermistor import BetaThermistor, SteinhartHart, Thermistor
from simdl.blocks.transfer import LeadLag, Notch, Rational, RationalD, SecondOrder, TransferFunction, ZeroPoleGain
from simdl.blocks.variable_delay import VariableDelay, VariableInterpolation
from simdl.blocks.vehicles import DynamicBicycle, KinematicBicycle, LongitudinalVehicle, PacejkaBicycle

__all__ = [
    "ADC", "GPS", "IMU", "PI", "PID", "PMSM", "TORA", "AbsoluteEncoder", "Accelerometer", "BatteryCell", "BatteryPack",
    "BetaThermistor", "BouncingBall", "BuckConverter", "CartPole", "Constant", "DCMotor", "DeadZone", "Detector",
    "DiscreteIntegrator", "DoublePendulum", "DynamicBicycle", "Epileptor", "FirstOrder", "FrameTransform", "Gain",
    "GatedIntegrator", "Gyroscope", "HeatExchanger", "HeatedPMSM", "Hold", "IncrementalEncoder", "InertialSensor",
    "Integrator", "Interpolation", "JansenRit", "JitteredSample", "KinematicBicycle", "LeadLag", "LimitedIntegrator",
    "LongitudinalVehicle", "Lookup1D", "Lookup2D", "MagneticLevitation", "MassSpringDamper", "MotorHeat",
    "MovingAverage", "Notch", "PacejkaBicycle", "Pendulum", "Product", "Pulse", "Quadrotor", "Quantiser", "Ramp",
    "RandomWalk", "RateLimiter", "Rational", "RationalD", "Relay", "ResettableIntegrator", "Room", "SampleClock",
    "Samples", "Saturation", "SecondOrder", "Select", "SensorChain", "Sine", "Solve", "SpecificForce", "StateSpace",
    "StateSpaceD", "SteinhartHart", "Step", "Sum", "Switch", "Thermistor", "TransferFunction", "TransportDelay",
    "TwoTanks", "UnitDelay", "VariableDelay", "VariableInterpolation", "WhiteNoise", "ZeroPoleGain",
]  # fmt: skip
