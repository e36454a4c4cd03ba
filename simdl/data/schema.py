"""What a data set holds: named signals with their roles, units and rates, and the parameters of each lane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch

from simdl.errors import DataError

Role = Literal["input", "target", "label"]
DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    )
}  # fmt: skip


def _check(where: str, name: object, dtype: object, shape: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise DataError(where, f"the name {name!r:.80}", "1 to 200 printable characters")
    if dtype not in DTYPES:
        raise DataError(f"{where} {name}", f"dtype {dtype!r:.80}", names=DTYPES, wrong=str(dtype)[:40])
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 < n < 2**31 for n in shape):
        raise DataError(f"{where} {name}", f"shape {shape!r:.80}", "a tuple of positive whole numbers")


@dataclass(frozen=True)
class Signal:
    """A recorded signal: values (lanes, time, *shape), sample k at `start_ns + k * every_ns`.

    Role `input` is what a network may read when deployed, `target` what it is to predict, `label` a truth of the
    simulation that no deployed network can see (it may become a target, never an input).
    """

    name: str
    every_ns: int
    role: Role = "input"
    unit: str = ""
    dtype: str = "float32"
    shape: tuple[int, ...] = ()
    start_ns: int = 0

    def __post_init__(self) -> None:
        _check("signal", self.name, self.dtype, self.shape)
        if self.role not in get_args(Role):
            raise DataError(f"signal {self.name}", f"role {self.role!r}", names=get_args(Role), wrong=str(self.role))
        if type(self.every_ns) is not int or self.every_ns <= 0:
            raise DataError(f"signal {self.name}", f"sample time {self.every_ns!r}", "whole nanoseconds, above 0")
        if type(self.start_ns) is not int or type(self.unit) is not str:
            raise DataError(f"signal {self.name}", f"start {self.start_ns!r}, unit {self.unit!r:.80}", "an int, a str")


@dataclass(frozen=True)
class Parameter:
    """A value that each lane has once: (lanes, *shape)."""

    name: str
    unit: str = ""
    dtype: str = "float64"
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check("parameter", self.name, self.dtype, self.shape)
        if type(self.unit) is not str:
            raise DataError(f"parameter {self.name}", f"unit {self.unit!r:.80}", "a str")


@dataclass(frozen=True)
class Schema:
    """The header of a data set. Two campaigns whose schemas are equal may share a folder; others may not.

    `diagram` is the hash of the model that made the data, `seed` the campaign's seed, `about` free text by key
    (scenario, command). Raises DataError on names that occur twice.
    """

    signals: tuple[Signal, ...]
    params: tuple[Parameter, ...] = ()
    diagram: str = ""
    seed: int = 0
    about: Mapping[str, str] = field(default_factory=dict)

    def __init__(
        self,
        signals: Iterable[Signal],
        params: Iterable[Parameter | str] = (),
        diagram: str = "",
        seed: int = 0,
        about: Mapping[str, str] | None = None,
    ) -> None:
        object.__setattr__(self, "signals", tuple(signals))
        object.__setattr__(self, "params", tuple(Parameter(p) if isinstance(p, str) else p for p in params))
        object.__setattr__(self, "diagram", diagram)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "about", dict(about or {}))
        for kind, names in (("signal", [s.name for s in self.signals]), ("parameter", [p.name for p in self.params])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise DataError("schema", f"{kind} {', '.join(twice)} occurs twice", "names that differ")
        if not self.signals:
            raise DataError("schema", "no signals", "at least one")
        if type(seed) is not int or type(diagram) is not str:
            raise DataError("schema", f"seed {seed!r:.40}, diagram {diagram!r:.80}", "an int, a str")

    def signal(self, name: str) -> Signal:
        """The signal of that name. DataError, with the names there are, if there is none."""
        for signal in self.signals:
            if signal.name == name:
                return signal
        raise DataError("schema", f"no signal {name!r}", names=[s.name for s in self.signals], wrong=name)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "signals": [{**vars(s), "shape": list(s.shape)} for s in self.signals],
            "params": [{**vars(p), "shape": list(p.shape)} for p in self.params],
            "diagram": self.diagram,
            "seed": self.seed,
            "about": dict(self.about),
        }

    @classmethod
    def from_json(cls, record: Any, where: str) -> Schema:
        """The schema of `to_json`. DataError when a field is missing, unknown, or of another type."""
        try:
            return cls(
                [Signal(**{**s, "shape": tuple(s["shape"])}) for s in record["signals"]],
                [Parameter(**{**p, "shape": tuple(p["shape"])}) for p in record["params"]],
                record["diagram"], record["seed"], record["about"],
            )  # fmt: skip
        except (TypeError, KeyError, ValueError, AttributeError) as fault:
            raise DataError(where, f"the schema cannot be read: {fault!r:.200}") from None

    def differences(self, other: Schema) -> list[str]:
        """What differs, one line each: name, field, this value, the other's."""
        lines = []
        for kind, mine, theirs in (
            ("signal", {s.name: vars(s) for s in self.signals}, {s.name: vars(s) for s in other.signals}),
            ("parameter", {p.name: vars(p) for p in self.params}, {p.name: vars(p) for p in other.params}),
        ):
            lines += [f"{kind} {name} only in the folder" for name in mine if name not in theirs]
            lines += [f"{kind} {name} not in the folder" for name in theirs if name not in mine]
            lines += [
                f"{kind} {name}: {key} {mine[name][key]!r} in the folder, {theirs[name][key]!r} now"
                for name in mine
                if name in theirs
                for key in mine[name]
                if mine[name][key] != theirs[name][key]
            ]
        for key in ("diagram", "seed", "about"):
            if getattr(self, key) != getattr(other, key):
                lines.append(f"{key}: {getattr(self, key)!r} in the folder, {getattr(other, key)!r} now")
        if not lines and self != other:
            lines.append("the order of the signals or parameters")
        return lines
