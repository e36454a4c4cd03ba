"""Running a network, and what stands in its place otherwise, closed loop under every condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from simdl.bench.seat import MINE, SHIPPED, Board, Seat
from simdl.bench.space import conditions
from simdl.declared import Declared
from simdl.errors import NetworkError, SimdlError
from simdl.networks.imported import Imported
from simdl.networks.network import Network
from simdl.scenario import Scenario, names, scenario
from simdl.slots import Slot, copied, fill

LANES = 200
SHARD = 256


def bench(
    network: Any, scenarios: Iterable[str | Scenario] | None = None, *, lanes: int = LANES, seed: int = 0,
    out: str | Path | None = None, quick: bool = False, workers: int = 1, engine: str = "auto",
    progress: bool | None = None, tell: Callable[[str], None] = lambda text: None,
) -> Board:  # fmt: skip
    """Rank a network in every slot of these scenarios (all that ship, by default) that it fits.

    network: a path that `open_network` reads, "package:function", a module or a block. Beside it run the network that
    ships in the slot and the scenario's baselines, on the same lanes: as the scenario draws them, with each of its
    groups (a sensor fault) in every lane, and drawn from a wider space. out: a folder in which lanes are kept, so that
    an interrupted call goes on. tell: is told what begins, and may raise KeyboardInterrupt.
    Raises NetworkError, with every reason, when it fits no slot.
    """
    given = network if isinstance(network, Scenario | Declared) or not _is_path(network) else str(network)
    label = str(given) if isinstance(given, str) else type(given).__name__
    if isinstance(given, str) and (":" not in given or Path(given).exists()):
        from simdl.networks.opening import open_network

        given = open_network(given)  # once: what is wrong with the file is wrong in every slot
    chosen = [one if isinstance(one, Scenario) else scenario(one) for one in (scenarios or names())]
    places: list[tuple[Scenario, str, Declared]] = []
    misfits: list[tuple[str, str, str]] = []
    for study in chosen:
        study = study.quickly() if quick else study
        study = replace(study, engine=engine) if engine != "auto" else study
        for name, slot in study.slots.items():
            try:
                places.append((study, name, fitted(slot, given)))
            except SimdlError as error:
                misfits.append((study.name, name, _short(error)))
    if not places:
        alike: dict[str, list[str]] = {}
        for where, place, why in misfits:
            alike.setdefault(why, []).append(f"{where}, slot {place}")
        reasons = "\n    ".join(f"{'; '.join(at)}: {why}" for why, at in alike.items()) or "there are no slots"
        fix = "simdl slots SCENARIO says what fits; an adapter is a diagram around the network"
        raise NetworkError(label, f"it fits no slot:\n    {reasons}", "one that keeps the contract of a slot", fix)
    seats = []
    for study, name, block in places:
        folder = Path(out) / f"{_safe(study.name)}-{_safe(name)}" if out is not None else None
        seats.append(_seat(study, name, block, folder, lanes, seed, quick, workers, progress, tell))
    return Board(label, tuple(seats), tuple(misfits), seed, lanes)


def fitted(slot: Slot, given: Any) -> Declared:
    """The block for a slot. Outputs of a file without a card, whose names mean nothing, go by their order."""
    try:
        return fill(slot, given)
    except NetworkError:
        if not isinstance(given, Imported):
            raise
        needed = [name for name in slot.outputs if name not in slot.defaults]
        if "card" in given.options or len(needed) != len(given.outputs) or set(needed) == set(given.outputs):
            raise
        return fill(slot, _renamed(given, needed))


def _renamed(found: Imported, names: list[str]) -> Imported:
    return replace(found, outputs=dict(zip(names, found.outputs.values())))


def _seat(
    study: Scenario, slot: str, block: Declared, folder: Path | None, lanes: int, seed: int, quick: bool, workers: int,
    progress: bool | None, tell: Callable[[str], None],
) -> Seat:  # fmt: skip
    entries, misfits = {MINE: block}, {}
    for name, given in _others(study, slot, quick).items():
        try:
            entries[name] = fill(study.slots[slot], given() if callable(given) else given)
        except SimdlError as error:
            misfits[name] = _short(error)
    kinds = tuple(conditions(study))
    campaigns: dict[str, dict[str, Any]] = {name: {} for name in entries}
    for kind in kinds:
        for name, one in entries.items():
            tell(f"{study.name}, slot {slot}: {name}, {kind.name}, {lanes} lanes")
            kept = folder / _safe(name) / _safe(kind.name) if folder is not None else None
            found = kind.scenario.swap(**{slot: copied(one)}).campaign(
                lanes, seed=seed, workers=workers, out=kept, shard=min(SHARD, lanes), keep=False, progress=progress
            )
            campaigns[name][kind.name] = found
    tell(f"{study.name}, slot {slot}: latency")
    latency = {name: _latency(one) for name, one in entries.items() if isinstance(one, Network)}
    return Seat(study, slot, kinds, campaigns, latency, misfits)


def _others(study: Scenario, slot: str, quick: bool) -> Mapping[str, Any]:
    """What stands in the slot otherwise: the network that ships, and the scenario's baselines for it."""
    found: dict[str, Any] = {}
    if slot in study.defaults:
        found[SHIPPED] = study.defaults[slot]
    design = study.design
    if design is not None and design.slot == slot:
        found |= design.quick.get("baselines", design.baselines) if quick else design.baselines
    return found


def _latency(network: Network) -> Any:
    from simdl.networks.analysis import analyse_network

    return analyse_network(network, repeats=100).latency


def _is_path(network: Any) -> bool:
    return isinstance(network, str | Path)


def _short(error: SimdlError) -> str:
    return " ".join(str(error.found).split())[:300]


def _safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)
