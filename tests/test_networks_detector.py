"""Detectors: boxes against a brute-force non-maximum suppression, in all forms that modules return."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from simdl import Input, ModelCard
from simdl.errors import NetworkError, RunError
from simdl.networks import Boxes, Detector
from tests.network_player import ENGINES, alone, play

pytestmark = pytest.mark.usefixtures("lightly")
PORTS = ("boxes", "labels", "scores", "mask", "count")
N, CLASSES = 12, 3

Found = list[tuple[list[float], float, int]]


def brute(boxes: list[list[float]], scores: list[float], labels: list[int], options: Boxes) -> Found:
    """Greedy suppression, one pair at a time, on boxes xyxy."""
    order = sorted((i for i, s in enumerate(scores) if s >= options.threshold), key=lambda i: -scores[i])
    kept: list[int] = []
    for i in order[: options.candidates]:
        if all(labels[i] != labels[j] or options.overlap is None or iou(boxes[i], boxes[j]) <= options.overlap
               for j in kept):  # fmt: skip
            kept.append(i)
    return [(boxes[i], scores[i], labels[i]) for i in kept[: options.most]]


def iou(a: list[float], b: list[float]) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, wide) * max(0.0, high)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


class Dense(nn.Module):
    """Boxes xyxy and scores of classes of a row of features."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.place, self.size = nn.Linear(6, N * 2).double(), nn.Linear(6, N * 2).double()
        self.score = nn.Linear(6, N * CLASSES).double()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.place(x).reshape(-1, N, 2) * 2
        size = 1 + self.size(x).reshape(-1, N, 2).abs()
        return torch.cat((low, low + size), -1), torch.sigmoid(2 * self.score(x)).reshape(-1, N, CLASSES)


class Dicts(nn.Module):
    """The same as a list of as many detections as there are in each image."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = Dense()

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        boxes, scores = self.dense(x)
        best, labels = scores.max(-1)
        sure = [row > 0.4 for row in best]
        return [dict(boxes=b[m], scores=s[m], labels=n[m]) for b, s, n, m in zip(boxes, best, labels, sure)]


def samples(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expected(x: Tensor, options: Boxes) -> list[list[Found]]:
    boxes, scores = Dense()(x.reshape(-1, 6))
    best, labels = scores.max(-1)
    flat = [brute(*each, options) for each in zip(boxes.tolist(), best.tolist(), labels.tolist())]  # type: ignore[arg-type]
    return [flat[i : i + x.shape[1]] for i in range(0, len(flat), x.shape[1])]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{}, {"overlap": None, "most": 3}, {"threshold": 0.7, "overlap": 0.1},
                                     {"candidates": 5, "most": 5}, {"threshold": 2.0}, {"most": 20}])  # fmt: skip
@pytest.mark.parametrize("module", [Dense, Dicts])
def test_boxes_are_those_of_a_brute_force_search(module: type[nn.Module], options: dict[str, Any], engine: str) -> None:
    x, given = samples(3, 4, 6), {"most": 8, "overlap": 0.3, **options}
    net = Detector(module(), inputs="x", period="1 s", **given)
    run = play(net, x, engine, PORTS)
    assert run.engine == engine
    count = run["net.count"]
    boxes, scores, labels = (run[f"net.{name}"].ragged(count) for name in ("boxes", "scores", "labels"))
    for lane, times in enumerate(expected(x, Boxes(**given))):
        for k, found in enumerate(times):
            assert int(count.values[lane, k]) == len(found) == len(boxes[lane][k])
            assert labels[lane][k].tolist() == [label for _, _, label in found]
            assert scores[lane][k].tolist() == pytest.approx([score for _, score, _ in found], rel=1e-12)
            wanted = torch.tensor([box for box, _, _ in found], dtype=torch.float64).reshape(-1, 4)
            torch.testing.assert_close(boxes[lane][k], wanted, rtol=1e-12, atol=1e-12)
    mask = run["net.mask"].values.bool()
    assert torch.equal(mask, torch.arange(mask.shape[-1]) < count.values[..., None])
    assert bool((run["net.labels"].values[~mask] == -1).all()) and bool((run["net.boxes"].values[~mask] == 0).all())


def test_dense_tensors_are_lowered_and_lists_are_called_in_torch() -> None:
    dense, lists = (play(Detector(m, most=4, inputs="x", period="1 s"), samples(2, 3, 6), "native", PORTS)
                    for m in (Dense(), Dicts()))  # fmt: skip
    assert "in torch" not in dense.why and "net.step in torch at its ticks" in lists.why


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("module", [Dense, Dicts])
def test_a_lane_alone_is_the_lane_in_the_batch(module: type[nn.Module], engine: str) -> None:
    def net() -> Detector:
        return Detector(module().float(), most=6, overlap=0.3, inputs="x", period="1 s")

    x = samples(5, 4, 6, seed=2)
    assert alone(play(net(), x, engine, PORTS), play(net(), x, engine, PORTS, lanes=[3]), 3)


class Given(nn.Module):
    """Returns what it is given: boxes (n, 4) and scores as rows of five."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"boxes": x[..., :4], "scores": x[..., 4]}


