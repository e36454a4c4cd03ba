"""What is simulated: the workloads, exactly.

**W1** `cart_pole`. The cart-pole of `simdl.blocks.CartPole` (cart 1 kg, pole 0.1 kg, half length 0.5 m, g 9.81 m/s²),
from (x, v, θ, ω) = (0, 0, 0.1, 0). A network 4-64-64-1 with tanh, u = 10 tanh(W3 tanh(W2 tanh(W1 s + b1) + b2) + b3),
reads the state at 0, 20, 40, … ms; its force is held between. The plant: classical RK4, 20 equal steps of 1 ms between
ticks. 20 s, one lane, float64. The state at every tick is kept.

**W2** `cart_pole`. The same over 1, 32, 1000, 10 000 and 100 000 lanes, each with its own pole mass in [0.05, 0.2] kg
and half length in [0.3, 0.7] m (lane 0 has those of W1); the network reads the state plus noise that was drawn
beforehand, one normal value per state, tick and lane (σ = 2 mm, 5 mm/s, 2 mrad, 5 mrad/s). 20 s up to 1000 lanes, 2 s
above. The state at every tick is kept up to 10 000 lanes; at 100 000 only the final state and the largest |θ| over the
ticks after 0. In float64 and float32, with 1 and 2 threads. How arrays are laid out is each tool's choice and outside
the timed part.

**W3** `ball`: `simdl.blocks.BouncingBall`, from 1 m, g 9.81 m/s², 2 s, restitution 0.7 at lane 0 and in [0.7, 0.9] at
others, so that nothing comes to rest; impacts located to 1e-9 s. Adaptive Tsit5, rtol 1e-6, atol 1e-9, first step
0.01 s, no step above 0.1 s (the error of a parabola is nought; without a limit one step would be the whole flight).
`van_der_pol`: x' = v, v' = μ (1 - x²) v - x, μ = 5, from x = 2 at lane 0 and [1, 3] at others, v = 0, 20 s, adaptive
Tsit5, rtol 1e-6, atol 1e-9, first step 0.01 s; each lane with steps of its own where the tool can. SciPy has
Dormand-Prince instead of Tsit5. 1 and 1000 lanes, only end values kept.

**W4** `gradient`: the loop of W1 without noise, RK4 at 2 ms, the network at every 10th step, 1000 steps (2 s). The loss
is the mean square of the four states at 0.02, 0.04, …, 2 s, over states, instants and lanes; its gradient with respect
to all weights and biases. 1 and 1000 lanes (parameters as in W2). Time of loss and gradient together, and the largest
resident memory during a run above that before it.

**W5** `battery_soc`: `simdl.scenario("battery_soc").quickly()`, its closed loop with networks and its requirements,
over 1 and 1000 lanes: the two engines of simdl, which must agree with each other.

**W6** `cart_pole` as in W1, cold: from the start of a process, less the import of the tool (for simdl that of torch),
to the first result. With an empty cache, and again in a new process with the cache that the first one left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

TICK = 0.02  # s, the period of the network
STATE = (0.0, 0.0, 0.1, 0.0)  # x, v, theta, omega at t = 0
GRAVITY, CART = 9.81, 1.0
RTOL, ATOL, FIRST = 1e-6, 1e-9, 0.01
LONGEST, IMPACT = 0.1, 1e-9  # s: longest step of the ball, tolerance of an impact's time
MU = 5.0
KEPT = 10_000  # lanes up to which the states of all ticks are kept
WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6")


@dataclass(frozen=True)
class Case:
    """One line of a table. step: seconds of a fixed step. tolerance: relative to 1 + |reference|, at the end values.

    cached: W6 alone, whether a process before left a cache.
    """

    workload: str
    model: str
    lanes: int = 1
    until: float = 20.0
    dtype: str = "float64"
    threads: int = 1
    step: float = 0.001
    noise: bool = False
    tolerance: float = 1e-8
    cached: bool = False

    @property
    def key(self) -> str:
        """What names the case in results."""
        end = " cached" if self.cached else ""
        return f"{self.workload} {self.model} lanes={self.lanes} {self.dtype} threads={self.threads}{end}"

    @property
    def ticks(self) -> int:
        """Intervals between ticks."""
        return round(self.until / TICK)

    @property
    def substeps(self) -> int:
        """Fixed steps in an interval."""
        return round(TICK / self.step)

    @property
    def lane_steps(self) -> int:
        """Fixed steps of all lanes together."""
        return self.lanes * self.ticks * self.substeps

    def to_json(self) -> dict[str, Any]:
        """The fields, for a child."""
        return asdict(self)


def cases(only: Iterable[str] = WORKLOADS, threads: Iterable[int] = (1, 2), quick: bool = False) -> list[Case]:
    """The cases of some workloads; quick: fewer lanes and shorter horizons, to see that all works."""
    counts = tuple(threads)
    pair = (1, 16) if quick else (1, 1000)
    short = 0.2 if quick else 1.0  # of the horizon
    made = {
        "W1": [Case("W1", "cart_pole", until=20.0 * short)],
        "W2": [
            Case("W2", "cart_pole", n, 0.1 if quick else 20.0 if n <= 1000 else 2.0, dtype, count, noise=True,
                 tolerance=1e-8 if dtype == "float64" else 1e-4)
            for n in ((1, 16) if quick else (1, 32, 1000, 10_000, 100_000))
            for dtype in ("float64", "float32")
            for count in counts
            if count == 1 or n >= 1000
        ],
        "W3": [
            *(Case("W3", "ball", n, 2.0, tolerance=1e-6) for n in pair),
            *(Case("W3", "van_der_pol", n, 20.0, tolerance=1e-3) for n in pair),
        ],
        "W4": [Case("W4", "gradient", n, 2.0 * short, step=0.002, tolerance=1e-7) for n in pair],
        "W5": [Case("W5", "battery_soc", n, 0.0, tolerance=1e-6) for n in ((1, 4) if quick else (1, 1000))],
        "W6": [Case("W6", "cart_pole", until=20.0 * short, cached=cached) for cached in (False, True)],
    }  # fmt: skip
    return [case for name in only for case in made[name]]
