"""The immutable tree of a requirement: terms (numbers over time) below, requirements (true or false over time) above.

Subtrees may be shared, so it is really a directed acyclic graph. Every walk here is a loop: a tree may be deeper than
Python's stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simdl.clock import SECOND, Duration, nanoseconds, period_text
from simdl.errors import RequirementError
from simdl.port import Port

if TYPE_CHECKING:
    from simdl.requirements.margin import Margin, Read

DEPTH = 10_000
"""How deep a requirement may be nested."""
NODES = 100_000
"""How many nodes a requirement may have; a shared subtree counts once."""


@dataclass(frozen=True)
class Window:
    """The times from `start` to `stop` ns after now, ends included; to the end of the trace without `stop`."""

    start: int
    stop: int | None

    @classmethod
    def checked(cls, start: int, stop: int | None) -> Window:
        """A window in order. Raises RequirementError for one that starts in the past or ends before it starts."""
        if start < 0 or (stop is not None and stop < start):
            found = "a window that starts in the past" if start < 0 else "a window that ends before it starts"
            raise RequirementError("window", found, "[a:b] with 0 <= a <= b, in seconds from now")
        return cls(start, stop)


@dataclass(frozen=True)
class Origin:
    """Where in a text a name was written, to point at it when it turns out to be unknown."""

    text: str
    position: int


class Node:
    """An operation on other nodes.

    `value` is what a leaf holds: the number of a "const", the port or dotted path of a "signal"; or the indices of a
    "getitem". `timed` says that it looks at other times than now, `constant` that it reads no signal. Nodes are equal
    when they print the same, whether their signals are ports or paths.
    """

    __slots__ = ("args", "constant", "depth", "op", "origin", "timed", "value", "window", "words")
    op: str
    args: tuple[Node, ...]
    value: Any
    window: Window | None
    origin: Origin | None
    words: str
    depth: int
    timed: bool
    constant: bool

    def __init__(
        self, op: str, args: Iterable[Node] = (), value: Any = None, window: Window | None = None,
        origin: Origin | None = None, words: str = "",
    ) -> None:  # fmt: skip
        args = tuple(args)
        depth = 1 + max((arg.depth for arg in args), default=0)
        if depth > DEPTH:
            raise RequirementError("requirement", f"nested deeper than {DEPTH} levels", f"at most {DEPTH}",
                                   "name the parts as signals of the model")  # fmt: skip
        timed = op in ("always", "eventually", "until", "rise", "fall") or any(arg.timed for arg in args)
        constant = op == "const" or (bool(args) and all(arg.constant for arg in args))
        for name, item in zip(Node.__slots__, (args, constant, depth, op, origin, timed, value, window, words)):
            object.__setattr__(self, name, item)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a requirement does not change: cannot set {name!r}")

    @property
    def path(self) -> str:
        """The dotted path of a signal."""
        return self.value.path if isinstance(self.value, Port) else str(self.value)

    def _key(self) -> tuple[Any, ...]:
        """All distinct nodes in order, children by their numbers: the same for equal trees, however they share."""
        number: dict[int, int] = {}
        known: dict[tuple[Any, ...], int] = {}
        for node in walk(self):
            value = node.path if node.op == "signal" else node.value
            entry = (node.op, value, node.window, *(number[id(arg)] for arg in node.args))
            number[id(node)] = known.setdefault(entry, len(known))
        return tuple(known)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self is other or self._key() == other._key())

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        # A flat list, because pickle recurses; ports become paths, because a port holds its whole model.
        number: dict[int, int] = {}
        rows: list[tuple[Any, ...]] = []
        for node in walk(self):
            number[id(node)] = len(rows)
            value = node.path if node.op == "signal" else node.value
            rows.append((type(node), node.op, [number[id(arg)] for arg in node.args], value, node.window, node.words))
        return rebuild, (rows,)

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self

    def __bool__(self) -> bool:
        raise TypeError("a requirement is true or false of a run only: combine with &, | and ~, check with .margin(…)")

    def __str__(self) -> str:
        from simdl.requirements.text import text

        return text(self)


class Term(Node):
    """A number over time: a signal, a constant, or arithmetic on them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<term {self}>"


