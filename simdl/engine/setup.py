"""What one run fixes: lanes, types, parameters and inputs, all as tensors with a leading lane axis."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from simdl.clock import FOREVER, SECOND, nanoseconds
from simdl.compile import Model
from simdl.compile.node import Value
from simdl.declarations import misfit
from simdl.engine.arguments import lane_numbers, memory, numbers, whole
from simdl.errors import RunError
from simdl.port import Formula, Port, Signal
from simdl.random import stream_key

Settings = Mapping[Any, Any]


@dataclass
class Setup:
    """The tensors of a run that do not change while it runs, but for the inputs, which may be replaced at instants."""

    model: Model
    lanes: int
    ids: Tensor  # (lanes,) int64: the numbers that noise is keyed by
    dtype: torch.dtype
    device: torch.device
    seed: int
    params: dict[str, Tensor] = field(default_factory=dict)
    laned: set[str] = field(default_factory=set)  # keys that were given with a lane axis
    initial: dict[str, Tensor] = field(default_factory=dict)  # states set from outside
    inputs: dict[str, Source] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)  # lanes that cannot begin, and why

    def type_of(self, value: Value) -> torch.dtype:
        return value.dtype or self.dtype

    def full(self, value: Value, given: Any, where: str) -> tuple[Tensor, bool]:
        """A given value as (lanes, *shape), and whether it came with a lane axis."""
        tensor = numbers(where, given)
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise RunError(where, "NaN", "numbers")
        tensor = self.typed(value, tensor, where)
        shape = tuple(value.shape or ())
        laned = tensor.ndim == len(shape) + 1
        wanted = (self.lanes, *shape)
        if laned and tensor.shape[0] not in (1, self.lanes):
            raise RunError(where, f"{tensor.shape[0]} values for {self.lanes} lanes", f"one value, or {self.lanes}")
        try:
            return tensor.expand(wanted), laned
        except RuntimeError:
            raise RunError(where, f"the shape {tuple(tensor.shape)}", f"{shape}, or {wanted} with lanes") from None

    def typed(self, value: Value, tensor: Tensor, where: str) -> Tensor:
        """Given numbers in a value's type. Raises RunError for what it cannot hold."""
        dtype = self.type_of(value)
        if found := misfit(tensor, dtype):
            raise RunError(where, *found)
        return tensor.to(dtype=dtype, device=self.device)

    def key_of_noise(self, key: str) -> int:
        value = self.model.values[key]
        block = self.model.blocks[value.block]
        return stream_key(self.seed, f"{block.stream or value.block}.{value.name}")


@dataclass
class Source:
    """An external input: a constant, or values held (or interpolated) at given times."""

    values: Tensor  # (lanes, *shape), or (lanes, times, *shape)
    times: list[int] | None = None  # ns
    smooth: bool = False

    def edge_after(self, ns: int) -> int:
        """The first declared edge strictly after a time."""
        if self.times is None:
            return FOREVER
        i = bisect.bisect_right(self.times, ns)
        return self.times[i] if i < len(self.times) else FOREVER

    def at(self, ns: int) -> Tensor:
        """The held value at an instant."""
        if self.times is None:
            return self.values
        return self.values[:, max(0, bisect.bisect_right(self.times, ns) - 1)]

    def between(self, ns: int, tau: Tensor) -> Tensor:
        """The interpolated value at ns + tau seconds, tau (lanes,)."""
        if self.times is None:
            return self.values
        i = min(max(0, bisect.bisect_right(self.times, ns) - 1), len(self.times) - 2)
        t0, t1 = self.times[i], self.times[i + 1]
        part = ((ns - t0) / SECOND + tau) / ((t1 - t0) / SECOND)
        part = part.clamp(0.0, 1.0).to(self.values.dtype).reshape(-1, *(1,) * (self.values.ndim - 2))
        return torch.lerp(self.values[:, i], self.values[:, i + 1], part)


