"""What is on this machine: versions, threads, compilers, accelerators, the cache's owner, optional packages."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from simdl.engine.native.cache import contents, limit
from simdl.engine.native.compiler import INSTALL, OPENMP, find_compiler, why_no_compiler
from simdl.engine.native.folder import distrust, native_folder

State = Literal["good", "absent", "warn", "broken"]

NEEDED = ("torch", "numpy", "scipy", "simpy", "matplotlib", "hypothesis", "pydantic", "click", "rich", "safetensors",
          "jinja2")  # fmt: skip
OLDEST_TORCH = (2, 10)  # older releases have known holes in the loading of weights


@dataclass(frozen=True)
class Finding:
    """One thing looked for. state: "absent" is optional, "warn" works worse, "broken" must be mended."""

    name: str
    value: str
    state: State = "good"
    advice: str = ""


def examine() -> list[Finding]:
    """Everything `simdl doctor` shows. Looks, and changes nothing."""
    return [*_versions(), *_threads(), *_compiler(), _accelerator(), _cache(), *_extras(), _terminal()]


def _versions() -> list[Finding]:
    import simdl

    found = [
        Finding("simdl", f"{simdl.__version__} in {Path(simdl.__file__).parent}"),
        Finding("python", f"{platform.python_version()} at {sys.executable}",
                "good" if sys.version_info >= (3, 11) else "broken", "simdl needs Python 3.11 or newer"),
        Finding("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
    ]  # fmt: skip
    for name in NEEDED:
        number = _installed(name)
        if number is None:
            found.append(Finding(name, "not installed", "broken", f"pip install {name}"))
        elif name == "torch" and _parts(number) < OLDEST_TORCH:
            oldest = ".".join(map(str, OLDEST_TORCH))
            found.append(Finding(name, f"{number}, older than {oldest}", "broken", f"pip install 'torch>={oldest}'"))
        else:
            found.append(Finding(name, number))
    return found


def _threads() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = [Finding("cores", f"{cores} for this process")]
    if _installed("torch") is None:
        return found
    import torch

    threads = torch.get_num_threads()
    advice = "set OMP_NUM_THREADS to at most the number of cores"
    found.append(Finding("torch threads", str(threads), "good" if threads <= cores else "warn", advice))
    backends: Any = torch.backends
    names = {"MKL": backends.mkl, "oneDNN": backends.mkldnn, "OpenMP": backends.openmp}
    there = [name for name, backend in names.items() if backend.is_available()]
    found.append(Finding("BLAS and threads of torch", ", ".join(there) or "none of MKL, oneDNN, OpenMP"))
    found.append(Finding("BLAS of numpy", _numpy_blas()))
    return found


def _numpy_blas() -> str:
    import numpy as np

    try:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload, index, unused-ignore]
        return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    except (TypeError, KeyError, AttributeError):
        return "unknown"


def _compiler() -> list[Finding]:
    compiler = find_compiler(remember=False)
    if compiler is None:
        why = why_no_compiler(remember=False)
        advice = f"only the native engine needs one: {INSTALL}; SIMDL_CC names one"
        return [Finding("C compiler", why, "absent", advice)]
    about = f"{compiler.argv[0]}: {compiler.version}, for {compiler.target}"
    found = [Finding("C compiler", about), Finding("flags for compiled models", " ".join(compiler.flags))]
    if OPENMP in compiler.lacks:
        advice = "install the compiler's OpenMP library: apt install libgomp1 or libomp-dev"
        found.append(Finding("threads of compiled models", "one: the compiler has no OpenMP", "warn", advice))
    return found


def _accelerator() -> Finding:
    if _installed("torch") is None:
        return Finding("GPU", "unknown without torch", "absent")
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        kind = "ROCm" if torch.version.hip else f"CUDA {torch.version.cuda}"
        return Finding("GPU", f"{', '.join(names)} ({kind})")
    if torch.backends.mps.is_available():
        return Finding("GPU", "Apple (MPS; it has no float64, which is simdl's default)", "warn")
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    return Finding("GPU", f"none (this torch is built for {built})", "absent", "everything runs without one")


def _cache() -> Finding:
    folder = native_folder()
    reason = distrust(folder)
    advice = "set XDG_CACHE_HOME to a folder that only you can write; until then nothing is kept between runs"
    if reason is not None:
        return Finding("cache", reason, "warn", advice)
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        return Finding("cache", f"{nearest} cannot be written", "warn", advice)
    if nearest != folder:
        return Finding("cache", f"{folder} (not made yet)")
    count, size = contents()
    most = f"at most {limit() / 2**20:g} MiB of them, SIMDL_CACHE_MIB"
    return Finding("cache", f"{folder}: {count} compiled models, {size / 2**20:.1f} MiB ({most})")


def _extras() -> list[Finding]:
    """The optional packages, by the extra that brings each."""
    try:
        wanted = distribution("simdl").requires or []
    except PackageNotFoundError:
        return [Finding("extras", "unknown: simdl runs from a folder, not installed", "absent", "pip install -e .")]
    extras: dict[str, list[str]] = {}
    for line in wanted:
        need, _, condition = line.partition(";")
        if "extra ==" in condition:
            name = condition.split("extra ==")[1].strip().strip("'\" ")
            package = need.strip()
            for mark in "<>=!~[ (":
                package = package.split(mark)[0]
            extras.setdefault(name, []).append(package)
    found = []
    for extra, packages in sorted(extras.items()):
        here = {name: _installed(name) for name in packages}
        absent = [name for name, number in here.items() if number is None]
        text = ", ".join(f"{name} {number}" for name, number in here.items() if number is not None)
        if absent:
            text = f"{text + '; ' if text else ''}without {', '.join(absent)}"
        advice = f"pip install 'simdl[{extra}]'"
        found.append(Finding(f"extra {extra}", text, "absent" if absent else "good", advice))
    return found


def _terminal() -> Finding:
    encoding = (sys.stdout.encoding or "").lower()
    good = encoding.replace("-", "") == "utf8"
    return Finding("terminal", encoding or "unknown", "good" if good else "warn", "set PYTHONUTF8=1")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown version" if find_spec(name.replace("-", "_")) else None


def _parts(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("+")[0].split(".")[:2] if part.isdigit())
