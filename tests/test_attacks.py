"""Hostile files: each is a typed error within a second, takes little memory, writes nothing, and runs nothing.

The files are made by the modules of `tests/attacks/`. Time and memory are bounds on harm, not on speed: what they must
catch takes minutes and gigabytes.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from simdl.errors import NetworkError
from simdl.networks import open_network
from simdl.networks.weights import load_weights
from tests.attacks import keras_files, text_files, torch_files
from tests.attacks.attack import Attack

OPENED = [*torch_files.ATTACKS, *keras_files.ATTACKS, *text_files.ATTACKS]
SECONDS, MEGABYTES = 1.0, 200

pytestmark = [pytest.mark.filterwarnings("ignore:Duplicate name"), pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is imported on first use is neither the file's time nor its memory."""
    folder = tmp_path_factory.mktemp("warm")
    for name, data in (("a.keras", keras_files.plain()), ("a.pt2", torch_files.program()), ("a.nnet", text_files.NNET),
                       ("a.polar", text_files.POLAR)):  # fmt: skip
        (folder / name).write_bytes(data)
        open_network(folder / name)


def memory(key: str) -> float:
    """MB of this process: VmRSS now, or VmHWM, the most since it was last set back."""
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(key)).split()[1]) / 1024


@pytest.fixture
def bounds() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc here to measure memory")


def read(attack: Attack, folder: Path, weights: bool) -> None:
    """Read the file of an attack, and check the bounds whatever comes of it."""
    mark = folder / "marker"
    inside = folder / "inside"
    inside.mkdir()
    path = inside / attack.file
    path.write_bytes(attack.make(mark))
    before, everything = memory("VmRSS"), sorted(folder.rglob("*"))
    Path("/proc/self/clear_refs").write_text("5")
    start = time.process_time()
    try:
        load_weights(path) if weights else open_network(path)
    finally:
        took, grew = time.process_time() - start, memory("VmHWM") - before
        assert not mark.exists(), "code of the file ran"
        assert sorted(folder.rglob("*")) == everything, "something was written"
        assert not Path("/tmp/escaped").exists()
        assert grew < MEGABYTES, f"{grew:.0f} MB"
        assert took < SECONDS, f"{took:.2f} s"


@pytest.mark.parametrize("attack", OPENED, ids=lambda attack: attack.name)
def test_a_hostile_file_is_refused(tmp_path: Path, attack: Attack, bounds: None) -> None:
    with pytest.raises(NetworkError, match=attack.message) as error:
        read(attack, tmp_path, weights=False)
    assert len(str(error.value)) < 5000 and attack.file in str(error.value)


@pytest.mark.parametrize("attack", torch_files.WEIGHTS, ids=lambda attack: attack.name)
def test_hostile_weights_are_refused(tmp_path: Path, attack: Attack, bounds: None) -> None:
    with pytest.raises(NetworkError, match=attack.message):
        read(attack, tmp_path, weights=True)


@pytest.mark.parametrize("attack", torch_files.HARMLESS, ids=lambda attack: attack.name)
def test_what_is_not_needed_is_left_out(tmp_path: Path, attack: Attack) -> None:
    mark, path = tmp_path / "marker", tmp_path / attack.file
    path.write_bytes(attack.make(mark))
    opened = open_network(path)
    opened.module(torch.zeros(2, 2))
    assert not mark.exists()


def test_the_attacks_would_work_where_nothing_is_checked(tmp_path: Path) -> None:
    """The markers are real: what the files hold does run in readers that allow it."""
    import pickle

    from tests.attacks.attack import Marker

    mark = tmp_path / "marker"
    torch.load(_written(tmp_path / "a.pt", torch_files.saved({"a": Marker(mark)})), weights_only=False)
    assert mark.is_dir()
    mark.rmdir()
    pickle.loads(pickle.dumps(Marker(mark)))
    assert mark.is_dir()
    mark.rmdir()
    eval(__import__("marshal").loads(__import__("base64").b64decode(keras_files.code(mark))))
    assert mark.is_dir()


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_there_are_enough() -> None:
    names = [attack.name for attack in (*OPENED, *torch_files.WEIGHTS, *torch_files.HARMLESS)]
    assert len(names) == len(set(names)) and len(names) >= 150


DAMAGED = {"pt2": [("", "net.pt2", data) for _, data in torch_files.damages()],
           "keras": keras_files.damages(), "text": text_files.damages()}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_an_error_or_still_a_network(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cuts and changed bytes at many places: never another exception."""
    monkeypatch.setattr("simdl.networks.keras.loading.keras_here", lambda: None)
    refused = 0
    for _, name, data in DAMAGED[kind]:
        try:
            opened = open_network(_written(tmp_path / name, data))
        except NetworkError:
            refused += 1
        else:
            assert isinstance(opened.module, torch.nn.Module)
    assert refused > len(DAMAGED[kind]) // 2
