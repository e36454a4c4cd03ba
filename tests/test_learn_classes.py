"""Classes, pictures and frozen parts: the weights of a plain torch loop, and what a user does wrong is named."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from simdl import Input
from simdl.data import Schema, Sequences, Shards, ShardWriter, Signal, Windows
from simdl.data.sequences import order
from simdl.errors import RunError
from simdl.learn import accuracy, class_weights, evaluate, fit, split
from simdl.learn.checkpoint import clone_state
from simdl.learn.identity import named
from simdl.networks import Classifier, Layout

CROSS = nn.functional.cross_entropy
LAYOUT = Layout("hwc", "chw", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))


def pictures(count: int = 96, seed: int = 0) -> tuple[Tensor, Tensor]:
    """uint8 (count, 8, 8, 3) with a bright quarter, and which one it is (count,)."""
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 90, (count, 8, 8, 3), generator=g, dtype=torch.uint8)
    which = torch.randint(0, 4, (count,), generator=g)
    for image, quarter in zip(images, which.tolist()):
        row, column = divmod(quarter, 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 120
    return images, which


class Net(nn.Module):
    """A backbone with batch normalisation and dropout, and a head."""

    def __init__(self, seed: int = 0, outputs: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten()
        )
        self.head = nn.Linear(96, outputs)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.backbone(x))
        return found


def plain(
    module: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer, *, epochs: int, batch: int,
    still: Iterable[nn.Module] = (), seed: int = 0, loss: Callable[..., Tensor] = CROSS,
) -> None:  # fmt: skip
    """The loop that a torch user writes, with the batches in the order that fit takes them."""
    for epoch in range(epochs):
        module.train()
        for part in still:
            part.eval()
        for rows in order(len(x), True, seed, epoch).split(batch):
            optimizer.zero_grad()
            loss(module(x[rows]), y[rows]).backward()
            optimizer.step()


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def ready(images: Tensor) -> Tensor:
    """As torchvision's ToTensor and Normalize make it."""
    mean, std = torch.tensor(LAYOUT.mean), torch.tensor(LAYOUT.std)
    return ((images.permute(0, 3, 1, 2).float() / 255) - mean[:, None, None]) / std[:, None, None]


