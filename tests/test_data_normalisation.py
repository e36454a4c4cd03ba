"""Statistics merge to those of the whole, and read back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl.data import Normalisation, Schema, Shards, ShardWriter, Signal
from simdl.errors import DataError


def write(folder: Path, x: torch.Tensor, cuts: list[int]) -> Shards:
    edges = [0, *cuts, len(x)]
    schema = Schema([Signal("x", 1, dtype="float64", unit="V"), Signal("v", 1, shape=(2,), unit="m/s"), Signal("c", 1)])
    with ShardWriter(folder, schema) as writer:
        for a, b in zip(edges, edges[1:]):
            part = x[a:b]
            signals = {"x": part, "v": torch.stack([part, 2 * part + 1], -1), "c": torch.full(part.shape, 0.1)}
            writer.write(list(range(a, b)), signals)
    return Shards(folder)


@settings(max_examples=25, deadline=None)
@given(cuts=st.sets(st.integers(1, 9), max_size=5), mean=st.sampled_from([0.0, 1.0, 1e6]), seed=st.integers(0, 2**31))
def test_any_cut_gives_the_statistics_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], mean: float, seed: int
) -> None:
    x = mean + torch.randn(10, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    norm = Normalisation.of(write(tmp_path_factory.mktemp("n"), x, sorted(cuts)), ["x"])
    whole = x.numpy().astype(np.longdouble)
    assert norm.count == 500 and norm.low == (x.min().item(),) and norm.high == (x.max().item(),)
    assert norm.mean[0] == pytest.approx(float(whole.mean()), rel=1e-14)
    # The textbook sum of squares would lose 12 of 16 digits at mean 1e6.
    assert norm.std[0] == pytest.approx(float(whole.std()), rel=1e-12 * max(mean, 1.0) ** 0.5)


def test_vectors_have_a_feature_each_and_names_may_change(tmp_path: Path) -> None:
    norm = Normalisation.of(write(tmp_path, torch.randn(4, 30), [2]), {"voltage": "x", "speed": "v", "c": "c"})
    assert norm.names == ("voltage", "speed[0]", "speed[1]", "c") and norm.units == ("V", "m/s", "m/s", "")
    assert norm.std[2] == pytest.approx(2 * norm.std[1], rel=1e-6)
    assert norm.scale[3] == 1.0  # never changes
    assert "voltage: " in repr(norm) and repr(norm).startswith("Normalisation over 120 samples")


def test_apply_and_undo_are_inverse_and_standard(tmp_path: Path) -> None:
    shards = write(tmp_path, 3 + 7 * torch.randn(8, 40, dtype=torch.float64), [3, 5])
    norm = Normalisation.of(shards, ["x", "c"])
    table = torch.stack([shards.signal("x"), shards.signal("c").double()], -1)
    z = norm.apply(table)
    torch.testing.assert_close(norm.undo(z), table)
    assert abs(z[..., 0].mean()) < 1e-12 and z[..., 0].std(correction=0) == pytest.approx(1)
    assert norm.apply(table.float()).dtype == torch.float32
    with pytest.raises(DataError, match=r"values \(8, 40, 3\)\n  expected: \(…, 2\): \('x', 'c'\)"):
        norm.apply(torch.ones(8, 40, 3))


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    norm = Normalisation.of(write(tmp_path / "a", torch.randn(4, 30), [2]), ["x", "v"])
    norm.save(tmp_path / "norm.json")
    assert Normalisation.load(tmp_path / "norm.json") == norm
    assert norm.pick(["v[1]", "x"]).names == ("v[1]", "x") and norm.pick(["v[1]", "x"]).mean == norm.mean[2::-2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "the normalisation cannot be read: KeyError"),
        ("[1]", "cannot be read"),
        ('{"names":["a"],"mean":[NaN],"std":[1],"low":[0],"high":[1],"units":[""],"count":3}', "NaN is not a number"),
        ('{"names":["a"],"mean":[0],"std":[1,2],"low":[0],"high":[1],"units":[""],"count":3}', "do not match"),
        ('{"names":["a"],"mean":[0],"std":[-1],"low":[0],"high":[1],"units":[""],"count":3}', "do not match"),
        (
            '{"names":["a","a"],"mean":[0,0],"std":[1,1],"low":[0,0],"high":[1,1],"units":["",""],"count":3}',
            "not match",
        ),
    ],
)
def test_a_file_that_is_no_normalisation_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "norm.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Normalisation.load(tmp_path / "norm.json")
    with pytest.raises(DataError, match="nowhere.json: cannot be read"):
        Normalisation.load(tmp_path / "nowhere.json")


def test_an_unknown_feature_is_named(tmp_path: Path) -> None:
    norm = Normalisation.of(write(tmp_path, torch.randn(2, 3), []), ["x", "v"])
    with pytest.raises(DataError, match=r"no feature 'v\[3\]'\n  did you mean: v\[[01]\]\n  names: x, v\[0\], v\[1\]"):
        norm.pick(["v[3]"])
    with pytest.raises(DataError, match="features"):
        norm.merge(norm.pick(["x"]))
