"""The networks that ship with simdl, by name and category, each with its card."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simdl.errors import NetworkError

if TYPE_CHECKING:
    from torch import nn

    from simdl.networks.card import ModelCard

CARD = "card.json"


@dataclass(frozen=True)
class Entry:
    """A network that ships: its name, what it does, the folder of its card, and the slot it was made for."""

    name: str
    category: str
    title: str
    card: str
    scenario: str
    slot: str

    @property
    def folder(self) -> Path:
        """The folder of its card and weights."""
        return Path(str(files("simdl.scenarios"))) / self.card

    def twin(self) -> dict[str, Any]:
        """Its entry, and its card as JSON."""
        return {**asdict(self), "folder": str(self.folder),
                "card": json.loads((self.folder / CARD).read_text(encoding="utf-8"))}  # fmt: skip


def entries(category: str | None = None) -> dict[str, Entry]:
    """The networks by name, of one category or of all. Reads a table only.

    >>> "state estimation" in {entry.category for entry in entries().values()}
    True
    """
    text = files("simdl.scenarios").joinpath("hub.toml").read_text(encoding="utf-8")
    table: Mapping[str, Mapping[str, str]] = tomllib.loads(text)
    found = {name: Entry(name, **fields) for name, fields in table.items()}
    if category is None:
        return found
    categories = sorted({entry.category for entry in found.values()})
    if category not in categories:
        raise NetworkError("hub", f"no category {category!r}", "a category", names=categories, wrong=category)
    return {name: entry for name, entry in found.items() if entry.category == category}


def entry(name: str) -> Entry:
    """One network. Raises NetworkError for a name that is not there."""
    found = entries()
    if name not in found:
        raise NetworkError("hub", f"no network {name!r}", "a name of `simdl hub list`", names=found, wrong=name)
    return found[name]


def load(name: str) -> tuple[nn.Module, ModelCard]:
    """The module and the card of a network that ships with simdl."""
    from simdl.networks.store import load as load_card

    found = entry(name)
    know_architectures(found.folder)
    return load_card(found.folder)


def copy(name: str, folder: str | Path, *, force: bool = False) -> Path:
    """Copy card and weights into a folder, which is made; returns it.

    Raises NetworkError for a file, and for a folder that is not empty, unless `force`: then they are written over.
    """
    found, folder = entry(name), Path(folder)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not force)):
        raise NetworkError(str(folder), "it exists and is not empty", "a new folder, or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    weights = json.loads((found.folder / CARD).read_text(encoding="utf-8"))["weights"]["file"]
    for file in (weights, CARD):  # the card last: a folder with a card is whole
        shutil.copyfile(found.folder / file, folder / file)
    return folder


def know_architectures(path: str | Path) -> None:
    """Register the architectures of the scenario that ships with simdl whose network a card names, if it does."""
    from simdl.scenario import names

    card = Path(path) / CARD if Path(path).is_dir() else Path(path).with_suffix(".json")
    if not card.is_file():
        return
    from simdl.networks.architecture import ARCHITECTURES
    from simdl.networks.store import read_card

    factory = read_card(path)[0].factory
    scenario, dot, _ = factory.partition(".")
    if dot and factory not in ARCHITECTURES and scenario in names():
        import_module(f"simdl.scenarios.{scenario}.network")
