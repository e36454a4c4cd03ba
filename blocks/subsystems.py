"""Subsystems made of others: one for each element of a vector, and one of several variants.

Conditions are functions of the language, not blocks: `enabled(block, when=...)` runs a block or diagram only while a
condition is true, `resettable(block, when=...)` starts its states again, `triggered(block, when=...)` lets it tick when
a condition rises.

>>> from simdl import enabled, resettable, simulate
>>> from simdl.blocks import Counter, Pulse, SampleClock
>>> class Shift(Diagram):
...     worked = Output()
...     def __init__(self):
...         self.day = Pulse(cycle=4.0, duty=0.5, period=1)
...         self.hours = enabled(Counter(period=1), when=self.day.y > 0.5)  # counts only by day
...         resettable(self.hours, when=self.day.y > 0.5)  # and anew every morning
...         self.hours.count = True
...         self.worked = self.hours.y
>>> simulate(Shift(), 7, record="worked")["worked"].values
tensor([[1, 2, 2, 2, 1, 2, 2, 2]])
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from simdl import Diagram, Input, ModelError, Output, State, connect, stack
from simdl.blocks.limits import whole_number
from simdl.declarations import Inputs
from simdl.declared import Declared
from simdl.methods import OutputMethod


class ForEach(Diagram):
    """`count` blocks of one kind, one for each element of its vector inputs: states of their own, outputs as vectors.

    It has the ports of the kind with one dimension more: a scalar input is a vector (count,) here, an output or a state
    too. The settings go to each; `for_each.each[2]` is one of them, with parameters of its own for `set=`.

    >>> from simdl import simulate
    >>> from simdl.blocks import Constant, DiscreteIntegrator
    >>> class Tanks(Diagram):
    ...     levels = Output()
    ...     def __init__(self):
    ...         self.flows, self.tanks = Constant(value=[1.0, 2.0, 3.0]), ForEach(DiscreteIntegrator, 3, period=0.5)
    ...         self.tanks.u = self.flows.y
    ...         self.levels = self.tanks.y
    >>> simulate(Tanks(), 1)["levels"].at(1)
    tensor([[1., 2., 3.]], dtype=torch.float64)
    """

    if TYPE_CHECKING:  # its ports are those of the kind

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __new__(cls, kind: type[Declared], count: int, **settings: Any):
        if not (isinstance(kind, type) and issubclass(kind, Declared)):
            raise ModelError("ForEach", f"{kind!r}", "a class of blocks or diagrams", "ForEach(Tracker, 4, period=0.1)")
        if any(isinstance(d, Inputs) for d in kind.declared().values()):
            raise ModelError("ForEach", f"{kind.__name__}, with a list of inputs", "inputs with names")
        whole_number("ForEach.count", count)
        ports: dict[str, Input | Output] = {}
        for name, declared in kind.declared().items():
            shape = getattr(declared, "shape", None)
            if isinstance(declared, Input):
                shape = None if shape is None else (count, *shape)
                port = Input(shape, unit=declared.unit, doc=declared.doc)
                port.dtype = declared.dtype
                default: Any = None if declared.default is None else [declared.default] * count
                port.default = default  # one for each element
                ports[name] = port
            elif isinstance(declared, Output | OutputMethod | State):
                ports[name] = Output(unit=declared.unit, doc=declared.doc)
        return object.__new__(type(cls.__name__, (cls,), {**ports, "__module__": cls.__module__}))

    def __init__(self, kind: type[Declared], count: int, **settings: Any) -> None:
        self.each = [kind(**settings) for _ in range(count)]
        self._kind = kind, count
        for name, declared in type(self).declared().items():
            if isinstance(declared, Output):
                setattr(self, name, stack(*(getattr(one, name) for one in self.each)))
            else:
                for k, one in enumerate(self.each):
                    connect(getattr(self, name)[k], getattr(one, name))

    def __reduce__(self):
        return _made, (type(self).__mro__[1], *self._kind), self.__getstate__()


class Variant(Diagram):
    """One of several interchangeable blocks behind the same ports, chosen by name when the model is built.

    Derive from it: declare the ports, and `choices`, a dict of names and what makes the block: a class or a function
    without arguments. The chosen block is `variant.chosen`. Raises ModelError for a name that is not a choice, and for
    a choice whose ports are not those of the variant.

    >>> from simdl import simulate
    >>> from simdl.blocks import FirstOrder, Gain
    >>> class Actuator(Variant):
    ...     u, y = Input(), Output()
    ...     choices = {"ideal": Gain, "slow": lambda: FirstOrder(tau=0.5)}
    >>> float(simulate(Actuator(choice="ideal"), 0, inputs={"u": 3.0})["y"].at(0))
    3.0
    """

    choice: str
    choices: ClassVar[Mapping[str, Callable[[], Declared]]] = {}

    def __init__(self, choice: str) -> None:
        where = type(self).__name__
        if choice not in self.choices:
            raise ModelError(where, f"no variant {choice!r}", "one of", names=self.choices, wrong=str(choice))
        self.chosen = self.choices[choice]()
        self.choice = choice
        known = type(self.chosen).declared()
        for name, declared in type(self).declared().items():
            wanted = Input if isinstance(declared, Input) else Output | OutputMethod | State
            if not isinstance(declared, Input | Output):
                continue
            if not isinstance(known.get(name), wanted):
                kind = "input" if wanted is Input else "output"
                raise ModelError(f"{where}({choice!r})", f"{type(self.chosen).__name__} has no {kind} {name!r}",
                                 "the ports of the variant", names=known, wrong=name)  # fmt: skip
            if wanted is Input:
                connect(getattr(self, name), getattr(self.chosen, name))
            else:
                setattr(self, name, getattr(self.chosen, name))


def _made(kind, *arguments):
    """An empty ForEach of its own class, for pickle to fill."""
    return kind.__new__(kind, *arguments)
