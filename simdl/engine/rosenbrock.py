"""Linearly implicit steps for stiff systems: one Jacobian, one factorisation, eight solves, no iteration."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from simdl.engine.step import Field, Step, Time, times, weighted
from simdl.engine.tableau import RosenbrockTableau


def jacobian(f: Field, t: Time, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """f (n, lanes), df/dy (lanes, n, n) and df/dt (n, lanes) at (t, y).

    Lanes do not see each other, so row i of every lane's Jacobian is one backward pass from the sum of f_i; the n
    passes run as one batch. (Forward mode costs five times as much: an operand without a tangent goes through slow
    zero tensors.) A right-hand side that `torch.vmap` cannot batch is differentiated row by row. With gradients
    enabled the Jacobian stays on the graph.
    """
    track, n = torch.is_grad_enabled(), y.shape[0]
    with torch.enable_grad():
        state, time = _leaf(y, track), _leaf(torch.as_tensor(t, dtype=torch.float64, device=y.device), track)
        time = time.expand(y.shape[1])
        value = f(time, state)
        rates: tuple[Tensor | None, ...] = (None, None)
        if value.requires_grad:
            units = torch.eye(n, dtype=value.dtype, device=y.device)[..., None].expand(n, *y.shape)
            rates = _backward(value, (state, time), units, track)
    slopes = torch.zeros((n, *y.shape), dtype=y.dtype, device=y.device) if rates[0] is None else rates[0]
    drift = torch.zeros_like(y) if rates[1] is None else rates[1].to(y.dtype)
    return value if track else value.detach(), slopes.permute(2, 0, 1), drift


def _leaf(x: Tensor, track: bool) -> Tensor:
    """x as something to differentiate by: its own node, on the graph of x where there is one to keep."""
    return x.view_as(x) if track and x.requires_grad else x.detach().requires_grad_(True)


def _backward(value: Tensor, inputs: tuple[Tensor, Tensor], units: Tensor, track: bool) -> tuple[Tensor | None, ...]:
    """The derivatives of every row of `value`, (n, ...) for each input; None where the input is not used."""
    keep = {"retain_graph": True, "create_graph": track, "allow_unused": True}
    try:
        return torch.autograd.grad(value, inputs, units, is_grads_batched=True, **keep)
    except RuntimeError:
        rows = zip(*(torch.autograd.grad(value, inputs, unit, **keep) for unit in units), strict=True)
        return tuple(None if row[0] is None else torch.stack(row) for row in rows)


class RosenbrockStep(Step):
    """A step of a Rosenbrock method."""

    def __init__(self, tableau: RosenbrockTableau, f: Field, t: Time, y: Tensor, h: Time, f0: Tensor | None) -> None:
        value, slopes, drift = jacobian(f, t, y)
        super().__init__(f, t, y, h, value if f0 is None else f0)
        self.tableau, gamma = tableau, tableau.gamma
        step = h.to(y.dtype) if isinstance(h, Tensor) else h
        drift = times(times(drift, step, 1.0), step, gamma)
        # Written with h on the left-hand side, a lane that does not move (h = 0) has the unit matrix.
        width = step[:, None, None] * gamma if isinstance(step, Tensor) and step.dim() else step * gamma
        unit = torch.eye(y.shape[0], dtype=y.dtype, device=y.device)
        factors, pivots, _ = torch.linalg.lu_factor_ex(unit - width * slopes)

        def solve(right: Tensor) -> Tensor:
            solution: Tensor = torch.linalg.lu_solve(factors, pivots, right.T[..., None])
            return solution[..., 0].T

        us = [solve(torch.add(times(self.f0, step, gamma), drift, alpha=tableau.slopes[0]))]
        moved = y
        for index, (row, coupling) in enumerate(zip(tableau.stage_rows, tableau.coupling_rows, strict=True), start=1):
            c = tableau.nodes[index]
            moved = torch.mul(weighted(row, us), row.scale)
            right = times(f(t + (h if c == 1.0 else c * h), y + moved), step, gamma)
            right = torch.add(right, weighted(coupling, us), alpha=coupling.scale * gamma)
            if index < len(tableau.slopes):
                right = torch.add(right, drift, alpha=tableau.slopes[index])
            us.append(solve(right))
        self.us, self._moved = us, moved

    def _increment(self) -> Tensor:
        return self._moved + self.us[-1]

    @cached_property
    def error(self) -> Tensor | None:
        """The estimated local error of y1, (n, lanes)."""
        return self.us[-1]

    def _polynomial(self) -> tuple[Tensor, ...]:
        first, second, third = (weighted(row, self.us) * row.scale for row in self.tableau.dense_rows)
        return self.increment + first, second - first, third - second, -third
