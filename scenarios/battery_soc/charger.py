"""The day's plan (drive, park, charge) and a CC-CV charger."""

import torch

from simdl import Block, Input, Output, Param, State, tick


class Plan(Block):
    """When the car is plugged in: from `begin` to `end`, parked `rest` before and after, else on the road."""

    begin: Param = Param(2400.0, unit="s")
    end: Param = Param(3600.0, unit="s")
    rest: Param = Param(60.0, unit="s")
    plugged = Output(dtype="bool")
    driving = Output(dtype="bool")

    @tick
    def look(self, t, begin, end, rest):
        return dict(plugged=(t >= begin) & (t < end), driving=(t < begin - rest) | (t >= end + rest))


class Charger(Block):
    """Constant current until `ceiling` volts, then constant voltage: an integrator that only backs off.

    i+ = clamp(i + gain (ceiling - V), 0, most); the request is positive, in ampere per cell.
    """

    voltage = Input(unit="V")
    plugged = Input(dtype="bool")
    most: Param = Param(4.0, unit="A")
    ceiling: Param = Param(4.2, unit="V")
    gain: Param = Param(1.5, unit="A/V")
    request = State(0.0, unit="A")
    wanted = Output(unit="A")

    @tick
    def charge(self, voltage, plugged, request, most, ceiling, gain):
        step = (gain * (ceiling - voltage)).clamp(max=0.5)
        request = torch.minimum((request + step).clamp(min=0.0), most)
        request = torch.where(plugged, request, 0.0)
        return dict(request=request, wanted=request)
