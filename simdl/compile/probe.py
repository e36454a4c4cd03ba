"""The compile probe: every node is evaluated with 1, 2 and 3 lanes, twice, and with one lane perturbed.

It infers shapes and types, and refuses methods that mix lanes with features, squeeze, branch on tensors, change their
arguments, remember something, or let one lane move another.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from simdl.compile.graph import raw
from simdl.compile.node import CONDITIONS, Node
from simdl.declarations import Output, as_tensor
from simdl.errors import ProbeError, SimdlError
from simdl.port import Formula, Port

if TYPE_CHECKING:
    from simdl.compile.model import Model

LANES = 3
Args = dict[str, Any]


def setting(model: Model, key: str, dtype: torch.dtype, cache: dict[str, Tensor] | None = None) -> Tensor:
    """The value of a parameter without lanes, following references to the parameters of outer diagrams."""
    value = model.values[key]
    given = value.owner.settings[value.name]
    if isinstance(given, Port):
        return setting(model, model.key(given), dtype)
    if isinstance(given, Formula):
        return given.evaluate(lambda port: setting(model, model.key(port), dtype).unsqueeze(0)).squeeze(0)
    tensor = as_tensor(given)
    wanted = value.dtype or (dtype if tensor.is_floating_point() or tensor.dtype == torch.int64 else tensor.dtype)
    return tensor.to(wanted)


def probe(model: Model) -> None:
    """Infer shapes and types, and check every node. Raises ProbeError with all faults at once."""
    with torch.no_grad():
        _Probe(model).run()


_TRUSTED = re.compile(r"(torch|simdl)(?!\.blocks|\.scenarios)(\.|$)")


class _Branch(RuntimeError):
    """A tensor was asked for its truth value."""


class _NoBranch(TorchFunctionMode):
    """Refuses `if` on tensors in a block's own code: what a lane does may not choose the code that all lanes run.

    torch and the framework may: they choose between ways to the same result."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.__bool__ and not _TRUSTED.match(sys._getframe(1).f_globals.get("__name__", "")):
            raise _Branch("branches on a tensor")
        return function(*args, **(kwargs or {}))


