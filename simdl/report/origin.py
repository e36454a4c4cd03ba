"""Where a page comes from: date, versions, seed, model, and the command that makes it again."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("simdl", "torch", "numpy", "scipy")


@dataclass(frozen=True)
class Origin:
    """date: ISO 8601, UTC. settings: what decided the numbers besides the model, name -> text."""

    date: str
    command: str
    seed: int
    model: str
    digest: str
    versions: Mapping[str, str]
    machine: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def now(cls, command: str, seed: int, model: str, digest: str, settings: Mapping[str, str]) -> Origin:
        """The origin of a page made now, here. SOURCE_DATE_EPOCH sets the date, for pages that shall be equal."""
        return cls(date(), command, seed, model, digest, versions(), machine(), dict(settings))

    def facts(self) -> list[tuple[str, str]]:
        """Name and value of each, for people."""
        return [
            ("made on", self.date),
            ("seed", str(self.seed)),
            ("model", self.model),
            ("model digest (SHA-256)", self.digest),
            *self.settings.items(),
            ("versions", ", ".join(f"{name} {number}" for name, number in self.versions.items())),
            ("machine", self.machine),
        ]

    def twin(self) -> dict[str, Any]:
        return {
            "date": self.date, "command": self.command, "seed": self.seed, "model": self.model, "digest": self.digest,
            "versions": dict(self.versions), "machine": self.machine, "settings": dict(self.settings),
        }  # fmt: skip


def date() -> str:
    """Now, in UTC, to the second."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(given), UTC) if given and given.isdigit() else datetime.now(UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def versions() -> dict[str, str]:
    """What decides the numbers: Python and the packages that compute."""
    import simdl

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = simdl.__version__ if name == "simdl" else version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The kind of machine, without its name."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
