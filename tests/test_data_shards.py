"""A data set reads back what was written, however it was cut, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl.data import Entry, Joined, Parameter, Schema, Shards, ShardWriter, Signal, store
from simdl.errors import DataError

SECOND = 10**9
SCHEMA = Schema(
    [
        Signal("cell.voltage", SECOND, unit="V"),
        Signal("force", SECOND, unit="N", dtype="float64", shape=(3,)),
        Signal("soc", 10 * SECOND, role="target"),
        Signal("mode", SECOND, role="label", dtype="uint8"),
    ],
    [Parameter("cell.mass", "kg"), Parameter("cycle", dtype="int64")],
    diagram="d" * 64,
    seed=7,
)


def values(lanes: list[int]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Signals and parameters that depend on the lane's number alone."""
    rows = []
    for lane in lanes:
        g = torch.Generator().manual_seed(lane)
        rows.append(
            (
                torch.randn(40, generator=g),
                torch.randn(40, 3, generator=g).double(),
                torch.rand(4, generator=g),
                torch.randint(0, 5, (40,), generator=g).to(torch.uint8),
                torch.rand(1, generator=g)[0].double(),
            )
        )
    v, f, s, m, p = (torch.stack(column) for column in zip(*rows))
    return {"cell.voltage": v, "force": f, "soc": s, "mode": m}, {"cell.mass": p, "cycle": torch.tensor(lanes) % 3}


def write(folder: Path, *batches: list[int]) -> Shards:
    with ShardWriter(folder, SCHEMA) as writer:
        for lanes in batches:
            writer.write(torch.tensor(lanes), *values(lanes))
    return Shards(folder)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    shards = write(tmp_path, [0, 1, 2], [7, 5])
    signals, params = values([0, 1, 2, 7, 5])
    assert shards.lanes.tolist() == [0, 1, 2, 7, 5] and shards.complete and len(shards) == 5
    for name, value in signals.items():
        assert torch.equal(shards.signal(name), value) and shards.signal(name).dtype == value.dtype
        assert torch.equal(shards.row(name, 3), value[3])
    for name, value in params.items():
        assert torch.equal(shards.params[name], value)
    assert shards.seeds.tolist() == [7] * 5
    assert shards.schema == SCHEMA
    assert shards.verify() and str(shards.verify()) == "2 shards, 5 lanes, complete, no faults"
    assert repr(shards) == "Shards(5 lanes in 2 shards, complete: cell.voltage V, force N, soc, mode)"


def test_a_view_has_its_lanes_in_the_asked_order(tmp_path: Path) -> None:
    view = write(tmp_path, [0, 1, 2], [7, 5]).only([5, 2, 0])
    signals, params = values([5, 2, 0])
    assert torch.equal(view.signal("force"), signals["force"]) and torch.equal(view.param("cycle"), params["cycle"])
    assert view.only([2]).lanes.tolist() == [2]
    with pytest.raises(DataError, match=r"no lane 9\n  expected: lanes 0, 2, 5"):
        view.only([9])


@settings(max_examples=20, deadline=None)
@given(st.permutations(list(range(8))), st.lists(st.integers(1, 7), max_size=4))
def test_content_does_not_depend_on_how_lanes_are_cut(
    tmp_path_factory: pytest.TempPathFactory, lanes: list[int], cuts: list[int]
) -> None:
    edges = [0, *sorted(set(cuts)), 8]
    shards = write(tmp_path_factory.mktemp("cut"), *[lanes[a:b] for a, b in zip(edges, edges[1:])])
    whole = write(tmp_path_factory.mktemp("whole"), list(range(8)))
    assert shards.content_hash() == whole.content_hash()
    assert shards.only(range(7)).content_hash() != whole.content_hash()


def test_the_same_lanes_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a", [3, 4], [1])
    write(tmp_path / "b", [3, 4], [1])
    names = sorted(path.name for path in (tmp_path / "a").iterdir() if path.name != ".lock")
    assert len(names) == 3
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_own_seeds_are_kept(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA) as writer:
        writer.write([4, 2], *values([4, 2]), seeds=[-5, 2**62])
    assert Shards(tmp_path).only([2, 4]).seeds.tolist() == [2**62, -5]


def test_going_on_after_a_stop(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, SCHEMA)
    writer.write([0, 1], *values([0, 1]))
    writer.close()
    assert not Shards(tmp_path).complete and "NOT complete" in repr(Shards(tmp_path))
    with ShardWriter(tmp_path, SCHEMA) as writer:
        assert writer.todo(range(4)) == [2, 3] and writer.done == {0, 1} and writer.notes == []
        writer.write([2, 3], *values([2, 3]))
    assert Shards(tmp_path).content_hash() == write(tmp_path / "at once", [0, 1, 2, 3]).content_hash()


