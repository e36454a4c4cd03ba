"""Attitude and frames. A quaternion q = (w, x, y, z) turns a vector of the body into one of the world: v -> q v q*."""

import torch

from simdl import Block, Input, Param, output


class FrameTransform(Block):
    """A point of a mounted frame in the frame that carries it: y = rotate(attitude, u) + origin; and back again.

    `attitude` and `origin` are the extrinsics, such as those of a camera on a car: where the mounted frame is, and how
    it is turned. `back` is the inverse of the same, rotate(attitude*, u - origin). The quaternion need not have unit
    length.

    >>> from simdl import simulate
    >>> camera = FrameTransform(attitude=[0.7071, 0.0, 0.0, 0.7071], origin=[1.0, 0.0, 0.5])  # turned left by 90 deg
    >>> run = simulate(camera, 0, inputs={"u": [2.0, 0.0, 0.0]})
    >>> [round(x, 9) + 0.0 for x in run["y"].at(0)[0].tolist()]
    [1.0, 2.0, 0.5]
    """

    u = Input(shape=(3,), unit="m")
    attitude: Param = Param([1.0, 0.0, 0.0, 0.0])
    origin: Param = Param([0.0, 0.0, 0.0], unit="m")

    @output(unit="m")
    def y(self, u, attitude, origin):
        return rotate(attitude, u) + origin

    @output(unit="m")
    def back(self, u, attitude, origin):
        return rotate(conjugate(attitude), u - origin)


def rotate(q, v):
    """q v q* / |q|^2: v (lanes, 3) of the body in the world, for q (lanes, 4) of any length."""
    w, axis = q[:, :1], q[:, 1:]
    twice = 2 * cross(axis, v) / (w * w + dot(axis, axis))
    return v + w * twice + cross(axis, twice)


def conjugate(q):
    """q*, the opposite turn."""
    return torch.cat([q[:, :1], -q[:, 1:]], dim=1)


def product(p, q):
    """The turn q of the body, done after the turn p."""
    w, a, v, b = p[:, :1], p[:, 1:], q[:, :1], q[:, 1:]
    return torch.cat([w * v - dot(a, b), w * b + v * a + cross(a, b)], dim=1)


def turning(q, omega):
    """q' = q (0, omega) / 2 for a body rate (lanes, 3)."""
    return product(q, torch.cat([torch.zeros_like(q[:, :1]), omega], dim=1)) / 2


def dot(a, b):
    """The dot product of vectors (lanes, 3), (lanes, 1); a chain of sums, whose bits no batch changes."""
    return a[:, :1] * b[:, :1] + a[:, 1:2] * b[:, 1:2] + a[:, 2:] * b[:, 2:]


def cross(a, b):
    """The cross product of vectors (lanes, 3)."""
    x, y, z = a.unbind(dim=1)
    u, v, w = b.unbind(dim=1)
    return torch.stack([y * w - z * v, z * u - x * w, x * v - y * u], dim=1)
