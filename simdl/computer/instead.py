"""Blocks that jobs run instead of others while their task is degraded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simdl.computer.fit import unfit
from simdl.declarations import Output
from simdl.errors import ModelError, SimdlError
from simdl.methods import OutputMethod
from simdl.port import Port

if TYPE_CHECKING:
    from simdl.block import Block
    from simdl.compile import Model

Instead = Mapping[str, Mapping[int, str]]
"""Path of a block -> which variant of a job -> the block that it runs instead."""


def join(names: Mapping[str, str], instead: Instead, model: Model, blocks: Mapping[str, Block]) -> dict[str, str]:
    """Path of each block that a task runs -> the name under which it does, with those that jobs run instead.

    Raises ModelError naming every block that cannot stand in for another one, and why.
    """
    faults: list[SimdlError] = []
    found = dict(names)
    regions = {path for region in model.regions for path in region.blocks}
    for path, others in instead.items():
        if path not in names:
            faults.append(ModelError(f"instead of {path!r}", "no such block, or a diagram", "a block that it runs",
                                     names=[one for one in names if one in blocks], wrong=path))  # fmt: skip
            continue
        for other in dict.fromkeys(others.values()):
            where = f"{other!r} instead of {path!r}"
            if other not in blocks:
                faults.append(ModelError(where, "no such block, or a diagram", "the path of a block",
                                         names=[one for one in blocks if one not in names], wrong=other))  # fmt: skip
                continue
            mine = names.get(other, names[path]) == names[path] and other not in instead
            why = unfit(blocks[other], other in regions) if mine else "a job runs it anyway"
            if not why and found.get(other, names[path]) != names[path]:
                why = "it stands in for a block of another job too"
            if why:
                faults.append(ModelError(where, why, "a sampled block that nothing else runs"))
            faults += _misfits(where, path, other, model, blocks)
            found[other] = names[path]
    if faults:
        raise ModelError.collect("computer", faults)
    return found


def _misfits(where: str, path: str, other: str, model: Model, blocks: Mapping[str, Block]) -> list[SimdlError]:
    """The outputs of a block that another one does not give in its place."""
    faults: list[SimdlError] = []
    given = outputs(blocks[other])
    for name in outputs(blocks[path]):
        if name not in given:
            faults.append(ModelError(where, f"no output {name!r}", "the outputs of the other", names=given, wrong=name))
            continue
        wanted, found = model.values[f"{path}.{name}"], model.values[f"{other}.{name}"]
        units = [type(blocks[one]).declared()[name].unit for one in (path, other)]
        if (wanted.shape or ()) != (found.shape or ()) or wanted.dtype != found.dtype:
            faults.append(ModelError(f"{where}: {name}", f"shape {found.shape or ()}, {found.dtype or 'floats'}",
                                     f"shape {wanted.shape or ()}, {wanted.dtype or 'floats'}"))  # fmt: skip
        if all(units) and units[0] != units[1]:
            faults.append(ModelError(f"{where}: {name}", f"unit {units[1]}", f"unit {units[0]}"))
    return faults


def outputs(block: Block) -> list[str]:
    """The names of the outputs of a block."""
    return [n for n, d in type(block).declared().items() if isinstance(d, Output | OutputMethod)]


def variants(path: str, instead: Instead) -> dict[str, Any]:
    """What a placement says of a block: the variants in which others run instead, or those in which it does."""
    codes = sorted({code for others in instead.values() for code, one in others.items() if one == path})
    return {"instead": tuple(instead.get(path, ())), "codes": tuple(codes)}


def announce(instead: Instead, blocks: Mapping[str, Block]) -> None:
    """Blocks that stand in give what they compute within the job."""
    for path, others in instead.items():
        for other in others.values():
            vars(blocks[other]).setdefault("_within", set()).update(outputs(blocks[path]))


def wire(instead: Instead, blocks: Mapping[str, Block]) -> None:
    """A mapped block reads what those compute that stand in for it."""
    for path, others in instead.items():
        for code, other in others.items():
            for name in vars(blocks[path])["_placement"].shapes:
                blocks[path].wires[f"{name}_of_{code}"] = Port(blocks[other], f"{name}_of_job", "output")
