"""Weights in files: read without running anything in them, told by their bytes and not by their name.

Accepted are safetensors, and zip archives of `torch.save` that hold tensors and nothing else. A pickle is a program:
archives are read with `weights_only=True` after the names that their pickle mentions have been compared with the few
that tensors need, and there is no way to ask for more. Sizes are checked in the file's directory before memory is
taken for them.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickletools
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors, save as save_tensors
from torch import Tensor, nn

from simdl.data.durable import write_file
from simdl.data.jsonl import dumps, loads
from simdl.errors import DataError, NetworkError
from simdl.networks.archive import Archive

LARGEST = 2 * 2**30  # bytes of a file, and of the tensors in it
RATIO = 100  # bytes of memory a byte of an archive may become
_PICKLE = 16 * 2**20  # bytes of the pickle inside an archive
_HEADER = 100 * 2**20  # bytes; the limit of the safetensors format
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
          "U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8}  # fmt: skip
_STORAGES = {
    f"torch {kind}Storage"
    for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
}
_ALLOWED = {
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch Size",
} | _STORAGES  # fmt: skip
_HIDING = {"STACK_GLOBAL", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}  # torch.save needs none of them
_SAVE = "save it again with simdl.networks.weights.save_weights, or torch.save(module.state_dict(), path)"


def save_weights(weights: nn.Module | Mapping[str, Tensor], path: str | Path, about: object = None) -> str:
    """Write weights as safetensors, atomically, and return the file's SHA-256.

    about: JSON values kept in the file's header (`weights_about` reads them). Equal weights give equal bytes.
    """
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    wrong = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if wrong:
        kind = type(tensors[wrong[0]]).__name__
        raise NetworkError(str(path), f"{wrong[0]} is a {kind}", "a tensor for every name", "leave out the extra state")
    data = save_tensors(
        {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()},
        metadata=None if about is None else {"simdl": dumps(about).decode()},
    )
    try:
        write_file(Path(path), data)
    except DataError as error:
        raise NetworkError(error.where, error.found, error.expected, error.fix) from error
    return hashlib.sha256(data).hexdigest()


def load_weights(path: str | Path, *, limit: int = LARGEST, ratio: float = RATIO) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    limit: bytes that the file and its tensors may have; ratio: how much larger than the archive its content may be.
    Raises NetworkError for whatever else the file is: a pickle, a program (TorchScript, `torch.export`), an archive
    that mentions anything but tensors, is too large, too compressed, cut off, or followed by other bytes.
    """
    data = read_file(Path(path), limit, "load_weights(path, limit=…)")
    return read_weights(data, str(path), limit=limit, ratio=ratio)


def read_weights(data: bytes, where: str, *, limit: int = LARGEST, ratio: float = RATIO) -> dict[str, Tensor]:
    """`load_weights` of bytes already in memory."""
    kind = kind_of_file(data)
    if kind == "safetensors":
        _check_safetensors(data, where, limit)
        try:
            return load_tensors(data)
        except SafetensorError as fault:
            raise NetworkError(where, f"damaged safetensors: {fault}", fix="restore it from a copy") from None
    if kind == "zip archive":
        return _read_archive(data, where, limit, ratio)
    suffix = Path(where).suffix
    lie = f" (the name says {suffix})" if suffix in (".safetensors", ".pt", ".pth", ".bin") else ""
    danger = ": to read it is to run what it holds" if kind in ("Python pickle", "legacy torch file") else ""
    raise NetworkError(where, f"is a {kind}{lie}{danger}", "safetensors, or a state_dict saved by torch.save", _SAVE)


def weights_about(path: str | Path) -> Any:
    """What `save_weights` was told to keep beside the weights; None if nothing."""
    data = read_file(Path(path), LARGEST)
    if kind_of_file(data) != "safetensors":
        return None
    header = _check_safetensors(data, str(path), LARGEST)
    text = header.get("__metadata__", {}).get("simdl")
    return None if text is None else loads(text.encode(), str(path), NetworkError)


def kind_of_file(data: bytes) -> str:
    """What the first bytes say a file is: "safetensors", "zip archive", "Python pickle", …"""
    if data[:4] == b"PK\x03\x04":
        return "zip archive"
    if len(data) >= 9 and data[8:9] == b"{" and struct.unpack("<Q", data[:8])[0] <= _HEADER:
        return "safetensors"
    for magic, kind in (
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46", "legacy torch file"), (b"\x93NUMPY", "NumPy array"),
        (b"\x89HDF\r\n", "HDF5 file"), (b"\x08", "file of unknown kind, perhaps ONNX"), (b"\x7fELF", "program"),
    ):  # fmt: skip
        if data.startswith(magic):
            return kind
    if data[257:262] == b"ustar":
        return "legacy torch file"
    if data[:1] == b"\x80" and len(data) > 1 and data[1] <= 5:
        return "Python pickle"
    if data.endswith(b".") and _is_pickle(data):
        return "Python pickle"
    return "file without a byte" if not data else "file of unknown kind"


def _is_pickle(data: bytes) -> bool:
    try:
        for _ in pickletools.genops(data[:_PICKLE]):
            pass
        return True
    except Exception:  # pickletools raises whatever the broken operand makes it raise
        return False


