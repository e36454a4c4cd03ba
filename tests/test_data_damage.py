"""A byte that changed, or is gone, is named; what is whole stays readable; a writer can mend the rest."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl.data import Schema, Shards, ShardWriter, Signal
from simdl.data.jsonl import LONGEST, dumps, loads, seal, unseal
from simdl.errors import DataError

SCHEMA = Schema([Signal("x", 10**9, unit="V"), Signal("y", 10**9, role="target")], ["mass"], "abc", 3)
SIGNALS = {"x": torch.arange(12.0).reshape(6, 2), "y": torch.ones(6, 2)}
FLIPS = [1 << bit for bit in range(8)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with ShardWriter(folder, SCHEMA) as writer:
        for a in (0, 2, 4):
            batch = {name: value[a : a + 2] for name, value in SIGNALS.items()}
            writer.write([a, a + 1], batch, {"mass": torch.tensor([1.0, 2.0])})
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def shard(folder: Path, number: int) -> Path:
    return sorted(folder.glob("lanes-*.safetensors"))[number]


def test_every_flipped_bit_of_the_manifest_is_seen(copy: Path) -> None:
    path = copy / "manifest.jsonl"
    good = path.read_bytes()
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= FLIPS[at % 8]
        path.write_bytes(bad)
        line = good[:at].count(b"\n") + 1
        with pytest.raises(DataError) as error:
            Shards(copy)
        assert f"manifest.jsonl line {line}" in str(error.value), (at, str(error.value))


def test_the_manifest_cut_at_any_byte_never_loses_a_lane_silently(copy: Path) -> None:
    path = copy / "manifest.jsonl"
    good = path.read_bytes()
    ends = {len(b"".join(good.splitlines(keepends=True)[:k])) for k in range(6)}
    for size in range(len(good)):
        path.write_bytes(good[:size])
        if size in ends and size > 0:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                shards = Shards(copy)
            assert not shards.complete
            assert caught or len(shards) == 6, "lanes that no line names are said"
        else:
            with pytest.raises(DataError, match="cut off|header is corrupt|manifest is empty"):
                Shards(copy)


@pytest.mark.parametrize("keep", [0.35, 0.5, 0.7, 0.9, 0.999])
def test_a_writer_mends_a_cut_manifest(copy: Path, whole: Path, keep: float) -> None:
    path = copy / "manifest.jsonl"
    good = path.read_bytes()
    path.write_bytes(good[: max(int(len(good) * keep), good.index(b"\n") + 1)])
    with ShardWriter(copy, SCHEMA) as writer:
        assert writer.done == set(range(6)) and writer.notes
    assert Shards(copy).content_hash() == Shards(whole).content_hash() and Shards(copy).complete


def test_every_flipped_byte_of_a_shard_is_seen(copy: Path) -> None:
    path = shard(copy, 1)
    good = path.read_bytes()
    rest = torch.cat([SIGNALS["x"][:2], SIGNALS["x"][4:]])
    for at in range(len(good)):  # the length, the header, its padding, every tensor
        bad = bytearray(good)
        bad[at] ^= FLIPS[at % 8]
        path.write_bytes(bad)
        with pytest.raises(DataError, match=rf"{path.name}: the shard is corrupt: .*it holds lanes 2-3"):
            Shards(copy).signal("x")
        if at % 50 == 0:
            assert torch.equal(Shards(copy).only([0, 1, 4, 5]).signal("x"), rest)


def test_every_length_of_a_truncated_shard_is_seen(copy: Path) -> None:
    path = shard(copy, 2)
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(DataError) as error:
            Shards(copy).row("x", 5)
        assert f"{path.name}: the shard is truncated: {size} bytes; it holds lanes 4-5" in str(error.value)
        assert f"expected: {len(good)} bytes" in str(error.value) and "skip_corrupt=True" in str(error.value)


def test_bytes_after_the_end_of_a_shard_are_seen(copy: Path) -> None:
    with shard(copy, 0).open("ab") as file:
        file.write(b"PK\x03\x04")
    with pytest.raises(DataError, match="the shard has grown"):
        Shards(copy).row("x", 0)


def test_the_rest_is_readable_and_the_loss_is_said(copy: Path) -> None:
    shard(copy, 0).write_bytes(b"")
    shard(copy, 1).unlink()
    shards = Shards(copy)  # nothing is touched yet
    assert torch.equal(shards.row("x", 4), SIGNALS["x"][4])
    verdict = shards.verify()
    assert not verdict and len(verdict.faults) == 2
    assert "truncated: 0 bytes; it holds lanes 0-1" in str(verdict) and "is missing; it holds lanes 2-3" in str(verdict)
    with pytest.warns(UserWarning, match="is not whole: .*lanes-000000000.*truncated.*lanes-000000002.*missing"):
        rest = Shards(copy, skip_corrupt=True)
    assert rest.lanes.tolist() == [4, 5] and torch.equal(rest.signal("x"), SIGNALS["x"][4:])
    assert not rest.complete and len(rest.skipped) == 2 and not rest.verify()


def test_damaged_lines_can_be_skipped(copy: Path) -> None:
    path = copy / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"count", b"COUNT") + b"".join(lines[2:]))
    with pytest.raises(DataError, match="manifest.jsonl line 2: the line has changed"):
        Shards(copy)
    with pytest.raises(DataError, match="line 2.*\n.*repair=True"):
        ShardWriter(copy, SCHEMA)
    with pytest.warns(UserWarning, match="line 2.*1 shards without a line"):
        assert Shards(copy, skip_corrupt=True).lanes.tolist() == [2, 3, 4, 5]


def test_repair_brings_back_what_is_whole_and_asks_for_the_rest(copy: Path, whole: Path) -> None:
    path = copy / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"count", b"COUNT") + b"".join(lines[2:]))
    shard(copy, 2).write_bytes(b"x" * 10)
    with ShardWriter(copy, SCHEMA, repair=True) as writer:
        assert writer.todo(range(6)) == [4, 5]
        assert sum("set aside" in note for note in writer.notes) == 1
        writer.write([4, 5], {k: v[4:] for k, v in SIGNALS.items()}, {"mass": torch.tensor([1.0, 2.0])})
    assert Shards(copy).content_hash() == Shards(whole).content_hash() and Shards(copy).verify()


def test_a_lane_in_two_shards_is_refused(copy: Path) -> None:
    path = copy / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], lines[1]]))
    with pytest.raises(DataError, match="line 5: lanes-.* repeats lanes 0-1 of lanes-"):
        Shards(copy)


def test_a_line_cannot_point_outside_the_folder(copy: Path) -> None:
    path = copy / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    record = unseal(lines[1], "")
    for name in ("../../etc/passwd", "/etc/passwd", "a\\b"):
        path.write_bytes(lines[0] + seal({**record, "file": name}))
        with pytest.raises(DataError, match="the entry cannot be read"):
            Shards(copy)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON), st.data())
def test_a_sealed_line_reads_back_and_no_flip_of_it_does(record: dict[str, object], data: st.DataObject) -> None:
    record.pop("check", None)
    line = seal(record)
    assert unseal(line, "here") == record and line.count(b"\n") == 1
    bad = bytearray(line)
    bad[data.draw(st.integers(0, len(line) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DataError, match="^here: "):
        unseal(bytes(bad), "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not readable as JSON"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[" * 100 + b"]" * 100, "nested too deeply\n  expected: at most 64 levels"),
        (b"\xff\xfe", "not readable as JSON"),
        (b" " * (LONGEST + 1), "bytes of JSON"),
        (b"", "not readable as JSON"),
    ],
)
def test_json_that_other_readers_swallow_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        loads(text, "here")


def test_nan_is_not_written() -> None:
    with pytest.raises(ValueError):
        dumps({"a": float("nan")})
