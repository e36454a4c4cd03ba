"""simdl with engine="torch"."""

from __future__ import annotations

from functools import partial

from benchmarks.tools.simdl import adaptive, battery_soc as scenario, cart_pole as loop, gradient as training

cart_pole = partial(loop.cart_pole, engine="torch")
ball = partial(adaptive.ball, engine="torch")
van_der_pol = partial(adaptive.van_der_pol, engine="torch")
gradient = partial(training.gradient, engine="torch")
battery_soc = partial(scenario.battery_soc, engine="torch")
