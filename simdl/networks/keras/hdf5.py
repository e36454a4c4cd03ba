"""Numbers and names of an HDF5 file of a stranger, and nothing else of it.

HDF5 files may point to other files (external links, external storage, virtual data sets), ask for plugins to unpack
them, hold references and objects, and claim sizes that nothing backs. All objects are looked at before one is read.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from simdl.errors import NetworkError

TOTAL = 2 * 2**30  # bytes of all numbers
OBJECTS, DEEPEST = 20_000, 32
RATIO = 100  # bytes that a stored byte may become
_SMALL = 64 * 2**10  # bytes that may be stored in fewer
NAMES = 10_000  # texts of one attribute
LONGEST = 8 * 2**20  # bytes of a text, which take a second to read
_FILTERS = {1, 2, 3}  # deflate, shuffle, checksum: those built into every HDF5

Array = np.ndarray[Any, np.dtype[Any]]


class Numbers:
    """The data sets of a file by path, and texts in attributes. Raises NetworkError for what is not plain numbers."""

    def __init__(self, data: bytes, where: str) -> None:
        try:
            import h5py
        except ImportError:
            raise NetworkError(where, "h5py is not installed", "h5py to read HDF5",
                               "pip install 'simdl[keras]'") from None  # fmt: skip
        self.where, self._h5 = where, h5py
        self._sets: dict[str, Any] = {}
        self._groups: dict[str, Any] = {}
        try:
            self._file = h5py.File(io.BytesIO(data), "r")
            self._look()
        except NetworkError:
            raise
        except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, … for damaged files
            raise self._damaged(error) from None

    def __contains__(self, path: str) -> bool:
        return path in self._sets

    @property
    def groups(self) -> list[str]:
        return list(self._groups)

    def read(self, path: str) -> Array:
        """The numbers of a data set."""
        try:
            found: Array = np.asarray(self._sets[path][()])
        except Exception as error:
            raise self._damaged(error) from None
        return found

    def text(self, path: str, name: str) -> str | None:
        """A text attribute of a group; None if there is none."""
        found = self._texts(path, name)
        if found is not None and len(found) != 1:
            raise NetworkError(self.where, f"the attribute {name} holds {len(found)} texts", "one")
        return None if found is None else found[0]

    def texts(self, path: str, name: str) -> list[str]:
        """A list of texts in an attribute, or in name0, name1, … where it is long."""
        found = self._texts(path, name)
        part = 0
        while found is None or part:
            more = self._texts(path, f"{name}{part}")
            if more is None:
                break
            found, part = [*(found or []), *more], part + 1
        return found or []

    def _texts(self, path: str, name: str) -> list[str] | None:
        try:
            attributes = self._groups[path].attrs
            if name not in attributes:
                return None
            about = attributes.get_id(name)
            count = math.prod(about.shape)
            if count == 0:
                return []
            string = self._h5.check_string_dtype(about.dtype)
            size = count * (about.dtype.itemsize if string is not None and string.length else 1)
            if (string is None and about.dtype.kind != "S") or count > NAMES or size > LONGEST:
                raise NetworkError(self.where, f"the attribute {name} of {path or '/'}: {count} values of type "
                                   f"{about.dtype}", f"at most {NAMES} texts")  # fmt: skip
            values = np.asarray(attributes[name]).reshape(-1).tolist()
            texts = [one.decode() if isinstance(one, bytes) else str(one) for one in values]
        except NetworkError:
            raise
        except Exception as error:
            raise self._damaged(error) from None
        if any(len(one) > LONGEST for one in texts):
            raise NetworkError(self.where, f"the attribute {name}: a text of more than {LONGEST} bytes")
        return texts

    def _look(self) -> None:
        """Find all groups and data sets, and refuse whatever is something else."""
        waiting: list[tuple[str, Any, int]] = [("", self._file["/"], 0)]
        seen: set[Any] = set()
        total = 0
        while waiting:
            path, group, depth = waiting.pop()
            address = self._h5.h5o.get_info(group.id).addr
            if address in seen or depth > DEEPEST:
                raise self._refused(path, "a group that is in two places, or nested too deeply")
            seen.add(address)
            self._groups[path] = group
            if len(group) + len(self._groups) + len(self._sets) + len(waiting) > OBJECTS:
                raise self._refused(path, f"more than {OBJECTS} objects")
            for name in group:
                inner = f"{path}/{name}" if path else name
                if not isinstance(group.get(name, getlink=True), self._h5.HardLink):
                    raise self._refused(inner, "a link to another place or another file")
                one = group[name]
                if isinstance(one, self._h5.Group):
                    waiting.append((inner, one, depth + 1))
                elif isinstance(one, self._h5.Dataset):
                    total += self._check(inner, one)
                    self._sets[inner] = one
                else:
                    raise self._refused(inner, "a type")
                if total > TOTAL:
                    raise self._refused(inner, f"more than {TOTAL} bytes of numbers")

    def _check(self, path: str, one: Any) -> int:
        """The size of a data set in bytes, after looking at how it is stored."""
        if one.dtype.kind not in "fiub" or one.dtype.itemsize > 8 or one.shape is None:
            raise self._refused(path, f"values of type {one.dtype}")
        if one.external or one.is_virtual:
            raise self._refused(path, "numbers kept in other files")
        stored = one.id.get_create_plist()
        for number in range(stored.get_nfilters()):
            if stored.get_filter(number)[0] not in _FILTERS:
                raise self._refused(path, f"the filter {stored.get_filter(number)[0]}, which needs a plugin")
        size: int = math.prod(one.shape) * int(one.dtype.itemsize)
        backed = int(one.id.get_storage_size())
        if size > _SMALL and size > RATIO * backed:
            raise self._refused(path, f"{size} bytes of numbers, of which {backed} are stored")
        return size

    def _refused(self, path: str, found: str) -> NetworkError:
        return NetworkError(self.where, f"{path[-100:] or '/'}: {found}", "groups and plain numbers, all in this file")

    def _damaged(self, error: Exception) -> NetworkError:
        return NetworkError(self.where, f"damaged HDF5: {str(error) or type(error).__name__:.200}", "a whole file")