def count_lanes(model: Model, lanes: int | None, settings: Settings, inputs: Settings) -> int:
    """The number of lanes: as asked, or the leading size of what is set."""
    found: dict[str, int] = {}
    for name, given in settings.items():
        value = _settable(model, name)
        if isinstance(given, Tensor | list | tuple) or hasattr(given, "shape"):
            tensor = numbers(f"set[{value.key!r}]", given)
            if tensor.ndim == len(value.shape or ()) + 1:
                found[value.key] = tensor.shape[0]
    for name, given in inputs.items():
        size = _input_lanes(model, name, given)
        if size is not None:
            found[str(name)] = size
    sizes = {size for size in found.values() if size != 1} or set(found.values())
    if lanes is not None:
        whole("lanes", lanes, 1)
        wrong = {k: n for k, n in found.items() if n not in (1, lanes)}
        if wrong:
            key, n = next(iter(wrong.items()))
            raise RunError(key, f"{n} values", f"one value, or lanes={lanes}")
        return lanes
    if len(sizes) > 1:
        text = ", ".join(f"{key} has {n}" for key, n in found.items())
        raise RunError("lanes", f"different numbers of values: {text}", "one number of lanes")
    return sizes.pop() if sizes else 1


def _input_lanes(model: Model, name: Any, given: Any) -> int | None:
    value = model.values.get(model.key(name))
    shape = (value.shape or ()) if value is not None else ()
    if isinstance(given, tuple) and len(given) == 2 or _is_trace(given):
        values = numbers(f"inputs[{str(name)!r}]", given[1] if isinstance(given, tuple) else given.values)
        return values.shape[0] if values.ndim == len(shape) + 2 else None
    if isinstance(given, Tensor | list) or hasattr(given, "shape"):
        tensor = numbers(f"inputs[{str(name)!r}]", given)
        return tensor.shape[0] if tensor.ndim == len(shape) + 1 else None
    return None


def _is_trace(given: Any) -> bool:
    return hasattr(given, "t") and hasattr(given, "values") and not isinstance(given, Tensor)


def _settable(model: Model, name: Any) -> Value:
    if isinstance(name, Formula):
        raise RunError("set", f"the formula {name}", "a parameter, a state, or the path of one")
    names = [k for k, v in model.values.items() if v.kind in ("param", "continuous", "discrete", "mode")]
    if isinstance(name, str) and name not in model.values and name not in model.flat.aliases:
        raise RunError(f"set[{name!r}]", "no parameter or state", "one of the names below", names=names, wrong=name)
    key = name if isinstance(name, str) and name in model.values else model.key(name)
    value = model.values[key]
    if value.kind not in ("param", "continuous", "discrete", "mode"):
        raise RunError(f"set[{key!r}]", "not a parameter or a state", "one of the names below", names=names, wrong=key)
    return value


def prepare(
    model: Model, *, lanes: int | None, settings: Settings, inputs: Settings, dtype: torch.dtype,
    device: torch.device, seed: int, ids: Tensor | None = None,
) -> Setup:  # fmt: skip
    """Check and expand everything given to a run. Raises RunError naming what is wrong."""
    if dtype not in (torch.float64, torch.float32):
        raise RunError("dtype", f"{dtype}", "torch.float64 or torch.float32")
    whole("seed", seed, 0)
    count = count_lanes(model, lanes, settings, inputs)
    if (need := 8 * count * len(model.values)) > memory():
        raise RunError("lanes", f"{count} lanes of {len(model.values)} values: at least {need / 1e9:.3g} GB",
                       f"at most {memory() / 1e9:.3g} GB, the memory of this machine",
                       "monte_carlo runs lanes in shards")  # fmt: skip
    known = torch.arange(count) if ids is None else lane_numbers(ids)
    if len(known) != count:
        raise RunError("ids", f"{len(known)} numbers for {count} lanes", "one number for each lane")
    setup = Setup(model, count, known.to(device), dtype, device, seed)
    chosen = {}
    for name, given in settings.items():
        value = _settable(model, name)
        chosen[value.key] = given
    for path, block in model.blocks.items():
        for name, given in block.lane_settings(setup.ids, seed).items():
            chosen.setdefault(f"{path}.{name}" if path else name, given)
        setup.failed.update(block.lane_failures(setup.ids, seed))
    for key in model.params:
        _param(setup, key, chosen)
    for key, given in chosen.items():
        value = model.values[key]
        if value.kind != "param":
            setup.initial[key], _ = setup.full(value, given, f"set[{key!r}]")
    for name, given in inputs.items():
        set_input(setup, name, given)
    for key in model.externals:
        if key not in setup.inputs:
            default = model.values[key].declaration.default
            if default is None:
                raise RunError(key, "an input of the model without a value", "a value for it",
                               f"inputs={{model.{key}: 0.0}}")  # fmt: skip
            set_input(setup, key, default)
    return setup


