"""Scorers in files beside a model card: tensors as safetensors, everything else as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simdl.data.durable import write_file
from simdl.data.jsonl import loads
from simdl.errors import DataError, NetworkError
from simdl.networks.card import ModelCard, Weights
from simdl.networks.ood.box import InputBox
from simdl.networks.ood.energy import Energy
from simdl.networks.ood.knn import KNN
from simdl.networks.ood.mahalanobis import Mahalanobis
from simdl.networks.ood.scorer import Scorer
from simdl.networks.ood.threshold import Calibration
from simdl.networks.weights import read_weights, save_weights

KINDS: dict[str, type[Scorer]] = {kind.kind: kind for kind in (InputBox, Mahalanobis, Energy, KNN)}
LARGEST = 64 * 2**20  # bytes of tensors
LARGEST_TEXT = 2**20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Calibration(_Strict):
    threshold: float
    samples: int = Field(ge=1)
    basis: Literal["quantile", "counted", "autocorrelated"]
    per_sample: float
    per_hour: float | None = None
    period: float | None = None
    autocorrelation: float | None = None
    trip: int = Field(default=1, ge=1)


class ScorerCard(_Strict):
    """What a scorer is, of which features, and what its threshold promises.

    network: SHA-256 of the weights of the network in the same folder, which it was fitted for; empty if there was none.
    """

    format: Literal["simdl-scorer-1"] = "simdl-scorer-1"
    kind: Literal["box", "mahalanobis", "energy", "knn"]
    options: dict[str, float | int | None] = {}
    features: tuple[str, ...] = ()
    calibration: _Calibration | None = None
    network: str = ""
    notes: str = ""
    weights: Weights


def save_scorer(
    folder: str | Path, scorer: Scorer, *, name: str = "scorer", features: Sequence[str] = (), notes: str = ""
) -> Path:
    """Write `name`.safetensors and `name`.json into a folder, such as that of a network's card; returns the JSON.

    features: what the columns are; notes: for people. Raises NetworkError for a scorer that was not fitted.
    """
    folder = Path(folder)
    place = folder / f"{name}.json"
    if type(scorer) not in KINDS.values() or not scorer.features:
        raise NetworkError(str(place), f"{scorer}, {'not fitted' if not scorer.features else 'of unknown kind'}",
                           "a fitted scorer", names=KINDS)  # fmt: skip
    if features and len(features) != scorer.features:
        raise NetworkError(str(place), f"{len(features)} names", f"one for each of {scorer.features} features")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.safetensors"
        digest = save_weights(dict(scorer.named_buffers()), file)
        calibration = None if scorer.calibration is None else _Calibration(**asdict(scorer.calibration))
        kind: Any = scorer.kind
        card = ScorerCard(
            kind=kind, options=scorer.options, features=tuple(features), calibration=calibration, notes=notes,
            network=_network(folder), weights=Weights(file=file.name, sha256=digest, size=file.stat().st_size),
        )  # fmt: skip
        write_file(place, (card.model_dump_json(indent=2) + "\n").encode())
    except (OSError, ValidationError, DataError) as error:
        raise NetworkError(str(place), f"cannot be written: {error}", "a folder to write to") from error
    return place


def load_scorer(path: str | Path, *, name: str = "scorer") -> Scorer:
    """The scorer that a folder or a JSON file describes.

    The tensors must have the size and SHA-256 that it says, and the names and shapes of its kind; the network in the
    folder must be the one that it was fitted for. Raises NetworkError for everything else; nothing in a file is run.
    """
    path = Path(path)
    place = path if path.suffix == ".json" else path / f"{name}.json"
    where = str(place)
    data = loads(_read(place, LARGEST_TEXT), where, NetworkError)
    try:
        card = ScorerCard.model_validate(data)
        made: Any = KINDS[card.kind]
        scorer: Scorer = made(**card.options)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:10])
        raise NetworkError(where, faults, "a scorer of format simdl-scorer-1") from None
    except TypeError as error:
        raise NetworkError(where, f"options {card.options}: {error}", f"those of {card.kind}") from None
    found = _network(place.parent)
    if card.network and found and card.network != found:
        raise NetworkError(where, f"fitted for a network of SHA-256 {card.network[:16]}…",
                           f"the one in the folder, {found[:16]}…", "fit and calibrate it again")  # fmt: skip
    file = place.parent / card.weights.file
    raw = _read(file, LARGEST)
    if len(raw) != card.weights.size or hashlib.sha256(raw).hexdigest() != card.weights.sha256:
        raise NetworkError(str(file), "not the tensors that the card says", f"{card.weights.size} bytes of SHA-256 "
                           f"{card.weights.sha256[:16]}…", "save both together")  # fmt: skip
    scorer.take(read_weights(raw, str(file), limit=LARGEST), str(file))
    if card.calibration is not None:
        scorer.calibration = Calibration(**card.calibration.model_dump())
        if float(scorer.threshold) != card.calibration.threshold:
            raise NetworkError(where, f"the threshold {card.calibration.threshold:g}",
                               f"{float(scorer.threshold):g}, that of the tensors")  # fmt: skip
    return scorer


def _network(folder: Path) -> str:
    """The SHA-256 of the weights that the card in a folder names."""
    place = folder / "card.json"
    if not place.is_file():
        return ""
    weights = ModelCard.from_json(_read(place, LARGEST_TEXT), str(place)).weights
    return weights.sha256 if weights is not None else ""


def _read(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise NetworkError(str(path), "no such file", "a scorer that save_scorer has written")
    size = path.stat().st_size
    if size > limit:
        raise NetworkError(str(path), f"{size} bytes", f"at most {limit}")
    return path.read_bytes()


