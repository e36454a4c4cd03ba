"""The control cost: what it takes to hold the pole, as one number."""

from simdl import Block, Input, Param, State, derivative

STATES = (2.0, 0.2, 20.0, 0.5)  # of x, v, theta, omega: 1/m^2, s^2/m^2, 1/rad^2, s^2/rad^2
FORCE = 0.05  # 1/N^2


class Cost(Block):
    """total' = q · (x², v², theta², omega²) + r force²; total(T) / T is the quadratic cost J of the loop, without unit.

    q and r are the weights of the regulator that the controller imitates (`recipe`): J is what it was made to keep
    small, so that a delay which it does not know shows at once. Each weight is 1 over the square of a deviation that
    counts as 1: 0.7 m, 2.2 m/s, 0.22 rad, 1.4 rad/s and 4.5 N.
    """

    x, v = Input(unit="m"), Input(unit="m/s")
    theta, omega = Input(unit="rad"), Input(unit="rad/s")
    force = Input(unit="N")
    q: Param = Param(STATES)
    r: Param = Param(FORCE, unit="1/N^2")
    total = State(0.0, unit="s")

    @derivative(total)
    def growth(self, x, v, theta, omega, force, q, r):
        states = q[:, 0] * x**2 + q[:, 1] * v**2 + q[:, 2] * theta**2 + q[:, 3] * omega**2
        return states + r * force**2
