"""The whole way from a file of Keras to a network with ports, compared with Keras where that is installed."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from simdl.declarations import RESERVED, Input, Output
from simdl.errors import NetworkError
from simdl.networks.comparison import TOLERANCE, Comparison, compare_outputs, samples_of
from simdl.networks.imported import Imported
from simdl.networks.keras.document import read_document
from simdl.networks.keras.graph import Graph, Made
from simdl.networks.keras.oracle import keras_here, reference
from simdl.networks.keras.reader import LAYERS, MODELS, WRAPPERS, read_graph, snake
from simdl.networks.keras.recurrence import BothWays, Rolled
from simdl.networks.ports import untaken

LARGEST = 2**24  # numbers that a layer may give for one lane
_TRIED = 8  # samples of an input whose number is open
_AUTOMATIC = {snake(kind) for kind in (*LAYERS, *WRAPPERS, *MODELS)}  # names that Keras gives by itself
Result = tuple[Tensor, ...]


def load_keras(path: str | Path, *, stepped: bool | None = None) -> Imported:
    """The network of a .keras or .h5 file, with gradients, in the file's own float type.

    Ports keep Keras' layout: images are (height, width, channels), windows (samples, features). stepped: whether a
    recurrent network is stepped once a tick, with its state as ports (`Recurrent`), or gets whole windows; None:
    stepped where the file leaves the number of samples open, and where layers are stateful: those go on, at every call,
    from where the last one ended, and so do ports.
    The file is read as data: layers from an allow-list, weights as plain numbers. The result is compared with the same
    network in Keras when that is installed.
    Raises NetworkError for all layers that are not known at once, and for whatever else the file is.
    """
    where = str(path)
    document = read_document(Path(path))
    graph = read_graph(document, where)
    dtype = "float64" if graph.dtypes == {"float64"} else "float32"
    module = graph.module().eval()
    open_axes = [[n for n, size in enumerate(port.shape) if size is None] for port in graph.ports]
    if any(axes not in ([], [0]) for axes in open_axes):
        raise NetworkError(where, f"inputs of shapes {[port.shape for port in graph.ports]}",
                           "sizes that are known, other than the number of samples")  # fmt: skip
    stepping = _stepping(module, graph, stepped, where)
    shapes = [tuple(_TRIED if n is None else n for n in port.shape) for port in graph.ports]
    outputs = _shapes(module, graph, shapes, dtype, where)
    notes = [f"written by Keras {document.version or 'of an unknown version'}"]
    check = _compared(module, graph, shapes, outputs, dtype, where, notes)
    taken: set[str] = set()
    names = [_port_name(port.name, taken, "x") for port in graph.ports]
    ends = [_port_name(ref[0], taken, "y") for ref in graph.outputs]
    inputs: list[Any] = list(graph.ports)
    sizes: list[Any] = [port.shape if None not in port.shape else None for port in inputs]
    if stepping:
        sizes = [shapes[0][1:]]
        outputs = _stepped_shapes(module, graph, shapes[0], outputs, dtype, where)
        keeps = _stateful(module)
        which = f"stateful in the file ({', '.join(keeps)}), so " if keeps else ""
        notes.append(f"{which}stepped once a tick; stepped=False gives it whole windows")
    elif any(isinstance(part, Rolled) for part in module.modules()):
        length = f"{shapes[0][0]} samples" if not open_axes[0] else "any number of samples"
        notes.append(f"takes windows of {length}: block(window=Window(...)), or stepped=True to step it")
        if _stateful(module):
            notes.append(f"{', '.join(_stateful(module))}: stateful in the file, and here forgotten after each window")
    ports = {
        name: Input(_scalar(size), dtype="int64" if "int" in port.dtype else None)
        for name, port, size in zip(names, inputs, sizes)
    }
    return Imported(where, "Keras", module, ports, {n: Output(_scalar(s)) for n, s in zip(ends, outputs)},
                    stepping, None if len(ports) == 1 else False, check, tuple(notes))  # fmt: skip


def _scalar(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return () if shape == (1,) else shape


def _stepping(module: nn.Module, graph: Graph, stepped: bool | None, where: str) -> bool:
    """Whether to step a recurrent network; refuses those that read the future."""
    backwards = [name for name, part in module.named_modules()
                 if isinstance(part, BothWays) or (isinstance(part, Rolled) and part.backwards)]  # fmt: skip
    rolls = any(isinstance(part, Rolled) for part in module.modules())
    samples = len(graph.ports) == 1 and len(graph.ports[0].shape) == 2
    if stepped and (backwards or not rolls or not samples):
        found = f"{', '.join(backwards)} reads the last sample first" if backwards else "no recurrent layer to step"
        raise NetworkError(where, found, "recurrent layers that read the past, over (samples, features)",
                           "stepped=False, and window=Window(...) in its block")  # fmt: skip
    keeps, forgets = _stateful(module), _stateful(module, False)
    if keeps and stepped is not False:
        if backwards or forgets or not samples:
            why = f"{', '.join(forgets)} starts anew at every call" if forgets else "not over (samples, features)"
            why = f"{', '.join(backwards)} reads the last sample first" if backwards else why
            raise NetworkError(where, f"{', '.join(keeps)}: stateful, and {why}", "stateful layers alone, that read "
                               "the past", "stateful=False where it was made; stepped=False forgets after each window",
                               )  # fmt: skip
        return True
    if stepped is None:
        return rolls and samples and not backwards and graph.ports[0].shape[0] is None
    return stepped


def _stateful(module: nn.Module, wanted: bool = True) -> list[str]:
    """Names of the recurrent layers that keep their state from call to call, or of those that do not."""
    return [name.rpartition(".")[2] for name, part in module.named_modules()
            if isinstance(part, Rolled) and part.stateful is wanted]  # fmt: skip


def _shapes(
    module: nn.Module, graph: Graph, shapes: list[tuple[int, ...]], dtype: str, where: str
) -> list[tuple[int, ...]]:
    """Shapes of the outputs, from a call without memory for its values: a file must not ask for terabytes."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    def watch(part: nn.Module, args: Any, result: Any) -> None:
        for one in result if isinstance(result, tuple) else (result,):
            if isinstance(one, Tensor) and one.numel() > 2 * LARGEST:
                raise NetworkError(where, f"{type(part).__name__} gives shape {tuple(one.shape)}",
                                   f"at most {LARGEST} numbers")  # fmt: skip

    speaks = logging.getLogger("torch._subclasses.fake_tensor")  # which prints what it also raises
    before, speaks.disabled = speaks.disabled, True
    handles = [part.register_forward_hook(watch) for part in module.modules()]
    try:
        if any(math.prod(shape) > LARGEST for shape in shapes):
            raise NetworkError(where, f"inputs of shapes {shapes}", f"at most {LARGEST} numbers")
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            result = _results(module(*(torch.zeros((2, *shape), dtype=getattr(torch, dtype)) for shape in shapes)))
    except NetworkError:
        raise
    except Exception as error:  # sizes that do not fit each other
        raise NetworkError(where, f"the layers do not fit each other: {str(error):.300}", "a network that runs",
                           ) from None  # fmt: skip
    finally:
        speaks.disabled = before
        for handle in handles:
            handle.remove()
    if len(result) != len(graph.outputs) or any(one.ndim == 0 or one.shape[0] != 2 for one in result):
        raise NetworkError(where, f"outputs of shapes {[tuple(one.shape) for one in result]}", "a row for each lane")
    return [tuple(one.shape[1:]) for one in result]


