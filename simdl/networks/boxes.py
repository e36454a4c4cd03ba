"""Boxes: what an object detector returns, as outputs of fixed size with a count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from simdl.declarations import Output
from simdl.errors import NetworkError
from simdl.iterate import repeat

Form = Literal["xyxy", "xywh", "cxcywh"]
FORMS = ("xyxy", "xywh", "cxcywh")


@dataclass(frozen=True)
class Boxes:
    """The detections of an image, best first, padded to `most`: boxes (most, 4), labels, scores, mask (most,), count.

    The module returns, for its images, a list of dicts with boxes (n, 4), scores (n,) and labels (n,), as torchvision's
    detectors do; or a dict or tuple of dense tensors boxes (lanes, n, 4), scores (lanes, n) or (lanes, n, classes) and,
    with the first form of scores, labels (lanes, n), 0 without them.
    form: of the module's boxes, and gives: of the outputs: "xyxy" (corners), "xywh" (corner and size) or "cxcywh"
    (centre and size), in the module's pixels. threshold: the least score. overlap: of two boxes of one label whose
    intersection is more than this part of their union, the one with the lower score goes; None leaves all. candidates:
    how many of the best boxes are looked at. classes: names of the labels 0, 1, …; padding has the label -1.
    With classes, a detection whose label is none of them is dropped, before suppression; a module that gives such
    labels, at or above the threshold, for the samples with which it is tried when the block is made is refused.
    """

    most: int = 20
    form: Form = "xyxy"
    gives: Form = "xyxy"
    threshold: float = 0.5
    overlap: float | None = 0.5
    candidates: int = 100
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes) if not isinstance(self.classes, str) else self.classes)
        for name in ("most", "candidates"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise NetworkError("Boxes", f"{name}={value!r}", "a whole number, at least 1")
        if self.candidates < self.most:
            raise NetworkError("Boxes", f"candidates={self.candidates}", f"at least most={self.most}")
        for name in ("form", "gives"):
            if getattr(self, name) not in FORMS:
                found = f"{name}={getattr(self, name)!r}"
                raise NetworkError("Boxes", found, "one of", names=FORMS, wrong=str(getattr(self, name)))
        if self.overlap is not None and not 0 <= self.overlap <= 1:
            raise NetworkError("Boxes", f"overlap={self.overlap}", "from 0 to 1, or None")
        Output(labels=self.classes)

    def outputs(self) -> dict[str, Output]:
        most = self.most
        return {
            "boxes": Output((most, 4), doc=f"{self.gives}, zeros where the mask is false"),
            "labels": Output((most,), dtype="int64", labels=self.classes, initial=-1, doc="-1 where the mask is false"),
            "scores": Output((most,), doc="best first"),
            "mask": Output((most,), dtype="bool", initial=False, doc="which places hold a detection"),
            "count": Output((), dtype="int64", initial=0, doc="how many detections"),
        }

    def tensors(self, result: Any, lanes: int, where: str) -> tuple[Tensor, ...]:
        """boxes, labels, scores, mask and count, (lanes, …), of what the module returned."""
        boxes, scores, labels = self._dense(result, where)
        boxes = corners(boxes, self.form)
        valid = (scores >= self.threshold) & boxes.isfinite().all(-1)
        if self.classes:
            valid = valid & ~self._unnamed(labels)
        ranked = torch.where(valid, scores, -torch.inf)
        order = ranked.sort(dim=-1, descending=True, stable=True)[1][:, : self.candidates]
        boxes, scores, labels, valid = taken(boxes, order), *(one.gather(1, order) for one in (scores, labels, valid))
        if self.overlap is not None:
            valid = suppressed(boxes, labels, valid, self.overlap)
        # Which are left come first, in their order: sorting a mask keeps the order of equals.
        left = (~valid).to(torch.int64).sort(dim=-1, stable=True)[1][:, : self.most]
        boxes, scores, labels, mask = taken(boxes, left), *(one.gather(1, left) for one in (scores, labels, valid))
        missing = self.most - mask.shape[1]
        if missing > 0:
            boxes = torch.nn.functional.pad(boxes, (0, 0, 0, missing))
            scores, labels = (torch.nn.functional.pad(one, (0, missing)) for one in (scores, labels))
            mask = torch.nn.functional.pad(mask.to(torch.int64), (0, missing)) > 0
        boxes = torch.where(mask.unsqueeze(-1), given_as(boxes, self.gives), 0.0)
        labels, scores = torch.where(mask, labels, -1), torch.where(mask, scores, 0.0)
        return boxes, labels, scores, mask, mask.to(torch.int64).sum(-1)

    def check(self, result: Any, where: str) -> None:
        """Raise NetworkError for labels without a name in what the module returned for samples."""
        _, scores, labels = self._dense(result, where)
        wrong = labels[(scores >= self.threshold) & self._unnamed(labels)] if self.classes else labels[:0]
        if wrong.numel():
            n = len(self.classes)
            raise NetworkError(where, f"the module returned the label {int(wrong.flatten()[0])} for {n} classes",
                               f"labels 0 to {n - 1}", "classes= with a name for each label of the module; where its "
                               'labels begin at 1, the first is a name for the background: classes=("none", ...)',
                               )  # fmt: skip

    def _unnamed(self, labels: Tensor) -> Tensor:
        return (labels < 0) | (labels >= len(self.classes))

    def _dense(self, result: Any, where: str) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (lanes, n, 4), scores and labels (lanes, n) of all forms that a module may return."""
        if isinstance(result, list | tuple) and result and all(isinstance(one, Mapping) for one in result):
            return self._padded(result, where)
        if isinstance(result, Mapping):
            missing = [name for name in ("boxes", "scores") if name not in result]
            if missing:
                raise NetworkError(where, f"the module returned a dict without {', '.join(missing)}",
                                   "boxes, scores and labels", names=list(map(str, result)))  # fmt: skip
            result = [result[name] for name in ("boxes", "scores", "labels") if name in result]
        if not isinstance(result, tuple | list) or len(result) not in (2, 3):
            raise NetworkError(where, f"the module returned {type(result).__name__}",
                               "a list of dicts, or boxes (lanes, n, 4), scores and labels")  # fmt: skip
        boxes, scores = result[0], result[1]
        if boxes.ndim != 3 or boxes.shape[-1] != 4 or scores.shape[:2] != boxes.shape[:2]:
            found = f"boxes {tuple(boxes.shape)}, scores {tuple(scores.shape)}"
            raise NetworkError(where, found, "(lanes, n, 4) and (lanes, n) or (lanes, n, classes)")
        if scores.ndim == 3:
            return boxes, scores.amax(-1), scores.argmax(-1)
        labels = result[2] if len(result) == 3 else torch.zeros_like(scores)
        return boxes, scores, labels.to(torch.int64)

    def _padded(self, images: Sequence[Mapping[str, Tensor]], where: str) -> tuple[Tensor, Tensor, Tensor]:
        """Of each image its best candidates; what is missing has the score -inf."""
        rows: list[tuple[Tensor, Tensor, Tensor]] = []
        for one in images:
            if not {"boxes", "scores"} <= set(one):
                raise NetworkError(where, f"a detection with {', '.join(map(str, one))}", "boxes, scores and labels")
            boxes, scores = one["boxes"], one["scores"]
            labels = one["labels"].to(torch.int64) if "labels" in one else torch.zeros(len(scores), dtype=torch.int64)
            ranked = torch.where(self._unnamed(labels), -torch.inf, scores) if self.classes else scores
            best = ranked.sort(descending=True, stable=True)[1][: self.candidates]
            spare = self.candidates - best.shape[0]
            pad = torch.nn.functional.pad
            rows.append((pad(boxes[best], (0, 0, 0, spare)), pad(scores[best], (0, spare), value=-torch.inf),
                         pad(labels[best], (0, spare))))  # fmt: skip
        boxes, scores, labels = (torch.stack(column) for column in zip(*rows))
        return boxes, scores, labels

    def __str__(self) -> str:
        kept = "" if self.overlap is None else f", overlap at most {self.overlap:g} of the union"
        return f"at most {self.most} boxes {self.form} -> {self.gives}, score at least {self.threshold:g}{kept}"


