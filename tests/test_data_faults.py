"""Nothing acknowledged is lost, whatever file operation fails and wherever the writer is killed.

Every system call that changes the disk goes through the name `os` of `simdl.data.durable`; the tests put a stand-in
there that fails, or kills the process, at call k, for every k until the work gets through.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from simdl.data import Schema, Shards, ShardWriter, Signal, durable
from simdl.errors import DataError

SCHEMA = Schema([Signal("x", 10**9), Signal("y", 10**9, role="target")], diagram="abc", seed=3)
BATCHES = [[0, 1], [2, 3], [4]]
OPERATIONS = ("open", "write", "fsync", "replace", "unlink", "ftruncate", "makedirs")


class Disk(types.SimpleNamespace):
    """`os`, but operation number `k` (and, if sticky, all that follow) meets `fault`."""

    def __init__(self, k: int, fault: Callable[[str, tuple[Any, ...]], Any], sticky: bool = False) -> None:
        super().__init__(**{name: getattr(os, name) for name in dir(os) if not name.startswith("__")})
        self.count, self.hit = 0, False
        for name in OPERATIONS:
            setattr(self, name, self._watched(name, k, fault, sticky))

    def _watched(self, name: str, k: int, fault: Callable[[str, tuple[Any, ...]], Any], sticky: bool) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count - 1 == k or (sticky and self.hit):
                self.hit = True
                fault(name, args)
            return getattr(os, name)(*args, **kwargs)

        return call


def failing(code: int) -> Callable[[str, tuple[Any, ...]], Any]:
    def fault(name: str, args: tuple[Any, ...]) -> None:
        if name == "write" and code == errno.ENOSPC:
            os.write(args[0], args[1][: len(args[1]) // 2])  # what fits is written
        raise OSError(code, os.strerror(code))

    return fault


def work(folder: Path, acknowledge: Callable[[int], object]) -> None:
    with ShardWriter(folder, SCHEMA) as writer:
        for lane in sorted(writer.done):
            acknowledge(lane)
        for lanes in BATCHES:
            todo = writer.todo(lanes)
            if todo:
                x = torch.tensor(todo, dtype=torch.float32)[:, None] * torch.ones(3)
                writer.write(todo, {"x": x, "y": x * x})
                for lane in todo:
                    acknowledge(lane)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("undisturbed")
    work(folder, lambda lane: None)
    return Shards(folder).content_hash()


@pytest.fixture(autouse=True)
def real_disk() -> Iterator[None]:
    yield
    durable.os = os  # type: ignore[attr-defined]


def check(folder: Path, acknowledged: set[int], expected: str) -> None:
    """The invariants, after recovery: durable, once, same content, nothing left behind."""
    if (folder / "manifest.jsonl").exists():
        with ShardWriter(folder, SCHEMA) as writer:
            assert acknowledged <= writer.done, "acknowledged lanes survive"
    work(folder, acknowledged.add)
    shards = Shards(folder)
    assert sorted(shards.lanes.tolist()) == [0, 1, 2, 3, 4] == sorted(acknowledged)
    assert shards.content_hash() == expected and shards.complete and shards.verify()
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EACCES], ids=errno.errorcode.get)
def test_a_failing_disk_at_every_operation(tmp_path: Path, expected: str, code: int, sticky: bool) -> None:
    for k in range(1000):
        folder, acknowledged = tmp_path / str(k), set[int]()
        durable.os = disk = Disk(k, failing(code), sticky)  # type: ignore[attr-defined]
        try:
            work(folder, acknowledged.add)
        except DataError as error:
            assert os.strerror(code) in str(error) and "fix: free the disk" in str(error)
        finally:
            durable.os = os  # type: ignore[attr-defined]
        check(folder, acknowledged, expected)
        if not disk.hit:
            break
    assert 20 < k < 999, "every operation was reached"


def test_short_writes_are_finished(tmp_path: Path, expected: str) -> None:
    real = os.write
    durable.os = Disk(-1, failing(0))  # type: ignore[attr-defined]
    durable.os.write = lambda handle, data: real(handle, data[: max(len(data) // 3, 1)])  # type: ignore[attr-defined]
    acknowledged = set[int]()
    work(tmp_path, acknowledged.add)
    durable.os = os  # type: ignore[attr-defined]
    check(tmp_path, acknowledged, expected)


def test_after_a_failed_write_the_writer_must_be_opened_again(tmp_path: Path) -> None:
    batch = {"x": torch.ones(1, 3), "y": torch.ones(1, 3)}
    writer = ShardWriter(tmp_path, SCHEMA)
    durable.os = Disk(6, failing(errno.EIO))  # type: ignore[attr-defined]  # in the flush of the manifest's line
    with pytest.raises(DataError, match="manifest.jsonl: could not be written: Input/output error"):
        writer.write([0], batch)
    with pytest.raises(DataError, match="an earlier write failed\n  fix: open the folder again"):
        writer.write([1], batch)
    writer.close()


def killed(folder: Path, k: int, torn: bool) -> tuple[set[int], bool]:
    """Work in a child that dies at operation k. What it acknowledged, and whether it was killed."""

    def fault(name: str, args: tuple[Any, ...]) -> None:
        if torn and name == "write":
            os.write(args[0], args[1][: len(args[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read)
            durable.os = Disk(k, fault)  # type: ignore[attr-defined]
            work(folder, lambda lane: os.write(write, bytes([lane])))
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with open(read, "rb") as pipe:
        acknowledged = set(pipe.read())
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return acknowledged, os.WIFSIGNALED(status)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize("torn", [False, True], ids=["between writes", "within writes"])
def test_a_writer_killed_at_every_operation(tmp_path: Path, expected: str, torn: bool) -> None:
    for k in range(1000):
        folder = tmp_path / str(k)
        acknowledged, dead = killed(folder, k, torn)
        check(folder, acknowledged, expected)
        if not dead:
            break
    assert 20 < k < 999


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_a_writer_killed_again_while_it_recovers(tmp_path: Path, expected: str) -> None:
    for k in (9, 18):  # in the first shard; in a later one
        for again in range(1000):
            folder = tmp_path / f"{k}-{again}"
            acknowledged, dead = killed(folder, k, torn=True)
            assert dead
            more, dead = killed(folder, again, torn=True)
            assert acknowledged <= more or dead
            check(folder, acknowledged | more, expected)
            if not dead:
                break
