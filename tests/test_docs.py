"""Every example in the README and the documentation runs, and prints what the page says it prints.

All ```python blocks of a page run in order in one namespace, in an empty folder. `<!-- no-run: why -->` on the line
above a block excuses it, with the reason; `<!-- output -->` above a ```text block makes it the expected print of the
block before, compared as a doctest would (`...` stands for anything).
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import runpy
import textwrap
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = ROOT / "docs" / "reference" / "blocks.md"  # by docs/catalogue.py
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\s`{]*)(?P<rest>[^`]*)$")
NO_RUN = re.compile(r"^\s*<!-- no-run: (?P<why>.+) -->\s*$")
OUTPUT = re.compile(r"^\s*<!-- output -->\s*$")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@dataclass(frozen=True)
class Fence:
    line: int  # of the opening fence, from 1
    language: str
    rest: str  # whatever follows the language
    above: str  # the nearest line above that is not blank
    text: str


def fences(page: str) -> list[Fence]:
    """The fenced blocks of a page. A fence that is never closed is an error."""
    found: list[Fence] = []
    lines = page.splitlines()
    start = 0
    while start < len(lines):
        opening = FENCE.match(lines[start])
        start += 1
        if opening is None:
            continue
        end = next((i for i in range(start, len(lines)) if lines[i].strip() == "```"), None)
        assert end is not None, f"line {start}: this fence is never closed"
        above = next((line for line in reversed(lines[: start - 1]) if line.strip()), "")
        text = textwrap.dedent("\n".join(lines[start:end]) + "\n")
        found.append(Fence(start, opening["language"], opening["rest"].strip(), above, text))
        start = end + 1
    return found


def run_page(path: Path, page: str) -> int:
    """Runs the examples of a page; returns how many ran. Tracebacks show the page's own line numbers."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed, ran = "", 0
    for fence in fences(page):
        where = f"{path.name}:{fence.line}"
        assert fence.language not in ("py", "python3", "pycon", "Python"), f"{where}: write ```python, so that it runs"
        if fence.language == "python":
            assert not fence.rest, f"{where}: {fence.rest!r} says nothing here; to excuse a block: <!-- no-run: why -->"
            if NO_RUN.match(fence.above):
                continue
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile("\n" * fence.line + fence.text, str(path), "exec"), namespace)
            printed, ran = out.getvalue(), ran + 1
        elif OUTPUT.match(fence.above):
            checker = doctest.OutputChecker()
            if not checker.check_output(fence.text, printed, FLAGS):
                difference = checker.output_difference(doctest.Example("", fence.text), printed, FLAGS)
                raise AssertionError(f"{where}: the block above prints something else\n{difference}")
    return ran


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_of_page(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    run_page(path, path.read_text(encoding="utf-8"))


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {str(path.relative_to(ROOT / "docs")) for path in PAGES if path.name != "README.md"}
    assert pages <= listed


def test_links_between_pages_lead_to_files() -> None:
    broken = []
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            file = (path.parent / target).resolve()
            if "://" not in target and file != GENERATED and not file.exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


class TestTheRunner:
    PAGE = Path("page.md")

    def test_blocks_of_a_page_share_names(self) -> None:
        assert run_page(self.PAGE, "```python\na = 1\n```\ntext\n```python\nassert a == 1\n```\n") == 2

    def test_a_failing_block_fails_with_the_line_of_the_page(self) -> None:
        with pytest.raises(ZeroDivisionError) as error:
            run_page(self.PAGE, "# title\n\n```python\na = 1\n1 / 0\n```\n")
        assert error.traceback[-1].lineno + 1 == 5

    def test_output_must_be_what_is_printed(self) -> None:
        page = "```python\nprint(1 + 1, 'etc')\n```\n<!-- output -->\n```text\n%s ...\n```\n"
        assert run_page(self.PAGE, page % "2") == 1
        with pytest.raises(AssertionError, match="page.md:5"):
            run_page(self.PAGE, page % "3")

    def test_a_block_is_excused_only_with_a_reason(self) -> None:
        assert run_page(self.PAGE, "<!-- no-run: needs a GPU -->\n\n```python\n1 / 0\n```\n") == 0
        with pytest.raises(ZeroDivisionError):
            run_page(self.PAGE, "<!-- no-run: -->\n```python\n1 / 0\n```\n")
        with pytest.raises(AssertionError, match="to excuse a block"):
            run_page(self.PAGE, "```python no-run\n1 / 0\n```\n")

    def test_an_indented_block_runs(self) -> None:
        assert run_page(self.PAGE, "1. item\n\n    ```python\n    a = 1\n    assert a\n    ```\n") == 1

    def test_an_open_fence_is_an_error(self) -> None:
        with pytest.raises(AssertionError, match="line 1"):
            run_page(self.PAGE, "```python\na = 1\n")


class TestTheCatalogue:
    catalogue = runpy.run_path(str(ROOT / "docs" / "catalogue.py"))

    def test_lists_every_block_with_its_docstring_and_declarations(self) -> None:
        page = self.catalogue["catalogue"]()
        for block in self.catalogue["blocks"]():
            assert f"### {block.__name__}\n" in page
            assert page.count(f"| [{block.__name__}](#") == 1, f"{block.__name__} is in no family"
            assert "__doc__" in vars(block) and block.__doc__, f"{block.__name__} has no docstring"
            assert all(f"| `{name}` |" in page for name in block.declared())

    def test_every_block_has_its_picture_with_its_ports(self) -> None:
        from xml.etree import ElementTree

        from simdl.declarations import Input, Inputs, Output
        from simdl.methods import OutputMethod

        for block in self.catalogue["blocks"]():
            drawing = self.catalogue["image"](block)
            root = ElementTree.fromstring(drawing.svg)
            texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
            kind = self.catalogue["shown"](block)
            for name, declaration in kind.declared().items():
                if isinstance(declaration, Input | Inputs | Output | OutputMethod):
                    assert any(text.startswith(name) for text in texts if text), f"{block.__name__}.{name}"
                    assert not declaration.unit or declaration.unit in texts, f"{block.__name__}.{name}"
            assert block.__name__ in texts

    def test_feedthrough_is_that_of_the_compiled_block(self) -> None:
        """What the page says of an output is what the compiled graph reads for it, in every runnable case."""
        from simdl.block import Block
        from simdl.compile import compile_model

        checked = 0
        for block in self.catalogue["blocks"]():
            if not issubclass(block, Block) or block.__name__ not in self.catalogue["cases"]():
                continue
            model = compile_model(self.catalogue["cases"]()[block.__name__][1]()[0])
            for path, one in model.blocks.items():
                if type(one) is not block:
                    continue
                for name, says in self.catalogue["feedthrough"](block).items():
                    node = model.graph.producer.get(f"{path}.{name}" if path else name)
                    if node is not None and node.kind in ("output", "tick", "hit"):
                        names = {argument for argument, _ in node.reads if (path, argument) in model.flat.sources}
                        assert names == set(re.findall(r"`(\w+)`", says)), f"{block.__name__}.{name}"
                        checked += 1
        assert checked > 40

    def test_every_case_that_the_page_names_is_run(self) -> None:
        page = self.catalogue["catalogue"]()
        named = re.findall(r"Case: `(\w+)` of `tests/library/(\w+)\.py`", page)
        assert named and "Code: `blocks/" in page
        for name, family in named:
            assert name in import_module(f"tests.library.{family}").CASES

    def test_every_block_is_imported_from_the_library_itself(self) -> None:
        library = import_module("simdl.blocks")
        missing = [b.__name__ for b in self.catalogue["blocks"]() if getattr(library, b.__name__, None) is not b]
        assert missing == [], "add them to blocks/__init__.py"
