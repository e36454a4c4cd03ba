"""Windows and sequences hold the samples that the definition says, however they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.data import DataLoader

from simdl.data import Normalisation, Schema, Sequences, Shards, ShardWriter, Signal, Windows
from simdl.errors import DataError

S = 10**9
LANES, SAMPLES = 5, 12


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Signals at 1 s, a target at 4 s, one at 0.5 s that starts late, an image; value = 1000 lane + sample."""
    folder = tmp_path_factory.mktemp("windows")
    schema = Schema(
        [
            Signal("u", S, unit="V"),
            Signal("f", S, shape=(2,)),
            Signal("ok", S, role="label", dtype="bool"),
            Signal("y", S, role="target"),
            Signal("slow", 4 * S, role="target"),
            Signal("fast", S // 2, start_ns=S),
            Signal("image", S, dtype="uint8", shape=(1, 2, 2)),
        ]
    )
    with ShardWriter(folder, schema) as writer:
        for lanes in ([0, 1], [2], [3, 4]):
            lane = 1000.0 * torch.tensor(lanes)[:, None]
            u = lane + torch.arange(SAMPLES)
            writer.write(
                lanes,
                {
                    "u": u,
                    "f": torch.stack([u + 0.25, u + 0.5], -1),
                    "y": -u,
                    "ok": u % 3 != 0,
                    "slow": lane + 4 * torch.arange(SAMPLES // 4),
                    "fast": lane + torch.arange(1, SAMPLES, 0.5)[: 2 * SAMPLES - 2],
                    "image": (u % 251).to(torch.uint8)[..., None, None, None].expand(-1, -1, 1, 2, 2),
                },
            )
    return Shards(folder)


def by_definition(lane: int, last: int, length: int, fill: str) -> list[float]:
    """The window of `u` that ends at sample `last`, in plain Python."""
    samples = range(last - length + 1, last + 1)
    return [1000.0 * lane + max(k, 0) if k >= 0 or fill == "hold" else 0.0 for k in samples]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 9),
    hop=st.integers(1, 5),
    horizon=st.integers(0, 3),
    fill=st.sampled_from(["none", "hold", "zeros"]),
    target=st.sampled_from(["last", "all"]),
    memory=st.sampled_from([0, 2**30]),
    data=st.data(),
)
def test_windows_are_those_of_the_definition(
    shards: Shards, length: int, hop: int, horizon: int, fill: str, target: str, memory: int, data: st.DataObject
) -> None:
    windows = Windows(
        shards,
        ["u"],
        ["y"],
        length=length,
        hop=hop,
        fill=fill,
        horizon=horizon,
        target=target,
        dtype=torch.float64,
        memory=memory,
    )  # type: ignore[arg-type]
    ends = range(0 if fill != "none" else length - 1, SAMPLES - horizon, hop)
    every = [(lane, end) for lane in range(LANES) for end in ends]
    assert len(windows) == len(every)
    index = data.draw(st.integers(0, len(every) - 1))
    lane, end = every[index]
    x, y = windows[index]
    assert x[:, 0].tolist() == by_definition(lane, end, length, fill)
    if target == "last":
        assert y.tolist() == [-(1000.0 * lane + end + horizon)]
    else:
        assert (-y[:, 0]).tolist() == by_definition(lane, end + horizon, length, fill)
    assert windows.lane_of(index) == lane
    assert torch.equal(windows[index - len(windows)][0], x)


@pytest.mark.parametrize("fill", ["none", "hold", "zeros"])
@pytest.mark.parametrize("target", ["last", "all"])
def test_memory_decides_the_speed_not_the_values(shards: Shards, fill: str, target: str) -> None:
    norm = Normalisation.of(shards, ["u", "f", "slow"])
    pair = [
        Windows(
            shards.only([4, 0, 2]),
            ["u", "f"],
            ["slow"],
            length=5,
            hop=2,
            fill=fill,
            target=target,
            every_ns=S,
            normalise=norm,
            memory=memory,
        )
        for memory in (0, 2**30)
    ]  # type: ignore[arg-type]
    index = torch.randperm(len(pair[0]))
    for a, b in zip(pair[0].batch(index), pair[1].batch(index)):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    sequences = [Sequences(shards, ["u", "f"], ["slow"], every_ns=S, normalise=norm, memory=m) for m in (0, 2**30)]
    for a, b in zip(sequences[0].batch(torch.tensor([3, 1])), sequences[1].batch(torch.tensor([3, 1]))):
        assert torch.equal(a, b)


