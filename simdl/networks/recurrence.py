"""Finding the hidden state of a recurrent module, and stepping it one sample at a time.

Three forms are understood:

- an nn.RNN, nn.GRU or nn.LSTM (or a cell), with or without a head, and modules `forward(x, state) -> (y, state)`;
- a module `forward(x) -> y` with recurrent layers inside: their states are put in and taken out by hooks.

What the layout of the state and of the output is, is measured by calling the module with other numbers of lanes and
samples, not guessed from its type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from simdl.declarations import Shape
from simdl.errors import NetworkError
from simdl.networks.call import kind_of, training
from simdl.networks.layers import carried, forward_names

Form = Literal["cell", "state", "hooks"]
Nest = list["Nest"] | None  # how a state is nested in tuples; None for a tensor
LANES, TIMES = (3, 4), (5, 7)  # all different, so that an axis shows by its size
STEPS = 12
# A step and a whole sequence sum in another order; per sample that is some units in the last place, fed back.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
LOOSE = 5e-2  # half precision


class Recurrence:
    """A module that is stepped: `step(x, states) -> (outputs, states)`, everything with lanes first.

    names, shapes, initial: of the states, per lane; deviation: the largest difference, relative to the largest output,
    between stepping and a whole sequence (None when the module takes single samples only).
    """

    def __init__(
        self, module: nn.Module, features: int, head: nn.Module | None = None, x0: Any = None,
        batch_first: bool | None = None, sequence: bool = True, where: str = "Recurrent",
    ) -> None:  # fmt: skip
        self.module, self.head, self.features, self.where = module, head, features, where
        self.layers = {name: part for name, part in module.named_modules() if isinstance(part, nn.RNNBase)}
        self._refuse()
        first = next(iter(self.layers.values()), None)
        self.lane_axis = 1 if (first is not None and not first.batch_first) else 0  # of a sequence
        if batch_first is not None:
            self.lane_axis = 0 if batch_first else 1
        self.form = self._form()
        self.spec: Nest = None  # of the state, as forward takes it
        self.axes: list[int] = []  # of lanes, in each state as the module has it
        self.time_axes: list[int | None] = []  # of each output; None for the last sample only
        self.sequence = sequence and self.form != "cell"
        with torch.no_grad(), training(module, False), training(head or module, False):
            given = None if x0 is None else _flatten(x0)
            self._measure(given)
            self.names = self._names()
            self.deviation = self._compare() if self.sequence else None

    def _refuse(self) -> None:
        for name, layer in self.layers.items():
            if layer.bidirectional:
                raise NetworkError(f"{self.where}{'.' if name else ''}{name}", "a bidirectional layer reads the future",
                                   "a layer that reads the past: bidirectional=False",
                                   "or Network(module, window=Window(length=...)) over a whole window")  # fmt: skip

    def _form(self) -> Form:
        if isinstance(self.module, nn.RNNCellBase):
            return "cell"
        if isinstance(self.module, nn.RNNBase) or len(forward_names(self.module, optional=True)) > 1:
            return "state"
        if self.layers:
            return "hooks"
        raise NetworkError(self.where, f"no recurrent layer in {type(self.module).__name__}",
                           "an nn.RNN, nn.GRU or nn.LSTM inside, or forward(x, state) -> (y, state)",
                           "Network(module, ...) runs a module without memory")  # fmt: skip

    def step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Outputs (lanes, …) and new states (lanes, *shape) after one sample x (lanes, features)."""
        inside = [state.movedim(0, axis).contiguous() for state, axis in zip(states, self.axes)]
        if not self.sequence:
            outputs, after = self._call(x, inside)
        else:
            outputs, after = self._call(x.unsqueeze(1 - self.lane_axis), inside)
            outputs = tuple(y if axis is None else y.select(axis, 0) for y, axis in zip(outputs, self.time_axes))
        return outputs, tuple(state.movedim(axis, 0) for state, axis in zip(after, self.axes))

    def sample(self) -> tuple[Tensor, ...]:
        """Outputs of two lanes after one sample."""
        with torch.no_grad(), training(self.module, False), training(self.head or self.module, False):
            states = [first.expand(2, *first.shape).to(**self._kind()) for first in self.initial]
            return self.step(self._x(2, None), states)[0]

    def _call(self, x: Tensor, states: list[Tensor] | None) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """The module on a sequence or a sample, states as the module has them; None for its own initial ones."""
        if self.form == "hooks":
            with carried(self.layers, states) as (_, after):
                result = self.module(x)
            return _outputs(self._headed(result), self.where), after
        state = None if states is None else _nested(list(states), self.spec)
        result = self.module(x) if state is None and self.form == "cell" else self.module(x, state)
        if self.form == "cell":
            y = result[0] if isinstance(result, tuple) else result
            flat, self.spec = _flatten(result)
            return _outputs(self._headed(y), self.where), flat
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise NetworkError(self.where, f"forward(x, state) returned {_kind(result)}", "(y, state)")
        flat, self.spec = _flatten(result[1])
        if not flat or not all(isinstance(one, Tensor) for one in flat):
            raise NetworkError(self.where, f"forward(x, state) returned the state {_kind(result[1])}", "tensors")
        return _outputs(self._headed(result[0]), self.where), flat

    def _headed(self, result: Any) -> Any:
        return self.head(result) if self.head is not None else result

    def _x(self, lanes: int, times: int | None) -> Tensor:
        dtype, device = kind_of(self.module)
        dtype = dtype or torch.get_default_dtype()
        shape = (lanes, self.features) if times is None else (lanes, times, self.features)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(shape, generator=generator, dtype=torch.float64).to(device=device, dtype=dtype)
        return x if times is None or self.lane_axis == 0 else x.movedim(1, 0)

    def _measure(self, given: tuple[list[Any], Nest] | None) -> None:
        """Find lane axes, time axes, shapes and initial values of the states."""
        try:
            found = self._probe(given)
        except NetworkError:
            raise
        except Exception as error:
            fix = "name one input for each feature"
            if given is None and self.form == "state" and not isinstance(self.module, nn.RNNBase):
                fix = "x0=..., the state of one lane, for a module that does not take state=None"
            samples = f"sequences {self._layout()}" if self.sequence else "samples (lanes, features)"
            raise NetworkError(self.where, f"the module fails on {self.features} features: {error}",
                               f"a module that takes {samples}", fix) from error  # fmt: skip
        (y, states), (y_lanes, states_lanes), (y_times, states_times) = found
        if any(a.shape != b.shape for a, b in zip(states, states_times)):
            raise NetworkError(self.where, "the state grows with the number of samples", "a state of fixed size",
                               f"batch_first={self.lane_axis == 1} if the module takes sequences the other way round; "
                               "sequence=False if it takes one sample (lanes, features)")  # fmt: skip
        self.axes = [_axis(a, b, f"{self.where}: state") for a, b in zip(states, states_lanes)]
        for value in y:
            if self.sequence and value.ndim == 0:
                raise NetworkError(self.where, "one number for all lanes", "a row for each lane")
        self.time_axes = [_differing(a, b) for a, b in zip(y, y_times)] if self.sequence else [None] * len(y)
        self.shapes: list[Shape] = [tuple(s.movedim(a, 0).shape[1:]) for s, a in zip(states, self.axes)]
        if given is None:
            self.initial = self._initial()
        else:
            self.initial = [torch.as_tensor(one, dtype=s.dtype) for one, s in zip(given[0], states)]

    def _probe(self, given: tuple[list[Any], Nest] | None) -> list[Any]:
        found = []
        for lanes, times in ((LANES[0], TIMES[0]), (LANES[1], TIMES[0]), (LANES[0], TIMES[1])):
            start = None
            if given is not None:
                start = self._given(given, lanes)
            found.append(self._call(self._x(lanes, times if self.sequence else None), start))
        return found

    def _given(self, given: tuple[list[Any], Nest], lanes: int) -> list[Tensor]:
        """A given initial state for some lanes, in the layout that the module accepts."""
        self.spec = given[1]
        values = [torch.as_tensor(one) for one in given[0]]
        dtype, device = kind_of(self.module)
        for axis in (1, 0):
            if any(value.ndim < axis for value in values):
                continue
            start = [v.to(device=device, dtype=dtype).unsqueeze(axis).repeat_interleave(lanes, axis) for v in values]
            try:
                _, after = self._call(self._x(lanes, TIMES[0] if self.sequence else None), start)
            except NetworkError:
                raise
            except Exception:  # the other layout
                continue
            if [s.shape for s in after] == [s.shape for s in start]:
                self.spec = given[1]
                return start
        raise NetworkError(f"{self.where}: x0", f"shapes {[tuple(v.shape) for v in values]} do not fit the module",
                           "the state of one lane, without an axis for lanes")  # fmt: skip

    def _initial(self) -> list[Tensor]:
        """The states that the module starts from by itself; zeros unless it shows others."""
        zeros = [torch.zeros((*s[:a], 2, *s[a:]), **self._kind()) for s, a in zip(self.shapes, self.axes)]
        x = self._x(2, 1 if self.sequence else None)
        if self.form == "hooks":
            with carried(self.layers, None) as (given, _):
                self.module(x)
            starts = [z if s is None else s for z, s in zip(zeros, given)]
            return [start.select(axis, 0).clone() for start, axis in zip(starts, self.axes)]
        own, _ = self._call(x, None)
        from_zeros, _ = self._call(x, zeros)
        if not all(torch.equal(a, b) for a, b in zip(own, from_zeros)):
            raise NetworkError(self.where, "the module does not start from zeros when it is given no state",
                               "its initial state", "x0=..., the state of one lane")  # fmt: skip
        return [torch.zeros(shape, dtype=self._kind()["dtype"]) for shape in self.shapes]

    def _kind(self) -> dict[str, Any]:
        dtype, device = kind_of(self.module)
        return {"dtype": dtype or torch.get_default_dtype(), "device": device}

    def _names(self) -> list[str]:
        if self.form == "hooks":
            names = []
            for path, layer in self.layers.items():
                prefix = path.replace(".", "_") + "_" if len(self.layers) > 1 else ""
                prefix = prefix if prefix[:1].isalpha() or not prefix else f"layer_{prefix}"
                names += [f"{prefix}h", f"{prefix}c"] if isinstance(layer, nn.LSTM) else [f"{prefix}h"]
            return names
        count = len(self.shapes)
        if count == 2 and self.shapes[0] == self.shapes[1]:
            return ["h", "c"]
        return ["h"] if count == 1 else [f"h{i}" for i in range(count)]

    def _compare(self) -> float:
        """Step over a sequence and compare with the whole; raises NetworkError beyond the tolerance."""
        lanes = LANES[0]
        x = self._x(lanes, STEPS)
        start = [s.expand(lanes, *s.shape).to(**self._kind()) for s in self.initial]
        inside = [s.movedim(0, axis).contiguous() for s, axis in zip(start, self.axes)]
        whole, _ = self._call(x, inside)
        states: tuple[Tensor, ...] = tuple(start)
        worst = 0.0
        for k in range(STEPS):
            stepped, states = self.step(x.select(1 - self.lane_axis, k), states)
            for y, all_of_it, axis in zip(stepped, whole, self.time_axes):
                if axis is None and k < STEPS - 1:
                    continue
                wanted = all_of_it if axis is None else all_of_it.select(axis, k)
                if wanted.shape != y.shape:
                    raise self._differs(f"shape {tuple(y.shape)} where the sequence gives {tuple(wanted.shape)}")
                scale = max(1.0, float(all_of_it.abs().max()))
                worst = max(worst, float((y - wanted).abs().max()) / scale)
        tolerance = TOLERANCE.get(self._kind()["dtype"], LOOSE)
        if not worst <= tolerance:
            raise self._differs(f"{worst:.3g} of the largest output, where {tolerance:g} is rounding")
        return worst

    def _differs(self, by: str) -> NetworkError:
        return NetworkError(
            self.where, f"stepping the module and giving it a whole sequence differ by {by}",
            f"a causal module that takes sequences {self._layout()}",
            f"batch_first={self.lane_axis == 1} if the module takes them the other way round; layers that look along "
            "time (attention, convolution) need Network(module, window=Window(length=...))",
        )  # fmt: skip

    def _layout(self) -> str:
        return "(lanes, samples, features)" if self.lane_axis == 0 else "(samples, lanes, features)"


