"""One entry point for networks in files: the format is told by the bytes, and the name must not say otherwise."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simdl.declarations import Input
from simdl.errors import NetworkError
from simdl.networks.archive import Archive
from simdl.networks.imported import Imported, output_of
from simdl.networks.weights import LARGEST, kind_of_file, read_file

if TYPE_CHECKING:
    from torch import nn

    from simdl.networks.comparison import Comparison
    from simdl.networks.described import Description
    from simdl.networks.sandbox import Sandbox

_HEAD = 2**16  # bytes that tell a format that is no archive
_PROTOBUF = {0x08, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2, 0xCA}  # first bytes of fields of ModelProto
_KINDS = {
    ".pt2": "torch.export program", ".onnx": "ONNX model", ".keras": "Keras archive", ".h5": "HDF5 file",
    ".hdf5": "HDF5 file", ".nnet": ".nnet text", ".polar": ".polar text", ".safetensors": "safetensors",
    ".json": "JSON text",
}  # fmt: skip
_WANTED = "a card's folder, .safetensors or .json of a card, .pt2, .onnx, .keras, .h5, .nnet or .polar"
_FIXES = {
    "Python pickle": "a pickle is a program: where it was made, save the module with simdl.networks.save(folder, "
                     "module, card), or export it with torch.export.save",
    "legacy torch file": "it is a pickle: load it where it was made and save it with simdl.networks.save(folder, "
                         "module, card)",
    "TorchScript program": "where it was made: torch.export.save(torch.export.export(module, example), 'net.pt2')",
    "torch archive of weights": "weights alone are no network: module.load_state_dict("
                                "simdl.networks.weights.load_weights(path)), then Network(module, ...) or save it with "
                                "a card",
}  # fmt: skip


def open_network(path: str | Path, *, sandbox: bool | Sandbox = False, **options: Any) -> Imported:
    """The network in a folder or file, whatever its format, with what is known of it.

    path: a model card's folder, x.safetensors or x.json beside a card, x.pt2 of torch.export, x.onnx, x.keras, x.h5,
    x.nnet or x.polar. options: of that format's reader: `factory=` of a card, `normalisation=` of .nnet, `offset=` and
    `scale=` of .polar, `stepped=` of Keras. sandbox: for files of strangers: True, or limits: the file is first opened
    in a child process with limits of memory and time, which costs the start of one (seconds). A card is not tried
    there: its weights are plain numbers, and its factory is code that runs here.
    Raises NetworkError for names that lie about what a file is, and for pickles, TorchScript and bare weights, with
    what to do instead.
    """
    path = Path(path)
    if not path.exists():
        raise NetworkError(str(path), "no such file or folder", _WANTED)
    read = _reader(path)
    known = list(inspect.signature(read).parameters)[1:]
    for name in options:
        if name not in known:
            raise NetworkError(str(path), f"no option {name!r} for this format", "an option of its reader",
                               names=known, wrong=name)  # fmt: skip
    if sandbox and read is not load_card:
        from simdl.networks.sandbox import Sandbox, check_same, rehearse

        before = rehearse(path, options, sandbox if isinstance(sandbox, Sandbox) else Sandbox())
        check_same(path, before)
    return read(path, **options)


def format_of(path: Path) -> str:
    """What a file is, by its bytes: "ONNX model", "Python pickle", …; raises NetworkError for what is no file."""
    if path.is_dir():
        return "folder"
    head = _head(path)
    kind = kind_of_file(head)
    if kind == "zip archive":
        return _archived(path)
    text = head.lstrip()
    if head and (kind == "file of unknown kind" or kind.endswith("ONNX") or kind == "Python pickle"):
        if text.startswith(b"{"):
            return "JSON text"
        if text.startswith(b"//"):
            return ".nnet text"
        first = text.split(b"\n", 1)[0].strip()
        if re.fullmatch(rb"\d+(\s*,\s*\d+){3}\s*,?", first):
            return ".nnet text"
        if first.isdigit():
            return ".polar text"
        if kind != "Python pickle" and head[0] in _PROTOBUF:
            return "ONNX model"
    return kind


def _head(path: Path) -> bytes:
    """The first bytes of a regular file."""
    if not path.is_file():
        return read_file(path, LARGEST)  # which says what it is
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise NetworkError(str(path), f"cannot be read: {error.strerror or error}", _WANTED) from None


def _archived(path: Path) -> str:
    archive = Archive(read_file(path, LARGEST), str(path), "an archive of torch or Keras")
    names = list(archive)
    if any("/models/" in name or name.endswith("archive_format") for name in names):
        return "torch.export program"
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        return "TorchScript program"
    if any(name.endswith("data.pkl") for name in names):
        return "torch archive of weights"
    if "config.json" in names or "model.weights.h5" in names:
        return "Keras archive"
    return "zip archive"


def _reader(path: Path) -> Callable[..., Imported]:
    """The reader for what the name and the bytes both say."""
    kind, suffix = format_of(path), path.suffix.lower()
    if kind == "folder":
        return load_card
    wanted = _KINDS.get(suffix)
    if wanted is not None and kind != wanted:
        lie = f"is a {kind} (the name says {suffix}: {wanted})"
        other = next((end for end, one in _KINDS.items() if one == kind), None)
        fix = _FIXES.get(kind) or (f"name it *{other} if that is what it should be" if other else "")
        raise NetworkError(str(path), lie, _WANTED, fix)
    if wanted is None:
        other = next((end for end, one in _KINDS.items() if one == kind), None)
        named = f"a name that ends in {other}" if other else _WANTED
        raise NetworkError(str(path), f"is a {kind}", named, _FIXES.get(kind) or (f"rename it to *{other}" if other
                                                                                else ""))  # fmt: skip
    module, function = _READERS[suffix]
    found: Callable[..., Imported] = getattr(import_module(f"simdl.networks.{module}"), function)
    return found


def load_card(path: str | Path, *, factory: Any = None) -> Imported:
    """A network with its card; factory: see `simdl.networks.load`."""
    from simdl.networks.store import load

    module, card = load(path, factory=factory)
    inputs = {feature.name: feature.input() for feature in card.inputs}
    outputs = {feature.name: feature.output() for feature in card.outputs}
    notes = ("nothing is converted: the card's factory makes the module", f"card: {card}")
    options: dict[str, Any] = {"card": card}
    return Imported(str(path), "model card", module, inputs, outputs, card.kind == "recurrent", card.stack, None, notes,
                    options)  # fmt: skip


def load_program(path: str | Path) -> Imported:
    """A program of torch.export with the ports of its forward."""
    from simdl.networks.exported import load_exported

    module: Any = load_exported(path)
    inputs, outputs = module.simdl_ports
    names = ["y"] if len(outputs) == 1 else [f"y{number}" for number in range(len(outputs))]
    ports = {_port(name): Input(shape=shape) for name, shape in inputs.items()}
    lanes, about = module.simdl_lanes, module.simdl_about
    notes = ["nothing is converted: torch runs the program of the file"]
    if lanes is not None:
        notes.append(f"exported for {lanes} lanes only, and called with that many")
    if about is not None:
        about.check([(None, shape) for shape in inputs.values()], [(None, shape) for shape in outputs], str(path))
        return described(about, str(path), "torch.export", module, None, notes)
    return Imported(str(path), "torch.export", module, ports, {n: output_of(s) for n, s in zip(names, outputs)},
                    stack=None if len(ports) == 1 else False, notes=tuple(notes))  # fmt: skip


def described(
    about: Description, where: str, kind: str, module: nn.Module, check: Comparison | None, notes: Sequence[str]
) -> Imported:  # fmt: skip
    """A network that simdl exported, with the ports, units, states and rate that its description says."""
    more = [f"exported by simdl{f', every {about.period}' if about.period else ''}"]
    if about.states:
        more.append(f"states: {', '.join(one.name for one in about.states)}")
    return Imported(where, kind, module, about.declared_inputs(), about.declared_outputs(), bool(about.states), False,
                    check, (*notes, *more), states=about.declared_states(where), described=about)  # fmt: skip


def _port(name: str) -> str:
    return "x" if name in ("input", "t", "dt") else name


_READERS: dict[str, tuple[str, str]] = {
    ".safetensors": ("opening", "load_card"), ".json": ("opening", "load_card"), ".pt2": ("opening", "load_program"),
    ".onnx": ("onnx", "load_onnx"), ".keras": ("keras", "load_keras"), ".h5": ("keras", "load_keras"),
    ".hdf5": ("keras", "load_keras"), ".nnet": ("nnet", "load_nnet"), ".polar": ("polar", "load_polar"),
}  # fmt: skip
