"""Several data sets read as one: a campaign, and the lanes added to it later."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from simdl.data.shards import Shards
from simdl.errors import DataError


class Joined(Shards):
    """Data sets, or views of them, one after the other; each stays in its own folder.

    A part that is given twice counts twice in training. Signals and parameters must agree; `seed`, `diagram` and
    `folder` are those of the first part. Lanes of several campaigns may have equal numbers: `only` then finds the
    last of them, rows stay apart.
    """

    def __init__(self, parts: Sequence[Shards]) -> None:
        if not parts:
            raise DataError("Joined", "no data sets", "at least one")
        first = parts[0]
        for part in parts[1:]:
            differ = [f"signal {s.name}" for s in first.schema.signals if s not in part.schema.signals]
            differ += [f"signal {s.name}" for s in part.schema.signals if s not in first.schema.signals]
            differ += [f"parameter {p.name}" for p in first.schema.params if p not in part.schema.params]
            counts = (
                {s.name: (first.samples(s.name), part.samples(s.name)) for s in first.schema.signals}
                if not differ
                else {}
            )
            differ += [f"{name} with {a} and {b} samples" for name, (a, b) in counts.items() if a != b and len(part)]
            if differ:
                raise DataError(f"{first.folder} and {part.folder}", f"not alike: {', '.join(dict.fromkeys(differ))}",
                                "the same signals and parameters")  # fmt: skip
        self.folder, self.schema, self.versions = first.folder, first.schema, first.versions
        self.entries = tuple(entry for part in parts for entry in part.entries)
        self.skipped = tuple(fault for part in parts for fault in part.skipped)
        self.failed = {lane: cause for part in parts for lane, cause in part.failed.items()}
        self.complete = all(part.complete for part in parts)
        self._folders = tuple(folder for part in parts for folder in part._folders)
        self._origins = tuple(origin for part in parts for origin in part._origins)
        self._trusted = {path for part in parts for path in part._trusted}
        starts = np.cumsum([0, *(len(part.entries) for part in parts)])
        self._shard = np.concatenate([part._shard + start for part, start in zip(parts, starts)])
        self._row = np.concatenate([part._row for part in parts])
        self._lane = np.concatenate([part._lane for part in parts])
        self._open = OrderedDict()
