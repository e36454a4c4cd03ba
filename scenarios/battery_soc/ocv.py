"""Open-circuit voltage of an NMC 811 | graphite–SiOx cell, new or aged, from its two electrodes.

The half-cell curves are those of Chen et al., J. Electrochem. Soc. 167 (2020) 080534 (LG M50, 5 Ah). Ageing is not a
voltage offset but what shifts the curve in a real cell: lithium lost to side reactions makes the electrodes slip
against each other, and lost active material stretches one of them (Birkl et al., J. Power Sources 341 (2017) 373).
Everything is elementwise over lanes; potentials in volt, stoichiometries and state of charge as fractions.
"""

import torch

CAPACITY = 5.0  # A h, new cell, 2.5 V to 4.2 V
EMPTY, FULL = 2.5, 4.2  # V, the cell voltages that define 0 and 1 state of charge
X_EMPTY, X_FULL = 0.0263, 0.9014  # negative electrode, new cell
Y_EMPTY, Y_FULL = 0.8539, 0.2700  # positive electrode, new cell

NEGATIVE = CAPACITY / (X_FULL - X_EMPTY)  # A h, capacity of each whole electrode, new
POSITIVE = CAPACITY / (Y_EMPTY - Y_FULL)
LITHIUM = X_FULL * NEGATIVE + Y_FULL * POSITIVE  # A h, cyclable lithium, new

# (slope, height, centre) of the steps: potential = offset + line + exponential + sum height * tanh(slope (x - centre))
_POSITIVE_STEPS = ((18.5138, -0.0428, 0.5542), (15.7890, -17.7326, 0.3117), (15.9308, 17.5842, 0.3120))
_NEGATIVE_STEPS = ((29.8538, -0.0909, 0.1234), (14.9159, -0.04478, 0.2769), (30.4444, -0.0205, 0.6103))


def positive(y):
    """Potential of the positive electrode and its slope with respect to stoichiometry."""
    potential, slope = 4.4875 - 0.8090 * y, torch.full_like(y, -0.8090)
    for steepness, height, centre in _POSITIVE_STEPS:
        step = torch.tanh(steepness * (y - centre))
        potential = potential + height * step
        slope = slope + (height * steepness) * (1 - step * step)
    return potential, slope


def negative(x):
    """Potential of the negative electrode and its slope with respect to stoichiometry."""
    decay = 1.9793 * torch.exp(-39.3631 * x)
    potential, slope = 0.2482 + decay, -39.3631 * decay
    for steepness, height, centre in _NEGATIVE_STEPS:
        step = torch.tanh(steepness * (x - centre))
        potential = potential + height * step
        slope = slope + (height * steepness) * (1 - step * step)
    return potential, slope


def ocv(soc, x_empty, x_span, y_empty, y_span):
    """Open-circuit voltage; the four window parameters come from `window`."""
    return positive(y_empty - soc * y_span)[0] - negative(x_empty + soc * x_span)[0]


def ocv_and_slope(soc, x_empty, x_span, y_empty, y_span):
    """Open-circuit voltage and its derivative with respect to state of charge, as an extended Kalman filter needs."""
    up, dup = positive(y_empty - soc * y_span)
    un, dun = negative(x_empty + soc * x_span)
    return up - un, -dup * y_span - dun * x_span


def window(lithium_loss, negative_loss, positive_loss):
    """Stoichiometry windows and capacity of a cell that lost these fractions of lithium and of either electrode.

    Returns (x_empty, x_span, y_empty, y_span, capacity in A h). The full-charge and empty ends solve
    U_p - U_n = 4.2 V and 2.5 V with the lithium shared between the electrodes; U_p - U_n grows with x, so bisection
    cannot fail, and one Newton step at the end carries the derivative with respect to the three losses.
    """
    negative_capacity = NEGATIVE * (1 - negative_loss)
    positive_capacity = POSITIVE * (1 - positive_loss)
    lithium = LITHIUM * (1 - lithium_loss)

    def partner(x):  # stoichiometry of the positive electrode that holds the rest of the lithium
        return (lithium - x * negative_capacity) / positive_capacity

    def solve(voltage, low, high):
        low, high = torch.full_like(lithium, low), torch.full_like(lithium, high)
        for _ in range(40):
            middle = (low + high) / 2
            above = positive(partner(middle))[0] - negative(middle)[0] > voltage
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        x = ((low + high) / 2).detach()
        up, dup = positive(partner(x))
        un, dun = negative(x)
        slope = -dup * negative_capacity / positive_capacity - dun
        return x - (up - un - voltage) / slope.detach()

    x_full, x_empty = solve(FULL, 0.3, 1.1), solve(EMPTY, 0.0, 0.3)
    y_full, y_empty = partner(x_full), partner(x_empty)
    return x_empty, x_full - x_empty, y_empty, y_empty - y_full, (x_full - x_empty) * negative_capacity
