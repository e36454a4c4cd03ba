"""Everything a training run needs to go on, in one safetensors file that is either whole or refused.

A tree of dicts, lists, tuples, numbers, text and tensors: the tensors lie in the file, the tree in its header, where
each tensor's place holds its name. A SHA-256 over both is kept beside the tree. No pickle.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from simdl.data.durable import write_file
from simdl.data.jsonl import dumps, loads
from simdl.data.shard import content_hash
from simdl.errors import DataError, NetworkError, RunError
from simdl.networks.weights import load_weights, weights_about

FORMAT = "simdl-checkpoint-1"


def save_checkpoint(path: Path, tree: dict[str, Any]) -> None:
    """Write a checkpoint atomically: a kill leaves the one before."""
    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(tree, "", tensors)
    about = {"format": FORMAT, "tree": skeleton, "content": _digest(skeleton, tensors)}
    write_file(path, save_tensors(tensors, metadata={"simdl": dumps(about).decode()}))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The tree that was saved. RunError when the file is damaged or of another kind."""
    fix = f"delete {path.name} to start again, or restore it from a copy"
    try:
        about, tensors = weights_about(path), load_weights(path)
    except (NetworkError, DataError) as error:
        raise RunError(str(path), f"the checkpoint is damaged: {error.found}", error.expected, fix) from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else None
        raise RunError(str(path), f"not a checkpoint of this version of simdl ({found!r:.40})", FORMAT, fix)
    if about.get("content") != _digest(about.get("tree"), tensors):
        raise RunError(str(path), "the checkpoint has changed since it was written", fix=fix)
    tree: dict[str, Any] = _restore(about["tree"], tensors)
    return tree


def _digest(skeleton: object, tensors: dict[str, Tensor]) -> str:
    return hashlib.sha256(dumps(skeleton) + content_hash(tensors).encode()).hexdigest()


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name or "value"] = value.detach().cpu().contiguous().clone()
        return {"t": name or "value"}
    if isinstance(value, dict):  # keys need not be text: an optimiser numbers its parameters
        if not all(isinstance(key, str | int) for key in value):
            raise RunError("checkpoint", f"a key of {name or 'the tree'} is neither text nor a whole number")
        return {"d": [[key, _flatten(item, f"{name}.{key}".strip("."), tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_flatten(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
        return {"l" if isinstance(value, list) else "u": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise RunError(
        "checkpoint", f"{name} is a {type(value).__name__}", "tensors, numbers and text",
        "keep such state out of the module's and the optimiser's state_dict",
    )  # fmt: skip


def _restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "t":
        return tensors[content]
    if kind == "d":
        return {key: _restore(item, tensors) for key, item in content}
    items = [_restore(item, tensors) for item in content]
    return items if kind == "l" else tuple(items)


def clone_state(state: dict[str, Any]) -> dict[str, Any]:
    """A state_dict whose tensors do not change with the module."""
    return {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in state.items()}


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's own generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL log. RunError when a line is not one."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RunError(str(path), f"the log cannot be read: {error.strerror}", "a log.jsonl written by fit") from None
    records = [loads(line, f"{path} line {number}", RunError) for number, line in enumerate(lines, 1)]
    if not all(isinstance(record, dict) for record in records):
        raise RunError(str(path), "a line is not a record", "a log.jsonl written by fit")
    return records