def _flatten(value: Any) -> tuple[list[Any], Nest]:
    """What nested tuples hold, in order, and how it was nested."""
    if not isinstance(value, tuple | list):
        return [value], None
    flat: list[Any] = []
    spec: list[Nest] = []
    for one in value:
        inner, nest = _flatten(one)
        flat += inner
        spec.append(nest)
    return flat, spec


def _nested(flat: list[Any], spec: Nest) -> Any:
    """The inverse of _flatten; it empties `flat`."""
    return flat.pop(0) if spec is None else tuple(_nested(flat, nest) for nest in spec)


def _outputs(result: Any, where: str) -> tuple[Tensor, ...]:
    if isinstance(result, Tensor):
        return (result,)
    if isinstance(result, tuple | list) and result and all(isinstance(one, Tensor) for one in result):
        return tuple(result)
    raise NetworkError(where, f"the module's output is {_kind(result)}", "a tensor or a tuple of tensors")


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"({', '.join(_kind(one) for one in value)})"
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _differing(a: Tensor, b: Tensor) -> int | None:
    """The axis by which two shapes differ."""
    axes = [i for i, (m, n) in enumerate(zip(a.shape, b.shape)) if m != n]
    return axes[0] if axes else None


def _axis(a: Tensor, b: Tensor, where: str) -> int:
    axis = _differing(a, b)
    if axis is None:
        raise NetworkError(where, f"shape {tuple(a.shape)} does not depend on the number of lanes", "a state per lane")
    return axis
