"""Files of strangers tried in a child process: what it costs the child is an error here, and nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from simdl.errors import NetworkError
from simdl.networks import Sandbox, open_network, sandbox
from tests.attacks import torch_files


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt2"
    path.write_bytes(torch_files.program())
    return path


def test_a_good_file_opens_as_without(program: Path) -> None:
    one, other = open_network(program, sandbox=True), open_network(program)
    x = torch.ones(3, 2)
    assert torch.equal(one.module(x), other.module(x)) and list(one.inputs) == list(other.inputs)


def test_what_the_child_says_of_a_file_is_what_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x07 no model")
    with pytest.raises(NetworkError) as alone:
        open_network(path)
    with pytest.raises(NetworkError) as tried:
        open_network(path, sandbox=True)
    assert str(tried.value) == str(alone.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("bytearray(2**31)", "needs more than 256 MB"),
        ("exec('while True: pass')", "used more than 1 s of processor time"),
        ("__import__('ctypes').string_at(0)", "ended by SIGSEGV"),
        ("__import__('os')._exit(3)", "ended with code 3 and no answer"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("open('big', 'wb').write(bytes(2**22))", "File too large|SIGXFSZ"),
    ],
)
def test_a_reader_that_is_led_astray_takes_the_child_alone(
    program: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    """In place of a file that exploits a reader: the reader itself does what the file would make it do."""
    led = (
        "import json, sys; asked = json.loads(sys.stdin.read()); sys.path[:] = asked.pop('path');"
        f"import simdl.networks.opening as o; o.open_network = lambda file, **options: {body};"
        "import simdl.networks.sandbox as s; s._READERS = (); s.child(**asked)"
    )
    monkeypatch.setattr(sandbox, "_CHILD", led)
    with pytest.raises(NetworkError, match=said):
        open_network(program, sandbox=Sandbox(memory=2**28, seconds=1))


def test_a_file_that_changes_meanwhile_is_not_opened(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exchanged(path: Path, options: Any, limits: Sandbox) -> str:
        before = sandbox._hash(path)
        path.write_bytes(path.read_bytes() + b"\0")
        return before

    monkeypatch.setattr(sandbox, "rehearse", exchanged)
    with pytest.raises(NetworkError, match="changed while it was tried"):
        open_network(program, sandbox=True)
