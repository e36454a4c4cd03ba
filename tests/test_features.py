"""The table of features names tests that exist, and answers every row it is meant to answer."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "features.md"
ROWS = [
    *(f"A{k}" for k in range(1, 29)),
    *(f"B{k}" for k in range(1, 25)),
    *("B28", "B30", "B31", "B35", "B39"),
    *("C12", "C14", "C16"),
    *("D5", "D8", "D9", "D10", "D11", "D17"),
    *("E2", "E3", "E6", "G7", "G8"),
    *(f"H{k}" for k in range(1, 23)),
    *("I2", "I3", "I4", "I5", "J2", "J3"),
]
HOMES = ("simdl", "simdl.blocks", "simdl.networks", "simdl.networks.ood", "simdl.computer", "simdl.export.c")
NODE = re.compile(r"`(tests/[^`]+)`")


def table() -> dict[str, list[str]]:
    """Row -> its cells: capability, how, tests."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and re.fullmatch(r"[A-Z]\d+", cells[0]):
            assert cells[0] not in found, f"{cells[0]} twice"
            found[cells[0]] = cells[1:]
    return found


@cache
def known(path: str) -> frozenset[str]:
    """The tests of a file as pytest names them after its path, without parameters."""
    names: set[str] = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            inside = (one for one in node.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_"))
            names |= {f"{node.name}::{one.name}" for one in inside}
    return frozenset(names)


def test_every_row_is_there_in_order() -> None:
    assert list(table()) == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_exist_or_says_not_yet(row: str) -> None:
    cells = table()[row]
    assert len(cells) == 3 and all(cells[:2]), cells
    nodes = NODE.findall(cells[2])
    assert nodes or "*not yet*" in cells[1], f"{row} has neither a test nor a *not yet*"
    for node in nodes:
        path, _, name = node.partition("::")
        assert (ROOT / path).is_file(), f"{row}: {path} does not exist"
        assert name in known(path), f"{row}: {path} has no {name}"


def test_nothing_but_tests_is_in_the_last_column() -> None:
    for row, cells in table().items():
        assert NODE.sub("", cells[2]).replace("<br>", "").strip() == "", row


def test_a_missing_test_is_seen() -> None:
    assert "test_a_missing_test_is_seen" in known("tests/test_features.py")
    assert "test_a_test_that_was_renamed" not in known("tests/test_features.py")


def test_what_the_page_calls_by_name_is_public() -> None:
    """Names in code that look like classes or blocks can be imported."""
    homes = [import_module(name) for name in HOMES]
    words = set(re.findall(r"`([A-Z][A-Za-z0-9]+)`", "".join(cells[1] for cells in table().values())))
    missing = {word for word in words if not any(hasattr(home, word) for home in homes)}
    assert missing == set()
