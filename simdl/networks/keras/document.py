"""The two kinds of file that Keras writes: a configuration in JSON, and where the weights of each layer are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from simdl.data.jsonl import loads
from simdl.errors import NetworkError
from simdl.networks.archive import TOTAL, Archive
from simdl.networks.keras.hdf5 import LONGEST, Array, Numbers
from simdl.networks.weights import LARGEST, read_file

_WANTED = "a file of model.save('net.keras')"
_MEMBERS = re.compile(r"metadata\.json|config\.json|model\.weights\.h5|assets/|assets/[\w./-]+")


class Weights(Protocol):
    """Where the arrays of layers are."""

    def of(self, path: str, name: str, parts: tuple[str, ...]) -> list[Array]:
        """Those of one layer in Keras' order. path: by classes and numbers; name: its own; parts: of a compound layer,
        in the order of their weights."""
        ...


@dataclass(frozen=True)
class Document:
    """What a file says: config of the model, its weights, the version of Keras that wrote it."""

    config: dict[str, Any]
    weights: Weights
    version: str
    legacy: bool
    """Whether it is a .h5 file."""


def read_document(path: Path) -> Document:
    """Read a .keras or .h5 file. Raises NetworkError for files that are neither, are damaged, or hold too much."""
    data, where = read_file(path, LARGEST), str(path)
    if data[:4] == b"PK\x03\x04":
        return _zipped(data, where)
    if data[:8] == b"\x89HDF\r\n\x1a\n":
        return _legacy(data, where)
    raise NetworkError(where, "neither an archive nor HDF5", "a .keras or .h5 file of model.save")


def _zipped(data: bytes, where: str) -> Document:
    archive = Archive(data, where, _WANTED, TOTAL)
    for name in archive:
        if not _MEMBERS.fullmatch(name):
            raise NetworkError(where, f"the member {name!r:.100}", _WANTED)
    for name in ("config.json", "metadata.json", "model.weights.h5"):
        if name not in archive.members:
            raise NetworkError(where, f"no {name} in the archive", _WANTED)
    texts = []
    for name in ("config.json", "metadata.json"):
        if archive.members[name].file_size > LONGEST:
            raise NetworkError(where, f"{name} of {archive.members[name].file_size} bytes", f"at most {LONGEST}")
        texts.append(_object(archive.read(name), f"{where}: {name}"))
    config, about = texts
    return Document(config, _Paths(Numbers(archive.read("model.weights.h5"), where)), _version(about), False)


def _legacy(data: bytes, where: str) -> Document:
    numbers = Numbers(data, where)
    text = numbers.text("", "model_config")
    if text is None:
        raise NetworkError(where, "an HDF5 file without a model: weights alone, or no network", "model.save('net.h5')",
                           "save the whole model: model.save('net.keras')")  # fmt: skip
    root = "model_weights" if "model_weights" in numbers.groups else ""
    version = numbers.text("", "keras_version") or numbers.text(root, "keras_version") or ""
    config = _object(text.encode(errors="surrogateescape"), f"{where}: model_config")
    return Document(config, _Names(numbers, root), version, True)


def _object(data: bytes, where: str) -> dict[str, Any]:
    found = loads(data, where, NetworkError)
    if not isinstance(found, dict):
        raise NetworkError(where, f"is {type(found).__name__}", "a JSON object")
    return found


def _version(about: dict[str, Any]) -> str:
    found = about.get("keras_version", "")
    return found if isinstance(found, str) else ""


class _Paths:
    """Weights of a .keras file: layers/dense_1/vars/0."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        old = any(group.split("/")[-1] == "_layer_checkpoint_dependencies" for group in numbers.groups)
        self.root = "_layer_checkpoint_dependencies" if old else "layers"

    def of(self, path: str, name: str, parts: tuple[str, ...]) -> list[Array]:
        found = []
        place = "/".join(f"{self.root}/{one}" for one in path.split("/"))
        for part in parts:
            holder = f"{place}/{part}/vars" if part else f"{place}/vars"
            number = 0
            while f"{holder}/{number}" in self.numbers:
                found.append(self.numbers.read(f"{holder}/{number}"))
                number += 1
        return found


class _Names:
    """Weights of a .h5 file: model_weights/<layer>/<weight>."""

    def __init__(self, numbers: Numbers, root: str) -> None:
        self.numbers, self.root = numbers, root

    def of(self, path: str, name: str, parts: tuple[str, ...]) -> list[Array]:
        group = f"{self.root}/{name}" if self.root else name
        if group not in self.numbers.groups:
            return []
        found = []
        for weight in self.numbers.texts(group, "weight_names"):
            place = f"{group}/{weight}"
            if place not in self.numbers:
                raise NetworkError(self.numbers.where, f"no weights {place[-100:]!r}", "a whole file")
            found.append(self.numbers.read(place))
        return found