def no_dropout(module: nn.Module) -> nn.Module:
    """Its random numbers are seeded by epoch in fit, which a plain loop does not do."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return module


@pytest.mark.parametrize("make", ["sgd", "adam", "adamw"])
def test_pictures_and_classes_train_as_in_a_plain_torch_loop(make: str) -> None:
    images, which = pictures()
    kinds: dict[str, Any] = {
        "sgd": functools.partial(torch.optim.SGD, momentum=0.9, lr=0.02),
        "adam": functools.partial(torch.optim.Adam, lr=0.02), "adamw": functools.partial(torch.optim.AdamW, lr=0.02),
    }  # fmt: skip
    ours, theirs, same = (no_dropout(Net()) for _ in range(3))
    last: list[dict[str, Tensor]] = []
    fit(ours, (images, which), loss=nn.CrossEntropyLoss(), layout=LAYOUT, epochs=4, batch=16, optimizer=kinds[make],
        schedule="constant", on_epoch=lambda row, module: last.append(clone_state(module.state_dict())))  # fmt: skip
    ours.load_state_dict(last[-1])
    plain(same, LAYOUT.prepared(images.float(), True), which, kinds[make](same.parameters()), epochs=4, batch=16)
    assert equal(same, ours), "on the same numbers, bit for bit"
    plain(theirs, ready(images), which, kinds[make](theirs.parameters()), epochs=4, batch=16)
    with torch.no_grad():  # pictures scaled with another rounding: Adam makes steps of gradients that are nothing
        agree = (theirs(ready(images)).argmax(1) == ours(ready(images)).argmax(1)).float().mean()
    assert float(agree) > 0.9
    torch.testing.assert_close(LAYOUT.prepared(images.float(), True), ready(images), rtol=0, atol=2e-6)


def test_what_was_trained_says_in_the_loop_what_it_said_in_training() -> None:
    images, which = pictures(256)
    module = Net()
    fit(module, (images[:192], which[:192]), (images[192:], which[192:]), loss=CROSS, layout=LAYOUT, epochs=12,
        batch=32, rate=0.01)  # fmt: skip
    right = evaluate(module, (images[192:], which[192:]), loss=accuracy, layout=LAYOUT)
    assert right > 0.95
    block: Any = Classifier
    network = block(module, labels=("a", "b", "c", "d"), inputs={"x": Input((8, 8, 3), dtype="uint8")}, period="40 ms",
                    layout=LAYOUT)  # fmt: skip
    said = network.step(images[192:])["predicted"]
    assert float((said == which[192:]).double().mean()) == pytest.approx(right)


def test_a_sequence_regression_trains_as_in_a_plain_torch_loop() -> None:
    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.cell, self.head = nn.GRU(2, 6, batch_first=True), nn.Linear(6, 1)

        def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
            y, state = self.cell(x, state)
            return self.head(y), state

    x = torch.randn(40, 25, 2, generator=torch.Generator().manual_seed(1))
    y = x.cumsum(1)[..., :1] * 0.3
    ours, theirs = Filter(), Filter()
    fit(ours, (x, y), epochs=5, batch=8, rate=1e-2, optimizer="adam", schedule="constant", clip=0.5, seed=7)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    for epoch in range(5):
        for rows in order(40, True, 7, epoch).split(8):
            optimizer.zero_grad()
            nn.functional.mse_loss(theirs(x[rows])[0], y[rows]).backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            optimizer.step()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-6)


def test_a_frozen_backbone_trains_as_in_a_plain_torch_loop_and_keeps_its_bits() -> None:
    images, which = pictures()
    x = ready(images)
    ours, theirs = Net(), Net()
    before = {name: value.clone() for name, value in ours.backbone.state_dict().items()}
    ours.backbone[4].eval()  # what the caller had set is there afterwards
    fit(ours, (x, which), loss=CROSS, frozen="backbone", epochs=3, batch=16, rate=0.1, optimizer="sgd",
        schedule="constant")  # fmt: skip
    assert all(torch.equal(value, before[name]) for name, value in ours.backbone.state_dict().items())
    theirs.backbone.requires_grad_(False)
    plain(theirs, x, which, torch.optim.SGD(theirs.head.parameters(), lr=0.1), epochs=3, batch=16,
          still=[theirs.backbone])  # fmt: skip
    assert equal(ours, theirs)
    assert all(p.requires_grad for p in ours.parameters())
    assert ours.training and ours.backbone[3].training and not ours.backbone[4].training


def test_batch_normalisation_alone_can_be_frozen() -> None:
    images, which = pictures()
    x = ready(images)
    for frozen in (nn.BatchNorm2d, "backbone.1", ["backbone.1"]):
        ours, theirs = no_dropout(Net()), no_dropout(Net())
        fit(ours, (x, which), loss=CROSS, frozen=frozen, epochs=2, batch=16, rate=0.05, optimizer="sgd",
            schedule="constant")  # fmt: skip
        norm = theirs.backbone[1]  # type: ignore[index]
        norm.requires_grad_(False)
        trained = [p for p in theirs.parameters() if p.requires_grad]
        plain(theirs, x, which, torch.optim.SGD(trained, lr=0.05), epochs=2, batch=16, still=[norm])
        assert equal(ours, theirs)
        assert torch.equal(norm.running_mean, torch.zeros(6)) and int(norm.num_batches_tracked) == 0


def test_parameters_that_ask_for_no_gradient_are_left_alone() -> None:
    images, which = pictures()
    module = Net()
    module.backbone.requires_grad_(False)
    weight = module.backbone[0].weight.clone()  # type: ignore[operator]
    fit(module, (ready(images), which), loss=CROSS, epochs=1, optimizer="adamw")
    assert torch.equal(module.backbone[0].weight, weight) and not module.backbone[0].weight.requires_grad
    assert int(module.backbone[1].num_batches_tracked) > 0, "as in torch, their statistics go on"  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["last", "second"])
def test_classes_of_every_sample_and_pixel(place: str) -> None:
    """Logits (rows, time, classes) or (rows, classes, time): the loss is torch's, with classes second."""
    g = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 9, 4, generator=g)
    which = torch.randint(0, 4, (6, 9), generator=g)
    exact = float(CROSS(logits.movedim(-1, 1), which))
    x = logits if place == "last" else logits.movedim(-1, 1).contiguous()
    assert evaluate(nn.Identity(), (x, which), loss=CROSS, batch=6) == pytest.approx(exact, rel=1e-6)
    assert evaluate(nn.Identity(), (x, which), loss=CROSS, batch=4) == pytest.approx(exact, rel=1e-6)
    mask = torch.rand(6, 9, generator=g) < 0.5
    kept = float(CROSS(logits[mask], which[mask]))
    assert evaluate(nn.Identity(), (x, which, mask), loss=CROSS) == pytest.approx(kept, rel=1e-6)
    if place == "last":
        late = float(CROSS(logits[:, 3:].flatten(0, 1), which[:, 3:].flatten()))
        assert evaluate(nn.Identity(), (x, which), loss=CROSS, warmup=3) == pytest.approx(late, rel=1e-6)
        assert evaluate(nn.Identity(), (x, which.unsqueeze(-1)), loss=CROSS) == pytest.approx(exact, rel=1e-6)
    pixels = torch.randn(2, 3, 5, 6, generator=g), torch.randint(0, 3, (2, 5, 6), generator=g)
    assert evaluate(nn.Identity(), pixels, loss=CROSS) == pytest.approx(float(CROSS(*pixels)), rel=1e-6)