def test_an_exception_leaves_the_set_incomplete_and_unlocked(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ShardWriter(tmp_path, SCHEMA) as writer:
        writer.write([0], *values([0]))
        1 / 0  # noqa: B018
    assert not Shards(tmp_path).complete
    ShardWriter(tmp_path, SCHEMA).close()


def test_lanes_can_be_added_to_a_complete_set(tmp_path: Path) -> None:
    write(tmp_path, [0, 1])
    shards = write(tmp_path, [9])
    assert shards.complete and shards.lanes.tolist() == [0, 1, 9]


def test_a_killed_writers_files_are_removed_or_taken_over(tmp_path: Path) -> None:
    write(tmp_path, [0])
    (tmp_path / ".lanes-1.safetensors.99.tmp").write_bytes(b"half")
    store(tmp_path, SCHEMA, [1], *values([1]))  # written, but never recorded
    (tmp_path / "lanes-000000002-000000002-abc.safetensors").write_bytes(b"rubbish")
    with pytest.warns(UserWarning, match="2 shards without a line in the manifest"):
        assert not Shards(tmp_path).complete
    with ShardWriter(tmp_path, SCHEMA) as writer:
        assert writer.done == {0, 1}
        assert [note.split()[0] for note in writer.notes] == ["removed", "took", "set"]
    assert Shards(tmp_path).content_hash() == write(tmp_path / "new", [0, 1]).content_hash()
    assert not list(tmp_path.glob(".*.tmp")) and len(list(tmp_path.glob("*.corrupt"))) == 1


def test_shards_stored_elsewhere_are_acknowledged_by_the_writer(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA) as writer:
        entry = store(tmp_path, SCHEMA, [5, 6], *values([5, 6]))
        assert Entry.from_json(json.loads(json.dumps(entry.to_json())), "") == entry
        writer.record(entry)
        with pytest.raises(DataError, match="lanes 5-6 already written"):
            writer.record(entry)
    assert Shards(tmp_path).lanes.tolist() == [5, 6]


def test_a_lane_is_written_once(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA) as writer:
        writer.write([0, 1], *values([0, 1]))
        with pytest.raises(DataError, match=r"lane 1 already written\n.*\n  fix: use todo"):
            writer.write([1, 2], *values([1, 2]))
    assert Shards(tmp_path).lanes.tolist() == [0, 1] and len(list(tmp_path.glob("*.safetensors"))) == 1


def test_failed_lanes_are_counted_and_not_run_again(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA) as writer:
        writer.write([0, 1], *values([0, 1]), failed={1: "events without end at t = 3 s"})
        writer.write([2], *values([2]), failed={2: "not finite"})
        assert writer.todo(range(4)) == [3]
    shards = Shards(tmp_path)
    assert shards.lanes.tolist() == [0] and shards.failed == {1: "events without end at t = 3 s", 2: "not finite"}
    assert torch.equal(shards.signal("force"), values([0])[0]["force"])
    with pytest.raises(DataError, match="no lane 1.*\n.*\n  fix: lane 1 failed: events without end"):
        shards.only([1])


def test_a_lane_that_is_not_finite_is_named_with_its_seed(tmp_path: Path) -> None:
    signals, params = values([10, 11, 12])
    signals["force"][1, 17, 2] = float("nan")
    params["cell.mass"][2] = float("inf")
    with ShardWriter(tmp_path, SCHEMA) as writer:
        with pytest.raises(DataError) as error:
            writer.write([10, 11, 12], signals, params, seeds=[1, 2, 3])
        assert "lane 11 (seed 2): force at sample 17 is not finite" in str(error.value)
        assert "lane 12 (seed 3): parameter cell.mass is not finite" in str(error.value)
        assert "fix: pass drop_nonfinite=True" in str(error.value)
        assert writer.done == frozenset()
        writer.write([10, 11, 12], signals, params, drop_nonfinite=True)
    shards = Shards(tmp_path)
    assert shards.lanes.tolist() == [10] and "lane 11 (seed 7): force at sample 17" in shards.failed[11]


def test_a_value_too_large_for_the_declared_type_is_not_written_as_infinity(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, Schema([Signal("x", SECOND, dtype="float16")])) as writer:
        with pytest.raises(DataError, match="lane 0 .*: x at sample 1 is not finite"):
            writer.write([0], {"x": torch.tensor([[1.0, 1e6]])})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Schema(SCHEMA.signals, SCHEMA.params, "e" * 64, 7), "diagram: 'd.*' in the folder, 'e.*' now"),
        (Schema(SCHEMA.signals, SCHEMA.params, "d" * 64, 8), "seed: 7 in the folder, 8 now"),
        (Schema(SCHEMA.signals[:3], SCHEMA.params, "d" * 64, 7), "signal mode only in the folder"),
        (
            Schema([Signal("cell.voltage", 2 * SECOND, unit="mV"), *SCHEMA.signals[1:]], SCHEMA.params, "d" * 64, 7),
            "signal cell.voltage: every_ns 1000000000 in the folder, 2000000000 now.*unit 'V' in the folder, 'mV' now",
        ),
        (Schema(SCHEMA.signals[::-1], SCHEMA.params, "d" * 64, 7), "the order of the signals"),
    ],
)
def test_a_folder_of_other_data_is_refused(tmp_path: Path, other: Schema, message: str) -> None:
    write(tmp_path, [0])
    with pytest.raises(DataError, match=message) as error:
        ShardWriter(tmp_path, other)
    assert "fix: write to a new folder" in str(error.value)
    ShardWriter(tmp_path, SCHEMA).close()  # the refused one let go of the folder


