"""Reading programs of torch.export (.pt2) without running anything the file holds.

torch.export.load unpickles sample inputs, marked weights and constants, executes the guard strings of the program as
Python, evaluates shape expressions, and resolves operators by walking attributes of `torch`. So what torch reads here
is not the file but an archive made again from it, that holds raw tensors and a checked graph only: no pickle, no guard,
no source text; operators, names and shape expressions from an allow-list. This narrows what a hostile file can do; it
is no sandbox, and a program may still ask for as much memory and time as its operators take.
"""

from __future__ import annotations

import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from simdl.declarations import Shape
from simdl.errors import NetworkError
from simdl.networks.archive import Archive

LARGEST, JSON_LARGEST = 4 * 2**30, 64 * 2**20  # bytes, unpacked
DEEPEST = 64
LARGEST_VALUE = 2**28  # elements of a value whose shape is written in the file
_WANTED = "a file written by torch.export.save"
_NEEDED = re.compile(
    r"models/\w+\.json|data/(weights|constants)/(\w+_config\.json|(weight|tensor)_\d+)|archive_(format|version)|version"
    r"|byteorder|\.data/(version|serialization_id)"
)
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed)\.[a-z]\w*(\.\w+)?|torch\.sym_(int|float|not|max|min|ite)"
)
_REFUSED = re.compile(r"torch\.ops\.aten\.(from_file|save|load|set_data|_print|record_stream|_pin_memory)\b.*")
_PLAIN = frozenset(
    [f"_operator.{name}" for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "neg", "pow", "abs", "getitem",
        "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_")]
    + [f"math.{name}" for name in ("ceil", "floor", "trunc", "sqrt")]
)  # fmt: skip
_HIGHER = frozenset(f"torch.ops.higher_order.{n}" for n in ("cond", "while_loop", "scan", "wrap_with_set_grad_enabled"))
_EXPRESSION_WORDS = frozenset(
    "Symbol Integer Float Rational Add Mul Pow Max Min Mod PythonMod FloorDiv CeilDiv CleanDiv IntTrueDiv Eq Ne Lt Le "
    "Gt Ge And Or Not StrictLessThan LessThan StrictGreaterThan GreaterThan Equality Unequality positive integer "
    "nonnegative True False".split()
)
_SYMBOL = re.compile(r"[suz]\w{0,12}")
_EXPRESSION = re.compile(r"[\w\s()+\-*/,.='<>]{1,400}")
_NAME = re.compile(r"[A-Za-z_]\w*|")
_PATH = re.compile(r"[\w.\[\]]*")


def load_exported(path: str | Path) -> nn.Module:
    """The module of a .pt2 file; `simdl_lanes` on it is the batch it was exported with, None for any, `simdl_ports` the
    names and shapes of its inputs, and the shapes of its outputs, without the lanes; `simdl_about` the description of
    ports and states that `simdl.export` left in the file, None in others.

    Raises NetworkError for files that are no such program, hold pickles or native code, or unpack to too much.
    """
    import torch

    from simdl.networks.described import KEY, read_description

    path = Path(path)
    if not path.is_file():
        raise NetworkError(str(path), "no such file", _WANTED)
    archive = Archive(path.read_bytes(), str(path), _WANTED, LARGEST)
    clean = _cleaned(archive, str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(clean))
            module: Any = program.module()
    except Exception as error:
        raise NetworkError(str(path), f"torch cannot read it: {error}", _WANTED,
                           f"export it again with torch {torch.__version__}") from error  # fmt: skip
    names = set(program.graph_signature.user_inputs)
    shapes = [n.meta["val"].shape for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    first = shapes[0][0] if shapes and len(shapes[0]) else None
    module.simdl_lanes = first if isinstance(first, int) else None
    module.simdl_ports = _ports(program)
    about = next((name for name in archive if name.partition("/")[2] == f"extra/{KEY}.json"), None)
    module.simdl_about = None if about is None else read_description(archive.read(about), str(path))
    found: nn.Module = module
    return found


def _ports(program: Any) -> tuple[dict[str, Shape | None], list[Shape | None]]:
    """Inputs by name and outputs with their shapes after the first axis; None for what has none, or an open one."""
    signature = program.graph_signature
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}

    def shape(name: Any) -> Shape | None:
        sizes = list(getattr(values.get(name), "shape", ()))[1:]
        known = hasattr(values.get(name), "shape") and all(isinstance(n, int) for n in sizes)
        return tuple(sizes) if known else None

    return {name: shape(name) for name in signature.user_inputs}, [shape(name) for name in signature.user_outputs]


