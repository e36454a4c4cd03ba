"""Evaluating the nodes of a requirement over recorded traces, children first, all lanes at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from simdl.errors import RequirementError
from simdl.port import Formula
from simdl.requirements.algebra import Algebra, Truth, cropped
from simdl.requirements.grammar import COMPARISONS
from simdl.requirements.tree import Node, Requirement, Term, Window, walk
from simdl.requirements.windows import samples

ATOMS = (*COMPARISONS, "holds")
Values = dict[int, Tensor]  # by id of the node; (lanes, time), terms (lanes, time, *shape), constants ()


def core(root: Requirement) -> Requirement:
    """The requirement in the operators that are evaluated: without iff, xor, rise and fall."""
    new: dict[int, Node] = {}
    for node in walk(root):
        args = [new[id(arg)] for arg in node.args]
        if node.op in ("iff", "xor"):
            a, b = args
            left = _either(_not(a), b) if node.op == "iff" else _either(a, b)
            right = _either(a, _not(b)) if node.op == "iff" else _either(_not(a), _not(b))
            new[id(node)] = Requirement("and", (left, right))
        elif node.op == "rise":
            before = Requirement("previous", args, value=False)
            new[id(node)] = Requirement("and", (_not(before), args[0]))
        elif node.op == "fall":
            before = Requirement("previous", args, value=True)
            new[id(node)] = Requirement("and", (before, _not(args[0])))
        elif all(a is b for a, b in zip(args, node.args)):
            new[id(node)] = node
        else:
            new[id(node)] = type(node)(node.op, args, node.value, node.window)
    result = new[id(root)]
    assert isinstance(result, Requirement)
    return result


def evaluate(
    root: Node, read: Callable[[Node], Tensor], every: int, algebras: Sequence[Algebra],
    given: Mapping[int, Tensor] = {},
) -> list[Values]:  # fmt: skip
    """The values of every node in each algebra, the first of which is Truth; terms are in the first.

    `read` gives the trace of a signal, `given` the values of nodes that are known already.
    """
    results: list[Values] = [{} for _ in algebras]
    truth = results[0]
    for node in walk(root):
        if id(node) in given:
            truth[id(node)] = given[id(node)]
        elif isinstance(node, Term):
            truth[id(node)] = _term(node, [truth[id(arg)] for arg in node.args], read, every)
        elif node.op in ATOMS:
            holds, margin = _atom(node, [truth[id(arg)] for arg in node.args])
            for algebra, values in zip(algebras, results):
                values[id(node)] = algebra.atom(holds, margin)
        else:
            for algebra, values in zip(algebras, results):
                values[id(node)] = operate(algebra, node, [values[id(arg)] for arg in node.args], every)
    return results


def operate(algebra: Algebra, node: Node, args: list[Tensor], every: int) -> Tensor:
    """One logical operator."""
    if node.op in ("always", "eventually", "until"):
        result: Tensor = getattr(algebra, node.op)(*args, *span(node, every))
        return result
    match node.op:
        case "and":
            return algebra.both(*args)
        case "or":
            return algebra.either(*args)
        case "implies":
            return algebra.either(algebra.negate(args[0]), args[1])
        case "not":
            return algebra.negate(args[0])
        case "previous":
            return algebra.previous(args[0], node.value)
    raise AssertionError(node.op)


def tested(root: Node, truth: Values, every: int) -> Tensor:
    """Where the requirement holds and not for want of a trigger: (lanes, time).

    Of `phi implies psi`: where phi holds and psi is tested. Of a conjunction (always): where it holds and any part is
    tested; of a disjunction (eventually): where any part is tested; of an until: where a tested psi ends it. All else
    is tested where it holds.
    """
    logic = Truth()
    results: Values = {}
    for node in walk(root):
        if isinstance(node, Term):
            continue
        holds, below = truth[id(node)], [results[id(arg)] for arg in node.args if not isinstance(arg, Term)]
        if node.op in ("and", "always"):
            some = logic.either(*below) if node.op == "and" else logic.eventually(below[0], *span(node, every))
            holds = holds & some
        elif node.op in ("or", "eventually"):
            holds = operate(logic, node, below, every)
        elif node.op == "implies":
            holds = logic.both(truth[id(node.args[0])], below[1])
        elif node.op == "until":
            holds = logic.until(truth[id(node.args[0])], below[1], *span(node, every))
        results[id(node)] = holds
    return results[id(root)]


def span(node: Node, every: int) -> tuple[int, int | None]:
    """The first and last sample of an operator's window. Raises RequirementError for a window without a sample."""
    window = node.window or Window(0, None)
    first, last = samples(window.start, window.stop, every)
    if last is not None and last < first:
        raise RequirementError(f"requirement {node}", f"no sample falls into the window at every={every / 1e9:g} s",
                               "a window that holds a sample", "a smaller every=, or a wider window")  # fmt: skip
    return first, last


