"""What is built and installed: one package that holds both libraries, found once by every tool."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARIES = ("blocks", "scenarios")


def python(*arguments: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs this interpreter; `path` goes before everything installed, an editable install of simdl included."""
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def build(target: str, source: Path, folder: Path) -> Path:
    """The one file that hatchling makes of `source`; needs no network."""
    done = python("-m", "hatchling", "build", "-t", target, "-d", str(folder), cwd=source)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


def library_files() -> Iterator[str]:
    """Every file of the two libraries that is not ignored, as a path inside the package."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *LIBRARIES],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    names = listed.stdout.splitlines()
    if listed.returncode != 0:  # not a git checkout: an unpacked archive
        names = [str(f.relative_to(ROOT)) for lib in LIBRARIES for f in (ROOT / lib).rglob("*") if f.is_file()]
    for name in names:
        if "__pycache__" not in name and (ROOT / name).is_file():
            yield f"simdl/{name}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def test_links_are_relative_and_committed_as_links() -> None:
    for library in LIBRARIES:
        link = ROOT / "simdl" / library
        assert link.is_symlink() and os.readlink(link) == f"../{library}"


def test_wheel_holds_simdl_alone_with_every_file_of_both_libraries(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"simdl"}
    assert "simdl/py.typed" in names
    assert set(library_files()) - set(names) == set()


def test_unpacked_wheel_imports_both_libraries(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = "import simdl.blocks, simdl.scenarios; print(simdl.blocks.__file__, simdl.scenarios.__file__)"
    done = python("-c", program, cwd=tmp_path, path=tmp_path)
    assert done.stdout.split() == [str(tmp_path / "simdl" / lib / "__init__.py") for lib in LIBRARIES], done.stderr


def test_wheel_made_from_the_source_archive_is_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = build("sdist", ROOT, tmp_path / "sdist")
    tarfile.open(archive).extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = build("wheel", source, tmp_path / "wheel")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_libraries_are_found_without_symbolic_links(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "simdl", tmp_path / "simdl", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for library in LIBRARIES:
        shutil.copytree(ROOT / library, tmp_path / library, ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / "simdl" / library).unlink()
        (tmp_path / "simdl" / library).write_text(f"../{library}")  # what Git for Windows makes of a link
    program = "import simdl.blocks, simdl.scenarios; print(simdl.blocks.__file__, simdl.scenarios.__file__)"
    done = python("-c", program, cwd=tmp_path, path=tmp_path)
    assert done.stdout.split() == [str(tmp_path / lib / "__init__.py") for lib in LIBRARIES], done.stderr


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_refuses_to_be_a_top_level_module(library: str) -> None:
    with pytest.raises(ImportError, match=f"imported as '{library}'.*from simdl.{library} import"):
        import_module(library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_imports_are_absolute(library: str) -> None:
    wrong = []
    for file in sorted((ROOT / library).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            where = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ImportFrom) and node.level:
                wrong.append(f"{where}: relative import; write `from simdl.{library}... import`")
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{where}: import of {m!r}" for m in modules if m.split(".")[0] in LIBRARIES]
    assert wrong == []


def test_doctests_of_the_library_run_once_as_part_of_simdl(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("simdl", "blocks", "scenarios", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    for library in LIBRARIES:
        (tmp_path / "simdl" / library).symlink_to(f"../{library}")
    (tmp_path / "blocks" / "gain.py").write_text('"""\n>>> __name__\n\'simdl.blocks.gain\'\n"""\n')
    for selection in ([], ["."]):
        done = python("-m", "pytest", "-p", "no:cacheprovider", "-v", *selection, cwd=tmp_path)
        assert "simdl/blocks/gain.py::simdl.blocks.gain PASSED" in done.stdout, done.stdout
        assert "1 passed" in done.stdout
