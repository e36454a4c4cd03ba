"""`.nnet` and `.polar` files: networks computed by hand, and numbers of normalisation that are never silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from simdl import Diagram, Input, Output, simulate
from simdl.errors import NetworkError
from simdl.networks import Imported, open_network

# Two inputs, two hidden neurons, one output:
# h = relu((n1 - n2 + 0.5, 2 n1 + n2 - 1)), y = 3 h1 - 2 h2 + 0.25, of n = (clip(x) - (1, -1)) / (2, 4); out 10 y + 7
NNET = """// by hand
// two lines of comment
2,2,1,2,
2,2,1,
0,
-4.0,-8.0,
4.0,8.0,
1.0,-1.0,7.0,
2.0,4.0,10.0,
1.0,-1.0,
2.0,1.0,
0.5,
-1.0,
3.0,-2.0,
0.25,
"""
POLAR = "2\n1\n1\n2\nReLU\nAffine\n1\n-1\n0.5\n2\n1\n-1\n3\n-2\n0.25\n0.5\n2.0\n"


def bare(a: float, b: float) -> float:
    h1, h2 = max(0.0, a - b + 0.5), max(0.0, 2 * a + b - 1)
    return 3 * h1 - 2 * h2 + 0.25


def published(a: float, b: float) -> float:
    a, b = min(4.0, max(-4.0, a)), min(8.0, max(-8.0, b))
    return bare((a - 1) / 2, (b + 1) / 4) * 10 + 7


def opened(folder: Path, name: str, text: str, **options: Any) -> Imported:
    (folder / name).write_text(text)
    return open_network(folder / name, **options)


def value(found: Imported, *x: float) -> float:
    result = found.module(torch.tensor([x], dtype=torch.float64))
    assert result.dtype == torch.float64
    return float(result.detach()[0, 0])


POINTS = [(0.0, 0.0), (3.0, -2.5), (-1.0, 7.0), (100.0, -100.0), (4.0, 8.0)]


def test_a_network_by_hand(tmp_path: Path) -> None:
    found = opened(tmp_path, "net.nnet", NNET)
    for point in POINTS:
        assert value(found, *point) == pytest.approx(published(*point), abs=1e-12)
    assert found.check is not None and found.check.agrees and found.check.against == "NumPy on the file's numbers"
    assert found.notes == (
        "header: low (-4, -8), high (4, 8), mean (1, -1), range (2, 4), output_mean 7, output_range 10",)
    assert "worst difference" in str(found) and "header: low" in str(found)


def test_none_is_the_network_alone_and_is_said(tmp_path: Path) -> None:
    found = opened(tmp_path, "net.nnet", NNET, normalisation="none")
    for point in POINTS:
        assert value(found, *point) == pytest.approx(bare(*point), abs=1e-12)
    assert found.notes[-1] == "normalisation: none is applied"


def test_a_mismatch_with_the_header_is_reported(tmp_path: Path) -> None:
    found = opened(tmp_path, "net.nnet", NNET, normalisation={"range": 1.0, "low": None, "output_mean": 7.0})
    assert value(found, 3.0, -2.5) == pytest.approx(bare(3.0 - 1, -2.5 + 1) * 10 + 7, abs=1e-12)
    assert value(found, -100.0, 0.0) == pytest.approx(bare(-101.0, 1.0) * 10 + 7, abs=1e-10)
    assert value(found, 100.0, 0.0) == pytest.approx(bare(3.0, 1.0) * 10 + 7, abs=1e-10)
    assert found.notes[1:] == ("MISMATCH with the header: low none is used, the file says (-4, -8)",
                               "MISMATCH with the header: range 1 is used, the file says (2, 4)")  # fmt: skip


def test_what_looks_wrong_in_a_header_is_noted(tmp_path: Path) -> None:
    far = opened(tmp_path, "net.nnet", NNET.replace("1.0,-1.0,7.0", "9.0,-1.0,7.0"))
    assert far.notes[1] == "header: the mean of input 0 lies outside of its minimum and maximum"
    short = NNET.replace("1.0,-1.0,7.0", "1.0,-1.0").replace("2.0,4.0,10.0", "2.0,4.0")
    assert "no mean and range of the outputs" in opened(tmp_path, "net.nnet", short).notes[1]


@pytest.mark.parametrize(("options", "message"), [
    ({"normalisation": "header!"}, "normalisation='header!'"), ({"normalisation": {"rnage": 1}}, "did you mean: range"),
    ({"normalisation": {"range": 0}}, "range holds 0"), ({"normalisation": {"mean": [1, 2, 3]}}, "a number, or 2"),
    ({"normalization": "none"}, "did you mean: normalisation"),
    ({"normalisation": {"mean": float("nan")}}, "mean=nan\n  expected: finite"),
    ({"normalisation": {"range": [1.0, float("inf")]}}, "range=.*\n  expected: finite"),
    ({"normalisation": {"low": -float("inf")}}, "None clips nothing"),
    ({"normalisation": {"output_mean": "three"}}, "output_mean='three'"),
])  # fmt: skip
def test_wrong_options_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        opened(tmp_path, "net.nnet", NNET, **options)


def test_a_polar_network_by_hand_and_its_offset_and_scale(tmp_path: Path) -> None:
    found = opened(tmp_path, "net.polar", POLAR)
    assert value(found, 3.0, -2.5) == pytest.approx((bare(3.0, -2.5) - 0.5) * 2.0, abs=1e-12)
    assert found.notes == ("file: offset 0.5, scale 2",)
    other = opened(tmp_path, "net.polar", POLAR, offset=10, scale=1.0)
    assert value(other, 3.0, -2.5) == pytest.approx(bare(3.0, -2.5) - 10, abs=1e-12)
    assert other.notes[1:] == ("MISMATCH with the file: offset 10 is used, the file says 0.5",
                               "MISMATCH with the file: scale 1 is used, the file says 2")  # fmt: skip


@pytest.mark.parametrize("options", [
    {"scale": 0}, {"scale": 0.0}, {"scale": "2"}, {"scale": [2.0]}, {"scale": True}, {"scale": float("nan")},
    {"offset": "none"}, {"offset": {}}, {"offset": float("inf")}, {"offset": 10**400}, {"offset": torch.ones(2)},
])  # fmt: skip
def test_offset_and_scale_are_numbers(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(NetworkError, match=f"{next(iter(options))}=.*\n  expected: a "):
        opened(tmp_path, "net.polar", POLAR, **options)


@pytest.mark.parametrize(("name", "function"), [
    ("ReLU", lambda x: max(x, 0.0)), ("tanh", lambda x: float(torch.tanh(torch.tensor(x, dtype=torch.float64)))),
    ("sigmoid", lambda x: 1 / (1 + 2.718281828459045**-x)), ("Affine", lambda x: x),
])  # fmt: skip
def test_activations_of_polar_files(tmp_path: Path, name: str, function: Any) -> None:
    found = opened(tmp_path, "net.polar", f"1\n1\n0\n{name}\n2.0\n-0.5\n0.0\n1.0\n")
    for x in (-1.0, 0.1, 2.0):
        assert value(found, x) == pytest.approx(function(2 * x - 0.5), abs=1e-12)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(0, 10**6))
def test_both_formats_say_the_same_network(tmp_path: Path, sizes: list[int], seed: int) -> None:
    """Any sizes and weights, against the sums written out."""
    draw = torch.Generator().manual_seed(seed)
    pairs = list(zip(sizes, sizes[1:]))
    tables = [torch.randn((n, m + 1), generator=draw, dtype=torch.float64) for m, n in pairs]
    header = [f"{len(pairs)},{sizes[0]},{sizes[-1]},{max(sizes)},", ",".join(map(str, sizes)), "0",
              *(",".join([text] * sizes[0]) for text in ("-1e9", "1e9")),
              *(",".join([text] * (sizes[0] + 1)) for text in ("0", "1"))]  # fmt: skip
    rows = []
    for table in tables:
        rows += [",".join(repr(float(w)) for w in row[:-1]) + "," for row in table]
        rows += [f"{float(row[-1])!r}," for row in table]
    nnet = opened(tmp_path, "net.nnet", "\n".join([*header, *rows]))
    hidden = sizes[1:-1]
    words = [sizes[0], sizes[-1], len(hidden), *hidden, *["ReLU"] * len(hidden), "Affine",
             *(repr(float(w)) for table in tables for w in table.flatten()), 0.0, 1.0]  # fmt: skip
    polar = opened(tmp_path, "net.polar", "\n".join(map(str, words)))
    x = [float(w) for w in torch.randn(sizes[0], generator=draw, dtype=torch.float64)]
    y = x
    for number, table in enumerate(tables):
        y = [sum(float(w) * v for w, v in zip(row, [*y, 1.0])) for row in table]
        y = [max(v, 0.0) for v in y] if number < len(tables) - 1 else y
    for found in (nnet, polar):
        assert found.module(torch.tensor([x], dtype=torch.float64))[0].tolist() == pytest.approx(y, abs=1e-11)


class Loop(Diagram):
    a, b, out = Input(), Input(), Output()

    def __init__(self, found: Imported) -> None:
        self.net = found.block(period="1 s", inputs=("a", "b"))
        self.net.a, self.net.b = self.a, self.b
        self.out = getattr(self.net, next(iter(found.outputs)))


@pytest.mark.parametrize("engine", ["torch", "native"])
@pytest.mark.parametrize(("name", "text"), [("net.nnet", NNET), ("net.polar", POLAR)])
def test_they_run_in_both_engines_in_float64(tmp_path: Path, name: str, text: str, engine: Any) -> None:
    run = simulate(Loop(opened(tmp_path, name, text)), until=2, inputs={"a": 3.0, "b": -2.5}, engine=engine)
    wanted = published(3.0, -2.5) if name == "net.nnet" else (bare(3.0, -2.5) - 0.5) * 2.0
    assert float(run["out"].at(1.0)) == pytest.approx(wanted, abs=1e-12) and run.engine == engine
