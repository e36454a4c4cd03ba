"""What was asked for: the scenario with its settings, the folder to write to, and the command that asks again."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simdl.errors import NetworkError, UsageError

if TYPE_CHECKING:
    from simdl.scenario import Scenario

NOTE = "request.json"
NETWORKS = 'a card\'s folder, .safetensors with a card, .pt2, .onnx, .keras, .h5, .nnet, .polar or "package:function"'


@dataclass(frozen=True)
class Request:
    """The arguments of a command. verb: its name; extra: options that only it has."""

    verb: str
    scenario: str
    seed: int = 0
    lanes: int | None = None
    lane: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    until: Any = None
    quick: bool = False
    workers: int = 1
    out: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"

    def study(self) -> Scenario:
        """The scenario as asked for. Raises UsageError and NetworkError for names and networks that do not fit."""
        from simdl.scenario import scenario

        for slot, text in self.networks.items():
            check_network(text, f"--network {slot}={text}")
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # last: a module here shadows none that is installed
        found = scenario(self.scenario)
        if self.quick:
            found = found.quickly()
        if self.engine != "auto":
            found = replace(found, engine=self.engine)
        if self.until is not None:
            found = replace(found, until=self.until)
        if self.networks:
            found = found.swap(**self.networks)
        return self._fixed(found) if self.settings else found

    def _fixed(self, found: Scenario) -> Scenario:
        """With --set: what is set is not drawn as well."""
        from simdl.compile import compile_model

        model = compile_model(found.build())
        able = [*model.params, *model.continuous, *model.discrete, *model.modes, *model.externals]
        keys = {}
        for path in self.settings:
            if path not in able and model.flat.aliases.get(path) not in able:
                raise UsageError(f"--set {path}", "is nothing that can be set", "a parameter, an initial state or an "
                                 "external input", "", sorted(able), path)  # fmt: skip
            keys[path] = model.key(path)
        space = {path: what for path, what in found.space.items() if model.key(path) not in keys.values()}
        inputs = {path: value for path, value in found.inputs.items() if model.key(path) not in keys.values()}
        external = {path: value for path, value in self.settings.items() if model.values[keys[path]].kind == "external"}
        fixed = {path: value for path, value in self.settings.items() if path not in external}
        return replace(found, space=space, set={**found.set, **fixed}, inputs={**inputs, **external})

    def folder(self, study: Scenario | None = None) -> Path:
        """Where to write: --out, or a folder under runs/ of its own for every model and every way of asking."""
        if self.out is not None:
            return Path(self.out)
        safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in self.scenario)
        if study is None:
            return Path("runs") / safe / self.verb
        from simdl.compile import compile_model
        from simdl.compile.digest import digest

        decides = {**asdict(self), "lanes": None, "workers": None, "out": None}
        if self.engine == "auto":
            del decides["engine"]
        text = json.dumps(decides, sort_keys=True) + digest(compile_model(study.build()))
        return Path("runs") / safe / f"{self.verb}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def command(self, **changes: Any) -> str:
        """The command line that asks this, with some fields changed."""
        from simdl.report.command import command

        asked = replace(self, **changes)
        options = {"lane": asked.lane, "lanes": asked.lanes, "seed": asked.seed, "until": asked.until,
                   "quick": asked.quick, "workers": asked.workers if asked.workers > 1 else None,
                   "engine": asked.engine if asked.engine != "auto" else None, **asked.extra,
                   "out": asked.out}  # fmt: skip
        return command(asked.verb, asked.scenario, set=asked.settings, networks=asked.networks, **options)

    def alone(self, lane: int, **changes: Any) -> str:
        """The command line that runs one lane of this by itself."""
        return self.command(verb="run", lane=lane, lanes=None, workers=1, out=None, extra={}, **changes)

    def note(self, folder: Path) -> None:
        """Leave the request in the folder, for `simdl report`. Raises UsageError where another one was left."""
        from simdl.data.durable import write_file

        networks = {slot: str(Path(text).resolve()) if Path(text).exists() else text
                    for slot, text in self.networks.items()}  # fmt: skip
        kept = {"schema": "simdl-request-1", **asdict(replace(self, networks=networks, out=None))}
        if (folder / NOTE).is_file():
            before = asdict(Request.read(folder))
            free = ("lanes", "workers", "out")
            others = [name for name in before if name not in free and before[name] != kept[name]]
            if others:
                raise UsageError(str(folder), f"the work of another request: {', '.join(others)} differ", "the same "
                                 "one, to go on", f"another --out; `simdl report {folder}` shows what is there",
                                 )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / NOTE, (json.dumps(kept, indent=1) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Request:
        """The request that made a folder. Raises UsageError when there is none to read."""
        path = folder / NOTE
        expected = "a folder that simdl validate or simdl codesign wrote"
        if not path.is_file():
            raise UsageError(str(folder), "no such folder" if not folder.is_dir() else f"no {NOTE} in it", expected)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept.pop("schema") != "simdl-request-1":
                raise ValueError("another schema")
            return cls(**{**kept, "out": str(folder)})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(str(path), f"cannot be read: {error}", expected) from None


def check_network(text: str, where: str) -> None:
    """Refuse a network that is neither a path nor "package:function", before anything of weight is imported."""
    if ":" not in text and not Path(text).exists():
        raise NetworkError(where, "no such file or folder", "a network", NETWORKS)


def spare(path: Path, force: bool) -> None:
    """Refuse to write over a file, or into a folder with something in it, unless that was asked for."""
    if force or not (path.exists() or path.is_symlink()) or (path.is_dir() and not any(path.iterdir())):
        return
    found = "it exists and is not empty" if path.is_dir() else "it exists"
    raise UsageError(str(path), found, "a new one", "another name, or --force to write over it")
