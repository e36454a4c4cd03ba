"""Pictures of diagrams: nothing overlaps, every wire joins its ports, the same model gives the same bytes."""

from __future__ import annotations

import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings, strategies as st

from simdl import (
    Block,
    Diagram,
    Input,
    ModelError,
    Network,
    Output,
    Param,
    State,
    crossing,
    derivative,
    enabled,
    output,
    resettable,
    tick,
    triggered,
    where,
)
from simdl.draw import Drawing, draw, picture
from simdl.draw.route import Net, tracks
from simdl.draw.sketch import Box, Point, Wire
from simdl.draw.svg import DARK, LIGHT

HOSTILE = "</text><script>alert('x')</script>\x00\x1b\u202e&\"<!--]]>"


class Lag(Block):
    """x' = a + b - x"""

    a, b = Input(unit="V", default=0.0), Input(default=0.0)
    x = State(unit="m")
    y = Output(unit="m")

    @derivative(x)
    def move(self, a, b, x):
        return a + b - x

    @output(y)
    def show(self, x):
        return x

    @crossing
    def low(self, x):
        return x + 1.0


class Step(Block):
    """A sampled sum that is shown a tick later."""

    a, b, c = Input(unit="V", default=0.0), Input(default=0.0), Input(default=1.0)
    s = State()
    y = Output(unit="A")

    @tick
    def step(self, a, b, c):
        return dict(s=a + b + c)

    @output(y)
    def show(self, s):
        return s


class Servo(Diagram):
    r, y = Input(unit="V"), Output(unit="m")

    def __init__(self, latency="13 ms"):
        self.lag, self.step = Lag(), Step(period="20 ms", latency=latency)
        self.step.a = self.r - self.lag.y
        self.lag.a = self.step.y
        self.y = self.lag.y


class Part(Diagram):
    """A nested diagram whose inside others may read."""

    u, y = Input(unit="V"), Output(unit="A")

    def __init__(self, inner: Diagram | None = None):
        self.lag, self.step = Lag(), Step(period="5 ms")
        self.inner = inner
        self.lag.a = self.u
        self.step.a = self.lag.y if inner is None else inner.y
        if inner is not None:
            inner.u = self.u * 2.0 + self.lag.y
        self.y = self.step.y


PERIODS = ("5 ms", "10 ms", "20 ms", "1 s", "7 ms", "9 ms", "11 ms")


@st.composite
def diagrams(draw: st.DrawFn) -> Diagram:
    """Diagrams with loops, formulas, nested parts, conditions, wires past borders, and names of any kind."""
    count = draw(st.integers(1, 9))
    kinds = draw(st.lists(st.sampled_from(["lag", "step", "part", "deep"]), min_size=count, max_size=count))
    names = draw(st.lists(st.text(max_size=40), min_size=count, max_size=count, unique=True))

    class Drawn(Diagram):
        r, q, y = Input(unit="V"), Input(), Output(unit="m")

        def __init__(self) -> None:
            made: dict[str, Any] = {}
            for name, kind in zip(names, kinds, strict=True):
                period = draw(st.sampled_from(PERIODS))
                latency = draw(st.sampled_from([None, "3 ms"]))
                made[name] = {"lag": Lag, "part": Part, "deep": lambda: Part(Part())}.get(
                    kind, lambda period=period, latency=latency: Step(period=period, latency=latency)
                )()
            self.b = made
            sources = [self.r, self.q]
            for one in made.values():
                inside = [one, one.lag, one.step] if isinstance(one, Part) else [one]
                sources += [block.y for block in inside]
            pick = st.sampled_from(sources)
            for one in made.values():
                for port in ("u",) if isinstance(one, Part) else ("a", "b"):
                    how = draw(st.sampled_from(["port", "formula", "number", "none"]))
                    if how == "port":
                        setattr(one, port, draw(pick))
                    elif how == "formula":
                        setattr(one, port, where(draw(pick) > 0.5, draw(pick), -draw(pick)))
                    elif how == "number" or isinstance(one, Part):
                        setattr(one, port, 2.0)
                condition = draw(st.sampled_from([None, None, None, enabled, resettable]))
                if condition is not None:
                    condition(one, when=draw(pick) > 0.0, period="20 ms")
            self.y = draw(pick)

    try:
        found = Drawn()
        found.describe()
    except ModelError:
        from hypothesis import reject

        reject()
    return found


