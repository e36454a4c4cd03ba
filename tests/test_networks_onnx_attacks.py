"""Hostile ONNX files: a typed error within a second, little memory, nothing written, nothing run."""

from __future__ import annotations

from pathlib import Path

import pytest

from simdl.errors import NetworkError
from simdl.networks.onnx import load_onnx
from tests.attacks import onnx_files
from tests.attacks.attack import Attack
from tests.test_attacks import bounds as bounds, read


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is imported on first use is neither the file's time nor its memory."""
    path = tmp_path_factory.mktemp("warm") / "a.onnx"
    path.write_bytes(onnx_files.plain())
    assert load_onnx(path).check is not None


@pytest.mark.parametrize("attack", onnx_files.ATTACKS, ids=lambda attack: attack.name)
def test_a_hostile_file_is_refused(tmp_path: Path, attack: Attack, bounds: None) -> None:
    with pytest.raises(NetworkError, match=attack.message) as error:
        read(attack, tmp_path, weights=False)
    assert len(str(error.value)) < 5000 and attack.file in str(error.value)


def test_metadata_is_ignored(tmp_path: Path) -> None:
    """Keys of metadata are no options of anything."""
    import onnx

    model = onnx.ModelProto.FromString(onnx_files.plain())
    for key in ("ort_config", "__class__", "session.model_external_initializers_file_folder_path"):
        model.metadata_props.add(key=key, value="/etc")
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    assert load_onnx(path).check is not None
