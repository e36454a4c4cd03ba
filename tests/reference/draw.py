"""Random models: leaves in nested diagrams, wired without illegal loops, some of them under conditions."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from tests.reference import parts
from tests.reference.choices import Choices
from tests.reference.dependence import legal
from tests.reference.expression import Expression, reads
from tests.reference.model import Model, join
from tests.reference.parts import MS
from tests.reference.spec import Condition, Experiment, Held, Leaf, Nest

READ = "read"


class Sketch:
    """A tree under construction: children, wires and conditions by path, made into nests when asked."""

    def __init__(self, c: Choices) -> None:
        self.c = c
        self.nests: dict[str, Nest] = {"": Nest("", inputs=tuple(f"r{k}" for k in range(c.integer(0, 2))))}
        self.leaves: dict[str, Leaf] = {}
        self.wires: dict[str, dict[str, Expression]] = {"": {}}
        self.conditions: dict[str, list[Condition]] = {}
        self.held: set[str] = set()  # root inputs that are held (t, values)

    def nest(self, path: str = "") -> Nest:
        """The nest at this path, with all inside."""
        below = [other for other in (*self.nests, *self.leaves) if other and other.rpartition(".")[0] == path]
        children: list[Leaf | Nest] = []
        for child in below:
            conditions = tuple(self.conditions.get(child, ()))
            made = self.nest(child) if child in self.nests else self.leaves[child]
            children.append(replace(made, conditions=conditions))
        return replace(self.nests[path], children=tuple(children), wires=dict(self.wires[path]))

    def inside(self, path: str) -> list[str]:
        """The leaves in (or at) a path."""
        return [leaf for leaf in self.leaves if leaf == path or leaf.startswith(path + ".")]

    def around(self, path: str) -> list[Condition]:
        """The conditions at a path and at what encloses it."""
        steps = path.split(".")
        return [rule for k in range(len(steps)) for rule in self.conditions.get(".".join(steps[: k + 1]), ())]

    # Growing.

    def grow(self) -> None:
        c = self.c
        for number in range(c.integer(0, 3)):
            parent = c.pick([path for path in self.nests if path.count(".") < 2])
            path = join(parent, f"n{number}")
            inputs = tuple(f"r{k}" for k in range(c.integer(0, 2)))
            self.nests[path] = Nest(path.rpartition(".")[2], inputs=inputs)
            self.wires[path] = {}
        for number in range(1 + c.integer(0, 6)):
            path = join(c.pick(list(self.nests)), f"b{number}")
            self.leaves[path] = parts.leaf(c, f"b{number}")
        for path in list(self.nests):
            if path and not self.inside(path):
                self.leaves[f"{path}.b9"] = parts.leaf(c, "b9")
        self._parameters()
        for path in sorted(self.nests, key=lambda path: path.count(".") + bool(path), reverse=True):
            atoms = self.atoms(path, own=False)
            shown = {f"o{k}": self.signal(atoms, plain=True) for k in range(1 + c.integer(0, 1))}
            self.nests[path] = replace(self.nests[path], outputs=shown)

    def _parameters(self) -> None:
        """Give some nests a parameter, and let leaves inside take theirs from it."""
        c = self.c
        for path in self.nests:
            if not c.chance(30):
                continue
            outer = self.nests[path.rpartition(".")[0]].params if path else {}
            value: Expression = (READ, "k0") if outer and c.chance(50) else ("const", c.number(-1, 1))
            self.nests[path] = replace(self.nests[path], params={"k0": value})
            for leaf in self.leaves:
                if leaf.rpartition(".")[0] == path and self.leaves[leaf].params and c.chance(70):
                    taken: Expression = ("scale", c.number(0.2, 1.0), (READ, "k0")) if c.chance(50) else (READ, "k0")
                    self.leaves[leaf] = replace(self.leaves[leaf], params={"p0": taken})

    def atoms(self, scope: str, own: bool = True) -> list[str]:
        """What wiring in a nest can read: its inputs and the ports of its children."""
        names = list(self.nests[scope].inputs) if own else []
        for path, leaf in self.leaves.items():
            if path.rpartition(".")[0] == scope:
                names += [f"{leaf.name}.{port}" for port in leaf.ports]
        for path, nest in self.nests.items():
            if path and path.rpartition(".")[0] == scope:
                names += [f"{nest.name}.{port}" for port in nest.outputs]
        if own and self.c.chance(12):  # ports deep inside, and inputs of other blocks
            prefix = f"{scope}." if scope else ""
            for path, leaf in self.leaves.items():
                if path.startswith(prefix):
                    names += [f"{path.removeprefix(prefix)}.{port}" for port in leaf.ports]
                    names += [f"{path.removeprefix(prefix)}.{name}" for name in leaf.inputs]
        return names

    def signal(self, atoms: list[str], plain: bool = False) -> Expression:
        """A wire: mostly one port as it is, at times a formula."""
        c = self.c
        first: Expression = (READ, c.pick(atoms))
        kind = c.integer(0, 7) if not plain or c.chance(20) else 0
        if kind < 4:
            return first
        second: Expression = (READ, c.pick(atoms))
        return [
            ("sub", first, ("scale", c.number(0, 1), second)), ("scale", c.number(-1, 1), first),
            ("add", ("tanh", first), ("const", c.number(-1, 1))), ("min", ("sin", first), ("scale", 0.5, second)),
        ][kind - 4]  # fmt: skip

    # Wiring.

    def wire(self) -> None:
        """Drive every input without a default, and some of those with one."""
        c = self.c
        open_: list[tuple[str, str, bool]] = []
        for path, nest in self.nests.items():
            open_ += [(path, name, False) for name in nest.inputs if path]
        for path, leaf in self.leaves.items():
            open_ += [(path, name, default is not None) for name, default in leaf.inputs.items()]
        for path, name, optional in c.permutation(open_):
            if optional and c.chance(50):
                continue
            scope, _, label = path.rpartition(".")
            atoms = self.atoms(scope)
            for _ in range(6):
                self.wires[scope][f"{label}.{name}"] = self.signal(atoms) if atoms else ("const", 0.25)
                if legal(self.nest()):
                    break
            else:
                self.wires[scope][f"{label}.{name}"] = ("const", c.number(-1, 1))

    # Conditions.

    def add_triggered(self) -> None:
        """A block, or a nest of two, that ticks at crossings or at edges of a held signal."""
        c = self.c
        label = "e0"
        near = [path.rpartition(".")[0] for path, leaf in self.leaves.items() if leaf.crossings]
        scope = c.pick(near) if near and c.chance(70) else c.pick(list(self.nests))
        if c.chance(25):
            path = join(scope, label)
            self.nests[path] = Nest(label, inputs=("r0",))
            self.wires[path] = {}
            first, second = parts.triggered(c, "b0"), parts.triggered(c, "b1")
            self.leaves |= {join(path, "b0"): first, join(path, "b1"): second}
            self.nests[path] = replace(self.nests[path], outputs={"o0": (READ, "b1.y0"), "o1": (READ, "b0.y0")})
        else:
            path = join(scope, label)
            self.leaves[path] = parts.triggered(c, label)
        crossings = [
            f"{leaf.name}.{name}"
            for other, leaf in self.leaves.items() if other.rpartition(".")[0] == scope
            for name in leaf.crossings
        ]  # fmt: skip
        if crossings and c.chance(75):
            self.conditions[path] = [Condition("triggered", (READ, c.pick(crossings)))]
            return
        condition = self._held_or_sampled(scope, path)
        if condition is None:
            for gone in self.inside(path):
                del self.leaves[gone]
            self.nests.pop(path, None)
            self.wires.pop(path, None)
            return
        self.conditions[path] = [replace(condition, kind="triggered", edge=self._edge())]

    def _edge(self) -> str:
        return self.c.pick(["rising", "falling", "either"])

    def _held_or_sampled(self, scope: str, but: str) -> Condition | None:
        """A condition that does not read what it conditions: on a held signal, or on any signal sampled."""
        c = self.c
        label = but.rpartition(".")[2]
        atoms = [name for name in self.atoms(scope) if name.partition(".")[0] != label]
        held = [name for name in atoms if self._is_held(scope, name)]
        sampled = c.chance(35) or not held
        if not sampled:
            atoms = held
        if not atoms:
            return None
        signal: Expression = ("gt", (READ, c.pick(atoms)), ("const", c.number(-0.5, 0.5)))
        if c.chance(25):
            other: Expression = ("gt", (READ, c.pick(atoms)), ("const", c.number(-0.5, 0.5)))
            signal = (c.pick(["and", "or"]), signal, ("not", other))
        return Condition("enabled", signal, period=c.pick(parts.PERIODS) if sampled else None)

    def _is_held(self, scope: str, name: str) -> bool:
        path, _, port = join(scope, name).rpartition(".")
        if path in self.leaves:
            leaf = self.leaves[path]
            return (leaf.clocked is not None or bool(leaf.hit)) and port in leaf.ports
        return not scope and name in self.held

    def condition(self) -> None:
        """Try to put one more condition on a leaf or nest."""
        c = self.c
        paths = [*self.leaves, *(nest for nest in self.nests if nest)]
        telling = [path for path in paths if any(self._telling(leaf) for leaf in self.inside(path))]
        path = c.pick(telling) if telling and c.chance(65) else c.pick(paths)
        kind = c.pick(["enabled", "resettable"])
        inside = self.inside(path)
        if kind == "enabled" and any(self.leaves[leaf].hit for leaf in inside):
            return
        found = self._held_or_sampled(path.rpartition(".")[0], path)
        if found is None:
            return
        if kind == "enabled":
            known = [rule.outputs for leaf in inside for rule in self.around(leaf) if rule.kind == "enabled"]
            new = replace(found, outputs=known[0] if known else c.pick(["hold", "initial"]))
        else:
            new = replace(found, kind=kind, edge=self._edge())
        self.conditions.setdefault(path, []).append(new)
        if not legal(self.nest()):
            self.conditions[path].pop()

    def _telling(self, path: str) -> bool:
        """Whether a leaf shows at all times what a condition does: outputs or guards that follow its inputs."""
        leaf = self.leaves[path]
        seen = reads(*leaf.computed.values(), *(crossing.guard for crossing in leaf.crossings.values()))
        return leaf.clocked is None and not leaf.step and any(name in leaf.inputs for name in seen)


def experiment(c: Choices) -> Experiment:
    """A random model and a run of it."""
    sketch = Sketch(c)
    inputs: dict[str, float | Held] = {}
    for name in sketch.nests[""].inputs:
        if c.chance(50):
            first = [0.021] if c.chance(15) else [0.0]
            times = [*first, *sorted({c.integer(4, 60) * 7 / 1000 for _ in range(1 + c.integer(0, 5))})]
            inputs[name] = (tuple(times), tuple(c.number(-1, 1) for _ in times))
            sketch.held.add(name)
        else:
            inputs[name] = c.number(-1, 1)
    sketch.grow()
    if c.chance(35):
        sketch.add_triggered()
    sketch.wire()
    for _ in range(c.integer(0, 4)):
        sketch.condition()
    root = sketch.nest()
    until = c.pick([200, 100, 350, 500, 770]) * MS
    max_step = c.pick([10, 5, 7, 3]) * MS
    model = Model(root)
    settable = [join(path, name) for path, leaf in model.leaves.items() for name in leaf.params]
    settable += [join(path, name) for path, nest in model.nests.items() for name in nest.params]
    changed = {name: c.number(-1, 1) for name in settable if c.chance(10)}
    lane = c.integer(1, 10**6) if c.chance(30) else 0
    return Experiment(root, until, max_step, inputs=inputs, set=changed, seed=c.integer(0, 9), lane=lane)


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    """Random experiments for Hypothesis."""
    return experiment(Choices(lambda low, high: draw(st.integers(low, high))))