DRAWN = settings(max_examples=20, deadline=None)
options = {"depth": st.sampled_from([None, 1, 2]), "direction": st.sampled_from(["right", "down"])}


def boxes(drawing: Drawing) -> list[Box]:
    return drawing.root.all()[1:]


def wires(drawing: Drawing) -> list[Wire]:
    return [wire for box in drawing.root.all() for wire in box.wires]


def apart(a: Box, b: Box) -> bool:
    return (
        a.x + a.width <= b.x + 0.02 or b.x + b.width <= a.x + 0.02
        or a.y + a.height <= b.y + 0.02 or b.y + b.height <= a.y + 0.02
    )  # fmt: skip


def enters(a: Point, b: Point, box: Box) -> bool:
    """Whether a line along one axis runs through a box, more than along its edge."""
    left, right = sorted((a[0], b[0]))
    top, bottom = sorted((a[1], b[1]))
    slack = 0.5
    return (
        left < box.x + box.width - slack and right > box.x + slack
        and top < box.y + box.height - slack and bottom > box.y + slack
    )  # fmt: skip


@DRAWN
@given(diagrams(), options["depth"], options["direction"])
def test_boxes_of_a_frame_stand_apart_and_within_it(diagram: Diagram, depth: Any, direction: Any) -> None:
    drawing = diagram.draw(depth=depth, direction=direction)
    for frame in drawing.root.all():
        for i, box in enumerate(frame.boxes):
            assert all(apart(box, other) for other in frame.boxes[:i]), (box, frame.boxes)
            assert frame.x - 0.02 <= box.x and box.x + box.width <= frame.x + frame.width + 0.02
            assert frame.y - 0.02 <= box.y and box.y + box.height <= frame.y + frame.height + 0.02


@DRAWN
@given(diagrams(), options["depth"], options["direction"])
def test_wires_join_their_ports_along_the_axes_and_run_through_no_box(
    diagram: Diagram, depth: Any, direction: Any
) -> None:
    drawing = diagram.draw(depth=depth, direction=direction)
    for frame in drawing.root.all():
        for wire in frame.wires:
            assert wire.points[0] == pytest.approx(wire.source.point, abs=0.02)
            assert wire.points[-1] == pytest.approx(wire.target.point, abs=0.02)
            for a, b in pairwise(wire.points):
                assert a[0] == pytest.approx(b[0], abs=0.02) or a[1] == pytest.approx(b[1], abs=0.02)
                assert not any(enters(a, b, box) for box in frame.boxes)


@DRAWN
@given(diagrams(), options["depth"], options["direction"])
def test_no_two_signals_share_a_line(diagram: Diagram, depth: Any, direction: Any) -> None:
    drawing = diagram.draw(depth=depth, direction=direction)
    for frame in drawing.root.all():
        pieces = [(w.source, *sorted(p)) for w in frame.wires for p in pairwise(w.points) if p[0] != p[1]]
        for i, (source, a, b) in enumerate(pieces):
            for other, c, d in pieces[:i]:
                if other is source:
                    continue
                for k in (0, 1):  # parallel along the other axis, at one place
                    same = abs(a[k] - b[k]) < 0.02 and abs(c[k] - d[k]) < 0.02 and abs(a[k] - c[k]) < 0.5
                    both = min(b[1 - k], d[1 - k]) - max(a[1 - k], c[1 - k])
                    assert not (same and both > 0.5), (a, b, c, d)


@DRAWN
@given(diagrams(), options["depth"], options["direction"])
def test_every_wire_of_the_diagram_reaches_its_reader(diagram: Diagram, depth: Any, direction: Any) -> None:
    drawing = diagram.draw(depth=depth, direction=direction)
    driven = [wire.target for wire in wires(drawing)]
    assert len(driven) == len(set(driven)), "a pin with two sources"
    for box in boxes(drawing):
        assert box.kind != "formula" or (box.outs[0] in {wire.source for wire in wires(drawing)} and box.ins)
        if box.kind == "output":
            assert box.ins[0] in driven or " = " in box.title
        for pin in box.ins:
            assert pin in driven or " = " in pin.label or box.kind == "output", f"{box.path}.{pin.key}"