class Requirement(Node):
    """What must hold of a run, as signal temporal logic. Build it with `always`, `eventually`, … or from text.

    Combine with `&`, `|`, `~`. `str()` gives the text form, which reads back as an equal requirement.
    """

    __slots__ = ()

    def __and__(self, other: Any) -> Requirement:
        return _join("and", self, other)

    def __rand__(self, other: Any) -> Requirement:
        return _join("and", other, self)

    def __or__(self, other: Any) -> Requirement:
        return _join("or", self, other)

    def __ror__(self, other: Any) -> Requirement:
        return _join("or", other, self)

    def __invert__(self) -> Requirement:
        return Requirement("not", (self,))

    def __repr__(self) -> str:
        return f"<requirement {self}>" if not self.words else f"<requirement: {self.words}: {self}>"

    def describe(self) -> str:
        """The requirement in plain words."""
        from simdl.requirements.text import words

        return words(self)

    @property
    def nodes(self) -> int:
        """The number of nodes; a shared subtree counts once."""
        return sum(1 for _ in walk(self))

    def signals(self) -> tuple[Port | str, ...]:
        """The signals read, as the ports or paths they were given as, each once, in order of first appearance."""
        seen = {node.path: node.value for node in walk(self) if node.op == "signal"}
        return tuple(seen.values())

    @property
    def horizon_ns(self) -> int:
        """How much of a trace the windows need, in nanoseconds."""
        needed: dict[int, int] = {}
        for node in walk(self):
            below = max((needed[id(arg)] for arg in node.args), default=0)
            window = node.window or Window(0, 0)
            needed[id(node)] = below + (window.start if window.stop is None else window.stop)
        return needed[id(self)]

    @property
    def horizon(self) -> float:
        """How much of a trace the windows need, in seconds. What has no end, such as `always(phi)`, needs what phi
        needs."""
        return self.horizon_ns / SECOND

    def check(
        self, until: Duration, every: Duration | None = None, names: Iterable[str] | Mapping[str, str] | None = None
    ) -> None:
        """Whether runs of this length can decide the requirement.

        `names` are the paths that exist, or the unit of each. Raises RequirementError for a window beyond `until`, a
        window without a sample on the grid `every`, an unknown signal, and a comparison or sum of unlike units.
        """
        from simdl.requirements.check import check_names, check_units, check_windows

        end = nanoseconds(until, "until")
        if self.horizon_ns > end:
            raise beyond(self, end)
        if every is not None:
            check_windows(self, nanoseconds(every, "every"))
        if names is not None:
            check_names(self, names)
        check_units(self, names if isinstance(names, Mapping) else {})

    def margin(
        self, read: Read, every: Duration, samples: int, *, failed: Any = None, smooth: float | None = None
    ) -> Margin:
        """By how much each lane meets the requirement, and its verdict.

        `read(signal)` gives the values (lanes, samples, *shape) of a port or path at 0, every, 2 every, …; `failed`
        (lanes,) marks lanes whose run broke off. The margin is exact, and its gradient goes to the one sample that
        decides it; `smooth=T` replaces every min and max by a soft one of temperature T (in the margin's unit), which
        is off by at most T·log(n) for each operator over n values, and spreads the gradient. Verdicts are always exact.
        Raises RequirementError for traces that are too short, of unequal size, or not conditions where one is needed.
        """
        from simdl.requirements.margin import margin

        return margin(self, read, every, samples, failed=failed, smooth=smooth)


def walk(root: Node) -> Iterator[Node]:
    """Every node below and including the root once, children first. Raises RequirementError beyond NODES nodes."""
    done: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready or not node.args:
            done.add(id(node))
            if len(done) > NODES:
                raise RequirementError("requirement", f"more than {NODES} nodes", f"at most {NODES}",
                                       "split it, or name the parts as signals of the model")  # fmt: skip
            yield node
        else:
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args) if id(arg) not in done)


def rebuild(rows: list[tuple[Any, ...]]) -> Node:
    """The tree of what `Node.__reduce__` wrote."""
    nodes: list[Node] = []
    for kind, op, args, value, window, words in rows:
        nodes.append(kind(op, [nodes[arg] for arg in args], value, window, words=words))
    return nodes[-1]


def beyond(node: Requirement, end: int) -> RequirementError:
    """The error for a requirement that looks further than a trace of this many nanoseconds goes."""
    return RequirementError(f"requirement {node}", f"its windows reach to {period_text(node.horizon_ns)}; the run ends "
                            f"at {period_text(end)}", "windows that end within the run",
                            "a longer until=, or shorter windows")  # fmt: skip


def _join(op: str, left: Any, right: Any) -> Requirement:
    from simdl.requirements.operators import join

    return join(op, (left, right))
