"""The order in which nodes run at an instant, each after what it needs; a cycle of them is an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from simdl.clock import Clock
from simdl.compile.graph import Graph
from simdl.compile.node import ClockId, Node
from simdl.errors import LoopError


def order(graph: Graph, targets: Iterable[Node], ticking: frozenset[ClockId]) -> list[Node]:
    """The targets and all they need, each after what it needs. Raises LoopError for a cycle."""
    done: dict[Node, bool] = {}
    ordered: list[Node] = []
    for target in targets:
        stack: list[tuple[Node, Iterator[Node]]] = [(target, graph.needs(target))]
        if target in done:
            continue
        done[target] = False
        while stack:
            node, needed = stack[-1]
            for need in needed:
                if need is node or not graph.active(need, ticking):
                    if need is node:
                        raise _loop(graph, [node, node])
                    continue
                if need not in done:
                    done[need] = False
                    stack.append((need, graph.needs(need)))
                    break
                if not done[need]:
                    path = [n for n, _ in stack]
                    raise _loop(graph, [*path[path.index(need) :], need])
            else:
                done[node] = True
                ordered.append(node)
                stack.pop()
    return ordered


def check_loops(graph: Graph) -> None:
    """Raise LoopError if the outputs depend on themselves for some set of clocks that can tick together."""
    lanes: list[ClockId] = [("hit", i) for i in range(len(graph.hits))]
    lanes += [("trigger", r.index) for r in graph.flat.regions if r.kind == "triggered"]
    for clique in _cliques(graph.clocks):
        ticking: frozenset[ClockId] = frozenset([*clique, *lanes])
        order(graph, [n for n in graph.nodes if graph.active(n, ticking)], ticking)


def _loop(graph: Graph, cycle: list[Node]) -> LoopError:
    hops = []
    for reader, source in zip(cycle, cycle[1:], strict=False):
        keys = [k for k in reader.keys if graph.producer.get(k) is source or source in graph.before.get(k, ())]
        hops.append(f"{reader.path} reads {keys[0] if keys else source.path}")
    return LoopError(
        cycle[0].path,
        "depends on itself at the same instant: " + "; ".join(hops),
        "no such cycle",
        "break it by a UnitDelay, by latency= on a sampled block, or by an output that reads only states",
    )


def _cliques(clocks: list[Clock]) -> list[set[int]]:
    """The maximal sets of clocks that tick together at some instant (pairwise coincidence suffices)."""
    near = [{j for j, other in enumerate(clocks) if j != i and c.coincides(other)} for i, c in enumerate(clocks)]
    found: list[set[int]] = []

    def extend(clique: set[int], more: set[int], done: set[int]) -> None:
        if not more and not done:
            found.append(clique)
            return
        pivot = max(more | done, key=lambda i: len(near[i] & more))
        for i in list(more - near[pivot]):
            extend(clique | {i}, more & near[i], done & near[i])
            more.remove(i)
            done.add(i)

    extend(set(), set(range(len(clocks))), set())
    return found
