"""A run that was killed, or asked to stop, ends with the same weights as one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from simdl.errors import DataError, RunError
from simdl.learn import Epoch, History, Interrupted, fit
from simdl.learn.checkpoint import load_checkpoint, save_checkpoint
from simdl.networks.weights import load_weights
from tests.forked import Parent, parent

# Everything that has a state: recurrent pieces, dropout, batch statistics, momentum, augmentation, clipping, patience.
PROGRAM = """
import sys, torch
from torch import nn
from simdl.learn import fit, QuarticLoss

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.norm = nn.GRU(2, 6, batch_first=True), nn.BatchNorm1d(6)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(6, 1)
    def forward(self, x, state=None):
        y, state = self.cell(x, state)
        return self.head(self.drop(self.norm(y.transpose(1, 2)).transpose(1, 2))), state

def jitter(batch, generator):
    return batch[0] + 0.1 * torch.randn(batch[0].shape, generator=generator), *batch[1:]

torch.set_num_threads(1)
g = torch.Generator().manual_seed(0)
x = torch.randn(40, 30, 2, generator=g)
y = x.cumsum(1)[..., :1].tanh()
torch.manual_seed(1)
net = Net()
torch.manual_seed(int(sys.argv[2]))      # a resumed process may be in any state
def told(row, module):
    print(row.epoch, flush=True)
history = fit(net, (x[:32], y[:32]), (x[32:], y[32:]), epochs=12, batch=5, rate=0.01, truncation=10, warmup=4, clip=0.5,
              loss=QuarticLoss(0.3), augment=jitter, on_epoch=told, checkpoint=sys.argv[1], save_every=0.0, seed=9)
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    modules = "simdl.learn", "torch._dynamo"  # the second is what the first optimiser of a process imports
    with parent(tmp_path_factory.mktemp("learner"), *modules) as found:
        yield found


def trained(
    learner: Parent, folder: Path, number: int, delay: float | None = None, how: int = signal.SIGKILL
) -> tuple[int, str, str]:
    """Run the training in a process of its own; stop it `delay` seconds after its first sign of life."""

    def stop(process: int) -> None:
        deadline = time.monotonic() + 60
        while not (folder / "log.jsonl").exists() and running(process) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay or 0.0)
        with suppress(ProcessLookupError):
            os.kill(process, how)

    return learner.run(PROGRAM, str(folder), str(number), meanwhile=None if delay is None else stop)


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def undisturbed(learner: Parent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    code, out, err = trained(learner, folder, 0)
    assert code == 0 and out.endswith("done\n"), err
    return folder


def assert_same(folder: Path, undisturbed: Path) -> None:
    ours, theirs = load_weights(folder / "best.safetensors"), load_weights(undisturbed / "best.safetensors")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    last = [load_checkpoint(path / "checkpoint.safetensors")["module"] for path in (folder, undisturbed)]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])
    rows = [
        [(r.epoch, r.train, r.validate, r.gradient, r.rate) for r in History.read(path).epochs]
        for path in (folder, undisturbed)
    ]
    assert rows[0] == rows[1], "every epoch once, with the same numbers"


def test_killed_and_killed_again_it_ends_with_the_same_weights(
    tmp_path: Path, learner: Parent, undisturbed: Path
) -> None:
    rng, kills, folder = random.Random(7), 0, tmp_path / "run"
    for attempt in range(1, 40):
        code, out, err = trained(learner, folder, attempt, rng.uniform(0.0, 0.8))
        assert code in (0, -signal.SIGKILL), err
        kills += code != 0
        if code == 0:
            break
        if kills == 4:
            code, out, err = trained(learner, folder, attempt + 1)
            assert code == 0, err
            break
    assert kills >= 2
    assert_same(folder, undisturbed)
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(
    tmp_path: Path, learner: Parent, undisturbed: Path, how: signal.Signals
) -> None:
    folder = tmp_path / "run"
    code, out, err = trained(learner, folder, 1, 0.1, how)
    assert code != 0 and "done" not in out
    assert "stopping after this batch; once more stops at once" in err
    assert f"training stopped by {how.name} in epoch " in err and f"saved in {folder}; the same call goes on" in err
    code, out, err = trained(learner, folder, 2)
    assert code == 0, err
    assert_same(folder, undisturbed)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 1))


def data(count: int = 24) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    return x, x.sum(1, keepdim=True)


class Stop(Exception):
    pass


def stop_at(epoch: int) -> object:
    def callback(row: Epoch, module: nn.Module) -> None:
        if row.epoch == epoch:
            raise Stop

    return callback


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 8), max_size=4), st.sampled_from(["adamw", "adam", "sgd"]), st.booleans())
def test_any_series_of_failures_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], optimizer: str, momentum: bool
) -> None:
    def make(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.02, momentum=0.9, nesterov=True)  # type: ignore[arg-type]

    folder, words = tmp_path_factory.mktemp("stops"), {"epochs": 8, "batch": 7, "seed": 3, "save_every": 0.0}
    chosen = make if momentum else optimizer
    whole = net()
    fit(whole, data(), optimizer=chosen, **words)  # type: ignore[arg-type]
    for epoch in stops:
        try:
            fit(net(), data(), optimizer=chosen, checkpoint=folder, on_epoch=stop_at(epoch), **words)  # type: ignore[arg-type]
        except Stop:
            pass
    again = net()
    fit(again, data(), optimizer=chosen, checkpoint=folder, **words)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))


