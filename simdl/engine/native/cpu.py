"""The processor, as far as compiled code depends on it."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache

_LINES = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features",
    "cpu", "isa", "mmu", "uarch",
)  # fmt: skip


def cpu_name() -> str:
    """What people call it."""
    found = dict(cpu_features())
    return found.get("model name") or found.get("machdep.cpu.brand_string") or platform.processor() or "unknown CPU"


@cache
def cpu_features() -> tuple[tuple[str, str], ...]:
    """The model and the instructions it knows: what a library built for this machine may use."""
    found = [("machine", platform.machine())]
    if sys.platform == "darwin":
        try:
            done = subprocess.run(
                ["/usr/sbin/sysctl", "machdep.cpu", "hw.optional"],
                capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            found += [(name, text.strip()) for name, _, text in (x.partition(":") for x in done.stdout.splitlines())]
        except (OSError, subprocess.SubprocessError):
            pass
    else:
        try:
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
                for line in file:
                    if not line.strip() and len(found) > 1:  # the first processor's part ends
                        break
                    name, _, text = line.partition(":")
                    if name.strip() in _LINES:
                        found.append((name.strip(), text.strip()))
        except OSError:
            pass
    return tuple(found)
