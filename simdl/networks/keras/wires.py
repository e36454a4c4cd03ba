"""What layers are called on, as Keras 3 and Keras 2 write it."""

from __future__ import annotations

from typing import Any

from simdl.errors import NetworkError
from simdl.networks.keras.graph import Ref

CALLS = 100_000


def arguments(node: Any, layer: str, where: str) -> tuple[tuple[Ref, ...], bool]:
    """The values that a layer is called on, of Keras 3 ({args, kwargs}) and 2 ([[name, node, result, {}], …])."""
    if isinstance(node, list):
        for one in node:
            if isinstance(one, list) and len(one) > 3 and isinstance(one[3], dict) and any(
                value is not None and value is not False for value in one[3].values()
            ):
                raise NetworkError(where, f"{layer}: called with {one[3]!r:.80}", "a call on values alone")
        return tuple(reference(one, where) for one in node), False
    if not isinstance(node, dict):
        raise NetworkError(where, f"{layer}: a call {node!r:.80}", "a call as Keras writes it")
    found: list[Ref] = []
    waiting = list(node.get("args") or [])
    words = dict(node.get("kwargs") or {})
    causal = words.pop("use_causal_mask", False) is True
    for name in ("query", "value", "key"):
        if isinstance(words.get(name), dict):
            waiting.append(words.pop(name))
    for name, value in words.items():
        if value is not None and value is not False:
            raise NetworkError(where, f"{layer}: called with {name}={value!r:.80}", "a call on values alone")
    for one in waiting:
        for value in one if isinstance(one, list) else [one]:
            if value is None:
                continue
            history = value.get("config", {}).get("keras_history") if isinstance(value, dict) else None
            found.append(reference(history, where))
    return tuple(found), causal


def reference(given: Any, where: str) -> Ref:
    if (
        not isinstance(given, list) or len(given) < 3 or not isinstance(given[0], str)
        or not all(type(n) is int and 0 <= n < CALLS for n in given[1:3])
    ):  # fmt: skip
        raise NetworkError(where, f"the value {given!r:.80}", "a layer, its call and its result")
    return given[0], given[1], given[2]


def listed(given: Any) -> list[Any]:
    """Values of a model: one [name, call, result], or a list of them (also by name)."""
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, list) and given and isinstance(given[0], str):
        return [given]
    return given if isinstance(given, list) else []
