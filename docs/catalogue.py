"""The block catalogue, written from the declarations: the page reference/blocks.md of the site, and a picture a block.

`python docs/catalogue.py` prints the page; mkdocs calls `on_files` and adds all of it to the site.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import simdl.blocks
from simdl.block import Block
from simdl.blocks.limits import Limit
from simdl.compile import compile_model
from simdl.declarations import Declaration, Input, Inputs, Noise, Output, Param, State
from simdl.declared import Declared
from simdl.diagram import Diagram
from simdl.draw import Drawing, picture
from simdl.methods import Crossing, Method, OutputMethod

ROOT = Path(__file__).resolve().parent.parent
CASES = "tests/test_library.py"
FAMILIES = {
    "sources": "Sources", "logic": "Arithmetic, logic, tables, routing, nonlinearities", "continuous": "Continuous",
    "discrete": "Sampled", "subsystems": "Subsystems", "control": "Control and implicit equations",
    "estimation": "Estimation", "sensors": "Sensors", "plants": "Plants",
}  # fmt: skip
KINDS: dict[str, tuple[type[Any], ...]] = {
    "input": (Input, Inputs), "output": (Output, OutputMethod), "parameter": (Param,), "state": (State,),
    "noise": (Noise,), "crossing": (Crossing,),
}  # fmt: skip


def blocks() -> Iterator[type[Declared]]:
    """Every public block and diagram class of the library, once, by module and then in order of definition."""
    for module in sorted(m.name for m in pkgutil.walk_packages(simdl.blocks.__path__, "simdl.blocks.")):
        for name, value in vars(import_module(module)).items():
            if isinstance(value, type) and issubclass(value, Block | Diagram):
                if value.__module__ == module and name in simdl.blocks.__all__:
                    yield value


@cache
def cases() -> dict[str, tuple[str, Callable[[], tuple[Diagram, dict[str, Any]]]]]:
    """Name of a block -> the family of its runnable case in tests/library/, and the case."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    found = {}
    for file in sorted((ROOT / "tests" / "library").glob("[!_]*.py")):
        for name, case in import_module(f"tests.library.{file.stem}").CASES.items():
            found[name] = (file.stem, case)
    return found


@cache
def shown(block: type[Declared]) -> type[Declared]:
    """The class whose ports are shown: of a block that makes its ports when it is built, that of its case."""
    if any(isinstance(d, Output | OutputMethod) for d in block.declared().values()) or block.__name__ not in cases():
        return block
    model = compile_model(cases()[block.__name__][1]()[0])
    made = [type(owner) for owner in model.flat.owners.values() if isinstance(owner, block)]
    return made[0] if made else block


def image(block: type[Declared]) -> Drawing:
    """The picture of a block with its ports."""
    kind = shown(block)
    return picture(kind) if kind is block else picture(kind, name=block.__name__)


def rows(block: type[Declared]) -> Iterator[str]:
    """The declarations of a block, as rows of a table."""
    for kind, types in KINDS.items():
        for name, declaration in shown(block).declared().items():
            if isinstance(declaration, types):
                many = " (any number)" if isinstance(declaration, Inputs) else ""
                cells = [f"{kind}{many}", f"`{name}`", start(declaration), declaration.unit, shape(declaration)]
                yield f"| {' | '.join([*cells, remark(declaration)])} |"


def start(declaration: Declaration) -> str:
    """The default of an input or parameter or the initial value of a state, if it is a plain one."""
    fields = {Param: "value", Input: "default", State: "initial"}
    value = next((getattr(declaration, name) for kind, name in fields.items() if isinstance(declaration, kind)), None)
    return f"`{value}`" if value is not None and "\n" not in str(value) else ""


def shape(declaration: Declaration) -> str:
    """Shape and type, where they are declared: a scalar of the run's float type has neither."""
    sizes, dtype = getattr(declaration, "shape", None), getattr(declaration, "dtype", None)
    return " ".join([*(["×".join(map(str, sizes))] if sizes else []), *([str(dtype)[6:]] if dtype else [])])