def _results(result: Any) -> Result:
    return result if isinstance(result, tuple) else (result,)


def _stepped_shapes(
    module: nn.Module, graph: Graph, shape: tuple[int, ...], outputs: list[tuple[int, ...]], dtype: str, where: str
) -> list[tuple[int, ...]]:
    """Shapes of the outputs of one sample: without the axis that grows with the number of samples."""
    longer = _shapes(module, graph, [(shape[0] + 1, *shape[1:])], dtype, where)
    return [a[1:] if a != b else a for a, b in zip(outputs, longer)]


def _compared(
    module: nn.Module, graph: Graph, shapes: list[tuple[int, ...]], outputs: list[tuple[int, ...]], dtype: str,
    where: str, notes: list[str],
) -> Comparison | None:  # fmt: skip
    keras = keras_here()
    if keras is None:
        notes.append("not compared: Keras is not installed (pip install keras, with KERAS_BACKEND=torch)")
        return None
    most = max(math.prod(shape) for shape in (*shapes, *outputs))
    given = samples_of(shapes, max(2, min(64, 2**20 // max(1, most))))
    values: list[Tensor] = []
    for port, x in zip(graph.ports, given):
        rows = [one.options["input_dim"] for one in _called_on(graph, port.name) if one.kind == "Embedding"]
        if rows or "int" in port.dtype:
            values.append((x.abs() * 1000).long() % min(rows, default=2))
        else:
            values.append(x.to(getattr(torch, dtype)))
    try:
        wanted = reference(keras, graph, values, dtype)
    except Exception as error:  # a version of Keras that knows other options
        notes.append(f"not compared: Keras {keras.__version__} does not build it: {str(error):.200}")
        return None
    with torch.no_grad():
        found = _results(module(*values))
    names = [f"{ref[0]}" if len(graph.outputs) == 1 else f"{ref[0]}[{n}]" for n, ref in enumerate(graph.outputs)]
    against, tolerance = f"Keras {keras.__version__} ({keras.backend.backend()})", None
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        against, tolerance = f"{against[:-1]}, which rounds products to float32)", TOLERANCE[torch.float32]
    return compare_outputs(dict(zip(names, found)), dict(zip(names, wanted)), against, tolerance).check(where)


def _called_on(graph: Graph, port: str) -> list[Made]:
    found = [graph.layers[call.layer] for call in graph.calls if (port, 0, 0) in call.args]
    return [one for one in found if isinstance(one, Made)]


def _port_name(name: str, taken: set[str], short: str) -> str:
    """A name that a port may have: `x` or `y` for those that Keras gave by itself, digits appended where taken."""
    from simdl.networks.network import Network

    plain = re.sub(r"\W", "_", name).strip("_")
    automatic = plain.startswith("input") or re.sub(r"_\d+$", "", plain) in _AUTOMATIC
    made = short if automatic or not plain[:1].isalpha() or plain in RESERVED or hasattr(Network, plain) else plain
    return untaken(made, taken)
