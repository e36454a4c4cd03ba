"""The whole way from an ONNX file to a network with ports, compared with an executor of ONNX."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from simdl.declarations import RESERVED, Input, Output
from simdl.errors import NetworkError
from simdl.networks.comparison import Comparison, compare_outputs, samples_of
from simdl.networks.described import read_description
from simdl.networks.imported import Imported
from simdl.networks.onnx.executors import Evaluator, Executed, Session
from simdl.networks.onnx.graph import Graph, read_graph
from simdl.networks.onnx.lanes import LANES, check_lanes
from simdl.networks.onnx.layout import TRIED, Layout, fake, fixed_layout, layout_of, outputs_of, placed
from simdl.networks.onnx.modules import Carried, Converted, Fed
from simdl.networks.onnx.operators import OPERATORS
from simdl.networks.onnx.program import Program
from simdl.networks.onnx.states import pairs_of, reads_forward
from simdl.networks.opening import described
from simdl.networks.ports import untaken

_WORK = 2**22  # numbers in a value of a comparison
_MULTIPLICATIONS, _NUMBERS = 2**37, 2**27  # of one lane


def load_onnx(
    path: str | Path, *, trusted: bool = False, executor: Literal["torch", "onnxruntime"] = "torch",
    stepped: bool | None = None, states: Mapping[str, str] | None = None,
) -> Imported:  # fmt: skip
    """The network of an ONNX file, with gradients, in the file's own float type.

    trusted: read weights from other files in the model's folder, as torch.onnx.export writes them by default; never
    through links. executor: "onnxruntime" runs the file as it is at every call, in the torch engine and without
    gradients. stepped: whether a recurrent network is stepped once a tick, with its state as ports (`Recurrent`), or
    gets whole windows; None: stepped where the number of samples is open, or the state is among inputs and outputs.
    states: inputs and the outputs that are their next values, where names and shapes do not say it: {"h0": "hn"}.

    The file is read as data, and its sizes are checked before anything is made. The result is compared with ONNX
    Runtime, else with onnx.reference. Raises NetworkError for all operators that are not known at once, and for
    whatever else the file is.
    """
    where = str(path)
    if executor not in ("torch", "onnxruntime"):
        raise NetworkError(where, f"executor={executor!r}", "one of", names=("torch", "onnxruntime"), wrong=executor)
    graph, data = read_graph(Path(path), trusted, OPERATORS)
    program = Program(graph, where).eval()
    layout = layout_of(graph, where)
    fixed = layout.batch
    widest = _check_work(program, layout, where)
    layout = outputs_of(program, layout, where)
    about = read_description(graph.about, where) if graph.about else None
    if about is not None:
        taken = [(one.name, shape) for one, shape in zip(graph.inputs, layout.shapes)]
        about.check(taken, [(one.name, shape) for one, shape in zip(graph.outputs, layout.outputs)], where)
    notes = [f"opset {graph.opset}" + (f", written by {graph.producer}" if graph.producer else "")]
    if layout.batch is not None:
        notes.append(f"exported for {layout.batch} lanes only, and called with that many")
    elif fixed is not None:
        notes.append(f"exported for a batch of {fixed}; it takes any number of lanes")
    folder = str(Path(path).resolve().parent) if trusted else None
    try:
        check = _checked(program, layout, widest, data, folder, where, notes)
    except NetworkError:
        if fixed is None or layout.batch is not None:
            raise
        layout = fixed_layout(program, layout_of(graph, where), where)  # lanes of one batch look at each other
        notes[-1] = f"exported for {layout.batch} lanes that depend on each other, and called with that many"
        check = _checked(program, layout, widest, data, folder, where, notes)
    if about is not None and stepped is not False and states is None:
        whole: nn.Module = Converted(program, layout)
        if executor == "onnxruntime":
            whole = Executed(Session(data, graph, where, folder), layout)
            notes.append("run by ONNX Runtime: no gradients")
        return described(about, where, "ONNX", whole.eval(), check, notes)
    if executor == "onnxruntime":
        session = Session(data, graph, where, folder)
        module: nn.Module = Executed(session, Layout(layout.axes, layout.shapes, fixed, layout.ends, layout.outputs))
        return _imported(where, graph, module.eval(), layout, check, [*notes, "run by ONNX Runtime: no gradients"])
    return _stepped(where, graph, program, layout, stepped, states, check, notes)


def _check_work(program: Program, layout: Layout, where: str) -> int:
    """Numbers in the largest value of a lane; refuses what needs too many, without making any of them."""
    from torch.utils.flop_counter import FlopCounterMode

    sizes: list[int] = []
    lanes = layout.batch or 2
    try:
        with FlopCounterMode(display=False) as counter:
            fake(program, layout, lanes, sizes=sizes)
    except NetworkError:
        raise
    except Exception as error:
        raise NetworkError(where, f"its sizes do not fit: {error!s:.300}", "a network that runs") from None
    if counter.get_total_flops() // 2 > _MULTIPLICATIONS * lanes:
        raise NetworkError(where, f"{counter.get_total_flops() // 2} multiplications", f"{_MULTIPLICATIONS} a lane")
    if sum(sizes) > _NUMBERS * lanes:
        raise NetworkError(where, f"{sum(sizes)} numbers in all values together", f"{_NUMBERS} a lane")
    return max(1, *sizes, *(math.prod(shape) * lanes for shape in layout.tried())) // lanes


def _checked(
    program: Program, layout: Layout, widest: int, data: bytes, folder: str | None, where: str, notes: list[str]
) -> Comparison | None:
    """The comparison with an executor; raises NetworkError for lanes that change each other where any number runs."""
    told = list(notes)
    check = _compared(program, layout, widest, data, folder, where, notes)
    if layout.batch is None:
        try:
            check_lanes(program, layout, _inputs(program.graph, layout, LANES), where)
        except NetworkError:
            notes[:] = told
            raise
    return check


def _compared(
    program: Program, layout: Layout, widest: int, data: bytes, folder: str | None, where: str, notes: list[str]
) -> Comparison | None:
    graph = program.graph
    count = max(2, min(64, _WORK // widest))
    fixed = layout_of(graph, where).batch
    count = -(-count // fixed) * fixed if fixed else count
    values = _inputs(graph, layout, count)
    if graph.about:
        values = _reached(program, layout, values, where)
    groups = [[v[i : i + fixed] for v in values] for i in range(0, count, fixed)] if fixed else [values]
    parts: list[list[Tensor]] = []
    against, tolerance = "", None
    for make in _executors(data, graph, where, folder):
        try:
            other = make()
            parts = [other(placed(group, layout.axes)) for group in groups]
            against, tolerance = other.version, other.tolerance
            break
        except Exception as error:  # what cannot run it says so in its own words
            notes.append(f"not compared with one executor: {str(getattr(error, 'found', error)):.160}")
    if not parts:
        return None
    wanted = [torch.cat([p[i].movedim(e, 0) for p in parts]) for i, e in enumerate(layout.ends)]
    module = Converted(program, layout)
    with torch.no_grad():
        step = layout.batch or count
        rows = [module.results([v[i : i + step] for v in values]) for i in range(0, count, step)]
    found = [torch.cat([row[i] for row in rows]) for i in range(len(wanted))]
    names = [one.name for one in graph.outputs]
    return compare_outputs(dict(zip(names, found)), dict(zip(names, wanted)), against, tolerance).check(where)


def _reached(program: Program, layout: Layout, values: list[Tensor], where: str) -> list[Tensor]:
    """Inputs in the box of the card, and the states that two ticks leave behind: others may mean nothing."""
    about = read_description(program.graph.about, where)
    first, inputs = list(about.declared_states(where).values()), values[: len(about.inputs)]
    inputs = [one.drawn(x) for one, x in zip(about.inputs, inputs)]
    if not first or layout.batch is not None:
        return [*inputs, *values[len(inputs) :]]
    lanes = len(values[0])
    states = [torch.as_tensor(one.initial).expand(lanes, *(one.shape or ())) for one in first]
    module = Converted(program, layout)
    with torch.no_grad():
        for k in (1, 2):
            states = list(module.results([*(x.roll(k, 0) for x in inputs), *states])[len(about.outputs) :])
    return [*inputs, *states]


def _executors(data: bytes, graph: Graph, where: str, folder: str | None) -> list[Callable[[], Any]]:
    """ONNX Runtime, then the reference of the onnx package, which is slow and reads no external data here."""
    makers: list[Callable[[], Any]] = []
    if importlib.util.find_spec("onnxruntime") is not None:
        makers.append(lambda: Session(data, graph, where, folder))
    if folder is None:
        makers.append(lambda: Evaluator(data, graph, where))
    return makers


def _inputs(graph: Graph, layout: Layout, count: int) -> list[Tensor]:
    """Numbers for floats, zeros and ones for whole numbers: they may be places in a table."""
    return [
        x.to(one.dtype) if one.dtype.is_floating_point else (x.abs() * 1000).long().remainder(2).to(one.dtype)
        for x, one in zip(samples_of(layout.tried(), count), graph.inputs)
    ]


def _stepped(
    where: str, graph: Graph, program: Program, layout: Layout, stepped: bool | None,
    states: Mapping[str, str] | None, check: Comparison | None, notes: list[str],
) -> Imported:  # fmt: skip
    """Networks with a state: fed through inputs and outputs, or inside over samples."""
    pairs = pairs_of(graph, layout, states, where) if stepped is not False else []
    if pairs and layout.batch is None:
        inner = next(i for i in range(len(graph.inputs)) if i not in {a for a, _ in pairs})
        shape = layout.shapes[inner]
        module: nn.Module = Fed(program, layout, pairs).eval()
        options = {"sequence": len(shape) == 2 and shape[0] is None}
        kept = [i for i in range(len(graph.outputs)) if i not in {b for _, b in pairs}]
        named = ", ".join(f"{graph.inputs[a].name} -> {graph.outputs[b].name}" for a, b in pairs)
        return _imported(where, graph, module, layout, check, [*notes, f"stepped once a tick; state: {named}"], [inner],
                         kept, True, options, shape[-1:])  # fmt: skip
    inside = bool(program.stateful) and len(graph.inputs) == 1 and len(layout.shapes[0]) == 2 and layout.batch is None
    if stepped and not (inside and reads_forward(graph)):
        lacking = "a layer that reads the last sample first" if inside else "no state to step"
        raise NetworkError(where, lacking, "layers that read the past over (samples, features), or a state as input "
                           "and output", "states={'h0': 'hn'}, or stepped=False and a window")  # fmt: skip
    if inside and reads_forward(graph) and (stepped or (stepped is None and layout.shapes[0][0] is None)):
        from simdl.networks.recurrence import Recurrence

        module, features = Carried(program, layout).eval(), layout.shapes[0][1] or 1
        try:
            found = Recurrence(module, features, where=where).sample()
        except NetworkError as error:
            if stepped:
                raise
            notes.append(f"not stepped: {error.found}")
        else:
            layout = replace(layout, outputs=tuple(tuple(y.shape[1:]) for y in found))
            return _imported(where, graph, module, layout, check,
                             [*notes, "stepped once a tick; stepped=False gives it whole windows"], [0], None, True,
                             {"sequence": True}, (features,))  # fmt: skip
    if program.stateful:
        notes.append("takes whole windows: block(window=Window(...)), or stepped=True to step it")
    return _imported(where, graph, Converted(program, layout).eval(), layout, check, notes)


def _imported(
    where: str, graph: Graph, module: nn.Module, layout: Layout, check: Comparison | None, notes: list[str],
    inputs: list[int] | None = None, outputs: list[int] | None = None, recurrent: bool = False,
    options: Mapping[str, Any] | None = None, features: tuple[int | None, ...] | None = None,
) -> Imported:  # fmt: skip
    """features: of one sample, where the network is stepped."""
    taken: set[str] = set()
    ins, outs = {}, {}
    for number in range(len(graph.inputs)) if inputs is None else inputs:
        one, shape = graph.inputs[number], features or layout.shapes[number]
        kind = None if one.dtype.is_floating_point else str(one.dtype).removeprefix("torch.")
        size = None if None in shape else tuple(n or 0 for n in shape)
        ins[_port(one.name, taken, "x")] = Input(shape=_scalar(size), dtype=kind)
    for number in range(len(graph.outputs)) if outputs is None else outputs:
        shape = layout.outputs[number]
        if recurrent:
            shape = shape[1:] if len(shape) == 2 and shape[0] in (TRIED, 1) else shape
        outs[_port(graph.outputs[number].name, taken, "y")] = Output(_scalar(shape))
    return Imported(where, "ONNX", module, ins, outs, recurrent, None if len(ins) == 1 else False, check, tuple(notes),
                    dict(options or {}))  # fmt: skip


def _scalar(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return () if shape == (1,) else shape


def _port(name: str, taken: set[str], short: str) -> str:
    """A name that a port may have: `x` or `y` for names that cannot be one, digits appended where taken."""
    from simdl.networks.recurrent import Recurrent

    plain = re.sub(r"\W", "_", name).strip("_")[:60]
    made = short if not plain[:1].isalpha() or plain in RESERVED or hasattr(Recurrent, plain) or (
        plain in ("input", "output")) else plain  # fmt: skip
    return untaken(made, taken)
