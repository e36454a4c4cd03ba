"""Tensors of an ONNX file as arrays: sizes are checked against the bytes that are there before anything is made."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.errors import NetworkError

LARGEST = 2**31  # bytes of a file, and of its external data together
_RANK = 16
Array = np.ndarray[Any, Any]

# TensorProto.DataType: name, bytes of raw data, torch type
TYPES: dict[int, tuple[str, int, torch.dtype]] = {
    1: ("float32", 4, torch.float32), 2: ("uint8", 1, torch.uint8), 3: ("int8", 1, torch.int8),
    4: ("uint16", 2, torch.uint16), 5: ("int16", 2, torch.int16), 6: ("int32", 4, torch.int32),
    7: ("int64", 8, torch.int64), 9: ("bool", 1, torch.bool), 10: ("float16", 2, torch.float16),
    11: ("float64", 8, torch.float64), 12: ("uint32", 4, torch.uint32), 13: ("uint64", 8, torch.uint64),
    16: ("bfloat16", 2, torch.bfloat16),
}  # fmt: skip


def torch_type(number: int, where: str) -> torch.dtype:
    """The torch type of an ONNX type; raises NetworkError for strings, 4-bit and 8-bit floats, complex numbers."""
    if number not in TYPES:
        raise NetworkError(
            where, f"values of ONNX type {number}", "numbers: " + ", ".join(t[0] for t in TYPES.values())
        )
    return TYPES[number][2]


class Arrays:
    """Reads the tensors of one file.

    folder: of external data, None when it is not allowed. Raises NetworkError for tensors whose sizes and bytes differ.
    """

    def __init__(self, where: str, folder: Path | None) -> None:
        self.where, self.folder, self._read = where, folder, 0

    def __call__(self, proto: Any) -> Tensor:
        """The values of a TensorProto."""
        where = f"{self.where}: tensor {proto.name!r:.80}"
        dtype = torch_type(proto.data_type, where)
        name, width, _ = TYPES[proto.data_type]
        shape = tuple(proto.dims)
        if len(shape) > _RANK or any(n < 0 for n in shape):
            raise NetworkError(where, f"the shape {shape!s:.100}", f"at most {_RANK} sizes, none negative")
        count = math.prod(shape)  # of Python's whole numbers, which do not overflow
        if proto.HasField("segment"):
            raise NetworkError(where, "a segment of a tensor", "a whole one")
        if proto.data_location == 1:
            raw = self._external(proto, count * width, where)
        elif proto.raw_data or not any((proto.float_data, proto.int32_data, proto.int64_data, proto.double_data,
                                        proto.uint64_data)):  # fmt: skip
            raw = proto.raw_data
        else:
            return self._typed(proto, name, count, shape, dtype, where)
        if len(raw) != count * width:
            raise NetworkError(where, f"{len(raw)} bytes", f"{count * width}, for {shape!s:.100} of {name}")
        if count == 0:
            return torch.zeros(shape, dtype=dtype)
        return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)

    def _typed(
        self, proto: Any, name: str, count: int, shape: tuple[int, ...], dtype: torch.dtype, where: str
    ) -> Tensor:
        field = {"float32": "float_data", "float64": "double_data", "int64": "int64_data", "uint32": "uint64_data",
                 "uint64": "uint64_data"}.get(name, "int32_data")  # fmt: skip
        found = getattr(proto, field)
        if len(found) != count:
            raise NetworkError(where, f"{len(found)} numbers", f"{count}, for {shape!s:.100} of {name}")
        if name in ("float16", "bfloat16"):  # their bits, as whole numbers
            return torch.from_numpy(np.array(found, dtype=np.uint16).view(np.int16)).view(dtype).reshape(shape)
        return torch.from_numpy(np.array(found, dtype=name)).reshape(shape)

    def _external(self, proto: Any, size: int, where: str) -> bytes:
        about = {entry.key: entry.value for entry in proto.external_data}
        location = about.get("location", "")
        if self.folder is None:
            raise NetworkError(where, f"its values are in another file, {location!r:.80}", "one file",
                               "trusted=True reads files beside the model; or export again: "
                               "torch.onnx.export(..., external_data=False)")  # fmt: skip
        parts = Path(location).parts
        if not parts or Path(location).is_absolute() or any(p in ("..", ".") or "\0" in p for p in parts):
            raise NetworkError(where, f"its values are in {location!r:.80}", "a file in the model's folder")
        try:
            offset, length = int(about.get("offset", 0) or 0), int(about.get("length", size) or size)
        except ValueError:
            raise NetworkError(where, f"external data at {about!s:.120}", "offset and length") from None
        self._read += size
        if length != size or offset < 0 or self._read > LARGEST:
            raise NetworkError(where, f"{length} bytes at {offset} of {location!r:.80}",
                               f"{size} bytes, at most {LARGEST} in all")  # fmt: skip
        return _read_inside(self.folder, parts, offset, size, where)


def _read_inside(folder: Path, parts: tuple[str, ...], offset: int, size: int, where: str) -> bytes:
    """Bytes of a file below a folder, without following any link."""
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            inner = os.open(part, flags | (0 if last else getattr(os, "O_DIRECTORY", 0)), dir_fd=handle)
            os.close(handle)
            handle = inner
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            raise NetworkError(where, f"{'/'.join(parts)!r:.80} is a link, a pipe or a device", "a plain file")
        if offset + size > about.st_size:
            raise NetworkError(where, f"{'/'.join(parts)!r:.80} has {about.st_size} bytes", f"{offset + size}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise NetworkError(where, f"{'/'.join(parts)!r:.80} cannot be read: {error.strerror}",
                           "a plain file in the model's folder, no link") from None  # fmt: skip
    finally:
        os.close(handle)