def test_pieces_of_sequences_of_classes() -> None:
    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.cell, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
            y, state = self.cell(x, state)
            return self.head(y), state

    x = torch.randn(48, 20, 1, generator=torch.Generator().manual_seed(5))
    before = torch.cat([torch.zeros(48, 1), x[:, :-1, 0]], 1)
    which = (before > 0).long()  # the sign of the sample before
    module = Memory()
    fit(module, (x, which), loss=CROSS, epochs=40, batch=16, rate=0.03, truncation=5, warmup=1, clip=1.0)
    assert evaluate(module, (x, which), loss=accuracy, truncation=5, warmup=1) > 0.95


def test_zeros_and_ones_are_values_to_a_loss_of_values() -> None:
    logits = torch.tensor([[0.5], [-1.0], [2.0]])
    truth = torch.tensor([[1], [0], [0]])
    exact = float(nn.functional.binary_cross_entropy_with_logits(logits, truth.float()))
    for target in (truth, truth.bool(), truth.to(torch.uint8), truth.float()):
        found = evaluate(nn.Identity(), (logits, target), loss=nn.BCEWithLogitsLoss())
        assert found == pytest.approx(exact, rel=1e-6)


def test_weights_let_rare_classes_count_as_much_as_frequent_ones() -> None:
    which = torch.tensor([0] * 90 + [1] * 10)
    weights = class_weights(which)
    assert float(weights[0] * 90) == pytest.approx(float(weights[1] * 10)) == pytest.approx(50.0)
    x = torch.zeros(100, 1)
    for loss, chance in ((nn.CrossEntropyLoss(), 0.1), (nn.CrossEntropyLoss(weight=weights), 0.5)):
        module = nn.Linear(1, 2)
        fit(module, (x, which), loss=loss, epochs=300, batch=100, rate=0.05, optimizer="adam")
        assert float(module(x[:1]).softmax(1)[0, 1].detach()) == pytest.approx(chance, abs=5e-3)


def test_a_part_of_the_rows_is_held_out() -> None:
    x = torch.arange(100.0).reshape(100, 1)
    data = (x, 2 * x)
    train, held = split(data, 0.2, seed=3)
    seen = [torch.cat([source.batch(torch.arange(len(source)))[0]]) for source in (train, held)]  # type: ignore
    assert sorted(torch.cat(seen).flatten().tolist()) == x.flatten().tolist()
    assert [len(part) for part in seen] == [80, 20]
    nets = [nn.Linear(1, 1) for _ in range(4)]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    one = fit(nets[0], data, 0.2, epochs=3, seed=3, rate=1e-3)
    two = fit(nets[1], train, held, epochs=3, seed=3, rate=1e-3)
    three = fit(nets[2], (seen[0], 2 * seen[0]), (seen[1], 2 * seen[1]), epochs=3, seed=3, rate=1e-3)
    four = fit(nets[3], TensorDataset(*data), 0.2, epochs=3, seed=3, rate=1e-3)
    losses = [[(row.train, row.validate) for row in history.epochs] for history in (one, two, three, four)]
    assert losses[0] == losses[1] == losses[2] == losses[3]
    assert all(torch.equal(net.weight, nets[0].weight) for net in nets)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("classes")
    with ShardWriter(folder, Schema([Signal("u", 10**9), Signal("y", 10**9, role="target")])) as writer:
        x = torch.randn(20, 12, generator=torch.Generator().manual_seed(1))
        writer.write(range(20), {"u": x, "y": 2 * x})
    return Shards(folder)


