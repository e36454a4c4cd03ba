"""A network in the place of a part of a loop: excited, learnt, replaced, and compared.

    part                          what is replaced: its states, what drives it, who reads it
    training                      one step, learnt by running on own predictions
    comparison, outcome           errors of every signal, free runs, time in both engines
    replacement                   `surrogate` does it all
"""

from simdl.surrogate.comparison import Difference, Pair, Speed
from simdl.surrogate.outcome import Surrogate
from simdl.surrogate.replacement import replaced, surrogate
from simdl.surrogate.training import Training

__all__ = ["Difference", "Pair", "Speed", "Surrogate", "Training", "replaced", "surrogate"]
