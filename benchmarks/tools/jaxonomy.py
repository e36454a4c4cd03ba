"""jaxonomy: a plant, a network with a sampled output, its own RK4; `Simulator.advance_to` compiled once.

Lanes by jax.vmap over parameters in the context, which is what its simulate_batch does.
"""

from __future__ import annotations

from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jaxonomy import DiagramBuilder, LeafSystem, Simulator, SimulatorOptions  # noqa: E402

from benchmarks.cases import GRAVITY, STATE, TICK, Case  # noqa: E402
from benchmarks.data import Data  # noqa: E402
from benchmarks.reference import summary  # noqa: E402
from benchmarks.tools import Skip  # noqa: E402


class Plant(LeafSystem):
    """The cart-pole; its state is its output."""

    def __init__(self, pole: float, half: float) -> None:
        super().__init__(name="plant")
        self.declare_dynamic_parameter("pole", pole)
        self.declare_dynamic_parameter("half", half)
        self.declare_input_port(name="force")
        self.declare_continuous_state(default_value=jnp.array(STATE), ode=self.motion)
        self.declare_continuous_state_output(name="state")

    def motion(self, time: Any, state: Any, u: Any, **p: Any) -> Any:
        _, v, theta, omega = state.continuous_state
        pole, half, u = p["pole"], p["half"], jnp.reshape(u, ())
        sin, cos, total = jnp.sin(theta), jnp.cos(theta), 1.0 + pole
        push = (u + pole * half * omega**2 * sin) / total
        turn = (GRAVITY * sin - cos * push) / (half * (4.0 / 3.0 - pole * cos**2 / total))
        return jnp.stack([v, push - pole * half * turn * cos / total, omega, turn])


class Controller(LeafSystem):
    """The network as an output sampled at ticks, on the state with the noise of the tick."""

    def __init__(self, w: dict[str, Any], noise: Any) -> None:
        super().__init__(name="network")
        self.w = w
        self.declare_dynamic_parameter("noise", noise)
        self.declare_input_port(name="state")
        self.declare_output_port(
            self.force, period=TICK, offset=0.0, default_value=jnp.zeros(()),
            prerequisites_of_calc=[self.input_ports[0].ticket], name="force",
        )  # fmt: skip

    def force(self, time: Any, state: Any, s: Any, **p: Any) -> Any:
        w, noise = self.w, p["noise"]
        s = s + noise[jnp.clip(jnp.round(time / TICK).astype(int), 0, len(noise) - 1)]
        hidden = jnp.tanh(jnp.tanh(s @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"])
        return 10.0 * jnp.tanh(hidden @ w["w3"][:, 0] + w["b3"][0])


class Log(LeafSystem):
    """The states at ticks, from t = 0 on; the simulator's own recorder would keep every solver step."""

    def __init__(self, ticks: int) -> None:
        super().__init__(name="log")
        self.declare_input_port(name="state")
        self.declare_discrete_state(default_value=jnp.zeros((ticks, 4)))
        self.declare_periodic_update(self.keep, period=TICK, offset=0.0)

    def keep(self, time: Any, state: Any, s: Any, **_: Any) -> Any:
        return state.discrete_state.at[jnp.round(time / TICK).astype(int)].set(s, mode="drop")


def cart_pole(case: Case, data: Data) -> Any:
    """W1 as one simulation; W2 under jax.vmap."""
    if case.noise and (case.lanes > 1000 or case.dtype != "float64" or case.threads != 1):
        raise Skip("in float64 up to 1000 lanes on one thread")
    w = {name: jnp.asarray(array) for name, array in data.weights.items()}
    pole, half, drawn = jnp.asarray(data.lane("pole", case)), jnp.asarray(data.lane("half", case)), data.noise(case)
    noise = jnp.zeros((1, 1, 4)) if drawn is None else jnp.asarray(drawn.transpose(2, 0, 1), jnp.float64)
    builder = DiagramBuilder()
    plant, log = builder.add(Plant(float(pole[0]), float(half[0]))), builder.add(Log(case.ticks))
    network = builder.add(Controller(w, noise[0]))
    builder.connect(plant.output_ports[0], network.input_ports[0])
    builder.connect(network.output_ports[0], plant.input_ports[0])
    builder.connect(plant.output_ports[0], log.input_ports[0])
    diagram = builder.build()
    options = SimulatorOptions(
        math_backend="jax", ode_solver_method="rk4", max_minor_step_size=case.step, save_time_series=False,
        max_major_steps=2 * case.ticks + 10,
    )  # fmt: skip
    simulator, context = Simulator(diagram, options=options), diagram.create_context()

    def one(pole: Any, half: Any, noise: Any) -> Any:
        own = context.with_subcontext(
            plant.system_id, context[plant.system_id].with_parameters({"pole": pole, "half": half})
        )
        own = own.with_subcontext(network.system_id, own[network.system_id].with_parameter("noise", noise))
        end = simulator.advance_to(case.until, own).context
        return end[plant.system_id].continuous_state, end[log.system_id].discrete_state

    compiled = jax.jit(jax.vmap(one)).lower(pole, half, noise).compile()

    def read(result: Any) -> dict[str, np.ndarray]:
        final, kept = (np.asarray(one) for one in result)
        return summary(np.concatenate([kept[:, 1:], final[:, None]], axis=1).transpose(1, 2, 0))

    return (lambda: jax.block_until_ready(compiled(pole, half, noise))), read
