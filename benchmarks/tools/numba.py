"""numba: the loops of the hand-written C in Python, compiled at the first call and cached; no fastmath."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from benchmarks.cases import ATOL, FIRST, GRAVITY, IMPACT, KEPT, LONGEST, MU, RTOL, STATE, Case
from benchmarks.data import Data

HIDDEN = 64


@njit(cache=True, inline="always")
def motion(v, theta, omega, u, pole, half, one, g, third):
    sin, cos, total = math.sin(theta), math.cos(theta), one + pole
    push = (u + pole * half * omega * omega * sin) / total
    turn = (g * sin - cos * push) / (half * (third - pole * cos * cos / total))
    return v, push - pole * half * turn * cos / total, omega, turn


@njit(cache=True)
def force(x, v, theta, omega, w1, b1, w2, b2, w3, b3, a, b, ten):
    for i in range(HIDDEN):
        a[i] = math.tanh(b1[i] + w1[0, i] * x + w1[1, i] * v + w1[2, i] * theta + w1[3, i] * omega)
        b[i] = b2[i]
    for j in range(HIDDEN):
        for i in range(HIDDEN):
            b[i] += w2[j, i] * a[j]
    out = b3[0]
    for i in range(HIDDEN):
        out += w3[i] * math.tanh(b[i])
    return ten * math.tanh(out)


@njit(cache=True)
def one_lane(lane, ticks, substeps, pole, half, noise, start, final, largest, kept, numbers, net):
    h, one, two, six, ten, g, third = numbers
    w1, b1, w2, b2, w3, b3 = net
    a, b = np.empty_like(b1), np.empty_like(b1)
    x, v, p, o = start[0], start[1], start[2], start[3]
    m, d, most = pole[lane], half[lane], x * 0
    for k in range(ticks):
        if noise.shape[0]:
            n = noise[lane, k]
            u = force(x + n[0], v + n[1], p + n[2], o + n[3], w1, b1, w2, b2, w3, b3, a, b, ten)
        else:
            u = force(x, v, p, o, w1, b1, w2, b2, w3, b3, a, b, ten)
        for _ in range(substeps):
            c = h / two
            x1, v1, p1, o1 = motion(v, p, o, u, m, d, one, g, third)
            x2, v2, p2, o2 = motion(v + c * v1, p + c * p1, o + c * o1, u, m, d, one, g, third)
            x3, v3, p3, o3 = motion(v + c * v2, p + c * p2, o + c * o2, u, m, d, one, g, third)
            x4, v4, p4, o4 = motion(v + h * v3, p + h * p3, o + h * o3, u, m, d, one, g, third)
            x += h / six * (x1 + two * x2 + two * x3 + x4)
            v += h / six * (v1 + two * v2 + two * v3 + v4)
            p += h / six * (p1 + two * p2 + two * p3 + p4)
            o += h / six * (o1 + two * o2 + two * o3 + o4)
        most = max(most, abs(p))
        if kept.shape[0]:
            kept[lane, k, 0], kept[lane, k, 1], kept[lane, k, 2], kept[lane, k, 3] = x, v, p, o
    final[lane, 0], final[lane, 1], final[lane, 2], final[lane, 3] = x, v, p, o
    largest[lane] = most


@njit(cache=True)
def all_lanes(lanes, ticks, substeps, pole, half, noise, start, final, largest, kept, numbers, net):
    for lane in range(lanes):
        one_lane(lane, ticks, substeps, pole, half, noise, start, final, largest, kept, numbers, net)


@njit(cache=True, parallel=True)
def all_lanes_parallel(lanes, ticks, substeps, pole, half, noise, start, final, largest, kept, numbers, net):
    for lane in prange(lanes):
        one_lane(lane, ticks, substeps, pole, half, noise, start, final, largest, kept, numbers, net)


def cart_pole(case: Case, data: Data) -> Any:
    """One lane after the other; prange with more than one thread."""
    real = np.dtype(case.dtype).type
    w = {name: np.ascontiguousarray(array, dtype=real) for name, array in data.weights.items()}
    net = w["w1"], w["b1"], w["w2"], w["b2"], np.ascontiguousarray(w["w3"][:, 0]), w["b3"]
    drawn = data.noise(case)
    noise = np.empty((0, 0, 0), real) if drawn is None else np.ascontiguousarray(drawn.transpose(2, 0, 1), dtype=real)
    final, largest = np.zeros((case.lanes, 4), real), np.zeros(case.lanes, real)
    kept = np.zeros((case.lanes, case.ticks, 4) if case.lanes <= KEPT else (0, 0, 0), real)
    numbers = tuple(real(one) for one in (case.step, 1, 2, 6, 10, GRAVITY, 4 / 3))
    function = all_lanes_parallel if case.threads > 1 else all_lanes
    rest = (case.substeps, data.lane("pole", case), data.lane("half", case), noise, np.array(STATE, real), final,
            largest, kept, numbers, net)  # fmt: skip
    function(0, case.ticks, *rest)  # compiles

    def run() -> None:
        function(case.lanes, case.ticks, *rest)

    def read(_: None) -> dict[str, np.ndarray]:
        square = {"square": (kept.astype(float) ** 2).mean(axis=1)} if len(kept) else {}
        return {"state": final, "largest": largest, **square}

    return run, read


A = np.array([
    [0.161, 0, 0, 0, 0, 0],
    [-0.008480655492356989, 0.335480655492357, 0, 0, 0, 0],
    [2.8971530571054935, -6.359448489975075, 4.3622954328695815, 0, 0, 0],
    [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525, 0, 0],
    [5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383, 0],
    [0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774],
])  # fmt: skip
E = np.array([-0.001780011052225777, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629,
              0.5823571654525552, -0.45808210592918697, 0.015151515151515152])  # fmt: skip


@njit(cache=True, inline="always")
def field(which, parameter, y0, y1):
    if which == 0:
        return y1, parameter * (1 - y0 * y0) * y1 - y0
    return y1, -parameter


@njit(cache=True, inline="always")
def attempt(which, parameter, p, q, h, rtol, atol, k):
    """One Tsit5 step from (p, q): the new state and the norm of its error."""
    a, b = p, q
    for s in range(6):
        da, db = 0.0, 0.0
        for j in range(s + 1):
            da += A[s, j] * k[j, 0]
            db += A[s, j] * k[j, 1]
        a, b = p + h * da, q + h * db
        k[s + 1, 0], k[s + 1, 1] = field(which, parameter, a, b)
    ea, eb = 0.0, 0.0
    for j in range(7):
        ea += E[j] * k[j, 0]
        eb += E[j] * k[j, 1]
    ea *= h / (atol + rtol * max(abs(p), abs(a)))
    eb *= h / (atol + rtol * max(abs(q), abs(b)))
    return a, b, math.sqrt((ea * ea + eb * eb) / 2)


@njit(cache=True, inline="always")
def inside(s, h, y0, d0, y1, d1):
    r = 1 - s
    return r * r * (1 + 2 * s) * y0 + s * s * (3 - 2 * s) * y1 + s * r * h * (r * d0 - s * d1)


@njit(cache=True)
def adaptive(which, parameter, start, restitution, until, rtol, atol, first, longest, impact, final, bounces):
    k = np.empty((7, 2))
    for lane in range(len(final)):
        t, h, p, q, count = 0.0, first, start[lane], 0.0, 0
        k[0, 0], k[0, 1] = field(which, parameter, p, q)
        while t < until:
            last = t + h >= until
            length = until - t if last else h
            a, b, norm = attempt(which, parameter, p, q, length, rtol, atol, k)
            if which == 1 and norm <= 1 and a <= 0 and b < 0:
                low, high = 0.0, 1.0
                while (high - low) * length > impact:
                    middle = (low + high) / 2
                    if inside(middle, length, p, k[0, 0], a, k[6, 0]) > 0:
                        low = middle
                    else:
                        high = middle
                t += high * length
                p, q = 0.0, -restitution[lane] * inside(high, length, q, k[0, 1], b, k[6, 1])
                count += 1
                h = first
                k[0, 0], k[0, 1] = field(which, parameter, p, q)
                continue
            gain = 0.9 * norm**-0.2 if norm > 0 else 10.0
            h = min(longest, length * min(10.0, max(0.2, gain)))
            if norm <= 1:
                t = until if last else t + length
                p, q = a, b
                k[0, 0], k[0, 1] = k[6, 0], k[6, 1]
        final[lane, 0], final[lane, 1], bounces[lane] = p, q, count


def van_der_pol(case: Case, data: Data) -> Any:
    """The same Tsit5 and step control as the C."""
    return _adaptive(case, 0, MU, data.lane("x0", case), np.ones(case.lanes), np.inf)


def ball(case: Case, data: Data) -> Any:
    """Impacts by bisection on the step's interpolant."""
    return _adaptive(case, 1, GRAVITY, np.ones(case.lanes), data.lane("restitution", case), LONGEST)


def _adaptive(case: Case, which: int, parameter: float, start: Any, restitution: Any, longest: float) -> Any:
    final, bounces = np.zeros((case.lanes, 2)), np.zeros(case.lanes)

    def run() -> None:
        adaptive(which, parameter, start, restitution, case.until, RTOL, ATOL, FIRST, longest, IMPACT, final, bounces)

    run()  # compiles
    return run, lambda _: {"state": final, "bounces": bounces}
