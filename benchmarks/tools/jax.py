"""JAX, compiled ahead of the timed part: scan over ticks, a loop over steps; diffrax for adaptive steps."""

from __future__ import annotations

import os
from typing import Any

# Lanes that are done go through the loops of the others: what fails there becomes a NaN that nobody reads.
os.environ.setdefault("EQX_ON_ERROR", "nan")

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402

from benchmarks.cases import ATOL, CART, FIRST, GRAVITY, IMPACT, KEPT, LONGEST, MU, RTOL, Case  # noqa: E402
from benchmarks.data import Data  # noqa: E402
from benchmarks.reference import directions, summary  # noqa: E402


def force(w: Any, s: Any) -> Any:
    """The network over lanes, (lanes,) of (4, lanes)."""
    hidden = jnp.tanh(jnp.tanh(s.T @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"])
    return 10.0 * jnp.tanh(hidden @ w["w3"] + w["b3"])[:, 0]


def motion(s: Any, u: Any, pole: Any, half: Any) -> Any:
    """The derivative, (4, lanes); for one lane without its axis."""
    v, theta, omega = s[1], s[2], s[3]
    sin, cos, total = jnp.sin(theta), jnp.cos(theta), CART + pole
    push = (u + pole * half * omega**2 * sin) / total
    turn = (GRAVITY * sin - cos * push) / (half * (4.0 / 3.0 - pole * cos**2 / total))
    return jnp.stack([v, push - pole * half * turn * cos / total, omega, turn])


def step(s: Any, u: Any, pole: Any, half: Any, h: float) -> Any:
    """One RK4 step. One array of states: as fast as four arrays over lanes, and faster for one lane."""
    k1 = motion(s, u, pole, half)
    k2 = motion(s + h / 2 * k1, u, pole, half)
    k3 = motion(s + h / 2 * k2, u, pole, half)
    k4 = motion(s + h * k3, u, pole, half)
    return s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def prepared(case: Case, data: Data) -> Any:
    """Weights, pole, half, start (4, lanes), noise or None; one lane without its axis, which would cost a third."""
    real = jnp.dtype(case.dtype)
    w = {name: jnp.asarray(array, real) for name, array in data.weights.items()}
    drawn = data.noise(case)
    rest = [jnp.asarray(one) for one in (data.lane("pole", case), data.lane("half", case), data.start(case))]
    rest.append(None if drawn is None else jnp.asarray(drawn, real))
    return w, *(rest if case.lanes > 1 else (None if one is None else one[..., 0] for one in rest))


def push(w: Any, s: Any) -> Any:
    """The network for (4, lanes) or (4,)."""
    return force(w, s) if s.ndim > 1 else force(w, s[:, None])[0]


def cart_pole(case: Case, data: Data) -> Any:
    """All lanes at once."""
    arguments, keep = prepared(case, data), case.lanes <= KEPT

    def loop(w: Any, pole: Any, half: Any, start: Any, noise: Any) -> Any:
        def tick(carry: Any, drawn: Any) -> Any:
            s, most = carry
            u = push(w, s if drawn is None else s + drawn)
            s = lax.fori_loop(0, case.substeps, lambda _, s: step(s, u, pole, half, case.step), s)
            return (s, jnp.maximum(most, jnp.abs(s[2]))), (s if keep else None)

        return lax.scan(tick, (start, jnp.zeros_like(pole)), noise, length=case.ticks)

    compiled = jax.jit(loop).lower(*arguments).compile()

    def read(result: Any) -> dict[str, np.ndarray]:
        (s, most), kept = result
        if keep:
            return summary(np.asarray(kept).reshape(case.ticks, 4, case.lanes))
        return {"state": np.asarray(s).T, "largest": np.asarray(most)}

    return (lambda: jax.block_until_ready(compiled(*arguments))), read


def gradient(case: Case, data: Data, checkpoint: bool = False) -> Any:
    """Reverse mode through the scans; checkpoint: each interval is computed again on the way back."""
    w, *arguments, _ = prepared(case, data)

    def loss(w: Any, pole: Any, half: Any, start: Any) -> Any:
        def tick(s: Any, _: Any) -> Any:
            u = push(w, s)
            s, _ = lax.scan(lambda s, _: (step(s, u, pole, half, case.step), None), s, length=case.substeps)
            return s, (s**2).mean()

        return lax.scan(jax.checkpoint(tick) if checkpoint else tick, start, length=case.ticks)[1].mean()

    compiled = jax.jit(jax.value_and_grad(loss)).lower(w, *arguments).compile()

    def read(result: Any) -> dict[str, np.ndarray]:
        value, slopes = result
        along = [sum(float((np.asarray(slopes[n]) * d[n]).sum()) for n in d) for d in directions()]
        return {"loss": np.array([float(value)]), "along": np.array(along)}

    return (lambda: jax.block_until_ready(compiled(w, *arguments))), read


def van_der_pol(case: Case, data: Data) -> Any:
    """diffrax's Tsit5 with its step control; with vmap each lane has steps of its own, in one loop."""
    import diffrax

    def field(t: Any, y: Any, _: Any) -> Any:
        return y[1], MU * (1 - y[0] ** 2) * y[1] - y[0]

    def solve(x0: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.Tsit5(), 0.0, case.until, FIRST, (x0, jnp.zeros_like(x0)),
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL), max_steps=None,
            saveat=diffrax.SaveAt(t1=True), adjoint=diffrax.ForwardMode(),
        ).ys  # fmt: skip

    x0 = jnp.asarray(data.lane("x0", case))
    compiled = jax.jit(jax.vmap(solve)).lower(x0).compile()

    def read(ys: Any) -> dict[str, np.ndarray]:
        return {"state": np.stack([np.asarray(y)[:, 0] for y in ys], axis=1)}

    return (lambda: jax.block_until_ready(compiled(x0))), read


def ball(case: Case, data: Data) -> Any:
    """diffrax to the next impact (an Event with bisection on its interpolant), in a loop over impacts."""
    import diffrax
    import optimistix

    def field(t: Any, y: Any, _: Any) -> Any:
        return y[1], jnp.full_like(y[1], -GRAVITY)

    event = diffrax.Event(
        lambda t, y, args, **_: y[0], optimistix.Bisection(rtol=0.0, atol=IMPACT), direction=False
    )
    controller = diffrax.PIDController(rtol=RTOL, atol=ATOL, dtmax=LONGEST)

    def solve(restitution: Any) -> Any:
        def flight(carry: Any) -> Any:
            t, y, count = carry
            found = diffrax.diffeqsolve(
                diffrax.ODETerm(field), diffrax.Tsit5(), t, case.until, jnp.minimum(FIRST, case.until - t), y,
                stepsize_controller=controller, event=event, max_steps=None, adjoint=diffrax.ForwardMode(),
                saveat=diffrax.SaveAt(t1=True), throw=False,
            )  # fmt: skip
            h, v = found.ys[0][0], found.ys[1][0]
            hit = found.result == diffrax.RESULTS.event_occurred
            state = jnp.where(hit, 0.0, h), jnp.where(hit, -restitution * v, v)
            return jnp.where(hit, found.ts[0], case.until), state, count + hit

        start = (jnp.zeros(()), (jnp.ones(()), jnp.zeros(())), jnp.zeros((), int))
        return lax.while_loop(lambda carry: carry[0] < case.until, flight, start)[1:]

    restitution = jnp.asarray(data.lane("restitution", case))
    compiled = jax.jit(jax.vmap(solve)).lower(restitution).compile()

    def read(result: Any) -> dict[str, np.ndarray]:
        state, count = result
        return {"state": np.stack(state, axis=1), "bounces": np.asarray(count)}

    return (lambda: jax.block_until_ready(compiled(restitution))), read
