"""The configuration of one layer, checked as it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdl.errors import NetworkError
from simdl.networks.keras.hdf5 import Array

LARGEST = 2**24  # of any whole number in a configuration
_ABSENT: Any = object()
# What changes only how a layer is trained, or how fast it runs.
_IGNORED = frozenset(
    "name trainable dtype batch_input_shape batch_shape seed stateful unroll implementation dropout recurrent_dropout "
    "zero_output_for_mask unit_forget_bias momentum synchronized sparse_gradients embeddings_initializer build_config "
    "noise_shape rate stddev renorm_momentum input_length quantization_config input_dtype "
    "jit_compile input_spec flash_attention".split()
)


class Options:
    """Reads the options of a layer by name and type; `used` are those read, by which Keras can build it again."""

    def __init__(self, where: str, config: Mapping[str, Any], arrays: Sequence[Array], dtype: torch.dtype) -> None:
        self.where, self.config, self.arrays, self.dtype = where, config, list(arrays), dtype
        self.used: dict[str, Any] = {}
        self._left = list(arrays)

    def error(self, found: str, expected: str = "") -> NetworkError:
        return NetworkError(self.where, found, expected)

    def _get(self, name: str, default: Any) -> Any:
        value = self.config.get(name, default)
        if value is _ABSENT:
            raise self.error(f"no {name}", "a whole configuration")
        return value

    def whole(self, name: str, default: Any = _ABSENT) -> int:
        value = self._get(name, default)
        if type(value) is not int or not 1 <= value <= LARGEST:
            raise self.error(f"{name}={value!r:.60}", f"a whole number from 1 to {LARGEST}")
        self.used[name] = value
        return value

    def axis(self, name: str, default: Any = -1) -> int:
        """An axis, counted with lanes first as Keras does; lists of one are taken."""
        value = self._get(name, default)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if type(value) is not int or not -8 <= value <= 8 or value == 0:
            raise self.error(f"{name}={value!r:.60}", "an axis other than that of the lanes")
        self.used[name] = value
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._get(name, default)
        if type(value) is not bool:
            raise self.error(f"{name}={value!r:.60}", "true or false")
        self.used[name] = value
        return value

    def number(self, name: str, default: Any = _ABSENT) -> float:
        value = self._get(name, default)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.error(f"{name}={value!r:.60}", "a number")
        self.used[name] = value
        return float(value)

    def values(self, name: str, default: Any = _ABSENT) -> Tensor:
        """A number, or nested lists of them (also as Keras writes arrays)."""
        value = self._get(name, default)
        if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__array__", "__tensor__"):
            value = (value.get("config") or {}).get("value")
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise self.error(f"{name}={value!r:.60}", "a number, or a list of them") from None
        if array.size > LARGEST or not np.isfinite(array).all():
            raise self.error(f"{name}={value!r:.60}", "finite numbers")
        self.used[name] = value
        return torch.tensor(array, dtype=self.dtype)

    def sizes(self, name: str, count: int, default: Any = _ABSENT, least: int = 1) -> list[int]:
        """Whole numbers, one for each of `count` axes; one alone is for all."""
        value = self._get(name, default)
        found = [value] * count if type(value) is int else list(value) if isinstance(value, list | tuple) else []
        if len(found) != count or not all(type(n) is int and least <= n <= LARGEST for n in found):
            raise self.error(f"{name}={value!r:.60}", f"{count} whole numbers")
        self.used[name] = tuple(found) if count > 1 else found[0]
        return found

    def choice(self, name: str, allowed: Sequence[Any], default: Any = _ABSENT) -> Any:
        value = self._get(name, default)
        if not isinstance(value, str | int | float | bool | None) or value not in allowed:
            raise self.error(f"{name}={value!r:.60}", f"one of {', '.join(map(repr, allowed))}")
        self.used[name] = value
        return value

    def weights(self, *shapes: tuple[int | None, ...]) -> list[Tensor]:
        """The next arrays of the layer, which must have these shapes (None for any size)."""
        if len(self._left) < len(shapes):
            raise self.error(f"{len(self.arrays)} arrays of weights", f"{len(shapes) - len(self._left)} more")
        found = []
        for shape, array in zip(shapes, self._left):
            fits = len(shape) == array.ndim and all(n in (None, m) for n, m in zip(shape, array.shape))
            if not fits or array.dtype.kind not in "fiu":
                raise self.error(f"weights of shape {array.shape}", f"{shape}")
            found.append(torch.tensor(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))).to(self.dtype))
        self._left = self._left[len(shapes) :]
        return found

    def finish(self) -> None:
        """Refuse what has not been read and would change something."""
        for name, value in self.config.items():
            idle = name in _IGNORED or name in self.used or name.endswith(
                ("_initializer", "_regularizer", "_constraint"))  # fmt: skip
            if not idle and value is not None and value is not False:
                raise self.error(f"the option {name}={value!r:.60}", "an option that is known")
        if self._left:
            raise self.error(f"{len(self.arrays)} arrays of weights", f"{len(self.arrays) - len(self._left)}")
