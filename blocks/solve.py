"""Implicit equations, solved explicitly: nothing else in simdl iterates over a loop."""

import torch

from simdl import Block, Inputs, Output, Param, jacobian, output, repeat
from simdl.linear import solve


class Solve(Block):
    """z such that residual(z, *u) = 0, by `turns` Newton steps from `guess`; derive from it to give the residual.

    z is a number or, with a vector `guess`, a vector; the residual has its shape. Gradients do not pass the iteration:
    dz/du = -(dr/dz)^-1 dr/du at the solution (implicit function theorem). `error` is the largest residual before the
    last step: record it, or give it to a requirement, where convergence is in doubt. A lane whose dr/dz is singular
    fails alone.

    >>> from simdl import simulate, Diagram, Output
    >>> class Cube(Solve):
    ...     def residual(self, z, u):
    ...         return z**3 - u
    >>> class Root(Diagram):
    ...     z = Output()
    ...     def __init__(self):
    ...         self.cube = Cube(guess=1.0)
    ...         self.cube.u = [27.0]
    ...         self.z = self.cube.z
    >>> round(float(simulate(Root(), 0)["z"].at(0)), 12)
    3.0
    """

    turns = 12
    u, z, error = Inputs(), Output(), Output()
    guess: Param = Param(0.0)

    def residual(self, z, *u):
        """What must vanish, of the shape of z."""
        raise NotImplementedError(f"{type(self).__name__} needs a method residual(self, z, ...)")

    @output(z, error)
    def solution(self, u, guess):
        fixed = tuple(signal.detach() for signal in u)
        with torch.no_grad():
            root = repeat(self.turns - 1, lambda z, k: z - self._newton(z, fixed)[0], guess.clone())
        step, left = self._newton(root, u)
        return root - step, left.detach().abs().reshape(len(left), -1).amax(dim=1)

    def _newton(self, z, u):
        """(dr/dz)^-1 r, and r itself; gradients pass r alone, which is exact where r vanishes."""
        residual, slope = jacobian(lambda z: self.residual(z, *u), z.detach())
        slope = slope.detach()
        return (residual / slope if z.ndim == 1 else solve(slope, residual)), residual