class _Probe:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.env: dict[str, Tensor] = {}
        self.faults: list[SimdlError] = []
        self.generator = torch.Generator().manual_seed(1)

    def run(self) -> None:
        model, env = self.model, self.env
        dtype = torch.float64
        for key in (*model.params,):
            env[key] = _lanes(setting(model, key, dtype))
            model.values[key].shape = tuple(env[key].shape[1:])
        for key, value in model.values.items():
            if value.kind == "constant":
                env[key] = _lanes(value.initial.to(value.dtype or dtype))
            elif value.kind == "noise":
                env[key] = torch.rand((LANES, *(value.shape or ())), generator=self.generator, dtype=dtype)
            elif value.kind in ("held", "continuous", "discrete", "mode", "external"):
                start = value.initial if value.initial is not None else 0.0
                if value.kind == "external":
                    start = value.declaration.default if value.declaration.default is not None else 0.0
                tensor = as_tensor(start)
                if tensor.dtype == torch.bool and value.dtype is None and not isinstance(start, float):
                    value.dtype = torch.bool
                if value.shape and tuple(tensor.shape) != tuple(value.shape):
                    tensor = tensor.expand(value.shape)
                if value.kind != "held" and value.kind != "external" and value.shape is None:
                    value.shape = tuple(tensor.shape)
                env[key] = _lanes(tensor.to(value.dtype or dtype))
                if value.kind == "discrete":
                    env[raw(key)] = env[key]
        env["t"] = torch.zeros(LANES, dtype=torch.float64)
        nodes = self._sequence()
        pending = nodes
        for _ in range(4 + len(nodes)):
            changed, failed = False, []
            for node in pending if pending is not nodes else nodes:
                moved, error = self._evaluate(node)
                changed |= moved
                if error is not None:
                    failed.append((node, error))
            if not changed:
                break
        else:
            failed = failed or [(nodes[0], ProbeError(model.name, "shapes that keep growing", "shapes that settle"))]
        misfits = self._inputs()
        self._outputs()
        roots = [(node, error) for node, error in failed if not self._unready(node)] or failed
        self.faults += [error for node, error in roots if node.block not in misfits]
        wrong = {node for node in nodes if node.block in misfits} | {node for node, _ in failed}
        wrong = self._downstream(wrong, nodes)
        for node in nodes:
            if node not in wrong:
                self._check(node)
        if self.faults:
            raise ProbeError.collect(model.name, self.faults) if len(self.faults) > 1 else self.faults[0]
        for key in model.held:
            if model.values[key].shape is None:
                model.values[key].shape = ()

    def _inputs(self) -> set[str]:
        """Check what drives each input against its declared shape and type; the paths of blocks with a fault."""
        flat, found = self.model.flat, set()
        for (path, name), source in flat.sources.items():
            declaration = type(flat.owners[path]).declared()[name]
            shape, dtype = getattr(declaration, "shape", None), getattr(declaration, "dtype", None)
            for key in source if isinstance(source, tuple) else (source,):
                value = self.env.get(key)
                where = f"{path}.{name}" if path else name
                if value is None or key == where:
                    continue
                given = f"{key}, of shape {tuple(value.shape[1:])} and type {_name(value.dtype)}"
                if shape is not None and tuple(value.shape[1:]) != tuple(shape):
                    self.faults.append(ProbeError(where, f"driven by {given}", f"the shape {tuple(shape)}"))
                    found.add(path)
                elif dtype is not None and _narrows(value.dtype, dtype):
                    fix = "compare it (signal > 0.5), or convert it in a block"
                    self.faults.append(ProbeError(where, f"driven by {given}", f"the type {_name(dtype)}", fix))
                    found.add(path)
        return found

    def _outputs(self) -> None:
        """Check what diagrams show against the declared shapes and types of their outputs."""
        flat = self.model.flat
        for where, key in flat.aliases.items():
            path, _, name = where.rpartition(".")
            declaration = type(flat.owners[path]).declared()[name]
            value = self.env.get(key)
            if not isinstance(declaration, Output) or value is None:
                continue
            given = f"{key}, of shape {tuple(value.shape[1:])} and type {_name(value.dtype)}"
            if declaration.shape is not None and tuple(value.shape[1:]) != tuple(declaration.shape):
                self.faults.append(ProbeError(where, f"shows {given}", f"the shape {tuple(declaration.shape)}"))
            elif declaration.dtype is not None and value.dtype != declaration.dtype:
                fix = "convert it in a block, or declare the output as it is"
                self.faults.append(ProbeError(where, f"shows {given}", f"the type {_name(declaration.dtype)}", fix))

    def _unready(self, node: Node) -> bool:
        return any(key not in self.env and not key.startswith("dt:") for key in node.keys)

    def _downstream(self, wrong: set[Node], nodes: list[Node]) -> set[Node]:
        """These nodes and all that depend on them: what comes after a fault has no fault of its own."""
        unknown = {key for node in wrong for key in (*node.writes, *node.states, *node.names.values())}
        moving = bool(wrong)
        while moving:
            more = {node for node in nodes if node not in wrong and unknown.intersection(node.keys)}
            unknown.update(key for node in more for key in (*node.writes, *node.states))
            wrong, moving = wrong | more, bool(more)
        return wrong

    def _sequence(self) -> list[Node]:
        """Every node once, sources first where there is an order."""
        graph = self.model.graph
        done: dict[Node, None] = {}
        everything = [
            *graph.initials.values(),
            *graph.nodes,
            *graph.derivatives,
            *graph.crossings,
            *graph.resets.values(),
            *graph.edges,
        ]
        for start in everything:
            stack = [start]
            while stack:
                node = stack[-1]
                more = [n for n in graph.needs(node) if n not in done and n not in stack]
                if more:
                    stack.append(more[0])
                else:
                    done[stack.pop()] = None
        return list(done)

    def _args(self, node: Node) -> Args:
        env = self.env
        args: Args = {}
        for name, key in node.reads:
            if name == "dt":
                args[name] = torch.full((LANES,), 0.01, dtype=torch.float64)
            else:
                args[name] = tuple(env[k] for k in key) if isinstance(key, tuple) else env[key]
        return args

    def _evaluate(self, node: Node) -> tuple[bool, SimdlError | None]:
        """Run a node on the present guesses; (whether a shape or type changed, the fault if it failed)."""
        if self._unready(node):
            return False, ProbeError(node.path, "reads a value that nothing gives", "a connected model")
        try:
            found = results(node, self._call(node, self._args(node)))
        except SimdlError as error:
            return False, error
        changed = False
        if node.kind in CONDITIONS:
            return False, None
        for key, value in found.items():
            try:
                changed |= self._learn(node, key, value)
            except SimdlError as error:
                return changed, error
        return changed, None

    def _call(self, node: Node, args: Args) -> Any:
        try:
            with _NoBranch():
                return node.function(**args)
        except SimdlError:
            raise
        except Exception as error:
            text = str(error).strip().split("\n")[0]
            fix = ""
            if isinstance(error, _Branch):
                text, fix = "branches on a tensor", "choose values with torch.where(condition, a, b)"
            shapes = ", ".join(f"{n} {_shape(v)}" for n, v in args.items())
            raise ProbeError(
                node.path,
                f"{text} ({type(error).__name__})",
                f"a method that works with {LANES} lanes; it read {shapes}",
                fix or "compute on tensors (lanes, ...), lanes first",
            ) from error

    def _learn(self, node: Node, key: str, found: Any) -> bool:
        value = self.model.values.get(key)
        tensor = self._tensor(node, key, found)
        if node.kind in ("derivative", "crossing", "edges"):
            declared = value.shape if value is not None and node.kind == "derivative" else ()
            if declared is not None and tuple(tensor.shape[1:]) != tuple(declared or ()):
                raise ProbeError(node.path, f"gives {key} the shape {tuple(tensor.shape[1:])}", f"{tuple(declared)}")
            return False
        state = value is not None and value.kind in ("continuous", "discrete", "mode")
        name = raw(key) if state and value is not None and value.kind == "discrete" and node.kind != "hold" else key
        if state and node.kind == "hold":
            name = key
        old = self.env.get(name)
        shape = tuple(tensor.shape[1:])
        if value is not None:
            tensor = tensor.to(self._type(node, value, tensor))
            if state and node.kind == "initial" and value.declaration.shape is None:
                value.shape = shape
            if value.shape is not None and tuple(value.shape) != shape:
                if shape == ():
                    tensor = tensor.reshape(LANES, *(1,) * len(value.shape)).expand(LANES, *value.shape)
                elif value.declaration is not None and getattr(value.declaration, "shape", None) is None and not state:
                    value.shape = shape
                else:
                    raise ProbeError(f"{node.path}: {key}", f"the shape {shape}", f"the declared {tuple(value.shape)}")
            elif value.shape is None:
                value.shape = shape
        if old is not None and old.shape == tensor.shape and old.dtype == tensor.dtype:
            if node.kind in ("formula", "output", "hold") and not torch.equal(old, tensor):
                self.env[name] = tensor
            return False
        self.env[name] = tensor
        return True

    def _type(self, node: Node, value: Any, tensor: Tensor) -> torch.dtype:
        float_type = torch.float64
        if value.dtype is None:
            if tensor.dtype == torch.bool and value.kind in ("held", "free"):
                value.dtype = torch.bool
                return torch.bool
            if not tensor.is_floating_point() and tensor.dtype != torch.bool and value.kind in ("held", "free"):
                value.dtype = tensor.dtype
                return tensor.dtype
            return float_type
        wanted: torch.dtype = value.dtype
        if tensor.is_floating_point() and not wanted.is_floating_point:
            raise ProbeError(
                f"{node.path}: {value.key}",
                f"{_name(tensor.dtype)} into a port of {_name(wanted)}",
                f"{_name(wanted)}",
                f"convert with .to(torch.{_name(wanted)}), or declare the port float",
            )
        return wanted

    def _tensor(self, node: Node, key: str, found: Any) -> Tensor:
        if isinstance(found, bool | int | float):
            return torch.full((LANES,), found, dtype=torch.bool if isinstance(found, bool) else torch.float64)
        if not isinstance(found, Tensor):
            raise ProbeError(f"{node.path}: {key}", f"{type(found).__name__} {found!r}", "a tensor (lanes, ...)")
        if found.ndim == 0:
            return found.expand(LANES)
        if found.shape[0] not in (LANES, 1):
            raise ProbeError(
                f"{node.path}: {key}",
                f"the shape {tuple(found.shape)} for {LANES} lanes",
                "lanes first",
                "keep dimension 0: reduce over dim=1 or dim=-1, and do not transpose or squeeze lanes away",
            )
        return found.expand(LANES, *found.shape[1:])

    def _check(self, node: Node) -> None:
        try:
            self._check_node(node)
        except SimdlError as error:
            self.faults.append(error)

    def _check_node(self, node: Node) -> None:
        args = self._args(node)
        args = {
            n: tuple(self._varied(v) for v in a) if isinstance(a, tuple) else self._varied(a) for n, a in args.items()
        }
        versions = [v._version for v in _tensors(args)]
        returned = results(node, self._call(node, args))
        ranks = {key: value.ndim if isinstance(value, Tensor) else 0 for key, value in returned.items()}
        first = self._clean(node, returned)
        if versions != [v._version for v in _tensors(args)]:
            raise ProbeError(node.path, "changes its arguments in place", "new tensors", "write x = x + 1, not x += 1")
        again = self._clean(node, results(node, self._call(node, args)))
        for key, value in first.items():
            if not torch.equal(torch.nan_to_num(value), torch.nan_to_num(again[key])):
                raise ProbeError(
                    f"{node.path}: {key}",
                    "two calls with the same arguments differ",
                    "a pure method",
                    "declare noise with Noise() and states with State()",
                )
        moved = _map(args, lambda v: torch.cat([v[:1], self._varied(v[1:2]), v[2:]]))
        other = self._clean(node, results(node, self._call(node, moved)))
        for key, value in first.items():
            keep = [0, 2]
            if not torch.equal(torch.nan_to_num(value[keep]), torch.nan_to_num(other[key][keep])):
                raise ProbeError(
                    f"{node.path}: {key}",
                    "one lane moves the others",
                    "lanes that are independent",
                    "do not reduce over dim 0; put networks with batch statistics into eval mode",
                )
        for lanes in (1, 2):
            few = _map(args, lambda v, n=lanes: v[:n])
            part = results(node, self._call(node, few))
            for key, value in first.items():
                found = part[key]
                found = found if isinstance(found, Tensor) else as_tensor(found)
                if found.ndim != ranks[key] or found.ndim and found.shape[0] not in (lanes, 1):
                    raise ProbeError(
                        f"{node.path}: {key}",
                        f"the shape {tuple(found.shape)} for {lanes} lanes",
                        f"{(lanes, *value.shape[1:])}",
                        "do not squeeze the lane dimension away",
                    )
                found = found.to(value.dtype)
                found = found.expand(lanes) if found.ndim == 0 else found.expand(lanes, *found.shape[1:])
                close = (
                    torch.allclose(
                        torch.nan_to_num(found.double()), torch.nan_to_num(value[:lanes].double()), rtol=1e-4, atol=1e-5
                    )
                    if found.shape == value[:lanes].shape
                    else False
                )
                if not close:
                    raise ProbeError(
                        f"{node.path}: {key}",
                        f"{lanes} lanes give other values than {LANES}",
                        "lanes that are independent of their number",
                        "name dimensions explicitly: squeeze(-1), not squeeze()",
                    )

    def _clean(self, node: Node, found: Mapping[str, Any]) -> dict[str, Tensor]:
        return {key: self._tensor(node, key, value) for key, value in found.items()}

    def _varied(self, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value.clone()
        noise = torch.rand(value.shape, generator=self.generator, dtype=torch.float64).to(value.dtype)
        return value + (0.01 + 0.01 * value.abs()) * noise


def results(node: Node, returned: Any) -> dict[str, Any]:
    """What a node returned, by key. Raises ProbeError for a wrong kind of return value."""
    kind = node.kind
    if kind in ("tick", "hit", "initial", "resets"):
        if not isinstance(returned, dict):
            raise ProbeError(
                node.path,
                f"returned {type(returned).__name__}",
                "a dict of outputs and states",
                "return dict(u=..., x=...)",
            )
        found: dict[str, Any] = {}
        for name, value in returned.items():
            if kind == "hit" and name == "failed":
                continue
            if kind == "hit" and name == "next":
                found["next"] = value
            elif name not in node.names:
                names = [*node.names, "next"] if kind == "hit" else list(node.names)
                raise ProbeError(node.path, f"returned {name!r}", "its outputs and states", names=names, wrong=name)
            else:
                found[node.names[name]] = value
        return found
    wanted = node.states if kind == "derivative" else node.writes
    if len(wanted) == 1 and not isinstance(returned, tuple | list):
        return {wanted[0]: returned}
    if kind == "edges":
        return {"edges": returned}
    if not isinstance(returned, tuple | list) or len(returned) != len(wanted):
        count = len(returned) if isinstance(returned, tuple | list) else type(returned).__name__
        raise ProbeError(node.path, f"returned {count}", f"{len(wanted)} values: {', '.join(wanted)}")
    return dict(zip(wanted, returned, strict=True))


def _tensors(args: Args) -> list[Tensor]:
    return [t for v in args.values() for t in (v if isinstance(v, tuple) else (v,))]


def _map(args: Args, function: Any) -> Args:
    return {n: tuple(function(t) for t in v) if isinstance(v, tuple) else function(v) for n, v in args.items()}


def _lanes(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(0).expand(LANES, *tensor.shape).clone()


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"{len(value)} tensors"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _narrows(given: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether values would be lost: a float into whole numbers, anything but bool into bool."""
    if wanted == torch.bool:
        return given != torch.bool
    return given.is_floating_point and not wanted.is_floating_point