def remark(declaration: Declaration) -> str:
    text = (getattr(declaration, "doc", "") or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    limits = [f"{word} {value:g}" for word, value in (("at least", getattr(declaration, "low", None)),
              ("at most", getattr(declaration, "high", None))) if isinstance(value, int | float)]  # fmt: skip
    if isinstance(declaration, Limit):
        limits.append(f"at most `{declaration.below}`" if declaration.below else f"at least `{declaration.above}`")
    return "; ".join(part for part in (text, ", ".join(limits)) if part)


def facts(block: type[Declared]) -> Iterator[str]:
    """When a block runs, what its outputs depend on at the same instant, its crossings, its code and its case."""
    kind = shown(block)
    if issubclass(kind, Block):
        yield f"Rate: {rate(kind)}"
        through = [f"`{name}` {reads}" for name, reads in feedthrough(kind).items()]
        yield f"Depends at the same instant: {'; '.join(through)}" if through else ""
        resets = [f"`{n}`{' with a reset' if d.resets else ''}" for n, d in kind.declared().items()
                  if isinstance(d, Crossing)]  # fmt: skip
        yield f"Crossings: {', '.join(resets)}" if resets else ""
    else:
        yield "A diagram of other blocks"
    lines, first = inspect.getsourcelines(block)
    file = block.__module__.removeprefix("simdl.").replace(".", "/")
    yield f"Code: `{file}.py`, lines {first} to {first + len(lines) - 1}"
    if block.__name__ in cases():
        family = cases()[block.__name__][0]
        run = f"pytest {CASES} -k {family}.{block.__name__}"
        yield f"Case: `{block.__name__}` of `tests/library/{family}.py`, run by `{run}`"
    else:
        yield "Case: none yet"


def rate(kind: type[Block]) -> str:
    if kind.methods("derivative"):
        return "continuous"
    if kind.methods("hit"):
        return "times of its own"
    fixed = kind.period or kind.rate
    if kind.methods("tick"):
        return f"sampled, {fixed}" if fixed else "sampled: give it `period=` or `rate=`"
    return "that of what it reads; sampled and held where it is given a `period=`"


def feedthrough(kind: type[Block]) -> dict[str, str]:
    """Output -> which inputs its value at an instant depends on."""
    by: dict[str, Method] = {name: method for method in kind.methods("output") for name in method.returns}
    own = [*kind.methods("tick"), *kind.methods("hit")]
    found = {}
    for name, declaration in kind.declared().items():
        if isinstance(declaration, Output | OutputMethod):
            method = by.get(name) or (own[0] if own else None)
            inputs = [r for r in method.reads if isinstance(kind.declared().get(r), Input | Inputs)] if method else []
            found[name] = f"on {', '.join(f'`{i}`' for i in inputs)}" if inputs else "on no input"
    return found


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
        yield part if place % 2 else part.replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")


def section(block: type[Declared]) -> str:
    table = ["| | name | default or start | unit | shape, type | |", "|---|---|---|---|---|---|", *rows(block)]
    made = "Its ports are made when it is built; these are of its case." if shown(block) is not block else ""
    return "\n\n".join(
        [
            f"### {block.__name__}",
            f"![{image(block).sentence}](blocks/{block.__name__}.svg)",
            prose(block.__doc__ or ""),
            made,
            "\n".join(table) if len(table) > 2 else "",
            "\n".join(f"- {fact}" for fact in facts(block) if fact),
        ]
    )


def overview() -> str:
    """A table for each family, with the first paragraph of each block."""
    families = {name: family for name, (family, _) in cases().items()}
    parts = []
    for family, title in FAMILIES.items():
        lines = [f"**{title}**\n", "| block | what it is |", "|---|---|"]
        for block in blocks():
            if families.get(block.__name__) == family:
                first = inspect.cleandoc(block.__doc__ or "").split("\n\n")[0].replace("\n", " ")
                words = "`".join(escaped(first)).replace("|", "\\|")
                lines.append(f"| [{block.__name__}](#{block.__name__.lower()}) | {words} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def catalogue() -> str:
    """The page, in Markdown."""
    intro = (
        "Generated from the declarations, so that it says what the code says. Every library block, by family here, by "
        "file below; import them from `simdl.blocks`. Shapes are per lane, a scalar where none is given. An output "
        "that depends on no input at the same instant may close a loop."
    )
    parts = ["# Blocks", intro, overview()]
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
    for block in blocks():
        files.append(File.generated(config, f"reference/blocks/{block.__name__}.svg", content=image(block).svg))
    return files


if __name__ == "__main__":
    print(catalogue())
