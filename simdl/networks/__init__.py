"""PyTorch modules as blocks that tick, with their model cards.

    network, recurrent     Network, Recurrent: ports, normalisation, hidden state as declared state
    plan, trial            what a network's class declares, and whether the module fits it
    ports, window          how values become what a module takes
    call, layers           calling a module over lanes bit for bit the same; looking into it
    recurrence             finding and stepping the state of a recurrent module
    resampled              Resampled: a network at another rate than the loop's, given its own samples
    expansion, fixed       Expanded: a block for every layer, with fewer bits if asked for (layer, operation)
    stepped, described     Stepped: a module that is given its states; files that simdl exported, opened again
    card, feature, guard   ModelCard, its inputs and outputs, and whether a network is used as its card says
    store, architecture    save and load with safetensors; the factories that a card may name
    opening, imported      open_network: a network of any format; what every reader returns
    sandbox                trying a stranger's file in a child process with limits first
    weights, archive       weights in files, read as data only; zip archives of strangers
    exported, keras        programs of torch.export (.pt2); .keras and .h5
    nnet, polar, affine    formats of verification tools
    analysis, parts        analyse: what a network is made of and costs (evaluation, products: seen while it runs)
    reach, warnings        how far back it sees; what looks wrong about it
    comparison             comparing a converted network with what it was converted from
    classifier, detector   Classifier, Detector: labels and boxes of what a module returns (classes, boxes)
    layout                 Layout: images and other arrays, scaled, resized and turned
    callback               Callback: any Python model
    monitor, monitored     Monitor: a network watched at run time, with a fallback (levels: checked when it is made)
    uncertainty, spread    Ensemble, MCDropout, Quantile, Gaussian: networks that say how sure they are
    coverage               calibration: whether they are as sure as they should be; conformal scaling
    state_space            NeuralStateSpace: a network as the right-hand side of a differential equation
    horizon                free_run: the error of a network that runs on its own predictions
    ood/                   scorers: how strange an input is
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simdl.networks.architecture import architecture as architecture

if TYPE_CHECKING:
    from simdl.networks.boxes import Boxes as Boxes
    from simdl.networks.callback import Callback as Callback
    from simdl.networks.card import ModelCard as ModelCard
    from simdl.networks.classes import Classes as Classes
    from simdl.networks.classifier import Classifier as Classifier
    from simdl.networks.coverage import Calibration as Calibration, calibration as calibration
    from simdl.networks.detector import Detector as Detector
    from simdl.networks.expansion import Expanded as Expanded
    from simdl.networks.exported import load_exported as load_exported
    from simdl.networks.feature import Feature as Feature
    from simdl.networks.fixed import Fixed as Fixed
    from simdl.networks.horizon import FreeRun as FreeRun, free_run as free_run
    from simdl.networks.imported import Imported as Imported
    from simdl.networks.layout import Layout as Layout
    from simdl.networks.monitor import Cause as Cause, Monitor as Monitor
    from simdl.networks.network import Network as Network
    from simdl.networks.opening import open_network as open_network
    from simdl.networks.recurrent import Recurrent as Recurrent
    from simdl.networks.resampled import Resampled as Resampled
    from simdl.networks.sandbox import Sandbox as Sandbox
    from simdl.networks.state_space import NeuralStateSpace as NeuralStateSpace
    from simdl.networks.stepped import Stepped as Stepped
    from simdl.networks.store import load as load, save as save
    from simdl.networks.uncertainty import (
        Ensemble as Ensemble,
        Gaussian as Gaussian,
        MCDropout as MCDropout,
        Pinball as Pinball,
        Quantile as Quantile,
        gaussian_nll as gaussian_nll,
    )
    from simdl.networks.window import Window as Window

# Loaded at first use: watching, cards (which need pydantic) and readers of files cost more than a network itself.
_NAMES = {
    "boxes": "Boxes",
    "callback": "Callback",
    "card": "ModelCard",
    "classes": "Classes",
    "classifier": "Classifier",
    "coverage": "Calibration calibration",
    "detector": "Detector",
    "expansion": "Expanded",
    "exported": "load_exported",
    "feature": "Feature",
    "fixed": "Fixed",
    "horizon": "FreeRun free_run",
    "imported": "Imported",
    "layout": "Layout",
    "monitor": "Cause Monitor",
    "network": "Network",
    "opening": "open_network",
    "recurrent": "Recurrent",
    "resampled": "Resampled",
    "sandbox": "Sandbox",
    "state_space": "NeuralStateSpace",
    "stepped": "Stepped",
    "store": "load save",
    "uncertainty": "Ensemble Gaussian MCDropout Pinball Quantile gaussian_nll",
    "window": "Window",
}
_LATER = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = ["architecture", *_LATER]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'simdl.networks' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"simdl.networks.{_LATER[name]}"), name)
