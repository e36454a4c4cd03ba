"""The block library: short exemplars, each with its equation in the docstring. Import it as `simdl.blocks`."""

if __name__ != "simdl.blocks":
    raise ImportError(
        f"the block library was imported as {__name__!r}; it is part of simdl: write `from simdl.blocks import ...`"
    )

from simdl.blocks.arithmetic import Gain, Product, Sum
from simdl.blocks.attitude import FrameTransform
from simdl.blocks.battery import BatteryCell, BatteryPack
from simdl.blocks.bus import Bus
from simdl.blocks.complementary import AttitudeFilter, ComplementaryFilter
from simdl.blocks.continuous import FirstOrder, Integrator, StateSpace, StateSpaceD
from simdl.blocks.control import PI, PID, ContinuousPID
from simdl.blocks.delay import TransportDelay
from simdl.blocks.detector import StatisticalDetector
from simdl.blocks.discrete import (
    DiscreteDerivative,
    DiscreteIntegrator,
    DiscreteStateSpace,
    DiscreteStateSpaceD,
    Hold,
    MovingAverage,
    RateLimiter,
    RateTransition,
    SampleClock,
    UnitDelay,
)
from simdl.blocks.encoders import AbsoluteEncoder, IncrementalEncoder
from simdl.blocks.excitation import APRBS, PRBS, Chirp, Multisine
from simdl.blocks.filters import FIR, IIR, Biquads, DiscreteTransferFunction
from simdl.blocks.friction import Friction, StickSlip
from simdl.blocks.gps import GPS
from simdl.blocks.imu import IMU, Accelerometer, Gyroscope, InertialSensor, SpecificForce
from simdl.blocks.integrator import GatedIntegrator, LimitedIntegrator, ResettableIntegrator
from simdl.blocks.kalman import ExtendedKalmanFilter, KalmanFilter
from simdl.blocks.logic import Counter, Debounce, Edge, Equal, Latch, Within
from simdl.blocks.lookup import Lookup1D, Lookup2D, LookupND
from simdl.blocks.lqr import LQG, LQR, SteadyKalmanFilter
from simdl.blocks.machines import PMSM, DCMotor, HeatedPMSM, MotorHeat
from simdl.blocks.mechanics import TORA, BouncingBall, MagneticLevitation, MassSpringDamper
from simdl.blocks.mpc import MPC
from simdl.blocks.neural import Epileptor, JansenRit
from simdl.blocks.noise import AllanNoise, BandLimitedNoise, ColouredNoise, GaussMarkov, RandomWalk, WhiteNoise
from simdl.blocks.nonlinear import Backlash, DeadZone, Quantiser, Relay, Saturation
from simdl.blocks.observer import Observer, SampledObserver
from simdl.blocks.pendulums import CartPole, DoublePendulum, Pendulum
from simdl.blocks.playback import Playback
from simdl.blocks.power import BuckConverter
from simdl.blocks.quadrotor import Quadrotor
from simdl.blocks.routing import MultiportSwitch, Mux, Select, Switch
from simdl.blocks.sensors import ADC, JitteredSample, SensorChain
from simdl.blocks.solve import Solve
from simdl.blocks.sources import Constant, Pulse, Ramp, Sine, Staircase, Step, Time
from simdl.blocks.state_machine import StateMachine
from simdl.blocks.subsystems import ForEach, Variant
from simdl.blocks.tanks import TwoTanks
from simdl.blocks.thermal import HeatExchanger, Room
from simdl.blocks.thermistor import BetaThermistor, SteinhartHart, Thermistor
from simdl.blocks.transfer import LeadLag, Notch, Rational, RationalD, SecondOrder, TransferFunction, ZeroPoleGain
from simdl.blocks.transitions import during, on_entry, on_exit, transition
from simdl.blocks.unscented import UnscentedKalmanFilter
from simdl.blocks.variable_delay import VariableDelay
from simdl.blocks.vector import Dot, Extremum, MatrixGain, Norm
from simdl.blocks.vehicles import DynamicBicycle, KinematicBicycle, LongitudinalVehicle, PacejkaBicycle
from simdl.blocks.window import Decimate, Delay, Window

__all__ = [
    "ADC", "APRBS", "FIR", "GPS", "IIR", "IMU", "LQG", "LQR", "MPC", "PI", "PID", "PMSM", "PRBS", "TORA",
    "AbsoluteEncoder", "Accelerometer", "AllanNoise", "AttitudeFilter", "Backlash", "BandLimitedNoise", "BatteryCell",
    "BatteryPack", "BetaThermistor", "Biquads", "BouncingBall", "BuckConverter", "Bus", "CartPole", "Chirp",
    "ColouredNoise", "ComplementaryFilter", "Constant", "ContinuousPID", "Counter", "DCMotor", "DeadZone", "Debounce",
    "Decimate", "Delay", "DiscreteDerivative", "DiscreteIntegrator", "DiscreteStateSpace", "DiscreteStateSpaceD",
    "DiscreteTransferFunction", "Dot", "DoublePendulum", "DynamicBicycle", "Edge", "Epileptor", "Equal",
    "ExtendedKalmanFilter", "Extremum", "FirstOrder", "ForEach", "FrameTransform", "Friction", "Gain",
    "GatedIntegrator", "GaussMarkov", "Gyroscope", "HeatExchanger", "HeatedPMSM", "Hold", "IncrementalEncoder",
    "InertialSensor", "Integrator", "JansenRit", "JitteredSample", "KalmanFilter", "KinematicBicycle", "Latch",
    "LeadLag", "LimitedIntegrator", "LongitudinalVehicle", "Lookup1D", "Lookup2D", "LookupND", "MagneticLevitation",
    "MassSpringDamper", "MatrixGain", "MotorHeat", "MovingAverage", "MultiportSwitch", "Multisine", "Mux", "Norm",
    "Notch", "Observer", "PacejkaBicycle", "Pendulum", "Playback", "Product", "Pulse", "Quadrotor", "Quantiser", "Ramp",
    "RandomWalk", "RateLimiter", "RateTransition", "Rational", "RationalD", "Relay", "ResettableIntegrator", "Room",
    "SampleClock", "SampledObserver", "Saturation", "SecondOrder", "Select", "SensorChain", "Sine", "Solve",
    "SpecificForce", "Staircase", "StateMachine", "StateSpace", "StateSpaceD", "StatisticalDetector",
    "SteadyKalmanFilter", "SteinhartHart", "Step", "StickSlip", "Sum", "Switch", "Thermistor", "Time",
    "TransferFunction", "TransportDelay", "TwoTanks", "UnitDelay", "UnscentedKalmanFilter", "VariableDelay", "Variant",
    "WhiteNoise", "Window", "Within", "ZeroPoleGain", "during", "on_entry", "on_exit", "transition",
]  # fmt: skip