@pytest.mark.parametrize(
    ("form", "box"), [("xyxy", [2, 3, 6, 5]), ("xywh", [2, 3, 4, 2]), ("cxcywh", [4, 4, 4, 2])]
)  # fmt: skip
def test_every_form_is_read_and_given(form: str, box: list[float]) -> None:
    x = torch.tensor([[[[*box, 0.9]]]], dtype=torch.float64)
    for gives, wanted in (("xyxy", [2, 3, 6, 5]), ("xywh", [2, 3, 4, 2]), ("cxcywh", [4, 4, 4, 2])):
        net = Detector(Given(), most=2, form=form, gives=gives, inputs={"x": Input(shape=(1, 5))}, period="1 s")
        run = play(net, x, "torch", ("boxes", "labels"))
        assert run["net.boxes"].values[0, 0].tolist() == [wanted, [0, 0, 0, 0]]
        assert run["net.labels"].values[0, 0].tolist() == [0, -1]


box = st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 5)] * 2, st.integers(0, 40))


@given(st.lists(st.lists(box, min_size=1, max_size=9), min_size=1, max_size=3), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
@settings(max_examples=80, deadline=None)
def test_suppression_agrees_with_brute_force_on_any_boxes(images: list[list[Any]], overlap: float) -> None:
    """Touching, equal and nested boxes, on a grid on which areas are exact; ties of scores in order."""
    options = Boxes(most=9, form="xywh", threshold=0.25, overlap=overlap)
    tables = [torch.tensor(image, dtype=torch.float64) for image in images]
    rows = [{"boxes": table[:, :4], "scores": table[:, 4] / 40} for table in tables]
    boxes, _, scores, _, count = options.tensors(rows, len(rows), "here")
    for lane, image in enumerate(images):
        corners = [[float(x), float(y), float(x + w), float(y + h)] for x, y, w, h, _ in image]
        found = brute(corners, [one[4] / 40 for one in image], [0] * len(image), options)
        assert boxes[lane, : int(count[lane])].tolist() == [b for b, _, _ in found]
        assert scores[lane, : int(count[lane])].tolist() == [s for _, s, _ in found]


def test_what_is_not_finite_is_no_detection() -> None:
    x = torch.tensor([[[[0, 0, 4, 4, 0.9], [9, 9, torch.nan, 12, 0.8], [0, 0, 4, 4, torch.nan]]]], dtype=torch.float64)
    boxes, _, scores, _, count = Boxes(most=3).tensors(Given()(x[0]), 1, "here")
    assert count.tolist() == [1] and bool(boxes.isfinite().all()) and scores[0].tolist() == [0.9, 0.0, 0.0]


class Labelled(nn.Module):
    """A box with a label that is given, as dense tensors or as a list of dicts; label 0 where nothing is."""

    def __init__(self, dicts: bool, shift: int = 0) -> None:
        super().__init__()
        self.dicts, self.shift = dicts, shift

    def forward(self, x: Tensor) -> Any:
        boxes = torch.zeros(x.shape[0], 2, 4, dtype=x.dtype) + torch.tensor([0.0, 0.0, 4.0, 4.0], dtype=x.dtype)
        scores = torch.zeros_like(boxes[..., 0]) + torch.tensor([0.9, 0.8], dtype=x.dtype)
        labels = x[:, :2].round().to(torch.int64) + self.shift
        if not self.dicts:
            return {"boxes": boxes, "scores": scores, "labels": labels}
        return [{"boxes": b, "scores": s, "labels": n} for b, s, n in zip(boxes, scores, labels)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dicts", [False, True])
def test_a_detection_of_no_class_is_dropped_and_covers_nothing(dicts: bool, engine: str) -> None:
    x = torch.tensor([[[7.0, 0.0], [0.0, 7.0], [-1.0, -2.0], [7.0, 7.0], [1.0, 0.0]]], dtype=torch.float64)
    net = Detector(Labelled(dicts), most=2, classes=("car", "bike"), inputs={"x": Input(shape=(2,))}, period="1 s")
    run = play(net, x, engine, ("labels", "count", "scores"))
    assert run["net.count"].values[0].tolist() == [1, 1, 0, 0, 2]
    assert run["net.labels"].values[0].tolist() == [[0, -1], [0, -1], [-1, -1], [-1, -1], [1, 0]]
    assert run["net.scores"].values[0, :, 0].tolist() == [0.8, 0.9, 0.0, 0.0, 0.9]


@pytest.mark.parametrize("dicts", [False, True])
@pytest.mark.parametrize("shift", [7, 1, -1])
def test_labels_of_no_class_are_refused_when_the_block_is_made(dicts: bool, shift: int) -> None:
    def made(**options: Any) -> Detector:
        return Detector(Labelled(dicts, shift), most=2, inputs={"x": Input(shape=(2,))}, period="1 s", **options)

    with pytest.raises(NetworkError, match=rf"the label {shift} for 1 classes\n.*labels 0 to 0\n.*fix: classes="):
        made(classes=("car",))
    assert made().step(torch.zeros(1, 2))["labels"].tolist() == [[shift, -1]]  # without names any label will do


def test_names_of_classes_and_the_card() -> None:
    net = Detector(Dense(), most=4, gives="xywh", classes=("car", "bike", "dog"), inputs={"x": Input(shape=(6,))},
                   period="1 s")  # fmt: skip
    run = play(net, samples(1, 2, 6), "torch", ("labels", "count"))
    n = int(run["net.count"].values[0, 0])
    assert n > 0 and set(run["net.labels"].names[0, 0, :n]) <= {"car", "bike", "dog"}
    assert not any(run["net.labels"].names[0, 0, n:])
    card = ModelCard.of(net, "mynets:dense")
    again = Detector(Dense(), card=ModelCard.from_json(card.to_json()))
    assert again._plan.result == net._plan.result == card.result()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"most": 0}, "most=0"), ({"most": 200}, "candidates=100.*\n.*at least most=200"), ({"form": "xyx"}, "form='xyx'"),
     ({"overlap": 2.0}, "from 0 to 1")],
)  # fmt: skip
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Detector(Dense(), inputs="x", period="1 s", **options)


def test_a_module_that_is_no_detector_is_refused() -> None:
    with pytest.raises(NetworkError, match="a list of dicts, or boxes"):
        Detector(nn.Linear(6, 5), inputs="x", period="1 s")


def test_ragged_needs_a_count_at_the_same_times() -> None:
    run = play(Detector(Dense(), most=4, inputs="x", period="1 s"), samples(1, 3, 6), "torch", PORTS)
    with pytest.raises(RunError, match="most"):
        run["net.count"].ragged(run["net.count"])