@DRAWN
@given(diagrams(), options["depth"], options["direction"])
def test_everything_is_on_the_canvas(diagram: Diagram, depth: Any, direction: Any) -> None:
    drawing = diagram.draw(depth=depth, direction=direction)
    for shape in drawing.scene.shapes:
        left, top, right, bottom = shape.extent
        assert -0.02 <= left and -0.02 <= top
        assert right <= drawing.scene.width + 0.02 and bottom <= drawing.scene.height + 0.02


@DRAWN
@given(diagrams(), options["depth"], options["direction"])
def test_the_file_is_well_formed_and_the_same_each_time(diagram: Diagram, depth: Any, direction: Any) -> None:
    first = diagram.draw(depth=depth, direction=direction)
    again = draw(diagram, depth=depth, direction=direction)
    assert first.svg == again.svg
    root = ElementTree.fromstring(first.svg)
    assert {element.tag.partition("}")[2] for element in root.iter()} <= {
        "svg", "title", "desc", "style", "rect", "path", "polygon", "circle", "text",
    }  # fmt: skip
    assert "http" not in first.svg.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_labels_of_a_block_do_not_meet() -> None:
    class Wide(Block):
        """Long names on both sides."""

        an_input_with_a_very_long_name, b = Input(default=0.0), Input(default=0.0)
        an_output_with_a_very_long_name, y = Output(), Output()

        @output(an_output_with_a_very_long_name, y)
        def show(self, an_input_with_a_very_long_name, b):
            return an_input_with_a_very_long_name, b

    class One(Diagram):
        def __init__(self) -> None:
            self.a_block_of_which_the_name_is_long_as_well = Wide()

    for direction in ("right", "down"):
        drawing = One().draw(direction=direction)
        texts = [shape.extent for shape in drawing.scene.shapes if shape.kind == "text"]
        for i, (left, top, right, bottom) in enumerate(texts):
            for a, b, c, d in texts[:i]:
                assert right <= a or c <= left or bottom <= b or d <= top


@pytest.mark.parametrize("place", ["label", "class", "unit", "title"])
def test_hostile_names_are_text(place: str) -> None:
    unit = HOSTILE if place == "unit" else "V"

    class Thing(Block):
        """A block."""

        a = Input(default=0.0, unit=unit)
        y = Output(unit=unit)

        @output(y)
        def show(self, a):
            return a

    class Loop(Diagram):
        y = Output(unit=unit)

        def __init__(self) -> None:
            self.b = {HOSTILE if place == "label" else "b": Thing(), "c": Thing()}
            first, second = self.b.values()
            second.a, self.y = first.y + 1.0, second.y

    if place == "class":
        Thing.__name__ = HOSTILE.replace("\x00", "")
    if place == "title":
        Loop.__name__ = HOSTILE.replace("\x00", "")
    loop = Loop()
    for text in (loop.draw().svg, loop.draw(depth=1).svg, loop._repr_html_()):
        assert not re.search(r"<script|\x00|\x1b|\u202e|<!--|]]>", text)
    root = ElementTree.fromstring(loop.draw().svg)
    assert any("alert" in "".join(element.itertext()) for element in root.iter())


def test_the_page_around_is_not_styled() -> None:
    style = ElementTree.fromstring(Servo().draw().svg).find("{*}style")
    assert style is not None and style.text is not None
    for rule in re.findall(r"([^{}]+)\{[^{}]*\}", re.sub(r"@media[^{]*\{", "", style.text)):
        assert rule.strip().startswith(".simdl-drawing"), rule


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_is_what_wcag_asks(colors: dict[str, str]) -> None:
    def contrast(a: str, b: str) -> float:
        bright, dark = sorted((luminance(colors[a]), luminance(colors[b])), reverse=True)
        return (bright + 0.05) / (dark + 0.05)

    grounds = ["paper", "raised", "frame", *(n for n in colors if n.startswith("tint"))]
    assert all(contrast(text, ground) >= 4.5 for text in ("ink", "soft") for ground in grounds)
    lines = [n for n in colors if re.fullmatch(r"c\d", n)]
    assert all(contrast(line, ground) >= 3 for line in lines for ground in ("paper", "frame", f"tint{line[1:]}"))


