"""The battery-management controller: it acts on the estimate, not on the truth."""

import torch

from simdl import Block, Input, Output, Param, tick

CAPACITY = 5.0  # A h, nominal; limits are multiples of it


class Manager(Block):
    """Cell current, from what driver or charger ask for and what estimate, temperature and voltage allow.

    Discharge fades out from `reserve + 5 %` to `reserve` of estimated charge, charging from `full - 2 %` to `full`.
    Both fade in the cold and in the heat and at the voltage limits. Nothing is charged during the estimator's warm-up.
    """

    soc = Input()
    voltage = Input(unit="V")
    temperature = Input(unit="degC")
    power = Input(unit="W")
    request = Input(unit="A")
    plugged = Input(dtype="bool")
    driving = Input(dtype="bool")
    current = Output(unit="A")
    reserve: Param = Param(0.10)
    full: Param = Param(0.90)
    warmup: Param = Param(300.0, unit="s")

    @tick
    def command(self, soc, voltage, temperature, power, request, plugged, driving, t, reserve, full, warmup):
        cold = (0.7 + (temperature + 20.0) * 0.08).clamp(0.5, 3.0)  # C rates
        discharge = CAPACITY * cold * ((soc - reserve) / 0.05).clamp(0.0, 1.0) * ((voltage - 2.8) / 0.2).clamp(0.0, 1.0)
        tepid = torch.minimum(0.1 + (temperature + 10.0) * 0.045, 1.5 - (temperature - 45.0) * 0.1).clamp(0.05, 1.5)
        charge = CAPACITY * tepid * ((full - soc) / 0.02).clamp(0.0, 1.0) * ((4.25 - voltage) / 0.1).clamp(0.0, 1.0)
        charge = torch.where(torch.as_tensor(t, dtype=charge.dtype) >= warmup, charge, 0.0)
        road = torch.where(driving, power / voltage.clamp(min=2.5), 0.0)
        wanted = torch.where(plugged, -request, road)
        return dict(current=torch.maximum(torch.minimum(wanted, discharge), -charge))
