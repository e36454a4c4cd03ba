"""Architectures that a model card may name, and who may name which.

A factory is Python code: importing and calling it can do anything. So a card that comes from elsewhere chooses only
among the names registered here. A card that names "package:function" is read only when the caller says the same name,
or gives the function: then it is the caller who runs that code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from simdl.errors import NetworkError

Factory = Callable[..., Any]
F = TypeVar("F", bound=Factory)
ARCHITECTURES: dict[str, Factory] = {}
WIDEST, DEEPEST = 65_536, 64  # what a card may ask of the architectures below
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU, "elu": nn.ELU,
}  # fmt: skip


def architecture(name: str) -> Callable[[F], F]:
    """Register a factory under a name without a colon; cards may then name it.

    >>> @architecture("line")
    ... def line(inputs: int = 1) -> nn.Module:
    ...     return nn.Linear(inputs, 1)
    >>> "line" in ARCHITECTURES
    True
    """
    if ":" in name or not name:
        raise NetworkError("architecture", f"{name!r}", "a name without a colon")

    def keep(factory: F) -> F:
        if ARCHITECTURES.get(name, factory) is not factory:
            raise NetworkError("architecture", f"{name!r} is registered already", "another name", names=ARCHITECTURES)
        ARCHITECTURES[name] = factory
        return factory

    return keep


def find_factory(named: str, given: str | Factory | None, where: str) -> Factory:
    """The factory that a card names. given: the same name, or the function, from a caller who trusts it.

    Raises NetworkError for "package:function" that the caller did not name.
    """
    if callable(given):
        return given
    if given is not None and given != named:
        raise NetworkError(where, f"the card names the factory {named!r}, the caller {given!r}", "the same")
    if named in ARCHITECTURES:
        return ARCHITECTURES[named]
    if given is None or ":" not in named:
        fix = f"factory={named!r}, if you trust that code" if ":" in named else ""
        code = "Python code that does not come with simdl" if ":" in named else "which is not registered"
        raise NetworkError(where, f"the card names the factory {named!r}, {code}",
                           "a registered architecture", fix, sorted(ARCHITECTURES), named)  # fmt: skip
    return import_factory(named, where)


def import_factory(text: str, where: str = "factory") -> Factory:
    """The function "package:function" names, imported: only for text that the user wrote.

    Modules beside the user (in the current folder) are found, after all installed ones.
    """
    module, _, name = text.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise NetworkError(where, f"{text!r}", '"package:function", such as "mynets.soc:build"')
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)  # last: it shadows nothing
    found: Any = None
    try:
        found = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise NetworkError(where, f"{text!r} cannot be imported: {error}", "an importable module",
                           f"run from the folder that holds {module.split('.')[0]}.py, or install it",
                           ) from error  # fmt: skip
    except AttributeError:
        public = [n for n in dir(found) if not n.startswith("_")]
        raise NetworkError(where, f"{module} has no {name!r}", names=public[:40], wrong=name) from None
    finally:
        if added:
            sys.path.remove(here)
    if not callable(found):
        raise NetworkError(where, f"{text!r} is {type(found).__name__}", "a function that returns a module")
    factory: Factory = found
    return factory


def build(factory: Factory, kwargs: dict[str, Any], where: str) -> nn.Module:
    """Call a factory. Raises NetworkError for what it refuses and for what is no module."""
    try:
        module = factory(**kwargs)
    except NetworkError:
        raise
    except Exception as error:
        raise NetworkError(where, f"the factory fails on {kwargs}: {error}", "arguments that it takes") from error
    if not isinstance(module, nn.Module):
        raise NetworkError(where, f"the factory returned {type(module).__name__}", "an nn.Module")
    return module


@architecture("mlp")
def mlp(inputs: int, outputs: int = 1, hidden: Sequence[int] = (64, 64), activation: str = "tanh") -> nn.Sequential:
    """A feed-forward network with hidden layers of these widths."""
    _check(inputs=inputs, outputs=outputs, **{f"hidden {i}": width for i, width in enumerate(hidden)})
    _check_depth(len(hidden))
    layers: list[nn.Module] = []
    for before, after in zip([inputs, *hidden], hidden):
        layers += [nn.Linear(before, after), _activation(activation)]
    return nn.Sequential(*layers, nn.Linear([inputs, *hidden][-1], outputs))


class SequenceModel(nn.Module):
    """Recurrent layers and a head that sees the hidden state: forward(x (lanes, samples, inputs), state)."""

    def __init__(
        self, layer: Callable[..., nn.RNNBase], inputs: int, outputs: int, hidden: int, layers: int, head: int
    ) -> None:  # fmt: skip
        super().__init__()
        self.recurrent = layer(inputs, hidden, num_layers=layers, batch_first=True)
        self.head = nn.Linear(hidden, outputs) if head == 0 else nn.Sequential(
            nn.Linear(hidden, head), nn.Tanh(), nn.Linear(head, outputs)
        )  # fmt: skip

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        hidden, state = self.recurrent(x, state)
        return self.head(hidden), state


@architecture("gru")
def gru(inputs: int, outputs: int = 1, hidden: int = 48, layers: int = 1, head: int = 32) -> SequenceModel:
    """A GRU with a head of one hidden layer (`head` wide; 0: linear)."""
    return _sequence(nn.GRU, inputs, outputs, hidden, layers, head)


@architecture("lstm")
def lstm(inputs: int, outputs: int = 1, hidden: int = 48, layers: int = 1, head: int = 32) -> SequenceModel:
    """An LSTM with a head of one hidden layer (`head` wide; 0: linear)."""
    return _sequence(nn.LSTM, inputs, outputs, hidden, layers, head)


@architecture("rnn")
def rnn(inputs: int, outputs: int = 1, hidden: int = 48, layers: int = 1, head: int = 32) -> SequenceModel:
    """An Elman network with a head of one hidden layer (`head` wide; 0: linear)."""
    return _sequence(nn.RNN, inputs, outputs, hidden, layers, head)


def _sequence(
    layer: Callable[..., nn.RNNBase], inputs: int, outputs: int, hidden: int, layers: int, head: int
) -> SequenceModel:  # fmt: skip
    _check(inputs=inputs, outputs=outputs, hidden=hidden, layers=layers)
    _check(minimum=0, head=head)
    _check_depth(layers)
    return SequenceModel(layer, inputs, outputs, hidden, layers, head)


def _activation(name: str) -> nn.Module:
    if name not in _ACTIVATIONS:
        raise NetworkError("architecture", f"activation={name!r}", "one of", names=_ACTIVATIONS, wrong=str(name))
    return _ACTIVATIONS[name]()


def _check(minimum: int = 1, **widths: int) -> None:
    for name, width in widths.items():
        if isinstance(width, bool) or not isinstance(width, int) or not minimum <= width <= WIDEST:
            raise NetworkError("architecture", f"{name}={width!r}", f"a whole number from {minimum} to {WIDEST}")


def _check_depth(layers: int) -> None:
    if layers > DEEPEST:
        raise NetworkError("architecture", f"{layers} layers", f"at most {DEEPEST}")