def test_rates_differ_in_more_than_colour() -> None:
    class Many(Diagram):
        def __init__(self) -> None:
            self.lag = Lag()
            self.b = [Step(period=f"{k + 1} ms") for k in range(12)]
            for one in self.b:
                one.a = self.lag.y

    rates = {box.rate for box in boxes(Many().draw())}
    assert len(rates) == 13
    assert len({(rate.color, rate.dash) for rate in rates}) == 13
    assert len({rate.dash for rate in rates}) >= 6
    texts = {shape.text for shape in Many().draw().scene.shapes}
    assert {rate.text for rate in rates} <= texts


def test_a_loop_says_rates_units_latency_and_changes_of_rate() -> None:
    drawing = Servo().draw()
    texts = [shape.text for shape in drawing.scene.shapes if shape.kind == "text"]
    for text in ("r [V]", "r − lag.y", "continuous", "20 ms, latency 13 ms", "A +13 ms", "y [m]"):
        assert text in texts
    changes = {(wire.source.box.title, wire.target.box.title): wire.change for wire in wires(drawing)}
    assert changes["r − lag.y", "step"] == "sampled"
    assert changes["step", "lag"] == "held"
    assert changes["lag", "y"] == ""
    back = next(w for w in wires(drawing) if w.target.box.kind == "formula" and w.source.box.kind == "block")
    assert back.points[-1][0] < back.points[0][0], "the feedback runs backwards"
    assert max(y for _, y in back.points) > max(b.y + b.height for b in boxes(drawing)), "and around the blocks"


def test_networks_conditions_and_crossings_are_marked() -> None:
    class Loop(Diagram):
        r = Input()

        def __init__(self) -> None:
            self.lag = Lag()
            self.net = Network(torch.nn.Linear(1, 1), period="20 ms", inputs=("x",), outputs=("u",))
            self.net.x, self.lag.a = self.lag.y, self.net.u
            self.count = triggered(Step(), when=self.lag.low)
            self.part = enabled(Part(), when=self.r > 0, outputs="initial", period="10 ms")
            self.part.u = 3.0

    drawing = Loop().draw()
    by_title = {box.title: box for box in reversed(boxes(drawing))}
    assert by_title["net"].kind == "network" and "network" in by_title["net"].lines
    assert by_title["count"].rate.text == "triggered" and by_title["count"].ins[0].mark == "condition"
    assert "◇ low" in by_title["lag"].lines and by_title["lag"].pin("out", "low").mark == "crossing"
    assert "enabled, outputs initial, read every 10 ms" in by_title["part"].lines
    assert by_title["u = 3"].outer is not None
    assert {"network", "condition or crossing"} <= {shape.text for shape in drawing.scene.shapes}


def test_a_wire_has_the_unit_of_its_readers_when_its_source_has_none() -> None:
    class Loop(Diagram):
        def __init__(self) -> None:
            self.lag, self.other = Lag(), Lag()
            self.net = Network(torch.nn.Linear(1, 2), period="20 ms", inputs=("x",), outputs=("u", "v"))
            self.net.x, self.lag.a, self.lag.b = self.lag.y, self.net.u, self.net.v
            self.other.a, self.other.b = self.net.v, 0.0

    net = next(box for box in boxes(Loop().draw()) if box.title == "net")
    assert [pin.unit for pin in net.outs] == ["V", ""], "v is read as V and as a number"


def test_wires_pass_borders_through_pins() -> None:
    class Outer(Diagram):
        y, z = Output(), Output()

        def __init__(self) -> None:
            self.part = Part(Part())
            self.part.u = self.part.inner.lag.y
            self.y = self.part.inner.step.y + self.part.y
            self.z = self.part.y

    opened = Outer().draw()
    for frame in opened.root.all():
        inside = set(frame.boxes)
        assert all(wire.source.box in inside and wire.target.box in inside for wire in frame.wires)
    part = next(box for box in boxes(opened) if box.title == "part")
    assert {pin.label for pin in part.outs} == {"y", "inner.lag.y", "inner.step.y"}
    closed = Outer().draw(depth=1)
    part = next(box for box in boxes(closed) if box.title == "part")
    assert part.kind == "closed" and not part.boxes and part.lines == ("Part", "4 blocks inside")
    assert {pin.label for pin in part.outs} == {"y", "inner.lag.y", "inner.step.y"}


