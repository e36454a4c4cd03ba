"""A part of a network's computation as a block that ticks: a layer, or what stands before and behind all layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from torch import Tensor, nn

from simdl.block import Block
from simdl.declarations import Input, Output
from simdl.methods import Tick, reading
from simdl.networks.call import Call, Mode
from simdl.networks.copying import with_its_class
from simdl.networks.ports import run_dtype

Body = Callable[..., tuple[Tensor, ...]]


class Layer(Block):
    """y = body(*inputs), at its ticks, held between. module: whose type and device the body computes in; without one it
    computes in those of its inputs."""

    if TYPE_CHECKING:
        body: ClassVar[Body]
        _made_from: ClassVar[type[Layer]]
        _names: ClassVar[tuple[list[str], list[str]]]
        _ports: ClassVar[tuple[dict[str, Input], dict[str, Output]]]

        def __getattr__(self, name: str) -> Any: ...

    else:
        body = module = what = None

        def __new__(cls, body=None, inputs=None, outputs=None, **options):
            if "_made_from" in vars(cls):
                return object.__new__(cls)
            return object.__new__(_class_of(cls, inputs, outputs))

        def __init__(self, body, inputs, outputs, *, what="", module=None, mode="exact", **values):
            self._assign(values)
            self._start(body, what, module, mode)

    def _start(self, body: Body, what: str, module: nn.Module | None, mode: Mode) -> None:
        vars(self).update(body=body, what=what, module=module)
        vars(self)["_call"] = body if module is None else Call(body, module, mode, where=str(self))

    def remarks(self) -> list[str]:
        return [self.what] if self.what else []

    def _step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        ins, outs = self._names
        given = [values[name] for name in ins]
        dtype = run_dtype(given)
        found = self._call(*given)
        return {name: value.to(device=given[0].device, dtype=dtype if value.is_floating_point() else value.dtype)
                for name, value in zip(outs, found)}  # fmt: skip

    __deepcopy__ = with_its_class

    def __reduce__(self) -> Any:
        return _remade, (self._made_from, *self._ports), self.__getstate__()


def _stepped(self: Layer, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return self._step(values)


def _class_of(base: type[Layer], inputs: Mapping[str, Input], outputs: Mapping[str, Output]) -> type[Layer]:
    kind: Any = type(base)
    ports: dict[str, Any] = {**inputs, **outputs}
    for name, one in ports.items():
        one.name = name
    body = {**ports, "step": Tick(reading(_stepped, list(inputs))), "_made_from": base, "__module__": base.__module__,
            "_names": (list(inputs), list(outputs)), "_ports": (dict(inputs), dict(outputs)), "__doc__": base.__doc__,
            "__qualname__": base.__qualname__}  # fmt: skip
    return cast(type[Layer], kind(base.__name__, (base,), body))


def _remade(base: type[Layer], inputs: Mapping[str, Input], outputs: Mapping[str, Output]) -> Layer:
    return object.__new__(_class_of(base, inputs, outputs))
