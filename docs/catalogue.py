"""The block catalogue, written from the declarations: the page reference/blocks.md of the site.

`python docs/catalogue.py` prints it; mkdocs calls `on_files` and adds it to the site.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import simdl.blocks
from simdl.block import Block, Declared
from simdl.declarations import Declaration, Input, Inputs, Noise, Output, Param, State
from simdl.diagram import Diagram
from simdl.methods import Crossing, OutputMethod

KINDS: dict[str, tuple[type[Any], ...]] = {
    "input": (Input, Inputs), "output": (Output, OutputMethod), "parameter": (Param,), "state": (State,),
    "noise": (Noise,), "crossing": (Crossing,),
}  # fmt: skip


def blocks() -> Iterator[type[Declared]]:
    """Every public block and diagram class of the library, once, by module and then in order of definition."""
    for module in sorted(m.name for m in pkgutil.walk_packages(simdl.blocks.__path__, "simdl.blocks.")):
        for name, value in vars(import_module(module)).items():
            if isinstance(value, type) and issubclass(value, Block | Diagram):
                if value.__module__ == module and not name.startswith("_"):
                    yield value


def rows(block: type[Declared]) -> Iterator[str]:
    """The declarations of a block, as rows of a table."""
    for kind, types in KINDS.items():
        for name, declaration in block.declared().items():
            if isinstance(declaration, types):
                many = " (any number)" if isinstance(declaration, Inputs) else ""
                yield f"| {kind}{many} | `{name}` | {start(declaration)} | {declaration.unit} | {remark(declaration)} |"


def start(declaration: Declaration) -> str:
    """The default of a parameter or the initial value of a state, if it is a plain one."""
    value = getattr(declaration, "value" if isinstance(declaration, Param) else "initial", None)
    has_one = isinstance(declaration, Param | State)
    return f"`{value}`" if has_one and value is not None and "\n" not in str(value) else ""


def remark(declaration: Declaration) -> str:
    text = getattr(declaration, "doc", "") or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def prose(text: str) -> str:
    """A docstring in Markdown: examples become code, stars and angle brackets stay what they are."""
    lines: list[str] = []
    example = False
    for line in inspect.cleandoc(text).splitlines():
        if line.startswith(">>>") != example and (not example or not line.strip()):
            lines.append("```" if example else "```pycon")
            example = not example
        code = example or line.startswith("    ")
        lines.append(line if code else "`".join(escaped(line)))
    return "\n".join([*lines, "```"] if example else lines)


def escaped(line: str) -> Iterator[str]:
    for place, part in enumerate(line.split("`")):
        yield part if place % 2 else part.replace("*", "\\*").replace("<", "&lt;")


def section(block: type[Declared]) -> str:
    text = prose(block.__doc__ or "")
    table = ["| | name | default or start | unit | |", "|---|---|---|---|---|", *rows(block)]
    call = f"`from simdl.blocks import {block.__name__}`"
    return "\n\n".join([f"### {block.__name__}", text, "\n".join(table) if len(table) > 2 else "", call])


def catalogue() -> str:
    """The page, in Markdown."""
    parts = ["# Blocks", "Generated from the declarations. Every library block, by the file that holds it."]
    file = ""
    for block in blocks():
        if block.__module__ != file:
            file = block.__module__
            parts.append(f"## {file.removeprefix('simdl.blocks.')}")
            parts.append(prose(import_module(file).__doc__ or ""))
        parts.append(section(block))
    return "\n\n".join(part for part in parts if part) + "\n"


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs once it has listed the pages."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/blocks.md", content=catalogue()))
    return files


if __name__ == "__main__":
    print(catalogue())