def test_ctrl_c_here_raises_what_stops_the_caller_too(tmp_path: Path) -> None:
    def press(row: Epoch, module: nn.Module) -> None:
        if row.epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        KeyboardInterrupt, match="stopped by SIGINT in epoch 4.*nothing was saved: pass checkpoint="
    ) as error:
        fit(net(), data(), epochs=9, on_epoch=press)
    assert isinstance(error.value, Interrupted) and len(error.value.history.epochs) == 3
    assert error.value.history.stopped == "interrupted" and signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT after its end"):  # nothing more was to do, but still
        fit(net(), data(), epochs=3, on_epoch=press, checkpoint=tmp_path)
    assert fit(net(), data(), epochs=3, checkpoint=tmp_path).stopped == "epochs"


def test_a_finished_run_is_not_repeated_but_may_go_further(tmp_path: Path) -> None:
    first, seen = net(), []
    fit(first, data(), epochs=5, checkpoint=tmp_path, schedule="constant")
    again = net()
    history = fit(
        again, data(), epochs=5, checkpoint=tmp_path, schedule="constant", on_epoch=lambda r, m: seen.append(r.epoch)
    )
    assert not seen and len(history.epochs) == 5
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values()))
    further, whole = net(), net()
    fit(further, data(), epochs=8, checkpoint=tmp_path, schedule="constant", on_epoch=lambda r, m: seen.append(r.epoch))
    fit(whole, data(), epochs=8, schedule="constant")
    assert seen == [6, 7, 8]
    assert all(torch.equal(a, b) for a, b in zip(further.state_dict().values(), whole.state_dict().values()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"batch": 5}, "batch: 64 there, 5 now"),
        ({"rate": 0.5}, r"optimizer: AdamW at \[0.001\].* there, AdamW at \[0.5\]"),
        ({"train": data(23)}, "training data: "),
        ({"validate": data(4)}, "validation data: None there"),
        ({"module": nn.Linear(3, 1)}, "module: "),
        ({"schedule": "linear"}, "schedule: Cosine"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(tmp_path: Path, words: dict[str, object], message: str) -> None:
    common = {"module": net(), "train": data(), "epochs": 2, "checkpoint": tmp_path}
    fit(**common)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=f"the checkpoint is of another training run: .*{message}") as error:
        fit(**{**common, **words})  # type: ignore[arg-type]
    assert "resume=False to start again" in error.value.fix
    fit(**{**common, **words, "resume": False})  # type: ignore[arg-type]


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    def second(row: Epoch, module: nn.Module) -> None:
        with pytest.raises(DataError, match="already open for writing in this process"):
            fit(net(), data(), epochs=1, checkpoint=tmp_path)

    fit(net(), data(), epochs=1, checkpoint=tmp_path, on_epoch=second)
    fit(net(), data(), epochs=1, checkpoint=tmp_path)


TREE = {
    "a": torch.arange(5),
    "deep": {"b": [torch.ones(2, dtype=torch.float64), (1, 2.5, None, True)], 3: "x"},
    "empty": {},
    "none": None,
    "scalar": torch.tensor(2.0),
    "shared": torch.ones(2),
}


def test_a_checkpoint_is_a_tree_that_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, TREE)
    found = load_checkpoint(path)
    assert torch.equal(found["a"], TREE["a"]) and found["deep"]["b"][1] == (1, 2.5, None, True)
    assert found["deep"][3] == "x" and found["empty"] == {} and found["scalar"].shape == ()
    with pytest.raises(RunError, match="deep.f is a function"):
        save_checkpoint(path, {"deep": {"f": stop_at}})
    assert load_checkpoint(path).keys() == TREE.keys(), "the old one is still there"


def test_every_changed_byte_of_a_checkpoint_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, TREE)
    good = path.read_bytes()
    for at in range(len(good)):
        for bad in (good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :], good[:at]):
            path.write_bytes(bad)
            with pytest.raises(RunError, match="the checkpoint|not a checkpoint") as error:
                load_checkpoint(path)
            assert "delete c.safetensors to start again" in error.value.fix


def test_a_damaged_checkpoint_stops_the_run_with_a_way_out(tmp_path: Path) -> None:
    fit(net(), data(), epochs=2, checkpoint=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="checkpoint.safetensors: the checkpoint is damaged: truncated"):
        fit(net(), data(), epochs=2, checkpoint=tmp_path)
    assert fit(net(), data(), epochs=2, checkpoint=tmp_path, resume=False).stopped == "epochs"


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    fit(net(), data(), epochs=2, checkpoint=tmp_path)
    log = tmp_path / "log.jsonl"
    text = log.read_text()
    log.write_text(text[:-20])
    with pytest.raises(RunError, match=r"log.jsonl line 4: not readable as JSON"):
        History.read(tmp_path)
    log.write_text(json.dumps({"kind": "epoch", "epoch": 1}) + "\n")
    with pytest.raises(RunError, match="log.jsonl line 1: .*\n  expected: a record written by fit"):
        History.read(log)
    with pytest.raises(RunError, match="cannot be read: No such file"):
        History.read(tmp_path / "nowhere.jsonl")
