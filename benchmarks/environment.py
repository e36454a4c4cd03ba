"""The tools' environments, the versions in them, and the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "benchmarks"
OURS = ("torch", "numpy", "scipy")


@dataclass(frozen=True)
class Tool:
    """An entry of tools.toml."""

    name: str
    title: str
    install: tuple[str, ...] = ()
    environment: str = ""
    constrained: bool = False
    imports: str = ""
    note: str = ""

    @property
    def venv(self) -> Path | None:
        """Where the tool is installed; None for what runs in our own environment."""
        name = self.environment or (self.name if self.install else "")
        return BUILD / "venvs" / name if name else None

    @property
    def python(self) -> Path:
        """The interpreter that runs the tool."""
        if self.venv is None:
            return Path(sys.executable)
        return self.venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    def has(self, model: str) -> bool:
        """Whether its file has a function for a model, read without importing it."""
        text = (Path(__file__).parent / "tools" / f"{self.name}.py").read_text()
        return re.search(rf"^(def )?{model}\b( =|\()", text, re.MULTILINE) is not None


def tools() -> dict[str, Tool]:
    """All tools by name, in the order of the file."""
    entries = tomllib.loads((Path(__file__).parent / "tools.toml").read_text())
    return {name: Tool(name, **{k: tuple(v) if k == "install" else v for k, v in entry.items()})
            for name, entry in entries.items()}  # fmt: skip


def ensure(tool: Tool) -> str:
    """Make the tool's environment if it is not there yet; the reason when that fails, else nothing.

    pip runs with the settings of this machine and nothing is built that has no wheel for it, unless pip decides so.
    """
    if tool.venv is None:
        return ""
    source = tools()[tool.environment] if tool.environment else tool
    ready = tool.venv / ".ready"
    wanted = "\n".join(source.install)
    if ready.exists() and ready.read_text() in ("", wanted):
        return ""
    log = tool.venv.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    limits = ("-c", str(ROOT / "constraints.txt")) if source.constrained else ()
    steps = (
        [sys.executable, "-m", "venv", str(tool.venv)],
        [str(tool.python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *limits, *source.install],
    )
    with open(log, "wb") as output:
        for step in steps:
            done = subprocess.run(step, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
            if done.returncode:
                lines = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
                return f"not installed: {(lines or [f'pip ended with {done.returncode}'])[-1][:200]}"
    ready.write_text(wanted)
    return ""


def versions(tool: Tool) -> dict[str, str]:
    """Version by package of what the tool's entry installs, or of ours."""
    source = tools()[tool.environment] if tool.environment else tool
    names = [re.split(r"[=<>~!\[]", one)[0] for one in source.install]
    if tool.name.startswith("simdl"):
        names = list(OURS)
    if not names:
        return {}
    script = "import json, sys, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    done = subprocess.run([str(tool.python), "-c", script, *names], capture_output=True, text=True)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def machine() -> dict[str, Any]:
    """Processor, memory, system, compiler, Python and the commit that is measured."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory GiB": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "compiler": _first_line([compiler, "--version"]) if compiler else "none",
        "python": platform.python_version(),
        "commit": _first_line(["git", "rev-parse", "--short", "HEAD"]) or "unknown",
        "changed since": bool(_first_line(["git", "status", "--porcelain", "--", "simdl", "blocks", "scenarios"])),
    }


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout.splitlines() or [""])[0]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    text = info.read_text()
    found = re.search(r"model name\s*:\s*(.*)", text)
    widest = next((name for name in ("avx512f", "avx2", "avx", "asimd") if name in text), "")
    return f"{found.group(1) if found else platform.machine()} ({widest})"


def _memory() -> int | None:
    info = Path("/proc/meminfo")
    found = re.search(r"MemTotal:\s*(\d+)", info.read_text()) if info.exists() else None
    return round(int(found.group(1)) / 2**20) if found else None