def corners(boxes: Tensor, form: Form) -> Tensor:
    """Boxes (…, 4) as (left, top, right, bottom)."""
    if form == "xyxy":
        return boxes
    first, size = boxes[..., :2], boxes[..., 2:]
    low = first if form == "xywh" else first - size / 2
    return torch.cat((low, low + size), -1)


def given_as(boxes: Tensor, form: Form) -> Tensor:
    """The inverse of `corners`."""
    if form == "xyxy":
        return boxes
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat((low if form == "xywh" else (low + high) / 2, high - low), -1)


def taken(boxes: Tensor, places: Tensor) -> Tensor:
    """Boxes (lanes, k, 4) at places (lanes, k)."""
    return boxes.gather(1, places.unsqueeze(-1).expand(*places.shape, 4))


def unions(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The intersection and the union (lanes, n, n) of every two boxes xyxy (lanes, n, 4)."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (high - low).clamp(min=0.0)
    common = sides[..., 0] * sides[..., 1]
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0.0)
    area = size[..., 0] * size[..., 1]
    return common, area[:, :, None] + area[:, None, :] - common


def suppressed(boxes: Tensor, labels: Tensor, valid: Tensor, overlap: float) -> Tensor:
    """The mask (lanes, n) of boxes that no better box of their label covers, from boxes in order, the best first.

    A box that was itself suppressed suppresses none (greedy non-maximum suppression)."""
    common, union = unions(boxes)
    number = torch.arange(boxes.shape[1], device=boxes.device)
    covers = (common > overlap * union) & (labels[:, :, None] == labels[:, None, :]) & (number[:, None] < number)

    def turn(keep: Tensor, k: int) -> Tensor:
        return keep & ~(keep[:, k].unsqueeze(1) & covers[:, k])

    return repeat(boxes.shape[1], turn, valid)
