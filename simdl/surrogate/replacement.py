"""`surrogate`: excite a part of a loop, learn it, put the network in its place, and compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from simdl.block import Block
from simdl.campaign import monte_carlo
from simdl.clock import Duration, clock
from simdl.compile import Model, compile_model
from simdl.declarations import Input, Output, Param
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.engine.solver import Solver
from simdl.errors import ModelError
from simdl.methods import OutputMethod
from simdl.networks.horizon import free_run
from simdl.networks.state_space import NeuralStateSpace
from simdl.port import Formula, Port, Signal, ports_of
from simdl.result import Run
from simdl.simulate import simulate
from simdl.slots.copying import copied
from simdl.space import Sampled, draw
from simdl.surrogate.card import SurrogateCard
from simdl.surrogate.comparison import Pair, differences, speeds
from simdl.surrogate.exchange import replaced
from simdl.surrogate.outcome import Surrogate
from simdl.surrogate.part import Element, Part, block_at, owners, part_of, rewire
from simdl.surrogate.training import normalised, train

Learnt = Callable[[NeuralStateSpace, SurrogateCard], object]


def surrogate(
    diagram: Diagram, path: str | Declared, *, period: Duration, until: Duration,
    excite: Mapping[Any, Block] | None = None, space: Mapping[Any, Any] | None = None,
    inputs: Mapping[Any, Any] | None = None, set: Mapping[Any, Any] | None = None,
    states: Sequence[str] | None = None, through: bool | None = None,
    record: Sequence[str | Signal] = (), lanes: int = 32, test: int = 16,
    seed: int = 0, hidden: Sequence[int] = (24,), horizon: int = 32, steps: int = 600, batch: int = 128,
    learning_rate: float = 3e-3, seconds: float | None = None, validate: float = 0.25, tolerance: float = 0.1,
    solver: Solver | None = None, after: Solver | None = None, engine: str = "auto",
    engines: Sequence[str] = ("torch", "native"), repeats: int = 3, progress: bool | None = None,
    learnt: Learnt | None = None,
) -> Surrogate:  # fmt: skip
    """Replace the part of a diagram at `path` by a network that ticks every `period`, and compare both in the loop.

    1. Excite: `lanes` lanes drawn from `space` run the closed loop to `until`, with the blocks of `excite` (APRBS,
       Multisine, …; by input port or path, of the root or of any block) added to what drives these inputs. Lanes get
       different sequences from blocks with noise or a `start`, the same one from others, such as Multisine.
    2. Train: a discrete NeuralStateSpace learns the step of its states by runs of up to `horizon` steps on its own
       predictions, `steps` times (or `seconds`); Ctrl-C keeps the best so far. states: which states it keeps, such as
       "omega" or "heat[3]"; fast ones may be left out. All when not given. hidden: widths of its layers; () is linear.
    3. Replace: in a copy, at the same path. Readers of the part read the network, held between ticks.
    4. Compare on `test` lanes of other numbers, without excitation, from the same initial states: each signal that
       crosses the part's border, outputs of the root, and `record`.

    learnt(network, card) is called before the comparison, to keep what would be lost if that is interrupted.
    solver, after: of the original loop and of the one with the network, which may need no small steps any more. The
    network starts from the mean initial states of the excited lanes unless `set` says otherwise.

    Raises ModelError for what a network cannot stand for: ports and states that are not numbers, a sampled part of
    another period, conditions, latencies, and parameters of the part in `space`.

    >>> from simdl.blocks import APRBS, PI, FirstOrder
    >>> class Loop(Diagram):
    ...     r, y = Input(), Output()
    ...     def __init__(self):
    ...         self.plant, self.pi = FirstOrder(), PI(period=0.1)
    ...         self.pi.e = self.r - self.plant.y
    ...         self.plant.u = self.pi.u
    ...         self.y = self.plant.y
    >>> found = surrogate(Loop(), "plant", period=0.1, until=4, inputs={"r": 1.0}, excite={"r": APRBS(period=0.2)},
    ...                   lanes=8, test=4, horizon=8, hidden=(), steps=0, engines=(), progress=False)
    >>> found.worst < 1e-4, type(found.diagram.plant).__name__
    (True, 'NeuralStateSpace')
    """
    if not isinstance(diagram, Diagram):
        raise ModelError("surrogate", f"{diagram!r:.60}", "a diagram")
    model = compile_model(diagram)
    path = path.path if isinstance(path, Declared) else path
    ticking = clock(period, None, where="surrogate: period")
    assert ticking is not None
    space, inputs, set = (_keyed(model, one) for one in (space, inputs, set))
    watched = [one for one in model.recorded(record)] if record else []
    part = part_of(model, path, states, watched, ticking, through)
    _check_space(model, path, space)
    excited, starts = _excited(diagram, model, excite or {})
    keys = list(dict.fromkeys(one.key for one in part.elements))
    campaign = monte_carlo(
        excited, {**space, **starts}, lanes=lanes, until=until, inputs=inputs, set=set, seed=seed, record=keys,
        every=period, keep=True, engine=engine, solver=solver, progress=progress,
    )  # fmt: skip
    if not campaign.complete:  # by Ctrl-C: of fewer lanes than asked for, nothing is learnt
        raise KeyboardInterrupt(f"{len(campaign.ids)} of {lanes} lanes were excited")
    good = [row for row, lane in enumerate(campaign.ids.tolist()) if lane not in campaign.status]
    if len(good) < 2:
        raise ModelError(f"surrogate of {path}", f"{lanes - len(good)} of {lanes} excited lanes failed",
                         "two lanes to learn from", "smaller steps (solver=), or less excitation")  # fmt: skip
    data = {name: values[good] for name, values in _table(campaign.run, part).items()}
    rows = [normalised(_stacked(data, side)) for side in (part.states, part.inputs, part.outputs)]
    f, g, training = train(
        *(row for row, _, _ in rows), hidden=hidden, through=part.through, horizon=horizon, steps=steps, batch=batch,
        seconds=seconds, learning_rate=learning_rate, validate=validate, seed=seed, shown=progress,
    )  # fmt: skip
    scales = {
        one.name: (float(mean[i]), float(std[i]))
        for side, (_, mean, std) in zip((part.states, part.inputs, part.outputs), rows)
        for i, one in enumerate(side)
    }
    card = SurrogateCard.of(part, ticking, hidden, data, scales, training)
    network = card.network(f, g)
    if learnt is not None:
        learnt(network, card)
    made, fast = replaced(diagram, model, part, network), after
    compiled = compile_model(made)
    if fast is None and compiled.continuous:
        fast = solver

    ids = list(range(lanes, lanes + test))
    drawn = {**set, **draw(space, seed, torch.tensor(ids))}
    fed = {**inputs, **{key: drawn.pop(key) for key in space if key in model.externals}}
    common: dict[str, Any] = {"ids": ids, "inputs": fed, "seed": seed, "every": period}
    pairs = _pairs(model, part, watched)
    originals = [*keys, *(pair.original for pair in pairs)]
    original = simulate(diagram, until, engine=engine, solver=solver, set=drawn, record=originals, **common)
    truth = _table(original, part)
    kept = {key: one for key, one in drawn.items() if not key.startswith(f"{path}.")}
    kept |= {f"{path}.{one.name}": truth[one.name][:, 0] for one in part.states}
    shown = [pair.surrogate for pair in pairs]
    run = simulate(made, until, engine=engine, solver=fast, set=kept, record=shown, **common)
    alive = [row for row in range(test) if row not in original.status]
    record_of = {name: values[alive] for name, values in truth.items()}
    stable = free_run(
        network, {one.name: record_of[one.name] for one in part.states},
        {one.name: record_of[one.name] for one in part.inputs},
        horizon=max(1, (training.samples - 1) * 3 // 4), starts=4, tolerance=tolerance,
    )  # fmt: skip
    timed = speeds(
        (diagram, {"set": drawn, "solver": solver, "record": [pair.original for pair in pairs]}),
        (made, {"set": kept, "solver": fast, "record": shown}), until, engines=engines, repeats=repeats, **common,
    )  # fmt: skip
    off = differences(original, run, pairs, ids)
    return Surrogate(path, made, network, part, training, original, run, tuple(pairs), off, stable, timed, tuple(ids),
                     card.compared(off))  # fmt: skip


def _excited(diagram: Diagram, model: Model, excite: Mapping[Any, Block]) -> tuple[Diagram, dict[str, Any]]:
    """A copy with blocks added to what drives inputs, and where in their sequences the lanes begin."""
    made = copied(diagram)
    starts: dict[str, Any] = {}
    for number, (target, given) in enumerate(excite.items()):
        place = target if isinstance(target, str) else target.path
        owner_path, _, name = place.rpartition(".")
        owner = block_at(made, owner_path) if owner_path else made
        one = type(owner).declared().get(name)
        if not isinstance(one, Input):
            names = [n for n, d in type(owner).declared().items() if isinstance(d, Input)]
            raise ModelError(f"excite[{place!r}]", "not an input", "an input port", names=names, wrong=name)
        if not isinstance(given, Block):
            raise ModelError(f"excite[{place!r}]", f"{given!r:.60}", "a block with an output",
                             "APRBS(low=-1, high=1, period=0.1)")  # fmt: skip
        source = copied(given)
        label = f"excitation_{number}"
        port = getattr(source, next(n for n, d in type(source).declared().items()
                                    if isinstance(d, Output | OutputMethod)))  # fmt: skip
        if owner is made:
            rewire(made, partial(_instead, Port(made, name, "input"), Formula("add", Port(made, name, "input"), port)))
        else:
            before = owner.wires.get(name, one.default)
            owner.wires[name] = port if before is None else Formula("add", before, port)
        vars(made)[label] = source
        vars(source).update(parent=made, label=label)
        if isinstance(type(source).declared().get("start"), Param):
            starts[f"{label}.start"] = Sampled(_starts)
    return made, starts


def _instead(wanted: Port, new: Signal, read: Port, index: int | None) -> Signal | None:
    return new if read == wanted and index is None else None


def _starts(ids: Tensor, key: int) -> Tensor:
    return ids * 97 + 13


def _keyed(model: Model, given: Mapping[Any, Any] | None) -> dict[str, Any]:
    return {model.key(key): one for key, one in (given or {}).items()}


def own_parameters(model: Model, path: str, keys: Iterable[str]) -> list[str]:
    """Those of the keys that the part at a path depends on as parameters: its own, and what its settings read."""
    read: frozenset[str] = frozenset()
    for one in owners(block_at(model.root, path)):
        for source in one.settings.values():
            read |= {model.key(port) for port in ports_of(source)}
    values = {key: model.values.get(key) for key in keys}
    return [key for key, value in values.items()
            if key in read or (value is not None and value.kind == "param" and key.startswith(f"{path}."))]  # fmt: skip


def _check_space(model: Model, path: str, space: Mapping[str, Any]) -> None:
    """A network stands for one plant: parameters that it depends on cannot vary."""
    for key in own_parameters(model, path, space):
        raise ModelError(f"surrogate of {path}: space", f"{key}, a parameter of it", "what varies outside it",
                         "the network stands for one value of it: set={...}")  # fmt: skip


def _table(run: Run, part: Part) -> dict[str, Tensor]:
    """(lanes, samples) of every state, input and output of a part, by name."""
    found = {}
    for one in part.elements:
        values = run[one.key].values
        found[one.name] = (values if one.index is None else values[..., one.index]).double()
    return found


def _stacked(data: Mapping[str, Tensor], side: Sequence[Element]) -> Tensor:
    like = next(iter(data.values()))
    return torch.stack([data[one.name] for one in side], 2) if side else like.new_zeros(*like.shape, 0)


def _pairs(model: Model, part: Part, watched: Sequence[str]) -> list[Pair]:
    """What to compare: what crosses the border of the part, the outputs of the root, and what was asked for."""
    path = part.path
    pairs = [Pair(f"{path}.{one.name}", one.key, one.index, f"{path}.{one.name}") for one in (*part.inputs, *part.read)]
    known = {pair.original for pair in pairs}
    roots = [name for name, one in type(model.root).declared().items() if isinstance(one, Output)]
    for name in (*roots, *watched):
        if model.key(name) not in known and name not in known and not name.startswith(f"{path}."):
            pairs.append(Pair(name, name, None, name))
            known |= {name}
    return pairs