def test_a_closed_diagram_has_pins_for_what_its_inside_reads() -> None:
    class Inside(Diagram):
        def __init__(self) -> None:
            self.step = Step(period="10 ms")

    class Outer(Diagram):
        r = Input()

        def __init__(self) -> None:
            self.part, self.lag = Inside(), Lag()
            self.part.step.a = self.lag.y + self.r

    part = next(box for box in boxes(Outer().draw(depth=1)) if box.title == "part")
    assert [pin.label for pin in part.ins] == ["step.a"] or len(part.ins) == 1


def test_parameters_and_numbers_are_text_and_no_wires() -> None:
    class Loop(Diagram):
        k: Param = Param(2.0)

        def __init__(self) -> None:
            self.one, self.two = Lag(), Lag()
            self.one.a, self.one.b = self.k, 0.25
            self.two.a = self.k * 3.0

    drawing = Loop().draw()
    assert wires(drawing) == []
    labels = {pin.label for box in boxes(drawing) for pin in box.ins}
    assert {"a = k", "b = 0.25", "a = k · 3"} <= labels


def test_a_single_block_is_drawn_with_its_ports() -> None:
    drawing = draw(Lag())
    assert [box.kind for box in boxes(drawing)] == ["block", "input", "input", "output"]
    assert len(wires(drawing)) == 3


def test_png_and_svg_files(tmp_path: Path) -> None:
    drawing = Servo().draw(tmp_path / "servo.svg")
    assert (tmp_path / "servo.svg").read_text(encoding="utf-8") == drawing.svg
    Servo().draw(tmp_path / "one.png")
    Servo().draw(tmp_path / "two.png")
    data = (tmp_path / "one.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data == (tmp_path / "two.png").read_bytes()
    wide, high = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert (wide, high) == pytest.approx((2 * drawing.scene.width, 2 * drawing.scene.height), abs=2)


def test_what_cannot_be_drawn_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a picture as \.pdf"):
        Servo().draw(tmp_path / "servo.pdf")
    with pytest.raises(ModelError, match="direction='left'"):
        draw(Servo(), direction="left")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="depth=0"):
        Servo().draw(depth=0)

    class Broken(Diagram):
        def __init__(self) -> None:
            self.lag = Lag()
            self.lag.a = "x<y"

    with pytest.raises(ModelError):
        Broken().draw()
    assert "x&lt;y" in Broken()._repr_html_()


def test_notebooks_get_the_picture_and_its_text() -> None:
    html = Servo()._repr_html_()
    assert "<svg" in html and 'role="img"' in html and "<desc>Servo: 2 blocks, 1 formula, 5 wires" in html
    assert "edges between rates" in html


