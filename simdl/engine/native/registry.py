"""Which rule lowers which torch operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from simdl.errors import LoweringError

Rule = Callable[..., None]
Function = TypeVar("Function", bound=Callable[..., Any])
RULES: dict[str, Rule] = {}
"""A rule by the name of an operation, such as "add", or of one overload, such as "split.Tensor"."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule: (tracer, operation, its result, *its arguments) -> the result's entry is put into the tracer."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def by_parts(*names: str) -> Callable[[Function], Function]:
    """Register what an operation is in other operations: a function from its arguments to its results."""

    def register(function: Function) -> Function:
        def rewritten(tracer: Any, func: Any, out: Any, *args: Any, **kwargs: Any) -> None:
            try:
                with tracer:
                    found = function(*args, **kwargs)
            except LoweringError as error:
                found = error.found.split(" (in aten::")[0]
                raise LoweringError(error.where, f"{found} (in {func.name()})", error.expected, error.fix) from None
            outs = out if isinstance(out, tuple | list) else (out,)
            results = found if isinstance(found, tuple | list) else (found,)
            for one, result in zip(outs, results):
                if result is not None:
                    tracer.same(one, result)

        RULES.update(dict.fromkeys(names, rewritten))
        return function

    return register
