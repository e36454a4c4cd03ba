"""Blocks: the leaves of a diagram, each declaring its ports, parameters, states and methods."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from torch import Tensor, nn

from simdl.clock import Clock, Duration, clock, nanoseconds
from simdl.declarations import RESERVED, Declaration, Input, Inputs, Noise, Output, Param, State
from simdl.errors import ModelError, SimdlError
from simdl.methods import Crossing, Method, OutputMethod
from simdl.port import Formula, Port, Signal

_building: ContextVar[int] = ContextVar("building", default=0)  # depth of diagram constructors now running

_ARTICLES = {"output": "an output", "state": "a state", "crossing": "a crossing", "noise": "noise"}

_READABLE: dict[str, tuple[type[Declaration], ...]] = {
    "initial": (Input, Inputs, Param),
    "derivative": (Input, Inputs, State, Param),
    "output": (Input, Inputs, State, Param),
    "crossing": (Input, Inputs, State, Param),
    "reset": (Input, Inputs, State, Param),
    "tick": (Input, Inputs, State, Param, Noise),
    "hit": (Input, Inputs, State, Param, Noise),
    "edges": (Param,),
}


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
        if isinstance(self, Block):
            yield self

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


class Block(Declared):
    """A block: declarations, and methods whose argument names are what they read.

    period or rate (one of them), offset: its clock; latency: the time after a tick at which its outputs appear;
    stream: a name for its noise that survives renaming (its path when not given).

    >>> from simdl import Block, Input, Output, Param, tick
    >>> class Gain(Block):
    ...     x, y = Input(), Output()
    ...     k: Param = Param(1.0)
    ...     @tick
    ...     def step(self, x, k): return dict(y=k * x)
    >>> Gain(k=2, period="10 ms").clock
    Clock(numerator=10000000, denominator=1, offset=0)
    """

    period: Duration | None = None
    rate: Duration | None = None
    offset: Duration | None = None
    latency: Duration | None = None
    stream: str | None = None

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return ("period", "rate", "offset", "latency", "stream")

    def drive(self, name: str, source: Any) -> None:
        if isinstance(self._declared[name], Output):
            found = "assigned, but it is an output, which its block computes"
            self.faults.append(ModelError(f"{self}.{name}", found, "an input"))
        else:
            super().drive(name, source)

    @property
    def clock(self) -> Clock | None:
        """The clock it ticks on, None for a block in continuous time."""
        return clock(self.period, self.rate, self.offset, str(self))

    @property
    def latency_ns(self) -> int:
        """The latency in ns."""
        return nanoseconds(self.latency, f"{self}: latency") if self.latency is not None else 0

    @property
    def until_ns(self) -> int | None:
        """The time to which it can be run, in ns, where it ends: times of a table do. None for any."""
        return None

    def lane_settings(self, ids: Tensor, seed: int) -> Mapping[str, Tensor]:
        """Parameters that a run's lanes decide, by name: (lanes, *shape) for the lanes `ids` of the run's seed. What
        `set=` says goes before them."""
        return {}

    def lane_failures(self, ids: Tensor, seed: int) -> Mapping[int, str]:
        """Which of a run's lanes cannot begin, by their place in `ids`, and why: they fail at t = 0."""
        return {}

    def remarks(self) -> Sequence[str]:
        """What `describe()` says of this block beside its schedule, a line each: casts, what is done to its inputs."""
        return ()

    def _repr_html_(self) -> str:
        from simdl.draw import picture

        return picture(type(self), repr(self))._repr_html_()

    @classmethod
    def _check(cls) -> None:
        faults: list[SimdlError] = []
        names = cls._declared
        methods: list[tuple[str, Method]] = [(m.kind, m) for m in cls._methods if m.kind != "method"]
        for declaration in names.values():
            if isinstance(declaration, OutputMethod):
                methods.append(("output", declaration.method))
            elif isinstance(declaration, Crossing):
                methods.append(("crossing", declaration.method))
                if declaration.resets is not None:
                    methods.append(("reset", declaration.resets))
        for kind, method in methods:
            allowed = [n for n, d in names.items() if isinstance(d, _READABLE[kind])]
            allowed += ["t"] if kind != "initial" else []
            allowed += ["dt"] if kind in ("tick", "hit", "output") else []
            for name in method.reads:
                if name not in allowed:
                    found = f"reads {name!r}"
                    if isinstance(names.get(name), Noise):
                        found += ", noise, which only a tick may read"
                    faults.append(
                        ModelError(
                            f"{cls.__name__}.{method.name}", found, f"what a {kind} may read", names=allowed, wrong=name
                        )
                    )
        for kind in ("initial", "tick", "edges"):
            if len(cls.methods(kind)) > 1:
                both = " and ".join(m.name for m in cls.methods(kind))
                faults.append(ModelError(cls.__name__, f"{both} are both @{kind}", f"one @{kind} method"))
        hits = cls.methods("hit")
        for method in hits:
            first = getattr(method, "first", 0.0)
            if isinstance(first, str) and not isinstance(names.get(first), Param):
                known = [n for n, d in names.items() if isinstance(d, Param)]
                faults.append(ModelError(f"{cls.__name__}.{method.name}", f"first={first!r}", "a parameter, or seconds",
                                         names=known, wrong=first))  # fmt: skip
        if len(hits) > 1 and sum(not m.returns for m in hits) > 1:
            both = " and ".join(m.name for m in hits if not m.returns)
            faults.append(ModelError(cls.__name__, f"{both} are both @hit", "one @hit method",
                                     "say which outputs each returns: @hit(outputs=(y,))"))  # fmt: skip
        if cls.methods("tick") and cls.methods("hit"):
            faults.append(
                ModelError(cls.__name__, "both @tick and @hit", "one of them: its own clock, or its own times")
            )
        computed = [name for m in cls.methods("derivative") for name in m.returns]
        for name in {n for n in computed if computed.count(n) > 1}:
            faults.append(ModelError(f"{cls.__name__}.{name}", "two derivatives", "one derivative for a state"))
        if computed and (cls.period is not None or cls.rate is not None):
            faults.append(_both(cls.__name__))
        if faults:
            raise ModelError.collect(cls.__name__, faults)

    def _finish(self) -> None:
        if self.clock is not None and self.methods("derivative"):
            raise _both(type(self).__name__)
        if self.latency_ns < 0:
            raise ModelError(str(self), f"latency={self.latency!r}", "zero or more")
        if self.latency_ns and self.clock is None and not self.methods("tick"):
            raise ModelError(str(self), f"latency={self.latency!r} without a period", "a block that ticks")
        for name, declaration in self._declared.items():
            if isinstance(declaration, Param) and name not in self.settings:
                if declaration.value is None:
                    raise ModelError(f"{self}.{name}", "no value", "a number", f"{type(self).__name__}({name}=...)")
                setattr(self, name, declaration.value)


def _both(name: str) -> ModelError:
    return ModelError(
        name, "both a period and a @derivative", "one of them", "split it into a continuous block and a sampled one"
    )


def subports(value: Any) -> Iterator[Port]:
    """The ports that a wired value reads."""
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, Port):
            yield one
        elif isinstance(one, Formula):
            yield from one.ports()