def read_file(path: Path, limit: int, fix: str = "") -> bytes:
    """The bytes of a regular file of at most `limit` bytes. Raises NetworkError for whatever else it is."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for, a device would never end
            raise NetworkError(str(path), "is a folder, a pipe or a device", "a file")
        if about.st_size > limit:
            raise NetworkError(str(path), f"{about.st_size} bytes", f"at most {limit}", fix)
        with path.open("rb") as file:
            data = file.read(min(about.st_size, limit) + 1)  # memory for so many bytes is taken at once
    except OSError as error:
        raise NetworkError(str(path), f"cannot be read: {error.strerror or error}", "a file that can be read") from None
    if len(data) > min(about.st_size, limit):
        raise NetworkError(str(path), "grew while it was read", f"a file that stays as it is, of at most {limit} bytes")
    return data


def _check_safetensors(data: bytes, where: str, limit: int) -> dict[str, Any]:
    """The header, after checking that the tensors lie one after the other and end where the file does."""
    (size,) = struct.unpack("<Q", data[:8])
    if size > len(data) - 8:
        raise NetworkError(where, f"truncated: {len(data)} bytes", f"a header of {size} bytes and the tensors after it")
    header = loads(data[8 : 8 + size], where, NetworkError)
    end, spans = 0, []
    for name, about in header.items():
        if name == "__metadata__":
            continue
        try:
            shape, (first, last), width = about["shape"], about["data_offsets"], _SIZES[about["dtype"]]
            if not all(type(n) is int and n >= 0 for n in [*shape, first, last]):
                raise ValueError("a negative or fractional number")
        except (KeyError, TypeError, ValueError) as fault:
            raise NetworkError(where, f"the header's {name!r:.80} cannot be read: {fault!r:.100}") from None
        if last - first != math.prod(shape) * width or last > limit:
            raise NetworkError(where, f"{name!r:.80}: {last - first} bytes", f"{shape} {about['dtype']}")
        spans.append((first, last))
    for first, last in sorted(spans):
        if first != end:
            raise NetworkError(where, f"tensors overlap or leave a gap at byte {min(first, end)}", "no gap")
        end = last
    total = 8 + size + end
    if len(data) < total:
        raise NetworkError(where, f"truncated: {len(data)} bytes", f"{total} bytes", "restore it from a copy")
    if len(data) > total:
        raise NetworkError(where, f"{len(data) - total} bytes after the last tensor", f"{total} bytes in all", _SAVE)
    return dict(header)


def _read_archive(data: bytes, where: str, limit: int, ratio: float) -> dict[str, Tensor]:
    fix = "load_weights(path, limit=…, ratio=…) if it is meant"
    archive = Archive(data, where, "a file of torch.save", limit, ratio, fix)
    programs = {"TorchScript": ("constants.pkl", "code/"), "torch.export": ("models/", "archive_format")}
    for kind, marks in programs.items():
        if any(mark in name for name in archive for mark in marks):
            raise NetworkError(where, f"is a {kind} program, not weights", "a state_dict saved by torch.save", _SAVE)
    pickles = [name for name in archive if name.endswith(".pkl")]
    if len(pickles) != 1 or not pickles[0].endswith("/data.pkl") or archive.members[pickles[0]].file_size > _PICKLE:
        raise NetworkError(where, f"{len(pickles)} pickles in the archive", "the one of torch.save", _SAVE)
    for name in archive:
        archive.read(name)  # compares every entry with its checksum, which torch does not
    _check_pickle(archive.read(pickles[0]), where)
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as fault:  # the reader raises RuntimeError, UnpicklingError, KeyError, … for damaged files
        text = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise NetworkError(where, f"cannot be read as weights: {text:.200}", "a state_dict", _SAVE) from None
    if not isinstance(found, dict) or not all(isinstance(k, str) for k in found):
        raise NetworkError(where, f"holds a {type(found).__name__}", "a state_dict: names and tensors", _SAVE)
    other = [name for name, value in found.items() if not isinstance(value, Tensor)]
    if other:
        inner = [name for name in other if isinstance(found[name], dict)]
        fix = f"save the entry {inner[0]!r} alone: torch.save(checkpoint[{inner[0]!r}], path)" if inner else _SAVE
        kind = type(found[other[0]]).__name__
        raise NetworkError(where, f"{other[0]!r:.80} is a {kind}, not a tensor", "a state_dict: names and tensors", fix)
    for name, value in found.items():  # a stride of 0 makes a terabyte of one number
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise NetworkError(where, f"{name!r:.80}: more elements than numbers", "plain tensors")
    return {name: value.detach().contiguous() for name, value in found.items()}


def _check_pickle(program: bytes, where: str) -> None:
    try:
        for code, argument, _ in pickletools.genops(program):
            name = str(argument) if code.name in ("GLOBAL", "INST") else ""
            if (name and name not in _ALLOWED) or code.name in _HIDING:
                what = name.replace(" ", ".") or f"something that it computes ({code.name})"
                raise NetworkError(
                    where, f"the file would call {what:.80}", "tensors and nothing else",
                    "do not open it if you do not know who made it. " + _SAVE,
                )  # fmt: skip
    except NetworkError:
        raise
    except Exception as fault:  # pickletools raises whatever the broken operand makes it raise
        raise NetworkError(where, f"a damaged pickle in the archive: {fault!r:.100}", "a file of torch.save") from None