def needed(root: Node, every: int) -> int:
    """How many samples a trace must have."""
    reach: dict[int, int] = {}
    for node in walk(root):
        first, last = span(node, every) if node.window else (0, 0)
        reach[id(node)] = max((reach[id(arg)] for arg in node.args), default=0) + (first if last is None else last)
    return reach[id(root)] + 1


def _not(node: Node) -> Requirement:
    return Requirement("not", (node,))


def _either(*nodes: Node) -> Requirement:
    return Requirement("or", nodes)


def _term(node: Node, args: list[Tensor], read: Callable[[Node], Tensor], every: int) -> Tensor:
    if node.op == "const":
        return torch.tensor(node.value, dtype=torch.float64)  # without dimensions: does not promote float32 signals
    if node.op == "signal":
        x = read(node)
        return x if x.is_floating_point() or x.dtype == torch.bool else x.double()
    if node.op == "getitem":
        shape = args[0].shape[2:]
        if len(node.value) > len(shape) or any(not -n <= i < n for i, n in zip(node.value, shape)):
            raise RequirementError(f"requirement {node}", f"{node.args[0]} has the shape {tuple(shape)}",
                                   "an index within the shape")  # fmt: skip
        return args[0][(slice(None), slice(None), *node.value)]
    if node.op == "changes":
        x, (first, last) = args[0], span(node, every)
        assert last is not None
        changed = (x[:, 1:] != x[:, :-1]).flatten(2).any(2) if x.ndim > 2 else x[:, 1:] != x[:, :-1]
        count = torch.nn.functional.pad(changed.cumsum(1), (1, 0)).double()
        return count[:, last:] - count[:, first : count.shape[1] - last + first]
    condition, numbers = (args[:1], args[1:]) if node.op == "where" else ([], args)
    return Formula(node.op, *aligned([*condition, *map(_number, numbers)])).evaluate(_no_port)


def _atom(node: Node, args: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Whether a comparison holds (for every element of its signals), and by how much."""
    if node.op == "holds":
        if args[0].dtype != torch.bool:
            raise RequirementError(f"requirement {node}", f"a signal of {str(args[0].dtype).removeprefix('torch.')}",
                                   "a condition", f"compare it, as in {node} > 0.5")  # fmt: skip
        return (args[0].flatten(2).all(2) if args[0].ndim > 2 else args[0]), None
    a, b = aligned([_number(x) for x in args])
    margin: Tensor
    match node.op:
        case "lt" | "le":
            margin = b - a
        case "gt" | "ge":
            margin = a - b
        case "eq":
            margin = -abs(a - b)
        case _:
            margin = abs(a - b)
    holds: Tensor = getattr(torch, node.op)(a, b)
    return (holds.flatten(2).all(2), margin.flatten(2).amin(2)) if margin.ndim > 2 else (holds, margin)


def aligned(args: list[Tensor]) -> list[Tensor]:
    """Values cut to their common time, with features appended so that a scalar signal meets a vector elementwise."""
    timed = [x for x in args if x.ndim]
    if not timed:
        return args
    rank, cut = max(x.ndim for x in timed), iter(cropped(tuple(timed)))
    return [x if not x.ndim else (y := next(cut)).reshape(*y.shape, *(1,) * (rank - y.ndim)) for x in args]


def _number(x: Tensor) -> Tensor:
    return x.double() if x.dtype == torch.bool else x


def _no_port(port: Any) -> Tensor:
    raise AssertionError(port)
