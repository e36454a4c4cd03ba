"""A network, its monitor and its fallback as one diagram with the network's ports."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from simdl.block import Block
from simdl.declarations import Input, Output
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.errors import NetworkError
from simdl.methods import OutputMethod
from simdl.networks.layers import first_width
from simdl.networks.monitor import Monitor
from simdl.networks.network import Network
from simdl.port import Port, stack

Ports = dict[str, Input | Output]

SHOWN = ("healthy", "score", "cause", "since")


class Monitored(Diagram):
    """What `Monitor.around` makes: `network`, `monitor` and perhaps `fallback`; it fits the slots the network fits."""

    ports: ClassVar[Ports] = {}

    if TYPE_CHECKING:
        network: Declared
        monitor: Monitor

        def __getattr__(self, name: str) -> Port: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    else:

        def __init__(self, network, monitor, fallback, watch, outputs):
            self.network, self.monitor = network, monitor
            if isinstance(fallback, Declared):
                self.fallback = fallback
            for inside in (network, fallback):
                for name in _inputs(inside):
                    setattr(inside, name, getattr(self, name))
            monitor.inputs = tuple(
                getattr(self, name) if name in _inputs(network) else getattr(network, name) for name in watch
            )
            monitor.result = _joined(network, outputs)
            if isinstance(fallback, Declared):
                monitor.fallback = _joined(fallback, outputs)
            elif fallback is not None:
                monitor.fallback = float(fallback)
            if "ok" in _outputs(network) and "ok" not in outputs:
                monitor.ok = network.ok
            if vars(monitor)["latch"]:
                monitor.rearm = self.rearm
            for place, name in enumerate(outputs):
                setattr(self, name, monitor.value if len(outputs) == 1 else monitor.value[place])
            for name in SHOWN:
                setattr(self, name, getattr(monitor, name))

    def __deepcopy__(self, memo: dict[int, Any]) -> Monitored:
        made = object.__new__(type(self))
        memo[id(self)] = made
        vars(made).update(copy.deepcopy(vars(self), memo))
        return made

    def __reduce__(self) -> Any:
        return _remade, (type(self).ports,), self.__getstate__()


def monitored(
    kind: type[Monitor], network: Declared, fallback: Declared | float | None, watch: Sequence[str] | None,
    outputs: Sequence[str] | None, options: dict[str, Any],
) -> Monitored:  # fmt: skip
    """See Monitor.around. Raises NetworkError for ports that are not there or not of one kind."""
    where = f"Monitor.around({network})"
    if not isinstance(network, Block):
        raise NetworkError(where, f"a {type(network).__name__}", "a network or another block with a period",
                           "wire a Monitor by hand into a diagram")  # fmt: skip
    if network.clock is None:
        raise NetworkError(where, "a block without a period", "a block that ticks")
    own = list(network._plan.outputs) if isinstance(network, Network) else [n for n in _outputs(network) if n != "ok"]
    chosen = list(own if outputs is None else [outputs] if isinstance(outputs, str) else outputs)
    rows = list(_watched(network) if watch is None else [watch] if isinstance(watch, str) else watch)
    known = _outputs(network)
    for names, there, what in ((chosen, known, "output"), (rows, type(network).declared(), "port")):
        for name in names:
            if name not in there:
                raise NetworkError(where, f"no {what} {name!r}", names=there, wrong=name)
    if not chosen or not rows:
        raise NetworkError(where, "nothing to watch", "an input and an output")
    shapes = [getattr(known[name], "shape", None) for name in chosen]
    if len(chosen) > 1 and any(shape not in ((), None) for shape in shapes):
        raise NetworkError(where, f"outputs of shapes {', '.join(map(str, shapes))}", "one output, or several numbers",
                           f'outputs=("{chosen[0]}",)')  # fmt: skip
    if isinstance(fallback, Declared):
        missing = [name for name in chosen if name not in _outputs(fallback)]
        if missing:
            raise NetworkError(where, f"the fallback has no output {', '.join(missing)}", ", ".join(chosen),
                               names=_outputs(fallback))  # fmt: skip
    elif fallback is not None and not _is_number(fallback):
        raise NetworkError(f"{where}: fallback", f"{fallback!r}", "a block, a finite number, or None",
                           "fallback=None: the last value stays")  # fmt: skip
    ports: Ports = {name: copy.copy(one) for part in (fallback, network) for name, one in _inputs(part).items()}
    if options.get("latch"):
        ports["rearm"] = Input(dtype="bool", shape=(), default=False)
    made = {name: Output(shape=getattr(known[name], "shape", None), unit=known[name].unit) for name in chosen}
    shown = {name: Monitor.declared()[name] for name in SHOWN}
    twice = sorted({*ports} & {*made, *shown} | {*made} & {*shown})
    if twice:
        raise NetworkError(where, f"{', '.join(twice)}: two ports of one name", "other names of the network's ports")
    ports |= made | {name: copy.copy(cast(Output, one)) for name, one in shown.items()}
    times = {name: getattr(network, name) for name in ("period", "rate", "offset")}
    clock = {name: time for name, time in times.items() if time is not None}
    size = len(chosen)
    shape = (size,) if size > 1 else shapes[0]
    if "start" not in options and shape:
        import torch

        options = {**options, "start": torch.zeros(shape, dtype=torch.float64)}
    monitor = kind(**{**clock, **options})
    if isinstance(network, Network) and rows == list(network._plan.inputs) and len(rows) == 1:
        one = network._plan.inputs[rows[0]]
        width = math.prod(one.shape) if one.shape is not None else first_width(vars(network)["module"])
        if width is not None:
            monitor.check_width(width, f"{where}.{rows[0]}")
    return cast(Any, _class_of(ports))(network, monitor, fallback, rows, chosen)  # type: ignore[no-any-return]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | str):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False


def _inputs(block: Any) -> dict[str, Input]:
    if not isinstance(block, Declared):
        return {}
    return {name: one for name, one in type(block).declared().items() if isinstance(one, Input)}


def _outputs(block: Declared) -> dict[str, Any]:
    return {name: one for name, one in type(block).declared().items() if isinstance(one, Output | OutputMethod)}


def _watched(network: Block) -> list[str]:
    if isinstance(network, Network):
        return list(network._plan.inputs)
    return list(_inputs(network))


def _joined(block: Any, names: Sequence[str]) -> Any:
    ports = [getattr(block, name) for name in names]
    return ports[0] if len(ports) == 1 else stack(*ports)


def _class_of(ports: Ports) -> type[Monitored]:
    kind: Any = type(Monitored)
    body = {**ports, "ports": ports, "__module__": Monitored.__module__, "__doc__": Monitored.__doc__}
    return cast(type[Monitored], kind("Monitored", (Monitored,), body))


def _remade(ports: Ports) -> Monitored:
    """One read back from a pickle; its blocks and wires follow."""
    made = _class_of(ports)
    return made.__new__(made)
