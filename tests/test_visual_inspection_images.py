"""Pictures of parts, the camera, the network that ships and what it knows of a part that it never saw."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from simdl import Diagram, Output, simulate, triggered
from simdl.errors import SimdlError
from simdl.learn import fit
from simdl.networks import Classifier, load
from simdl.scenarios.visual_inspection import judging, parts, recipe, transfer, transfer_page
from simdl.scenarios.visual_inspection.camera import Barrier, Camera
from simdl.scenarios.visual_inspection.look import LOOK, PLACE, look
from simdl.scenarios.visual_inspection.network import CELLS, Inspector, inspector
from simdl.scenarios.visual_inspection.photographs import located, photographs
from simdl.scenarios.visual_inspection.rendering import PIXEL, SIZE, render
from simdl.scenarios.visual_inspection.shape import box

CARD = transfer.CARD
QUIET = {"belt": 0.1, "weave": 0.0, "dust": 0.0, "falloff": 0.0}  # a scene without anything fixed to the camera


def picture(**values: float) -> Tensor:
    """(SIZE, SIZE) of a disc with a bore, and of what else is said."""
    return render(torch.from_numpy(look({"radius": 0.7, "bore": 0.3, **QUIET, **values}))[None])[0]


def drawn(family: int, defect: int, seed: int = 0) -> np.ndarray:
    return parts.draw(np.random.default_rng(seed), family, defect)


@pytest.mark.parametrize("family", range(len(parts.FAMILIES)))
def test_a_part_and_its_lamp_turned_by_a_right_angle_are_the_picture_turned(family: int) -> None:
    """Right becomes down: x' = -y, y' = x."""
    made = drawn(family, parts.DENT)
    for name, value in QUIET.items():
        made[PLACE[name]] = value
    turned = made.copy()
    turned[PLACE["x"]], turned[PLACE["y"]] = -made[PLACE["y"]], made[PLACE["x"]]
    for name in ("angle", "light_angle"):
        turned[PLACE[name]] += math.pi / 2
    before, after = render(torch.from_numpy(np.stack([made, turned])))
    assert torch.allclose(after, torch.rot90(before, -1), rtol=0, atol=1e-9)
    assert not torch.allclose(before, torch.rot90(before, -1), rtol=0, atol=1e-2)


def test_twice_the_light_is_twice_the_brightness_where_nothing_is_cut_off() -> None:
    dim, bright = picture(light=0.4), picture(light=0.8)
    assert torch.allclose(bright, 2 * dim, rtol=1e-12) and float(bright.max()) < 1


def test_distance_from_a_rectangle_is_that_to_its_nearest_point() -> None:
    x, y = torch.rand(2, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    wide, high, corner = (torch.tensor(v, dtype=torch.float64) for v in (0.5, 0.3, 0.0))
    left_right = torch.hypot(x.abs() - 0.5, y - y.clamp(-0.3, 0.3))  # from the nearest point of those two sides
    up_down = torch.hypot(x - x.clamp(-0.5, 0.5), y.abs() - 0.3)
    nearest = torch.minimum(left_right, up_down)
    inside = (x.abs() < 0.5) & (y.abs() < 0.3)
    assert torch.allclose(box(x, y, wide, high, corner), torch.where(inside, -nearest, nearest), rtol=0, atol=2e-6)


@pytest.mark.parametrize("defect", [parts.SCRATCH, parts.DENT, parts.CHIP, parts.STAIN])
@pytest.mark.parametrize("family", range(len(parts.FAMILIES)))
def test_a_defect_changes_the_picture_near_its_place_and_nowhere_else(family: int, defect: int) -> None:
    for seed in range(4):
        flawed = drawn(family, defect, seed)
        sound = drawn(family, parts.OK, seed)  # the same part: the defect is drawn last
        changed = (render(torch.from_numpy(flawed)[None]) - render(torch.from_numpy(sound)[None]))[0].abs()
        middles = (torch.arange(SIZE) + 0.5) * PIXEL - 1
        x, y = parts.place(flawed, defect)
        apart = torch.hypot(middles - x, middles[:, None] - y)
        assert float(changed.max()) > 0.02
        assert float(changed[apart > 0.85].max()) < 0.02
        assert float(apart.flatten()[changed.argmax()]) < 0.6


def test_defects_lie_on_the_part_and_sizes_reach_down() -> None:
    random = np.random.default_rng(5)
    for name, low, high in (("chip", 0.16, 0.3), ("stain", 0.35, 0.8)):
        kind = parts.DEFECTS.index(name)
        sizes = np.array([parts.draw(random, k % len(parts.FAMILIES), kind)[PLACE[name]] for k in range(120)])
        assert low <= sizes.min() < low * 1.2 and high / 1.2 < sizes.max() <= high


def test_pictures_have_gradients_with_respect_to_everything_that_is_there() -> None:
    looks = torch.from_numpy(np.stack([drawn(0, k, 1) for k in range(5)])).requires_grad_()
    (gradient,) = torch.autograd.grad(render(looks).square().sum(), looks)
    assert bool(torch.isfinite(gradient).all())
    for name in ("radius", "x", "albedo", "light", "bevel", "belt"):
        assert bool((gradient[:, PLACE[name]] != 0).all()), name
    step = torch.zeros(LOOK, dtype=torch.float64)
    step[PLACE["radius"]] = 1e-6
    with torch.no_grad():
        sums = [render(looks + sign * step).square().sum((1, 2)) for sign in (1, -1)]
    assert torch.allclose((sums[0] - sums[1]) / 2e-6, gradient[:, PLACE["radius"]], rtol=2e-3)


def test_a_picture_alone_is_that_picture_in_a_batch() -> None:
    looks = torch.from_numpy(np.stack([drawn(k, 4 - k % 5, k) for k in range(9)]))
    together = render(looks)
    assert all(torch.equal(render(looks[k : k + 1])[0], together[k]) for k in range(9))


class Bench(Diagram):
    """A camera before parts that change in steps, fired when the beam is broken."""

    image, taken = Output((SIZE, SIZE), dtype="uint8"), Output(dtype="int64")

    def __init__(self) -> None:
        from simdl.computer import Process

        def feed(env, ports):
            for number in range(3):
                ports["look"], ports["number"] = parts.draw(ports.random, number, parts.OK), number
                yield env.timeout(0.01 * (1 + ports.random.uniform()))
                ports["beam"] = 1.0
                yield env.timeout(0.01)
                ports["beam"] = 0.0
                ports["look"] = look({})  # nothing there
                yield env.timeout(0.01)

        self.feed = Process(feed, outputs={"look": Output((LOOK,)), "number": Output(dtype="int64"), "beam": Output()})
        self.barrier, self.camera = Barrier(), Camera()
        triggered(self.camera, when=self.barrier.broken)
        self.barrier.blocked = self.feed.beam
        self.camera.look, self.camera.number = self.feed.look, self.feed.number
        self.image, self.taken = self.camera.image, self.camera.taken


def test_the_barrier_fires_the_camera_and_the_picture_is_held() -> None:
    found = [simulate(Bench(), 0.1, lanes=lanes, record=["image", "taken"], every=0.002, seed=4) for lanes in (3, 1)]
    images, taken = found[0]["image"].values, found[0]["taken"].values
    assert images.dtype == torch.uint8 and taken[:, 0].tolist() == [-1] * 3 and taken[:, -1].tolist() == [2] * 3
    for k in range(3):
        held = images[0][taken[0] == k]
        assert bool((held == held[0]).all()) and int(held[0].max()) > 60
    assert torch.equal(found[1]["image"].values[0], images[0])  # a lane alone
    assert not torch.equal(images[0, -1], images[1, -1])


def shot(**settings: float) -> Tensor:
    """One picture of a plain part, fired by hand."""
    camera = Camera(period=1, **{k: v for k, v in settings.items() if k != "speed"})
    made = look({"radius": 0.7, "shine": 0.0, **QUIET})
    run = simulate(camera, 0, record=["image"], inputs={"look": torch.from_numpy(made), "number": 7,
                                                        "speed": settings.get("speed", 0.0)}, seed=1)  # fmt: skip
    return run["image"].values[0, 0].double()


def test_noise_of_the_camera_is_that_of_its_electrons_and_its_reading() -> None:
    """On the plain middle of a part: variance = signal / electrons + reading², and 1/12 of a step squared."""
    patch = shot(electrons=900.0, reading=0.02)[14:26, 14:26] / 255
    clean = shot(electrons=1e12, reading=0.0)[14:26, 14:26] / 255
    wanted = float(clean.mean()) / 900 + 0.02**2 + 1 / 12 / 255**2
    assert float((patch - clean).square().mean()) == pytest.approx(wanted, rel=4 * (2 / 144) ** 0.5)


def test_a_moving_belt_blurs_along_its_way_only() -> None:
    """Blur keeps what a line along the belt sums to, and its edges get as much wider as the belt moves."""
    still, moving = (shot(electrons=1e12, reading=0.0, speed=v, exposure=4e-3) for v in (0.0, 0.5))
    assert torch.allclose(moving.sum(1), still.sum(1), rtol=5e-3)
    steepest = [float(one.diff(dim=axis).abs().amax()) for axis in (1, 0) for one in (still, moving)]
    assert steepest[1] < 0.7 * steepest[0] and steepest[3] > 0.9 * steepest[2]


def test_photographs_are_by_seed_and_more_begin_with_fewer() -> None:
    images, labels, places = located(160, parts.SOURCES, seed=3)
    again, same = photographs(70, parts.SOURCES, seed=3)
    assert images.shape == (160, SIZE, SIZE) and images.dtype == torch.uint8 and labels.dtype == torch.int64
    assert torch.equal(images[:70], again) and torch.equal(labels[:70], same)
    other, _ = photographs(64, parts.SOURCES, seed=4)
    assert not torch.equal(other, images[:64])
    assert 60 < int((labels != parts.OK).sum()) < 100 and set(labels.tolist()) == set(range(5))
    assert torch.equal(places.isnan().any(1), labels == parts.OK)


def test_another_camera_takes_other_pictures_of_the_same_parts() -> None:
    """Half the light, and noise that is as that of the reading: its deviation, and 1/12 of a step squared."""
    quiet = {"electrons": 1e12, "reading": 0.0}
    images, labels, _ = located(64, 0, seed=9, camera=quiet)
    dim, same, _ = located(64, 0, seed=9, camera={**quiet, "gain": 0.5})
    noisy, _, _ = located(64, 0, seed=9, camera={"electrons": 1e12, "reading": 0.02, "gain": 0.5})
    assert torch.equal(labels, same)
    lit = (images > 20) & (images < 250)
    assert float((dim[lit].double() / images[lit]).mean()) == pytest.approx(0.5, abs=0.01)
    apart = (noisy.double() - dim)[(dim > 30)] / 255
    assert float(apart.square().mean()) == pytest.approx(0.02**2 + 2 / 12 / 255**2, rel=0.05)
    with pytest.raises(SimdlError, match="gian"):
        located(64, camera={"gian": 1.0})


def test_labels_are_those_of_what_was_drawn() -> None:
    """The feeder's own numbers again: defect and look of the first part of a lane give its picture without noise."""
    images, labels, places = located(64, 0, seed=9)
    from simdl.random import stream_key

    key = stream_key(9, "feeder.process")
    for lane in (0, 5, 63):
        random = np.random.Generator(np.random.Philox(key=[key % 2**64, lane]))
        family = int(random.choice((0,)))
        defect = int(random.integers(1, 5)) if random.uniform() < 0.5 else parts.OK
        made = parts.draw(random, family, defect)
        clean = render(torch.from_numpy(made)[None])[0]
        assert int(labels[lane]) == defect
        assert defect == parts.OK or np.allclose(places[lane], parts.place(made, defect), atol=1e-6)
        seen = images[lane].double() / 255
        assert float(torch.corrcoef(torch.stack([seen.flatten(), clean.flatten()]))[0, 1]) > 0.97