def test_three_hundred_blocks_in_a_chain_with_loops_and_deep_nesting_are_laid_out() -> None:
    class Chain(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.b = [Lag() for _ in range(300)]
            for i, (one, other) in enumerate(pairwise(self.b)):
                other.a = one.y
                one.b = self.b[(7 * i + 30) % 300].y
            self.y = self.b[-1].y

    drawing = Chain().draw()
    assert len(boxes(drawing)) == 301 and len(wires(drawing)) == 299 + 299 + 1
    part = Part()
    for _ in range(60):
        part = Part(part)
    assert len(boxes(draw(part))) > 60 * 3


@given(st.lists(st.integers(0, 8), max_size=20), st.permutations(range(20)), st.permutations(range(20)))
def test_turning_lines_never_lie_on_each_other(owner: list[int], left: list[int], right: list[int]) -> None:
    nets: dict[int, Net] = {}
    for number, one in enumerate(owner):  # each place on a side is of one net; on the other side it may be another's
        net = nets.setdefault(one, Net())
        net.left.add(10.0 * left[number])
        net.right.add(10.0 * right[number])
    count = tracks(list(nets.values()))
    pieces = []
    for net in nets.values():
        for a in net.left:
            for b in net.right:
                inner = [(float(track), at) for track, at in net.turns(a, b)]
                assert all(0 <= track < count for track, _ in inner)
                points = [(-1.0, a), *inner, (float(count), b)]
                pieces += [(net, *sorted(piece)) for piece in pairwise(points)]
    for i, (net, a, b) in enumerate(pieces):
        for other, c, d in pieces[:i]:
            if other is not net:
                for k in (0, 1):
                    overlap = min(b[1 - k], d[1 - k]) - max(a[1 - k], c[1 - k])
                    assert not (a[k] == b[k] == c[k] == d[k] and overlap > 0)


def test_the_picture_in_the_documentation_is_that_of_its_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = Path(__file__).parent.parent / "docs"
    example = (docs / "howto" / "see.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "see.md", "exec"), {"__name__": "__main__"})
    assert (tmp_path / "speed.svg").read_bytes() == (docs / "images" / "speed.svg").read_bytes()


def test_the_command_line_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from simdl.cli.program import program
    from tests.study import STUDY

    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    file = tmp_path / "new folder" / "loop.svg"
    result = CliRunner().invoke(program, ["describe", "tests.study:STUDY", "--svg", str(file)])
    assert result.exit_code == 0 and "must hold" in result.stdout
    assert file.read_text(encoding="utf-8") == STUDY.build().draw().svg
    result = CliRunner().invoke(program, ["describe", "tests.study:STUDY", "--svg", str(tmp_path / "loop.pdf")])
    assert result.exit_code == 2 and ".svg or .png" in result.stderr


def test_a_block_in_a_notebook_is_its_picture_and_its_parameters() -> None:
    html = Lag()._repr_html_()
    assert "<svg" in html and "&lt;Lag()&gt;" in html


def test_picture_of_a_kind_of_block() -> None:
    drawing = picture(Lag)
    assert [pin.key for pin in drawing.root.ins] == ["a", "b"]
    assert [(pin.key, pin.mark) for pin in drawing.root.outs] == [("y", ""), ("low", "crossing")]
    assert drawing.sentence == "Lag: 2 inputs and 2 outputs."
    ElementTree.fromstring(drawing.svg)


def test_the_page_of_a_campaign_shows_the_loop() -> None:
    from simdl.report import campaign_report
    from tests.study import STUDY

    campaign = STUDY.campaign(4, seed=0)
    page = campaign_report(campaign, STUDY).to_html()
    assert page.count('class="simdl-drawing"') == 1
    figure = page[page.index("The loop") :]
    assert 'role="img"' in figure and draw(campaign.model).sentence in figure
    for path in campaign.model.blocks:
        assert path in figure


FAMILIES = sorted(file.stem for file in (Path(__file__).parent / "library").glob("[!_]*.py"))


@pytest.mark.parametrize("direction", ["right", "down"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_case_of_the_library_is_drawn(family: str, direction: Any) -> None:
    for name, case in import_module(f"tests.library.{family}").CASES.items():
        drawing = draw(case()[0], direction=direction)
        ElementTree.fromstring(drawing.svg)
        driven = {wire.target for wire in wires(drawing)}
        for frame in drawing.root.all():
            for i, box in enumerate(frame.boxes):
                assert all(apart(box, other) for other in frame.boxes[:i]), name
                unwired = [pin for pin in box.ins if pin not in driven and box.kind != "output"]
                assert all(" = " in pin.label for pin in unwired), f"{name}: {box.path}"
            for wire in frame.wires:
                for a, b in pairwise(wire.points):
                    assert not any(enters(a, b, box) for box in frame.boxes), name


def test_a_block_as_the_input_of_a_run_leaves_the_input_in_the_picture() -> None:
    from simdl import RK4, simulate
    from simdl.blocks import Ramp

    servo = Servo(latency=None)
    run = simulate(servo, 0.1, inputs={servo.r: Ramp()}, solver=RK4(max_step=0.01))
    assert draw(run.model).svg == servo.draw().svg
