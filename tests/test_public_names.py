"""`simdl` is a list of names: each resolves, type checkers see the same ones, and none is loaded before its use."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import simdl

SOURCE = Path(simdl.__file__)
HEAVY = {"torch", "numpy", "scipy", "matplotlib", "pandas", "rich", "jinja2", "hypothesis", "pydantic", "simpy"}


def names_for_type_checkers() -> dict[str, str]:
    found = {}
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom), ast.unparse(statement)
                assert all(a.asname == a.name for a in statement.names), "re-export as `X as X`"
                found |= {a.name: str(statement.module) for a in statement.names}
    return found


@pytest.mark.parametrize("name", sorted(simdl._HOME))
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(simdl, name)
    assert value is getattr(sys.modules[simdl._HOME[name]], name)
    assert value.__doc__, f"{name} has no docstring"


def test_type_checkers_see_the_same_names() -> None:
    assert names_for_type_checkers() == simdl._HOME


def test_star_import_and_dir_list_every_name() -> None:
    assert set(simdl.__all__) == {"__version__", *simdl._HOME}
    assert set(simdl.__all__) <= set(dir(simdl))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'simdl' has no attribute 'Blok'"):
        simdl.Blok  # noqa: B018


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=SOURCE.parent.parent, env={**os.environ, "PYTHONPATH": ""},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_simdl_loads_nothing_heavy() -> None:
    loaded = set(run("import sys, simdl; print(*(m.split('.')[0] for m in sys.modules))").split())
    assert loaded & HEAVY == set()


def test_using_the_language_loads_torch_and_nothing_optional() -> None:
    optional = {"matplotlib", "pandas", "xarray", "scipy", "rich", "jinja2", "hypothesis", "simpy"}
    program = (
        "import sys, torch; before = set(sys.modules)\n"
        "import simdl; [getattr(simdl, name) for name in simdl.__all__]\n"
        "print(*(m.split('.')[0] for m in set(sys.modules) - before))"
    )
    assert set(run(program).split()) & optional == set()


def test_function_survives_the_import_of_a_module_of_its_name() -> None:
    shared = [name for name, module in simdl._HOME.items() if module == f"simdl.{name}"]
    for name in shared:
        run(f"import simdl, simdl.{name}; assert callable(simdl.{name}), simdl.{name}")


def test_misspelt_name_is_an_error_for_type_checkers(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from simdl import SimdlError, SimdlEror\n")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", str(program)], cwd=SOURCE.parent.parent, capture_output=True, text=True
    )
    assert done.returncode == 1 and '"SimdlEror" is unknown import symbol' in done.stdout, done.stdout
    assert "1 error" in done.stdout
