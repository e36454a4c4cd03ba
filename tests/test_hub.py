"""The networks that ship: every entry of the table is a network that loads, fits its slot, and can be taken along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from simdl import hub
from simdl.cli.program import program
from simdl.errors import NetworkError
from simdl.networks import Network
from simdl.scenario import scenario
from simdl.slots import fill

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", hub.entries())
def test_every_network_loads_and_fits_the_slot_it_names(name: str) -> None:
    entry = hub.entry(name)
    module, card = hub.load(name)
    slot = scenario(entry.scenario).slots[entry.slot]
    assert set(slot.outputs) - set(slot.defaults) <= {feature.name for feature in card.outputs}
    assert isinstance(fill(slot, entry.folder), Network)
    assert all(bool(torch.isfinite(p).all()) for p in module.parameters())


def test_every_card_that_ships_is_in_the_table() -> None:
    shipped = {path.parent.resolve() for path in (ROOT / "scenarios").rglob("card.json")}
    assert shipped == {entry.folder.resolve() for entry in hub.entries().values()}


def test_a_copy_is_the_same_network(tmp_path: Path) -> None:
    name = "battery_soc-ridge"
    folder = hub.copy(name, tmp_path / "mine")
    module, card = hub.load(name)
    again = Network.from_card(folder)
    assert again.card == card
    for a, b in zip(module.state_dict().values(), again.module.state_dict().values()):
        assert torch.equal(a, b)
    with pytest.raises(NetworkError, match="not empty"):
        hub.copy(name, tmp_path / "mine")


def test_names_and_categories_that_are_not_there_are_named() -> None:
    with pytest.raises(NetworkError, match=r"(?s)did you mean: battery_soc-ridge"):
        hub.entry("battery_soc-rigde")
    with pytest.raises(NetworkError, match="names: .*state estimation"):
        hub.entries("cats")


def test_list_and_show_import_no_torch() -> None:
    for arguments in (["hub", "list"], ["hub", "show", "battery_soc-ridge"], ["hub", "list", "--json"]):
        code = (
            "import sys\nfrom simdl.cli import main\n"
            f"sys.argv = ['simdl', *{arguments!r}]\n"
            "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
            "print(sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)), file=sys.stderr)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert done.stderr.strip().splitlines()[-1] == "[]", done.stderr
        assert "battery_soc-ridge" in done.stdout


def test_load_says_how_to_use_what_it_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(program, ["hub", "load", "battery_soc-ridge", "--to", "here"])
    assert done.exit_code == 0 and "simdl validate battery_soc --network sensor=here" in done.output
    assert (tmp_path / "here" / "card.json").is_file()
    shown = json.loads(CliRunner().invoke(program, ["hub", "show", "battery_soc-ridge", "--json"]).stdout)
    assert shown["card"] == json.loads((tmp_path / "here" / "card.json").read_text())
    assert CliRunner().invoke(program, ["hub", "show"]).exit_code == 2
    assert CliRunner().invoke(program, ["hub", "load", "nothing"]).exit_code == 2
