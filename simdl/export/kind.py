"""The formats that networks are exported to, told by the ending of a name, and what writing each of them needs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from simdl.errors import NetworkError

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export", ".c": "C99"}


def check_format(path: Path) -> str:
    """The format that a name asks for. Raises NetworkError for others, and when what writes it is not installed."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise NetworkError(str(path), f"a name that ends in {suffix!r}", "a format to export to", names=FORMATS,
                           wrong=suffix)  # fmt: skip
    if suffix in (".onnx", ".c"):
        need("onnx", "onnx")
        need("onnxscript", "onnx")
    if suffix == ".onnx":
        need("onnxruntime", "onnx")
    if suffix == ".c":
        need("emx_onnx_cgen", "c")
    return FORMATS[suffix]


def need(module: str, extra: str) -> None:
    """Raises NetworkError, naming the extra of simdl to install, when a package is not there."""
    try:
        found = find_spec(module) is not None
    except (ImportError, ValueError):  # finders that refuse it, and half-removed packages
        found = False
    if not found:
        raise NetworkError("export", f"{module.replace('_', '-')} is not installed", "an optional part of simdl",
                           f"pip install 'simdl[{extra}]'")  # fmt: skip
