"""Tables and templates that exporters read anew at every call, which takes most of it: the tests read them once.

What is exported does not depend on it: torch.onnx gets a copy of its table of operators, emx-onnx-cgen templates that
are compiled already.
"""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

import jinja2
import torch


def read_once() -> None:
    """For the rest of this process; nothing is imported before it is used."""
    export = torch.onnx.export

    @wraps(export)
    def exported(*args: Any, **options: Any) -> Any:
        _operators_once()
        return export(*args, **options)

    torch.onnx.export = exported
    _templates_once()


@cache
def _operators_once() -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    read = cache(ONNXRegistry.from_torchlib)

    def copied(*args: Any, **options: Any) -> ONNXRegistry:
        """An export may add operators of its own."""
        whole, own = read(*args, **options), ONNXRegistry()
        own._opset_version = whole._opset_version
        own.functions = {name: [*functions] for name, functions in whole.functions.items()}
        return own

    ONNXRegistry.from_torchlib = staticmethod(copied)  # type: ignore[method-assign, assignment]


@cache
def _templates_once() -> None:
    compiled: dict[tuple[str, str], Any] = {}
    translate: Any = jinja2.Environment.compile

    @wraps(translate)
    def looked_up(self: jinja2.Environment, source: Any, name: Any = None, *args: Any, **options: Any) -> Any:
        if getattr(self.loader, "package_name", "") != "emx_onnx_cgen":
            return translate(self, source, name, *args, **options)
        if (source, name) not in compiled:
            compiled[source, name] = translate(self, source, name, *args, **options)
        return compiled[source, name]

    jinja2.Environment.compile = looked_up  # type: ignore[method-assign]
