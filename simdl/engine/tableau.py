"""Integration methods as data: the coefficients, and nothing that steps.

A method of s stages advances y' = f(t, y) over h by

    k_i = f(t + c_i h, y + h sum_j a_ij k_j),    y1 = y + h sum_i b_i k_i

The slope at the end, f(t + h, y1), counts as stage s + 1 for the error estimate and the dense output of the
methods that use it (Tsit5 and Dormand-Prince); the next step starts from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


class Row(NamedTuple):
    """A weighted sum of stages, sum_i w_i k_i, as `scale * (k_first + sum_i ratio_i k_i)`.

    Pulling the first weight out lets it ride on the step size and saves one tensor operation for each sum; it is
    exact for RK4, whose last row becomes (k1 + 2 k2 + 2 k3 + k4) h / 6.
    """

    first: int
    scale: float
    rest: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, weights: tuple[float, ...]) -> Row:
        """The row of these weights, one for each stage; zeros are left out."""
        used = [(index, weight) for index, weight in enumerate(weights) if weight != 0.0]
        first, scale = used[0]
        return cls(first, scale, tuple((index, weight / scale) for index, weight in used[1:]))


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method.

    `nodes` c_i, `stages` the strictly lower rows a_ij from the second stage on, `weights` b_i, `error` the weights
    of y1 minus the embedded solution (over the stages and the slope at the end), `dense` one row for each stage
    (and the slope at the end) with the coefficients of theta, theta**2, ... in b_i(theta). Without `dense` the step
    is interpolated by the cubic Hermite polynomial through both values and both slopes.
    """

    name: str
    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    error: tuple[float, ...] | None = None
    dense: tuple[tuple[float, ...], ...] | None = None

    @cached_property
    def stage_rows(self) -> tuple[Row, ...]:
        """The stages after the first as rows."""
        return tuple(Row.of(row) for row in self.stages)

    @cached_property
    def weight_row(self) -> Row:
        """The step itself as a row."""
        return Row.of(self.weights)

    @cached_property
    def error_row(self) -> Row | None:
        """The error estimate as a row, or None for a method without one."""
        return None if self.error is None else Row.of(self.error)

    @cached_property
    def dense_rows(self) -> tuple[Row, ...] | None:
        """The rows of theta**3, theta**4, ...; theta**1 is the first slope and theta**2 follows from b_i(1) = b_i."""
        if self.dense is None:
            return None
        return tuple(Row.of(tuple(row[power] for row in self.dense)) for power in range(2, len(self.dense[0])))


@dataclass(frozen=True)
class RosenbrockTableau:
    """A stiffly accurate Rosenbrock method with one stage as its error estimate.

    With J = df/dy and f_t = df/dt at (t, y), the stages solve

        (1 - h gamma J) u_i = gamma (h f(t + c_i h, y + sum_j a_ij u_j) + sum_j C_ij u_j + h**2 d_i f_t)

    and y1 = y + sum_j a_sj u_j + u_s for the last stage s, whose u_s is the error estimate. `nodes` c_i,
    `stages` a_ij and `couplings` C_ij from the second stage on, `slopes` d_i, `dense` the rows H_k of

        y(theta) = y + theta (y1 - y + (1 - theta) (K_1 + theta (K_2 + theta K_3))),   K_k = sum_i H_ki u_i
    """

    name: str
    order: int
    gamma: float
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    couplings: tuple[tuple[float, ...], ...]
    slopes: tuple[float, ...]
    dense: tuple[tuple[float, ...], ...]

    @cached_property
    def stage_rows(self) -> tuple[Row, ...]:
        """The stages after the first as rows."""
        return tuple(Row.of(row) for row in self.stages)

    @cached_property
    def coupling_rows(self) -> tuple[Row, ...]:
        """The couplings of the stages after the first as rows."""
        return tuple(Row.of(row) for row in self.couplings)

    @cached_property
    def dense_rows(self) -> tuple[Row, ...]:
        """The dense output's rows."""
        return tuple(Row.of(row) for row in self.dense)


EULER = Tableau("Euler", 1, (0.0,), (), (1.0,))

HEUN = Tableau("Heun", 2, (0.0, 1.0), ((1.0,),), (1 / 2, 1 / 2))

RK4 = Tableau(
    "RK4",
    4,
    (0.0, 1 / 2, 1 / 2, 1.0),
    ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
)

# Ch. Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption,
# Computers & Mathematics with Applications 62 (2011) 770-775; interpolant of order 4 from the same paper.
TSIT5 = Tableau(
    "Tsit5",
    5,
    (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0),
    (
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    ),
    (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
    (
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        1 / 66,
    ),
    (
        (1.0, -2.763706197274826, 2.9132554618219126, -1.0530884977290216),
        (0.0, 0.1317, -0.2234, 0.1017),
        (0.0, 3.9302962368947516, -5.941033872131505, 2.490627285651253),
        (0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902),
        (0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928),
        (0.0, -27.896526289197286, 65.09189467479366, -34.87065786149661),
        (0.0, 1.5, -4.0, 2.5),
    ),
)

# J. R. Dormand, P. J. Prince, A family of embedded Runge-Kutta formulae, J. Comp. Appl. Math. 6 (1980) 19-26;
# interpolant of order 4: L. F. Shampine, Some practical Runge-Kutta formulas, Math. Comp. 46 (1986) 135-150.
DOPRI5 = Tableau(
    "Dormand-Prince",
    5,
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0),
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
    (
        (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
        (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
        (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
        (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
        (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
    ),
)

# G. Steinebach, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia
# Differential Equations package, BIT Numerical Mathematics 63 (2023) 27; in the transformed variables of
# E. Hairer & G. Wanner, Solving Ordinary Differential Equations II, IV.7.
_RODAS5P_LAST = (
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
)
RODAS5P = RosenbrockTableau(
    "Rodas5P",
    5,
    0.21193756319429014,
    (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0),
    (
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _RODAS5P_LAST,
        (*_RODAS5P_LAST, 1.0),
        (*_RODAS5P_LAST, 1.0, 1.0),
    ),
    (
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
        (
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ),
        (
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ),
    ),
    (0.21193756319429014, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069),
    (
        (
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ),
        (
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ),
        (
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ),
    ),
)
