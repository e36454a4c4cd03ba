"""Any Python model as a block: scikit-learn, a lookup, a program, or a network of another framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor

from simdl.block import Block
from simdl.clock import Duration
from simdl.declarations import Input, Output
from simdl.errors import NetworkError, SimdlError
from simdl.networks.plan import Plan
from simdl.networks.ports import Ins, Outs, flat_result, inputs_of, outputs_of, run_dtype, split_result, stacked
from simdl.port import Port

if TYPE_CHECKING:

    class _Options(Block, kw_only=False):
        load: Callable[[], Any]
        preprocess: Callable[..., Any] | None = None
        predict: Callable[[Any, Any], Any] | None = None
        inputs: Ins | None = None
        outputs: Outs | None = None
        postprocess: Callable[[Any], Any] | None = None

else:
    _Options = Block


class Callback(_Options):
    """A Python model called at ticks: `load()` once when the block is made, then at each tick for all lanes at once
    `postprocess(predict(model, preprocess(*inputs)))`, where preprocess and postprocess may be left out.

    Inputs are numpy arrays (lanes, *shape) in the run's float type; without `preprocess` predict gets (lanes,
    features). It returns an array (lanes, outputs) or (lanes,), a tuple of arrays or a dict by name. predict must be
    pure: equal inputs give equal outputs, each lane from its own row; what a model remembers is an output, wired back
    to an input through a UnitDelay. No gradients flow through it, and it runs in
    torch only; the native engine calls it.
    Raises NetworkError for results that do not fit the outputs, and for what one of the functions raises.

    >>> import torch
    >>> double = Callback(lambda: 2.0, predict=lambda model, x: model * x, inputs="x", outputs="y", period="1 s")
    >>> double.step(torch.tensor([1.0, 2.0]))["y"]
    tensor([2., 4.])
    """

    if TYPE_CHECKING:
        _plan: ClassVar[Plan]
        model: ClassVar[Any]

        def __getattr__(self, name: str) -> Port: ...

    else:
        model = None

        def __new__(cls, load=None, preprocess=None, predict=None, inputs=None, outputs=None, **options):
            if "_made_from" in vars(cls):
                return object.__new__(cls)
            return cls._made(inputs, outputs)

        def __init__(
            self, load, preprocess=None, predict=None, inputs=None, outputs=None, postprocess=None, *, period=None,
            rate=None, **values,
        ):  # fmt: skip
            self._start(load, preprocess, predict, postprocess, period, rate, values)

    @classmethod
    def _made(cls, inputs: Ins | None, outputs: Outs | None) -> Self:
        where = cls.__name__
        ins: Mapping[str, Input] = {n: d for n, d in cls.declared().items() if isinstance(d, Input)}
        outs: Mapping[str, Output] = {n: d for n, d in cls.declared().items() if isinstance(d, Output)}
        ins, outs = ins or inputs_of(inputs or "x", where), outs or outputs_of(outputs or "y", where)
        plan = Plan(where, dict(ins), dict(outs), True)
        kind: Any = type(cls)
        block = object.__new__(kind(cls.__name__, (cls,), plan.namespace(cls)))
        vars(block)["_plan"] = plan
        return cast(Self, block)

    def _start(
        self, load: Callable[[], Any], preprocess: Callable[..., Any] | None, predict: Callable[[Any, Any], Any] | None,
        postprocess: Callable[[Any], Any] | None, period: Duration | None, rate: Duration | None,
        values: dict[str, Any],
    ) -> None:  # fmt: skip
        given = {"load": load, "preprocess": preprocess, "predict": predict, "postprocess": postprocess}
        for name, one in given.items():
            if not callable(one) and (one is not None or name in ("load", "predict")):
                raise NetworkError(f"{self}: {name}", f"{one!r}", "a function")
        if period is None and rate is None:
            raise NetworkError(str(self), "no period: a model does not inherit continuous time", "period= or rate=")
        self._assign({"period": period, "rate": rate, **values})
        model = self._asked("load", load)
        vars(self).update(model=model, _preprocess=preprocess, _predict=predict, _postprocess=postprocess)

    def _asked(self, name: str, function: Callable[..., Any], *values: Any) -> Any:
        """What a function of the user's returns; what it raises, as a NetworkError that says whose it is."""
        try:
            return function(*values)
        except SimdlError:
            raise
        except Exception as error:
            called = getattr(function, "__qualname__", repr(function))
            shapes = ", ".join(str(value.shape) for value in values if isinstance(value, np.ndarray))
            raise NetworkError(f"{self}: {name}", f"{called} raised {type(error).__name__}: {error}",
                               "what the block computes with", f"a {name} that takes arrays {shapes}" if shapes
                               else f"a {name} that runs without an error") from error  # fmt: skip

    def _step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        plan = self._plan
        inputs = [values[name] for name in plan.inputs]
        dtype, device, lanes = run_dtype(inputs), inputs[0].device, inputs[0].shape[0]
        prepare = cast(Any, vars(self)["_preprocess"])
        given = _arrays(inputs) if prepare else _arrays([stacked(inputs, dtype)])
        row = self._asked("preprocess", prepare, *given) if prepare else given[0]
        result = self._asked("predict", vars(self)["_predict"], self.model, row)
        finish = vars(self)["_postprocess"]
        result = self._asked("postprocess", finish, result) if finish else result
        tensors = flat_result(_tensors(result), list(plan.outputs), str(self))
        found = split_result(tensors, plan.outputs, lanes, str(self))
        return {
            name: value.to(device=device, dtype=dtype if value.is_floating_point() else value.dtype)
            for name, value in zip(plan.outputs, found)
        }


def _arrays(values: Sequence[Tensor]) -> list[np.ndarray[Any, Any]]:
    return [value.detach().cpu().numpy() for value in values]


def _tensors(result: Any) -> Any:
    """Arrays as tensors, also inside tuples and dicts."""
    if isinstance(result, Mapping):
        return {name: _tensors(value) for name, value in result.items()}
    if isinstance(result, tuple):
        return tuple(_tensors(value) for value in result)
    return torch.as_tensor(np.asarray(result))