def _param(setup: Setup, key: str, chosen: Mapping[str, Any]) -> Tensor:
    if key in setup.params:
        return setup.params[key]
    model = setup.model
    value = model.values[key]
    if key in chosen:
        given = chosen[key]
        if isinstance(given, Signal):
            raise RunError(f"set[{key!r}]", f"the signal {given}", "a number or a tensor")
        value.declaration.check(given, f"set[{key!r}]")
        setup.params[key], laned = setup.full(value, given, f"set[{key!r}]")
    else:
        given = value.owner.settings[value.name]
        if isinstance(given, Port | Formula):
            ports = (given,) if isinstance(given, Port) else given.ports()
            read: Callable[[Port], Tensor] = lambda port: _param(setup, model.key(port), chosen)  # noqa: E731
            tensor = read(given) if isinstance(given, Port) else given.evaluate(read)
            laned = any(model.key(port) in setup.laned for port in ports)
            if value.dtype is not None:
                tensor = setup.typed(value, tensor, key)
            setup.params[key] = tensor.expand(setup.lanes, *tensor.shape[1:])
        else:
            tensor = model.setting(key, setup.dtype).to(setup.device)
            setup.params[key], laned = tensor.unsqueeze(0).expand(setup.lanes, *tensor.shape), False
    if laned:
        setup.laned.add(key)
    return setup.params[key]


def set_input(setup: Setup, name: Any, given: Any) -> None:
    """Give an external input its value: a number, a tensor, (times, values), or a Trace."""
    model = setup.model
    key = model.key(name)
    if key not in model.externals:
        raise RunError(f"inputs[{name!r}]", "not an external input", "one of the names below", names=model.externals,
                       wrong=key)  # fmt: skip
    value = model.values[key]
    where = f"inputs[{key!r}]"
    trace = _is_trace(given)
    if not trace and not (isinstance(given, tuple) and len(given) == 2):
        tensor, laned = setup.full(value, given, where)
        setup.inputs[key] = Source(tensor)
        if laned:
            setup.laned.add(key)
        return
    t, values = (given.t, given.values) if trace else given
    stamps = [nanoseconds(float(s), f"{where}: time") for s in numbers(f"{where}: times", t).reshape(-1).tolist()]
    values = setup.typed(value, numbers(where, values), where)
    shape = tuple(value.shape or ())
    if values.ndim == len(shape) + 1:
        values = values.unsqueeze(0)
    if values.ndim != len(shape) + 2 or values.shape[1] != len(stamps):
        raise RunError(where, f"{len(stamps)} times and values of shape {tuple(values.shape)}",
                       "values (times, ...) or (lanes, times, ...)")  # fmt: skip
    if any(b <= a for a, b in zip(stamps, stamps[1:], strict=False)):
        raise RunError(where, "times that do not increase", "strictly increasing times")
    if values.is_floating_point() and not bool(torch.isfinite(values).all()):
        raise RunError(where, "a value that is not finite", "finite values")
    smooth = trace and getattr(given, "kind", "held") == "smooth" and len(stamps) > 1
    setup.inputs[key] = Source(values.expand(setup.lanes, *values.shape[1:]), stamps, smooth)