def test_another_horizon_is_refused(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA) as writer:
        writer.write([0], *values([0]))
        signals, params = values([1])
        with pytest.raises(DataError, match=r"samples .*'soc': 2.* in lane 1\n  expected: .*'soc': 4"):
            writer.write([1], {**signals, "soc": signals["soc"][:, :2]}, params)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    signals, params = values([0, 1])
    with ShardWriter(tmp_path, SCHEMA) as writer:
        for given, rest, message in [
            (
                {**signals, "cell.volt": signals["force"]},
                params,
                "cell.volt is not in the schema\n  did you mean: cell.voltage",
            ),
            ({k: v for k, v in signals.items() if k != "soc"}, params, "soc is not given"),
            (
                {**signals, "force": signals["force"][:, :, :2]},
                params,
                r"force: shape \(2, 40, 2\)\n  expected: \(2, time, 3\)",
            ),
            ({**signals, "soc": signals["soc"][:1]}, params, r"soc: shape \(1, 4\)\n  expected: \(2, time\)"),
            ({**signals, "mode": signals["soc"]}, params, "mode: torch.float32\n  expected: torch.uint8"),
            (signals, {}, "cell.mass is not given"),
        ]:
            with pytest.raises(DataError, match=message):
                writer.write([0, 1], given, rest)
        for lanes in ([1, 1], [-1, 0], [0.5, 1.0], [[0, 1]]):
            with pytest.raises(DataError, match="lanes"):
                writer.write(torch.tensor(lanes), signals, params)
        with pytest.raises(DataError, match="failed lane 4 not among the lanes"):
            writer.write([0, 1], signals, params, failed={4: "?"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schema([]), "no signals"),
        (lambda: Schema([Signal("a", 1), Signal("a", 2)]), "signal a occurs twice"),
        (lambda: Signal("a", 0.1), "sample time 0.1\n  expected: whole nanoseconds"),
        (lambda: Signal("a", 1, role="inputs"), "role 'inputs'\n  did you mean: input"),
        (lambda: Signal("a", 1, dtype="float23"), "did you mean: float32"),
        (lambda: Signal("a\0b", 1), "printable"),
        (lambda: Signal("\u202eevil", 1), "printable"),
        (lambda: Signal("a" * 10_000_000, 1), "1 to 200 printable"),
        (lambda: Signal("a", 1, shape=(3, -1)), "positive whole numbers"),
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        make()  # type: ignore[operator]
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_a_missing_manifest_is_said(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        with pytest.raises(DataError, match="no such folder"):
            Shards(tmp_path / "nowhere")
        return
    content = write(tmp_path, [0, 1], [2]).content_hash()
    (tmp_path / "manifest.jsonl").unlink()
    with pytest.raises(DataError, match="no manifest.jsonl, 2 shard files") as error:
        Shards(tmp_path)
    assert "open the folder with ShardWriter" in error.value.fix
    with ShardWriter(tmp_path, SCHEMA) as writer:  # and doing so brings everything back
        assert writer.done == {0, 1, 2}
    assert Shards(tmp_path).content_hash() == content


def test_one_writer_a_folder(tmp_path: Path) -> None:
    program = (
        "import sys, simdl.data as d\n"
        "s = d.Schema([d.Signal('x', 1)])\n"
        "w = d.ShardWriter(sys.argv[1], s)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    schema = Schema([Signal("x", 1)])
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert other.stdout and other.stdout.readline() == "ready\n"
    with pytest.raises(DataError, match=rf"is being written by another process \(pid {other.pid} on ") as error:
        ShardWriter(tmp_path, schema)
    assert "one writer at a time" in str(error.value)
    other.kill()
    other.wait()
    with ShardWriter(tmp_path, schema):  # the lock died with its owner
        with pytest.raises(DataError, match="already open for writing in this process"):
            ShardWriter(tmp_path, schema)


def test_other_versions_that_go_on_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [0])
    monkeypatch.setattr("simdl.data.writer.current_versions", lambda: {"torch": "9.9"})
    write(tmp_path, [1])
    assert Shards(tmp_path).versions == {"torch": "9.9"}
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert kinds == ["header", "shard", "end", "versions", "shard", "end"]


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    from simdl.data.jsonl import seal, unseal

    write(tmp_path, [0])
    path = tmp_path / "manifest.jsonl"
    head, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(seal({**unseal(head, ""), "version": 2}) + b"".join(rest))
    with pytest.raises(DataError, match="format version 2\n  expected: version 1\n  fix: read it with a newer simdl"):
        Shards(tmp_path)


def test_values_stay_on_the_disk_until_they_are_read(tmp_path: Path) -> None:
    program = f"""
import torch, simdl.data as d
s = d.Schema([d.Signal("x", 1, dtype="float64")])
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
with d.ShardWriter({str(tmp_path)!r}, s) as w:
    for i in range(4):
        w.write([i], {{"x": torch.full((1, 4_000_000), float(i))}})      # 32 MB each
shards = d.Shards({str(tmp_path)!r})
[shards.row("x", i) for i in range(4)]
before = resident()
for i in range(4):
    assert shards.row("x", i)[3_000_000] == i
windows = d.Windows(shards, ["x"], ["x"], length=10, allow=["x"], memory=0)
assert windows[3 * windows.per_lane][0].unique().item() == 3.0
print(resident() - before)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30_000_000  # of 128 MB: most of the growth is code of torch


def test_few_files_are_open_at_once(tmp_path: Path) -> None:
    shards = write(tmp_path, *[[lane] for lane in range(40)])
    for row in range(40):
        shards.row("soc", row)
    from simdl.data.shards import OPEN

    assert len(shards._open) == OPEN


def test_a_data_set_of_the_first_format_is_read_for_ever() -> None:
    folder = Path(__file__).parent / "golden" / "shards-1"
    shards = Shards(folder)
    assert shards.complete and shards.verify() and shards.lanes.tolist() == [0, 1, 5]
    assert shards.failed == {3: "not finite at t = 2 s"} and shards.seeds.tolist() == [7, 7, 5000]
    v = torch.tensor([0.0, 1.0, 5.0])[:, None] + torch.arange(6) / 8
    assert torch.equal(shards.signal("voltage"), v) and torch.equal(shards.signal("soc"), v[:, :3] / 16)
    assert torch.equal(shards.signal("force"), torch.stack([v, -v], -1).double())
    assert torch.equal(shards.signal("mode"), (torch.tensor([[0], [1], [5]]) + torch.arange(6)).to(torch.uint8))
    assert shards.params["mass"].tolist() == [0, 0.25, 1.25] and shards.params["cycle"].tolist() == [0, 1, 5]
    assert shards.schema.signal("soc") == Signal("soc", 2 * SECOND, "target", start_ns=SECOND)
    assert (shards.schema.diagram, shards.schema.about) == ("0123abcd", {"scenario": "golden"})


def test_data_sets_are_read_as_one(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [0, 1], [2])
    with ShardWriter(tmp_path / "b", Schema(SCHEMA.signals, SCHEMA.params, "other", 99)) as writer:
        writer.write([2, 8], *values([2, 8]))
    second = Shards(tmp_path / "b")
    both = Joined([first.only([2, 0]), second, second.only([8])])
    assert both.lanes.tolist() == [2, 0, 2, 8, 8] and both.seeds.tolist() == [7, 7, 99, 99, 99]
    assert torch.equal(both.signal("force"), values([2, 0, 2, 8, 8])[0]["force"])
    assert torch.equal(both.at([4, 1]).param("cell.mass"), values([8, 0])[1]["cell.mass"])
    assert torch.equal(both.row("soc", 3), second.row("soc", 1)) and len(both) == 5 and both.verify()
    with pytest.raises(DataError, match="not alike: signal mode"):
        Joined([first, Shards(write_other(tmp_path / "c"))])


def write_other(folder: Path) -> Path:
    signals, params = values([0])
    with ShardWriter(folder, Schema(SCHEMA.signals[:3], SCHEMA.params)) as writer:
        writer.write([0], {k: v for k, v in signals.items() if k != "mode"}, params)
    return folder
