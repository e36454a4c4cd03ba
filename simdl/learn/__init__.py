"""Training networks on what a campaign recorded.

    fit, run, objective           the loop: validation, early stopping, checkpoints, exact resumption
    loss, schedule                what is made small, and how fast
    source                        what it learns from: sequences, windows, tensors, any torch Dataset
    checkpoint, interrupt         going on after a kill; stopping when asked
    history, plot                 what happened, as rows, JSONL and curves
"""

from simdl.learn.fit import evaluate, fit
from simdl.learn.history import Epoch, History
from simdl.learn.interrupt import Interrupted
from simdl.learn.loss import QuarticLoss, mse
from simdl.learn.plot import plot_history
from simdl.learn.schedule import Constant, Cosine, Linear

__all__ = [
    "Constant",
    "Cosine",
    "Epoch",
    "History",
    "Interrupted",
    "Linear",
    "QuarticLoss",
    "evaluate",
    "fit",
    "mse",
    "plot_history",
]