def test_whole_lanes_are_held_out_and_windows_are_refused(shards: Shards) -> None:
    history = fit(nn.Linear(1, 1), Sequences(shards, ["u"], ["y"]), 0.25, epochs=80, rate=0.1)
    assert history.best.validate is not None and history.best.validate < 0.05
    with pytest.raises(RunError, match="windows, which overlap[\\s\\S]*split_by_lane"):
        fit(nn.Linear(1, 1), Windows(shards, ["u"], ["y"], length=1), 0.25, epochs=1)


def test_a_resumed_fine_tuning_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    images, which = pictures()
    words: dict[str, Any] = {
        "loss": nn.CrossEntropyLoss(weight=class_weights(which)), "layout": LAYOUT, "frozen": nn.BatchNorm2d,
        "batch": 16, "rate": 0.02, "schedule": "constant", "seed": 4,
    }  # fmt: skip
    whole, halves = Net(), Net()
    fit(whole, (images, which), 0.25, epochs=4, **words)
    fit(halves, (images, which), 0.25, epochs=2, checkpoint=tmp_path, **words)
    halves = Net()
    fit(halves, (images, which), 0.25, epochs=4, checkpoint=tmp_path, **words)
    assert equal(whole, halves)
    others: list[tuple[dict[str, Any], str]] = [
        ({"loss": nn.CrossEntropyLoss(weight=torch.ones(4))}, "loss: "), ({"frozen": "backbone"}, "frozen: "),
        ({"layout": Layout("hwc", "chw")}, "layout: "), ({"loss": "cross_entropy"}, "loss: "),
        ({"loss": nn.CrossEntropyLoss(weight=class_weights(which), label_smoothing=0.1)}, "loss: "),
    ]  # fmt: skip
    for changed, message in others:
        with pytest.raises(RunError, match=f"of another training run: .*{message}"):
            fit(Net(), (images, which), 0.25, epochs=4, checkpoint=tmp_path, **{**words, **changed})


def test_names_of_losses_do_not_depend_on_where_they_lie_in_memory() -> None:
    class Own:
        def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
            return (prediction - target).abs().mean()

    for make in (lambda: functools.partial(CROSS, label_smoothing=0.1), Own, nn.CrossEntropyLoss):
        assert named(make()) == named(make()) and " at 0x" not in named(make())
    assert named(functools.partial(CROSS, label_smoothing=0.1)) != named(functools.partial(CROSS, label_smoothing=0.2))


class Items(Dataset[Any]):
    """A torch Dataset whose items are what it is told."""

    def __init__(self, item: Any) -> None:
        self.item = item

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return self.item


def test_labels_of_a_dataset_may_be_plain_numbers() -> None:
    module = nn.Linear(3, 2)
    fit(module, Items((torch.ones(3), 1)), loss=CROSS, epochs=60, rate=0.1)
    assert evaluate(module, Items((torch.ones(3), 1)), loss=accuracy) == 1.0


