"""Training networks on what a campaign recorded.

    fit, run, objective           the loop: validation, early stopping, checkpoints, exact resumption
    loss, classes, schedule       what is made small, and how fast; targets that are numbers of classes
    source                        what it learns from: sequences, windows, tensors, any torch Dataset; split
    frozen                        parts that stay as they are: a backbone, batch normalisation
    checkpoint, interrupt         going on after a kill; stopping when asked
    identity                      names of losses and the like that are the same in every process
    history, plot                 what happened, as rows, JSONL and curves
"""

from simdl.learn.classes import accuracy, class_weights
from simdl.learn.fit import evaluate, fit
from simdl.learn.history import Epoch, History
from simdl.learn.interrupt import Interrupted
from simdl.learn.loss import QuarticLoss, mse
from simdl.learn.plot import plot_history
from simdl.learn.schedule import Constant, Cosine, Linear
from simdl.learn.source import split

__all__ = [
    "Constant",
    "Cosine",
    "Epoch",
    "History",
    "Interrupted",
    "Linear",
    "QuarticLoss",
    "accuracy",
    "class_weights",
    "evaluate",
    "fit",
    "mse",
    "plot_history",
    "split",
]