def test_zeros_stand_before_normalisation(shards: Shards) -> None:
    norm = Normalisation.of(shards, ["u", "y"])
    x, _ = Windows(shards, ["u"], ["y"], length=4, fill="zeros", normalise=norm)[0]
    torch.testing.assert_close(norm.pick(["u"]).undo(x)[:, 0], torch.zeros(4), atol=1e-3, rtol=0)


def test_sequences_are_whole_lanes(shards: Shards) -> None:
    sequences = Sequences(shards, ["u", "f"], {"minus": "y"}, mask="ok")
    x, y, ok = sequences[3]
    assert x[:, 0].tolist() == [3000.0 + k for k in range(SAMPLES)] and (y[:, 0] == -x[:, 0]).all()
    assert ok.tolist() == [(3000 + k) % 3 != 0 for k in range(SAMPLES)] and ok.dtype == torch.bool
    assert sequences.inputs.features == ("u", "f[0]", "f[1]") and sequences.targets.features == ("minus",)
    assert repr(sequences) == "Sequences(5 lanes × 12 samples every 1 s: u, f[0], f[1] → minus)"
    shapes = [tuple(x.shape) for x, _, _ in sequences.batches(2)]
    assert shapes == [(2, 12, 3), (2, 12, 3), (1, 12, 3)]


def test_the_order_is_decided_by_seed_and_epoch(shards: Shards) -> None:
    sequences = Sequences(shards, ["u"], ["y"])

    def lanes(seed: int, epoch: int) -> list[float]:
        return [float(x[0, 0]) for b in sequences.batches(2, shuffle=True, seed=seed, epoch=epoch) for x in b[0]]

    torch.manual_seed(1)
    first = lanes(0, 0)
    torch.manual_seed(2)
    assert first == lanes(0, 0) and sorted(first) == [0, 1000, 2000, 3000, 4000]
    assert len({tuple(lanes(seed, epoch)) for seed in range(3) for epoch in range(3)}) > 5


