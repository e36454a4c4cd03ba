"""A network in the place of a part of a loop: excited, learnt, replaced, and compared.

    part                          what is replaced: its states, what drives it, who reads it
    training                      one step, learnt by running on own predictions
    comparison, outcome           errors of every signal, free runs, time in both engines
    replacement, exchange         `surrogate` does it all; a network in the place of a part
    card                          weights and card in a folder: save, load, place in a diagram again
"""

from simdl.surrogate.card import SurrogateCard, load_surrogate, place, save_surrogate
from simdl.surrogate.comparison import Difference, Pair, Speed
from simdl.surrogate.exchange import replaced
from simdl.surrogate.outcome import Surrogate
from simdl.surrogate.replacement import surrogate
from simdl.surrogate.training import Training

__all__ = [
    "Difference", "Pair", "Speed", "Surrogate", "SurrogateCard", "Training", "load_surrogate", "place", "replaced",
    "save_surrogate", "surrogate",
]  # fmt: skip
