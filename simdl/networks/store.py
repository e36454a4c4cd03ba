"""Saving and loading a network with its card: weights as safetensors, everything else as JSON beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

import simdl
from simdl.data.durable import write_file
from simdl.errors import DataError, NetworkError
from simdl.networks.architecture import ARCHITECTURES, Factory, build, find_factory
from simdl.networks.call import kind_of
from simdl.networks.card import LARGEST as LARGEST_CARD, ModelCard, Weights
from simdl.networks.layers import static_lanes
from simdl.networks.weights import LARGEST, kind_of_file, read_weights, save_weights

CARD, WEIGHTS = "card.json", "model.safetensors"


def save(path: str | Path, module: nn.Module, card: ModelCard) -> ModelCard:
    """Write the weights and then the card, each whole or not at all; returns the card with the hash of the weights.

    path: a folder (card.json and model.safetensors), or a file x.safetensors (and x.json). The factory of the card is
    called first, so that a card that does not rebuild this module is refused here and not when it is needed.
    Raises NetworkError for such a card, and for exported programs, which no factory makes.
    """
    folder, card_file, weights_file = _places(Path(path))
    where = str(folder / card_file)
    if static_lanes(module) is not None or isinstance(module, torch.fx.GraphModule):
        raise NetworkError(where, "an exported program, which has no factory", "a module that a factory builds",
                           "torch.export.save(program, path)")  # fmt: skip
    state = module.state_dict()
    made = build(find_factory(card.factory, card.factory, where), card.kwargs, where)
    _compare(made.state_dict(), state, where)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        digest = save_weights(state, folder / weights_file)
        dtype = str(kind_of(module)[0] or torch.get_default_dtype()).removeprefix("torch.")
        weights = Weights(file=weights_file, sha256=digest, size=(folder / weights_file).stat().st_size)
        versions = {"torch": torch.__version__, "simdl": simdl.__version__, **card.versions}
        done = card.model_copy(update={"weights": weights, "versions": versions, "dtype": dtype})
        write_file(folder / card_file, done.to_json().encode())
    except OSError as error:
        raise NetworkError(where, f"cannot be written: {error.strerror or error}", "a folder to write to") from error
    except DataError as error:
        raise NetworkError(error.where, error.found, error.expected, error.fix) from error
    return done


def load(path: str | Path, *, factory: str | Factory | None = None) -> tuple[nn.Module, ModelCard]:
    """The module and the card in a folder, or of a card (.json) or its weights (.safetensors), in evaluation mode.

    The weights must have the size and SHA-256 that the card says, and the names and shapes that its factory makes.
    factory: only for a card whose factory is no registered architecture: the same "package:function", or the function.
    A factory is Python code, and simdl imports none because a file says so: see `simdl.networks.architecture`.
    Raises NetworkError for everything else, pickles among it.
    """
    card, weights = read_card(path)
    where = str(weights)
    state = _read_state(weights, card)
    make = find_factory(card.factory, factory, where)
    if factory is None and card.factory in ARCHITECTURES:
        _compare_first(make, card, state, where)
    module = build(make, card.kwargs, where)
    _compare(module.state_dict(), state, where)
    types = {value.dtype for value in state.values() if value.is_floating_point()}
    if len(types) == 1:  # load_state_dict would round the weights to the module's own type
        module.to(dtype=types.pop())
    module.load_state_dict(state)
    module.eval()
    return module, card


def read_card(path: str | Path) -> tuple[ModelCard, Path]:
    """The card of a folder, of a JSON file or of weights, and the path of the weights it names."""
    path = Path(path)
    if path.is_file() and path.suffix not in (".json", ".safetensors"):
        with path.open("rb") as file:
            kind = kind_of_file(file.read(4096))
        fix = "weights = simdl.networks.weights.load_weights(path); module.load_state_dict(weights); then save both"
        raise NetworkError(str(path), f"a {kind} without a model card", "a folder with card.json", fix)
    folder, card_file, _ = _places(path)
    place = folder / card_file
    if not place.is_file():
        fix = "a module alone is Network(module, ...); simdl.networks.save(folder, module, card) writes both"
        raise NetworkError(str(path), f"no model card at {place}", "a folder or file written by save", fix)
    with place.open("rb") as file:
        card = ModelCard.from_json(file.read(LARGEST_CARD + 1), str(place))
    if card.weights is None:
        raise NetworkError(str(place), "a card without weights", "a card written by simdl.networks.save")
    return card, folder / card.weights.file


def _places(path: Path) -> tuple[Path, str, str]:
    """The folder, and the names of card and weights in it."""
    if path.suffix in (".safetensors", ".json"):
        if path.name == CARD or (path.name == WEIGHTS and (path.parent / CARD).is_file()):
            return path.parent, CARD, WEIGHTS
        return path.parent, f"{path.stem}.json", f"{path.stem}.safetensors"
    return path, CARD, WEIGHTS


def _read_state(path: Path, card: ModelCard) -> dict[str, Tensor]:
    assert card.weights is not None
    where, fix = str(path), "the file was changed, or belongs to another network: save both together"
    if not path.is_file():
        raise NetworkError(where, "no such file", f"the weights that the card of {card.name} names")
    size = path.stat().st_size
    if size != card.weights.size or size > LARGEST:
        raise NetworkError(where, f"{size} bytes", f"{card.weights.size} bytes, as the card says", fix)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != card.weights.sha256:
        raise NetworkError(where, f"SHA-256 {found[:16]}…", f"{card.weights.sha256[:16]}…, as the card says", fix)
    return read_weights(data, where)


def _compare_first(make: Factory, card: ModelCard, state: dict[str, Tensor], where: str) -> None:
    """A card must not make a factory allocate more than there are weights for: build it without memory first."""
    with torch.device("meta"):
        try:
            made = build(make, card.kwargs, where).state_dict()
        except NetworkError:  # an architecture that computes with its weights cannot be built so
            return
    _compare(made, state, where)


def _compare(made: dict[str, Tensor], stored: dict[str, Tensor], where: str) -> None:
    """Raise NetworkError unless both have the same names and shapes."""
    faults = [f"{name}: not among the weights" for name in made if name not in stored]
    faults += [f"{name}: not in the module" for name in stored if name not in made]
    faults += [f"{name}: {tuple(stored[name].shape)} in the weights, {tuple(made[name].shape)} in the module"
               for name in made if name in stored and made[name].shape != stored[name].shape]  # fmt: skip
    if faults:
        text = "\n    ".join(faults[:20])
        raise NetworkError(where, f"weights that are not those of the module:\n    {text}",
                           "the module that the card's factory makes",
                           "give the card the factory's arguments as kwargs=")  # fmt: skip
