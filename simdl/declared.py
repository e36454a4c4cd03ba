"""What blocks and diagrams share: declarations gathered by class, parameters, wires, networks, a place in a diagram."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from torch import Tensor, nn

from simdl.declarations import RESERVED, Declaration, Output, Param
from simdl.errors import ModelError, SimdlError
from simdl.methods import Method, OutputMethod
from simdl.port import Port, Signal

if TYPE_CHECKING:
    from simdl.block import Block

_building: ContextVar[int] = ContextVar("building", default=0)  # depth of diagram constructors now running

_ARTICLES = {"output": "an output", "state": "a state", "crossing": "a crossing", "noise": "noise"}


class _Meta(type):
    """Runs a constructor between "being built" and "built", and binds its arguments to parameters of the same name."""

    if not TYPE_CHECKING:

        def __call__(cls, *args, **kwargs):
            block = cls.__new__(cls, *args, **kwargs)
            if not isinstance(block, Declared):
                return block
            if "built" not in vars(block):
                block._prepare()
            constructor = type(block).__init__
            if constructor is not Declared.__init__:
                given = inspect.signature(constructor).bind(block, *args, **kwargs)
                given.apply_defaults()
                declared = type(block).declared()
                for name, value in given.arguments.items():
                    if isinstance(declared.get(name), Param):
                        setattr(block, name, value)
            token = _building.set(_building.get() + 1)
            try:
                constructor(block, *args, **kwargs)
            finally:
                _building.reset(token)
            vars(block)["built"] = True
            block._finish()
            return block


@dataclass_transform(kw_only_default=True)
class Declared(metaclass=_Meta):
    """What blocks and diagrams share: declarations, parameters, wires, and a name in a diagram."""

    _declared: ClassVar[dict[str, Declaration]] = {}
    _methods: ClassVar[tuple[Method, ...]] = ()

    if TYPE_CHECKING:
        parent: ClassVar[Declared | None]
        label: ClassVar[str]
        settings: ClassVar[dict[str, Any]]
        wires: ClassVar[dict[str, Any]]
        faults: ClassVar[list[SimdlError]]
        conditions: ClassVar[list[Any]]
    else:

        def __init__(self, **values):
            self._assign(values)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, member in vars(cls).items():
            if isinstance(member, Declaration):
                member.check_name(cls.__name__, name)
            elif isinstance(member, Method) and name in RESERVED:
                raise ModelError(cls.__name__, f"{name!r} is a reserved name", "another name", names=sorted(RESERVED))
        declared: dict[str, Declaration] = {}
        methods: dict[str, Method] = {}
        for base in reversed(cls.__mro__):
            for name, member in vars(base).items():
                if name in declared or name in methods:
                    declared.pop(name, None)
                    methods.pop(name, None)
                if isinstance(member, Declaration):
                    declared[name] = member
                elif isinstance(member, Method):
                    methods[name] = member
        cls._declared = declared
        cls._methods = tuple(methods.values())
        cls._check()

    @classmethod
    def declared(cls) -> dict[str, Declaration]:
        """The declarations by name, in order."""
        return cls._declared

    @classmethod
    def methods(cls, kind: str) -> tuple[Method, ...]:
        """The methods of a kind: "initial", "derivative", "output", "tick", "hit", "edges"."""
        own = [m for m in cls._methods if m.kind == kind]
        if kind == "output":
            own += [d.method for d in cls._declared.values() if isinstance(d, OutputMethod)]
        return tuple(own)

    @classmethod
    def _check(cls) -> None:
        """Check what each method reads and returns against the declarations."""

    def _prepare(self) -> None:
        vars(self).update(
            built=False,
            parent=None,
            label="",
            wires={},
            faults=[],
            conditions=[],
            settings={},
        )

    def _finish(self) -> None:
        """Called once the constructor is done."""

    def _assign(self, values: dict[str, Any]) -> None:
        names = [n for n, d in self._declared.items() if isinstance(d, Param)] + list(self._fields())
        for name, value in values.items():
            if name not in names:
                raise ModelError(type(self).__name__, f"no parameter {name!r}", names=names, wrong=name)
            setattr(self, name, value)

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return ()

    @property
    def path(self) -> str:
        """The dotted path below the root diagram; empty for the root."""
        block: Any = self
        labels: list[str] = []
        while block.parent is not None:
            labels.append(block.label)
            block = block.parent
        return ".".join(reversed(labels))

    def drive(self, name: str, source: Any) -> None:
        """Wire a source to an input (of this block) or to an output (of a diagram, from inside)."""
        where = f"{self}.{name}"
        many = isinstance(source, tuple)
        for one in source if many else (source,):
            if isinstance(one, Declared):
                outputs = [n for n, d in type(one).declared().items() if isinstance(d, Output | OutputMethod)]
                fix = f"wire one of its ports, such as .{outputs[0]}" if outputs else ""
                self.faults.append(ModelError(where, f"the block {one}", "a signal or a number", fix, outputs))
                return
            if isinstance(one, str) or not isinstance(one, Signal | int | float | bool | Tensor):
                self.faults.append(ModelError(where, f"{one!r}", "a signal or a number"))
                return
        if name in self.wires:
            self.faults.append(
                ModelError(
                    where,
                    f"driven twice, by {self.wires[name]} and by {source}",
                    "one source",
                    "add the signals, or switch between them with torch.where",
                )
            )
            return
        self.wires[name] = source

    def leaves(self) -> Iterator[Block]:
        """The blocks inside, depth first; of a block, itself."""
        return iter(())

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The networks inside, by path."""
        for block in self.leaves():
            for name, value in vars(block).items():
                if isinstance(value, nn.Module):
                    yield (f"{block.path}.{name}" if block.path else name), value

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights of all networks inside, for an optimiser."""
        for _, module in self.modules():
            yield from module.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """The weights and buffers of all networks inside, by path."""
        return {f"{path}.{k}": v for path, module in self.modules() for k, v in module.state_dict().items()}

    def load_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave. Raises RuntimeError, as torch does, for weights that do not fit."""
        for path, module in self.modules():
            start = f"{path}."
            module.load_state_dict({k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)})

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move the networks inside to a device or type."""
        for _, module in self.modules():
            module.to(*args, **kwargs)
        return self

    def _set(self, name: str, value: Any) -> None:
        """Assign an attribute: a wire, a parameter, a field, or anything of the block's own while it is built."""
        declaration = self._declared.get(name)
        if declaration is not None and not hasattr(declaration, "__set__"):
            fix = f"start it from elsewhere: set={{{self}.{name}: ...}}" if declaration.kind == "state" else ""
            found = f"assigned, but it is {_ARTICLES[declaration.kind]}, which its block computes"
            self.faults.append(ModelError(f"{self}.{name}", found, "an input", fix))
        elif declaration is not None or name.startswith("_") or name in vars(self) or name in self._fields():
            object.__setattr__(self, name, value)
        elif vars(self).get("built") and not isinstance(value, Declared):
            self.faults.append(self._unknown(name))
        else:
            object.__setattr__(self, name, value)

    if not TYPE_CHECKING:  # type checkers would take any name as fitting

        def __setattr__(self, name, value):
            self._set(name, value)

        def __getattr__(self, name):
            if name.startswith("_") or "faults" not in vars(self):
                raise AttributeError(name)
            error = self._unknown(name)
            if _building.get() and self.built:
                self.faults.append(error)
                return Port(self, name, "missing")
            raise _Missing(*error.args)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_compiled"}

    def _unknown(self, name: str) -> ModelError:
        names = [*self._declared, *(n for n, v in vars(self).items() if isinstance(v, Declared) and n != "parent")]
        return ModelError(str(self), f"no port {name!r}", names=names, wrong=name)

    def __str__(self) -> str:
        return self.path or type(self).__name__

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"<{type(self).__name__}{' ' + self.path if self.path else ''}({settings})>"


class _Missing(AttributeError, ModelError):
    """A misspelt port, read outside a diagram's constructor."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)