ROWS = torch.zeros(6, 4)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "classes for squares": ({"train": (ROWS, torch.zeros(6).long()), "loss": nn.MSELoss()}, "a loss of classes"),
    "as many rows as classes": (
        {"train": (ROWS[:4], torch.zeros(4).long()), "loss": nn.functional.mse_loss}, "a loss of classes",
    ),
    "a class too many": ({"train": (ROWS, torch.arange(6) % 5)}, "class 4 among the targets, and 4 outputs"),
    "classes as floats": ({"train": (ROWS, torch.zeros(6))}, r"returned \(6, 4\)[\s\S]*numbers of classes are whole"),
    "other rows": (
        {"train": (torch.zeros(6, 5, 4), torch.zeros(6, 7).long())}, r"returned \(6, 5, 4\) for classes \(6, 7\)",
    ),
    "either axis": (
        {"train": (torch.zeros(6, 4, 4), torch.zeros(6, 4).long())}, "classes may stand second or last",
    ),
    "pictures as they are": (
        {"module": Net(), "train": (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2).long())},
        "inputs of torch.uint8 for a module of torch.float32[\\s\\S]*layout=Layout",
    ),
    "another layout": (
        {"module": Net(), "train": (torch.zeros(2, 8, 3), torch.zeros(2).long()), "layout": LAYOUT},
        r"fit: inputs: shape \(8, 3\)",
    ),
    "one row left over": (
        {"module": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "train": (ROWS[:5], torch.zeros(5).long()),
         "batch": 2}, "a batch of 1 row[\\s\\S]*another batch=",
    ),
    "weights of rows": (
        {"train": (ROWS, torch.zeros(6).long(), torch.full((6,), 0.5))},
        "numbers other than 0 and 1[\\s\\S]*class_weights",
    ),
    "no mean": (
        {"train": (ROWS, torch.zeros(6).long()), "loss": nn.CrossEntropyLoss(reduction="none")},
        r'the loss returned \(6,\)[\s\S]*reduction="mean"',
    ),
    "a loader": (
        {"train": DataLoader(TensorDataset(ROWS, ROWS), batch_size=3)}, r"a DataLoader[\s\S]*loader.dataset, batch=3",
    ),
    "dicts": ({"train": Items({"x": ROWS[0], "y": 1})}, "is a dict"),
    "four parts": ({"train": Items((ROWS[0],) * 4)}, "has 4 parts"),
    "words in a data set": ({"train": Items((ROWS[0], "cat"))}, "of Tensor, list|tuple"),
    "a part that is not there": (
        {"module": Net(), "frozen": "backbon"}, "frozen='backbon', which is no part[\\s\\S]*did you mean: backbone",
    ),
    "a type that is not there": ({"module": Net(), "frozen": nn.LSTM}, "frozen=LSTM"),
    "all frozen": ({"module": nn.Sequential(nn.Linear(4, 4)), "frozen": "0"}, "no parameters to train"),
    "a fraction": ({"validate": 1.5}, "a fraction 1.5"),
    "true": ({"validate": True}, "a fraction True"),
    "too small a fraction": ({"validate": 0.01}, "0.01 of 6 rows"),
    "text": ({"train": (ROWS, np.array(["cat"] * 6))}, "targets that are no tensor[\\s\\S]*return_inverse"),
    "two inputs": ({"train": ((ROWS, ROWS), torch.zeros(6).long())}, "inputs that are no tensor"),
    "one array": ({"train": ROWS}, r"one array \(6, 4\)"),
    "a loss that is no name": ({"loss": "crossentropy"}, "did you mean: cross_entropy"),
    "a class of losses": ({"loss": nn.CrossEntropyLoss}, r"loss=CrossEntropyLoss\(\)"),
    "an optimiser": (
        {"optimizer": torch.optim.Adam(nn.Linear(1, 1).parameters())}, "a function of the parameters to train",
    ),
    "a block": ({"module": "block"}, "a Network[\\s\\S]*block.module"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    from simdl import Network
    from simdl.errors import SimdlError

    words, message = WRONG[name]
    words = {"module": nn.Identity(), "train": (ROWS, torch.zeros(6).long()), "loss": CROSS, "epochs": 1, **words}
    if isinstance(words["module"], nn.Identity):
        words["module"] = nn.Linear(4, 4)
    if words["module"] == "block":
        make: Any = Network
        words["module"] = make(nn.Linear(4, 4), period=1)
    with pytest.raises(SimdlError) as error:
        fit(**words)
    assert re.search(message, str(error.value)), str(error.value)


def test_weights_of_classes_that_do_not_occur_are_refused() -> None:
    with pytest.raises(RunError, match="class 1 never occurs"):
        class_weights(torch.tensor([0, 2]))
    with pytest.raises(RunError, match="class 2 never occurs"):
        class_weights(torch.tensor([0, 1]), 3)
    with pytest.raises(RunError, match="numbers below 2"):
        class_weights(torch.tensor([0, 1, 2]), 2)
    with pytest.raises(RunError, match="numbers of classes"):
        class_weights(torch.tensor([0.5]))