def test_lessons_turn_with_their_pictures() -> None:
    """A bright pixel and the cell that shows it stay together, whichever of the eight ways is drawn."""
    places = torch.tensor([[-0.6, 0.2], [0.4, 0.7], [math.nan, math.nan]], dtype=torch.float64)
    labels = torch.tensor([parts.CHIP, parts.STAIN, parts.OK])
    images = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)
    for k in range(2):
        column, row = ((places[k] + 1) / 2 * SIZE).long().tolist()
        images[k, row, column] = 255
    rows = torch.arange(3).repeat(40)
    batch = tuple(part[rows] for part in recipe.lessons(images, labels, places))
    seen, wanted = recipe.turned(batch, torch.Generator().manual_seed(0))
    cells = wanted[:, 1:].unflatten(1, (CELLS, CELLS))
    ways = set()
    for k in range(120):
        label = int(labels[rows[k]])
        if label == parts.OK:
            assert float(cells[k, :, :, parts.OK].sum()) == pytest.approx(1.0)
            continue
        row, column = divmod(int(seen[k].argmax()), SIZE)
        ways.add((label, row, column))
        assert float(cells[k, row // 8, column // 8, label]) > 0.1
        assert float(cells[k, :, :, label].sum()) == pytest.approx(1.0)
    assert len(ways) == 16


def test_operating_points_against_counting() -> None:
    doubt = torch.cat([torch.linspace(0, 1, 1001), torch.linspace(0.5, 1.5, 501)]).double()
    labels = torch.cat([torch.zeros(1001), torch.full((501,), 2)]).long()
    limit = judging.threshold(doubt, labels, 0.1)
    assert limit == pytest.approx(0.9)
    assert judging.false_rejects(doubt, labels, limit) == pytest.approx(0.1, abs=2e-3)
    assert judging.escape(doubt, labels, limit) == pytest.approx(0.4, abs=4e-3)
    assert judging.escape(doubt, labels, limit, defect=2) == judging.escape(doubt, labels, limit)


def binomial(rate: float, count: int) -> float:
    """Five standard deviations, and the resolution of the count."""
    return 5 * (max(rate, 1 / count) * (1 - rate) / count) ** 0.5 + 2 / count


def test_the_network_that_ships_errs_as_its_card_says() -> None:
    net = Classifier.from_card(CARD)
    card = load(CARD)[1]
    images, labels = photographs(640, 0, seed=77)
    scores = net.step(images)["scores"]
    doubt, limit = 1 - scores[:, parts.OK], 1 - card.metrics["threshold"]
    good, bad = int((labels == parts.OK).sum()), int((labels != parts.OK).sum())
    escaped, rejected = judging.escape(doubt, labels, limit), judging.false_rejects(doubt, labels, limit)
    said = card.metrics
    for rate, expected, count, tested in (
        (escaped, said["escape rate"], bad, said["defective parts tested"]),
        (rejected, said["false rejects"], good, said["good parts tested"]),
    ):
        assert abs(rate - expected) < binomial(expected, count) + binomial(expected, int(tested))
    assert 0 < said["escape rate"] < 0.1


def test_the_card_fills_a_classifier_that_names_what_it_sees() -> None:
    net = Classifier.from_card(CARD)
    assert tuple(type(net).declared()["predicted"].labels) == parts.DEFECTS
    images, labels = photographs(320, 0, seed=5)
    found = net.step(images)["predicted"]
    assert float((found == labels).double().mean()) > 0.8
    direct = inspector(load(CARD)[0]).step(images)["scores"]
    assert torch.equal(direct, net.step(images)["scores"])


def test_the_recipe_trains_a_network_that_sees_more_than_chance_and_saves_it(tmp_path: Path) -> None:
    """The chance that a bad washer is doubted more than a good one is a half by chance, within 3 deviations."""
    made = recipe.train(tmp_path / "card", count=512, epochs=20, seed=2, progress=False)
    assert made.classes is not None and made.classes.labels == parts.DEFECTS
    module, card = load(tmp_path / "card")
    assert isinstance(module, Inspector) and card.metrics.keys() == load(CARD)[1].metrics.keys()
    images, labels = photographs(512, 0, seed=88)
    doubt = recipe.doubts(module, images)
    good, bad = doubt[labels == parts.OK], doubt[labels != parts.OK]
    spread = ((len(good) + len(bad) + 1) / (12 * len(good) * len(bad))) ** 0.5  # Mann and Whitney 1947
    assert float((bad[:, None] > good).double().mean()) > 0.5 + 3 * spread


def test_labels_needed_are_interpolated_in_logarithms() -> None:
    """Escape rates of 10 / labels from scratch: 0.01 needs 1000, a value between two points, and no less is known."""
    points = [transfer.Point("from scratch", n, (10 / n, 10 / n, 1.0)) for n in (200, 500, 2000)]
    points += [transfer.Point("fine-tuned", n, (0.01, 0.01, 0.02)) for n in (50, 100)]
    found = transfer.Transfer(tuple(points), untrained=0.1, tested=4096)
    assert found.needed("from scratch", 0.01) == pytest.approx(1000)
    assert found.needed("from scratch", 0.05) == 200 and found.needed("from scratch", 0.001) == math.inf
    few, more = transfer_page.claims(found)
    assert "50 labels" in few and "about 1000: a factor of 20" in few and "about 1000: a factor of 10" in more


def test_every_method_learns_a_new_part_and_an_interrupted_study_goes_on(tmp_path: Path) -> None:
    kept = tmp_path / "points.jsonl"
    methods = ("fine-tuned", "SVM on features", "SVM on logits")
    first = transfer.study((25,), 1, 512, methods, kept, say=lambda _: None)
    assert [point.method for point in first.points] == list(methods)
    assert all(0 < point.median < 0.9 for point in first.points)
    said: list[str] = []
    again = transfer.study((25,), 1, 512, methods, kept, say=said.append)
    assert again == first and len(said) == 1  # nothing was trained again
    transfer_page.write(again, tmp_path, "a command", ["a version"])
    assert "fine-tuned" in (tmp_path / "README.md").read_text() and (tmp_path / "transfer.png").stat().st_size > 10_000


def test_fine_tuning_moves_weights_and_leaves_the_normalisation() -> None:
    images, labels = photographs(64, transfer.NEW, seed=6)
    before = load(CARD)[0].state_dict()
    tuned = transfer.Tuned(load(CARD)[0])  # type: ignore[arg-type]
    history = fit(tuned, recipe.examples(images, labels), loss=torch.nn.functional.cross_entropy, epochs=4, seed=0)
    assert history.epochs[-1].train < history.epochs[0].train
    for name, value in tuned.inspector.state_dict().items():
        assert torch.equal(value, before[name]) == ("running" in name or "num_batches" in name), name