def test_slower_signals_are_held_and_faster_ones_read(shards: Shards) -> None:
    x, y = Sequences(shards, ["u", "fast"], ["slow"], every_ns=S)[1]  # starts at 1 s, where `fast` does
    assert (x[:, 0] == x[:, 1]).all() and x[0, 0] == 1001 and len(x) == SAMPLES - 1
    assert y[:, 0].tolist() == [1000 + 4 * ((k + 1) // 4) for k in range(SAMPLES - 1)]
    x, y = Sequences(shards, ["fast"], ["slow"], every_ns=4 * S)[0]
    assert x[:, 0].tolist() == [1, 5, 9] and y[:, 0].tolist() == [0, 4, 8]


def test_several_rates_must_be_meant(shards: Shards) -> None:
    with pytest.raises(
        DataError, match="u every 1 s, slow every 4 s\n.*\n  fix: pass every_ns=4000000000 .* or 1000000000"
    ):
        Sequences(shards, ["u"], ["slow"])
    with pytest.raises(DataError, match="slow has a sample every 4000000000 ns\n.*every_ns=3000000000"):
        Sequences(shards, ["u"], ["slow"], every_ns=3 * S)


def test_dicts_keep_shapes_and_types(shards: Shards) -> None:
    windows = Windows(shards, ["image", "u"], {"soc": "y"}, length=3, hop=2, fill="zeros", form="dict")
    item = windows[windows.per_lane * 2]
    assert item["inputs"]["image"].shape == (3, 1, 2, 2) and item["inputs"]["image"].dtype == torch.uint8
    assert item["inputs"]["u"].tolist() == [0, 0, 2000] and item["targets"]["soc"].shape == ()
    batch = next(iter(DataLoader(windows, batch_size=4)))
    assert batch["inputs"]["image"].shape == (4, 3, 1, 2, 2)
    with pytest.raises(DataError, match=r'image has shape \(1, 2, 2\)\n.*\n  fix: .*form="dict"'):
        Windows(shards, ["image"], ["y"], length=3)


def test_a_loader_with_spawned_workers_sees_the_same(shards: Shards) -> None:
    windows = Windows(shards, ["u", "f"], ["y"], length=4, fill="hold")
    windows.batch(torch.tensor([0]))  # fills the memory that must not travel
    loader = DataLoader(windows, batch_size=16, num_workers=2, multiprocessing_context="spawn")
    mine = DataLoader(windows, batch_size=16)
    for (a, b), (x, y) in zip(loader, mine, strict=True):
        assert torch.equal(a, x) and torch.equal(b, y)


def test_what_a_deployed_network_cannot_read_is_no_input(shards: Shards) -> None:
    with pytest.raises(
        DataError, match="the label 'ok' is among the inputs\n.*\n  fix: .*allow=\\[\"ok\"\\]\n  names: u, f"
    ):
        Sequences(shards, ["u", "ok"], ["y"])
    with pytest.raises(DataError, match="the target 'y' is among the inputs"):
        Windows(shards, ["y"], ["slow"], length=2, every_ns=S)
    with pytest.raises(DataError, match="the target 'u' is among the inputs"):
        Windows(shards, ["u"], ["u"], length=2)
    assert Windows(shards, ["y"], ["y"], length=2, horizon=1, allow=["y"])[0][1].item() == -2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"length": 0}, "length=0\n  expected: a whole number of samples, at least 1"),
        ({"length": 2.5}, "length=2.5"),
        ({"length": 3, "hop": 0}, "hop=0"),
        ({"length": 3, "fill": "zero"}, "fill='zero'\n  did you mean: zeros"),
        ({"length": 13}, "no window of 13 samples with horizon 0 in 5 lanes of 12\n.*\n  fix: shorter windows"),
        ({"length": 3, "inputs": ["v"]}, "no signal 'v'\n.*names: u, f"),
        ({"length": 3, "inputs": "u"}, "the text 'u'\n  expected: a list"),
        ({"length": 3, "inputs": []}, r"columns \[\]"),
    ],
)
def test_wrong_words_are_named(shards: Shards, words: dict[str, object], message: str) -> None:
    import re

    with pytest.raises(DataError) as error:
        Windows(shards, **{"inputs": ["u"], "targets": ["y"], **words})  # type: ignore[arg-type]
    assert re.search(message, str(error.value), re.S), str(error.value)


def test_a_damaged_shard_is_named_from_a_window(shards: Shards, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(shards.folder, tmp_path / "copy"))
    path = sorted(folder.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:-1])
    windows = Windows(Shards(folder), ["u"], ["y"], length=3, memory=0)
    assert windows[0][0].shape == (3, 1)
    with pytest.raises(DataError, match=f"{path.name}: the shard is truncated"):
        windows[2 * windows.per_lane]


def test_the_fingerprint_tells_data_apart(shards: Shards) -> None:
    def sequences(**words: object) -> str:
        return Sequences(shards, **{"inputs": ["u"], "targets": ["y"], **words}).fingerprint()  # type: ignore[arg-type]

    assert sequences() == sequences() and sequences(memory=0) == sequences()
    others = {
        sequences(inputs=["f"]),
        sequences(dtype=torch.float64),
        sequences(inputs={"v": "u"}),
        sequences(normalise=Normalisation.of(shards, ["u", "y"])),
        Sequences(shards.only([0, 1]), ["u"], ["y"]).fingerprint(),
        Windows(shards, ["u"], ["y"], length=2).fingerprint(),
        Windows(shards, ["u"], ["y"], length=3).fingerprint(),
    }
    assert len(others | {sequences()}) == 8