def _cleaned(archive: Archive, where: str) -> bytes:
    """An archive of the raw tensors and of the checked graph of a .pt2 file."""
    if len({name.partition("/")[0] for name in archive}) > 1:
        raise NetworkError(where, "several folders in the archive", _WANTED)
    out = io.BytesIO()
    models = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as made:
        for path in archive:
            root, _, name = path.partition("/")
            if name.startswith(("data/aotinductor", "data/executorch", "data/mtia", "xl_model_weights")):
                raise NetworkError(where, f"{name}: native code or foreign data", "a program and its weights",
                                   "torch.export.save(program, path) without compiling it")  # fmt: skip
            if not _NEEDED.fullmatch(name):
                continue  # what is not needed to run it: sample inputs and extra files among it, which are pickles
            content = archive.read(path)
            if name.startswith("models/") and name.endswith(".json"):
                models += 1
                content = json.dumps(_checked_model(_json(content, where, name), where)).encode()
                made.writestr(f"{root}/data/sample_inputs/{name[7:-5]}.pt", b"")
            elif name.startswith("data/") and name.endswith("_config.json"):
                content = json.dumps(_checked_config(_json(content, where, name), where)).encode()
            made.writestr(path, content)
    if models != 1:
        raise NetworkError(where, f"{models} programs", "one", "torch.export.save(program, path)")
    return out.getvalue()


def _json(content: bytes, where: str, name: str) -> dict[str, Any]:
    if len(content) > JSON_LARGEST:
        raise NetworkError(where, f"{name}: {len(content)} bytes", f"at most {JSON_LARGEST}")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NetworkError(where, f"{name} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise NetworkError(where, f"{name} is {type(found).__name__}", "a JSON object")
    return found


def _checked_config(config: dict[str, Any], where: str) -> dict[str, Any]:
    for name, one in dict(config.get("config") or {}).items():
        if not isinstance(one, dict) or one.get("use_pickle"):
            raise NetworkError(where, f"{name} is stored as a pickle", "raw tensors",
                               "export a module whose weights and constants are plain tensors")  # fmt: skip
        if not re.fullmatch(r"(weight|tensor)_\w*", str(one.get("path_name"))):
            raise NetworkError(where, f"{name} is stored as {one.get('path_name')!r}", "raw tensors")
    return config


def _checked_model(model: dict[str, Any], where: str) -> dict[str, Any]:
    """The program without source text, metadata and guards. Raises NetworkError for anything not known to be plain."""
    model["guards_code"] = []  # Python that torch would execute
    for one, depth in _walk(model):
        if depth > DEEPEST:
            raise NetworkError(where, f"nested deeper than {DEEPEST}", "a program of torch.export")
        if "metadata" in one:
            one["metadata"] = {}
        if "inputs" in one and "target" in one:
            _check_node(one, where)
        for key, value in one.items():
            if key == "expr_str":
                _check_expression(value, where)
            elif key in ("name", "input_names", "output_names", "forward_arg_names") and value is not None:
                for name in value if isinstance(value, list) else [value]:
                    if not isinstance(name, str) or not _NAME.fullmatch(name):
                        raise NetworkError(where, f"the name {name!r}", "an identifier")
            elif key in ("fqn", "parameter_name", "buffer_name", "tensor_constant_name") and value is not None:
                if not isinstance(value, str) or not _PATH.fullmatch(value):
                    raise NetworkError(where, f"the path {value!r}", "identifiers and dots")
            elif key in ("in_spec", "out_spec") and isinstance(value, str) and "__enum__" in value:
                raise NetworkError(where, "a class named in the layout of arguments", "tensors and tuples")
    return model


def _walk(value: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """All dictionaries inside, with their depth, without recursion."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, dict):
            yield one, depth
            waiting += [(inner, depth + 1) for inner in one.values() if isinstance(inner, dict | list)]
        elif isinstance(one, list):
            waiting += [(inner, depth + 1) for inner in one if isinstance(inner, dict | list)]


def _check_node(node: dict[str, Any], where: str) -> None:
    target = node["target"]
    known = isinstance(target, str) and (
        target in _PLAIN or target in _HIGHER or (_OPERATORS.fullmatch(target) and not _REFUSED.fullmatch(target))
    )
    if not known:
        raise NetworkError(where, f"the operator {str(target)[:100]!r}", "operators of aten",
                           "program.run_decompositions() before saving turns most others into them")  # fmt: skip
    for one in node.get("inputs") or []:
        sizes = one.get("arg", {}).get("as_ints") if isinstance(one, dict) else None
        if sizes and math.prod(n for n in sizes if isinstance(n, int) and n > 0) > LARGEST_VALUE:
            raise NetworkError(where, f"{target} makes a value of shape {str(sizes)[:100]}",
                               f"at most {LARGEST_VALUE} elements")  # fmt: skip
    if target.startswith(("torch.ops.aten.dropout.", "torch.ops.aten.batch_norm.")):
        flags = [i.get("arg", {}).get("as_bool") for i in node["inputs"] if i.get("name") in ("train", "training")]
        if True in flags:
            raise NetworkError(where, f"exported in training mode: {target.split('.')[3]} is active", "evaluation mode",
                               "module.eval() before torch.export.export")  # fmt: skip


def _check_expression(text: Any, where: str) -> None:
    words = re.findall(r"[A-Za-z_]\w*", text) if isinstance(text, str) else []
    plain = isinstance(text, str) and _EXPRESSION.fullmatch(text) and "**" not in text and "__" not in text
    if not plain or any(word not in _EXPRESSION_WORDS and not _SYMBOL.fullmatch(word) for word in words):
        raise NetworkError(where, f"the shape {str(text)[:100]!r}", "sums and products of sizes")
