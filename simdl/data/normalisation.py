"""Mean and spread of named features, measured once on the training lanes; travels with the network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simdl.data.durable import write_file
from simdl.data.jsonl import dumps, loads
from simdl.data.shards import Shards
from simdl.errors import DataError


@dataclass(frozen=True)
class Normalisation:
    """(x - mean) / std by feature. `low` and `high` are the extremes seen: the box a network was trained in.

    `count` values went into each feature; std is the population's. A feature that never changes keeps scale 1.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    units: tuple[str, ...]
    count: int

    def __post_init__(self) -> None:
        columns = (self.mean, self.std, self.low, self.high, self.units)
        numbers = [x for column in columns[:4] for x in column]
        if (
            any(len(column) != len(self.names) for column in columns)
            or len(set(self.names)) < len(self.names)
            or not all(isinstance(x, float) and math.isfinite(x) for x in numbers)
            or any(x < 0 for x in self.std)
            or not all(isinstance(x, str) for x in (*self.names, *self.units))
        ):
            raise DataError(
                "normalisation", f"{len(self.names)} names with numbers that do not match", "one finite number each"
            )

    @classmethod
    def of(cls, shards: Shards, names: Sequence[str] | Mapping[str, str]) -> Normalisation:
        """Measured over all samples of `shards`, one shard at a time, in float64; shards merge exactly (Chan 1979).

        Names as for `Columns`: a mapping renames, a vector signal has one feature a component.
        """
        pairs = list(names.items()) if isinstance(names, Mapping) else [(name, name) for name in names]
        parts = []
        for name, signal in pairs:
            about, whole = shards.schema.signal(signal), None
            for _, block in shards.blocks([signal]):
                values = block[signal].to(torch.float64)
                if values.numel():
                    table = values.reshape(values.shape[0] * values.shape[1], -1)
                    labels = [name] if not about.shape else [f"{name}[{i}]" for i in range(table.shape[1])]
                    part = cls.measure(table, labels, about.unit)
                    whole = part if whole is None else whole.merge(part)
            if whole is None:
                raise DataError(str(shards.folder), f"no samples of {signal!r} to measure", "at least one lane")
            parts.append(whole)
        return cls._beside(parts)

    @classmethod
    def measure(cls, table: Tensor, names: Sequence[str], unit: str = "") -> Normalisation:
        """Of the columns of a table (samples, features)."""
        table = table.to(torch.float64)
        columns = (table.mean(0), table.std(0, correction=0), table.amin(0), table.amax(0))
        mean, std, low, high = (tuple(column.tolist()) for column in columns)
        return cls(tuple(names), mean, std, low, high, (unit,) * len(names), len(table))

    @classmethod
    def _beside(cls, parts: Sequence[Normalisation]) -> Normalisation:
        def join(key: str) -> tuple[Any, ...]:
            return tuple(value for part in parts for value in getattr(part, key))

        counts = min(part.count for part in parts)
        return cls(join("names"), join("mean"), join("std"), join("low"), join("high"), join("units"), counts)

    def merge(self, other: Normalisation) -> Normalisation:
        """Of both samples together (Chan, Golub & LeVeque 1979, eq. 2.1b): no sample is needed again."""
        if self.names != other.names or self.units != other.units:
            raise DataError("normalisation", f"features {other.names} {other.units}", f"{self.names} {self.units}")
        n, m = self.count, other.count
        both = n + m
        mean, std = [], []
        for a, s, b, r in zip(self.mean, self.std, other.mean, other.std):
            step = b - a
            mean.append(a + step * m / both)
            std.append(math.sqrt((s * s * n + r * r * m + step * step * n * m / both) / both))
        low, high = (tuple(map(f, x, y)) for f, x, y in ((min, self.low, other.low), (max, self.high, other.high)))
        return Normalisation(self.names, tuple(mean), tuple(std), low, high, self.units, both)

    @property
    def scale(self) -> tuple[float, ...]:
        """What values are divided by: std, or 1 for a feature that never changes."""
        return tuple(s if s > 0 and a < b else 1.0 for s, a, b in zip(self.std, self.low, self.high))

    def pick(self, names: Iterable[str]) -> Normalisation:
        """Of some features, in their order. DataError for a feature that was not measured."""
        at = {name: i for i, name in enumerate(self.names)}
        wanted = tuple(names)
        for name in wanted:
            if name not in at:
                raise DataError("normalisation", f"no feature {name!r}", names=self.names, wrong=name)

        def take(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[at[name]] for name in wanted)

        return Normalisation(
            wanted, take(self.mean), take(self.std), take(self.low), take(self.high), take(self.units), self.count
        )

    def apply(self, values: Tensor) -> Tensor:
        """Normalised values (…, features), of the same dtype."""
        mean, scale = self._tensors(values)
        return (values - mean) / scale

    def undo(self, values: Tensor) -> Tensor:
        """Physical values (…, features) of normalised ones."""
        mean, scale = self._tensors(values)
        return values * scale + mean

    def _tensors(self, values: Tensor) -> tuple[Tensor, Tensor]:
        if not values.ndim or values.shape[-1] != len(self.names):
            raise DataError("normalisation", f"values {tuple(values.shape)}", f"(…, {len(self.names)}): {self.names}")
        return values.new_tensor(self.mean), values.new_tensor(self.scale)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for a model card."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_json(cls, record: Any, where: str = "normalisation") -> Normalisation:
        """Of `to_json`. DataError when a field is missing, unknown or of the wrong length."""
        try:
            mean, std, low, high = (tuple(map(float, record[key])) for key in ("mean", "std", "low", "high"))
            return cls(tuple(record["names"]), mean, std, low, high, tuple(record["units"]), int(record["count"]))
        except (TypeError, ValueError, KeyError, AttributeError) as fault:
            raise DataError(where, f"the normalisation cannot be read: {fault!r:.200}") from None

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        write_file(Path(path), dumps(self.to_json()) + b"\n")

    @classmethod
    def load(cls, path: str | Path) -> Normalisation:
        """Read what `save` wrote."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise DataError(str(path), f"cannot be read: {error.strerror}") from None
        return cls.from_json(loads(data, str(path)), str(path))

    def __repr__(self) -> str:
        rows = zip(self.names, self.mean, self.std, self.low, self.high, self.units)
        lines = [
            f"  {name}: {m:.6g} ± {s:.6g} in [{a:.6g}, {b:.6g}] {unit}".rstrip() for name, m, s, a, b, unit in rows
        ]
        return "\n".join([f"Normalisation over {self.count} samples", *lines])
