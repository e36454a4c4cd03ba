"""simdl with engine="native"."""

from __future__ import annotations

from functools import partial

from benchmarks.tools.simdl import adaptive, battery_soc as scenario, cart_pole as loop, gradient as training

cart_pole = partial(loop.cart_pole, engine="native")
ball = partial(adaptive.ball, engine="native")
van_der_pol = partial(adaptive.van_der_pol, engine="native")
gradient = partial(training.gradient, engine="native")
battery_soc = partial(scenario.battery_soc, engine="native")
