"""What is lowered to C, and what is refused: by name of the operation and of the block, never in silence."""
# ruff: noqa: B008, E501 (a table)

from __future__ import annotations

import re
import subprocess

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from simdl import repeat
from simdl.errors import LoweringError
from tests.native_cases import Numbers
from tests.native_function import Functions, assert_agrees, bits, flat

D = torch.float64
REFUSED = {
    "fourier": (lambda x: torch.fft.rfft(x).abs(), "fft_r2c"),
    "complex": (lambda x: torch.complex(x, x).real, "aten::complex"),
    "complex by roots": (lambda x: torch.view_as_complex(x[:, :4].reshape(-1, 2, 2)).abs(), "view_as_complex"),
    "sum over lanes": (lambda x: x - x.sum(0), "a reduction over the lanes"),
    "mean over all": (lambda x: x - x.mean(), "a reduction over the lanes"),
    "extreme over lanes": (lambda x: x.amax(0) + x, "a reduction over the lanes"),
    "sort over lanes": (lambda x: x.sort(0).values, "aten::sort"),
    "running sum over lanes": (lambda x: x.cumsum(0), "cumsum"),
    "product of lanes": (lambda x: x @ x.T, "lanes"),
    "norm over lanes": (lambda x: x / x.norm(), "a reduction over the lanes"),
    "lanes rolled": (lambda x: x.roll(1, 0) + x, "lane"),
    "first lane": (lambda x: x - x[0], "lane"),
    "lanes flipped": (lambda x: x.flip(0) + x, "lane"),
    "batch statistics": (lambda x: F.batch_norm(x, None, None, training=True), "a reduction over the lanes"),
    "eigenvalues": (lambda x: torch.linalg.eigvalsh(x[:, :4].reshape(-1, 2, 2)), "linalg_eigh"),
    "singular values": (lambda x: torch.linalg.svdvals(x[:, :4].reshape(-1, 2, 2)), "svd"),
    "a mask that chooses": (lambda x: x[x > 0], "a mask"),
    "a number asked for": (lambda x: x * x.sum().item(), "local_scalar_dense"),
    "a branch": (lambda x: x if x.sum() > 0 else -x, "a reduction over the lanes"),
    "random numbers": (lambda x: x + torch.rand_like(x), "random"),
    "dropout in training": (lambda x: F.dropout(x, 0.5, training=True), "number of the lane"),
    "half precision": (lambda x: x.half(), "float16"),
    "gamma": (lambda x: torch.lgamma(x), "aten::lgamma"),
    "an index of other lanes": (lambda x: x[(x[:, 0] > 0).long()], "other lanes"),
    "number of the lane": (lambda x: x + torch.arange(len(x), dtype=D)[:, None], "number of the lane"),
    "weights changed": (lambda x, w=torch.ones(5, dtype=D): x + w.mul_(1.0), "mul_"),
    "many turns that differ": (lambda x: repeat(100, lambda s, k: s.sin() if k % 2 else s.cos(), x), "100 turns"),
    "a wide sort": (lambda x: x.repeat(1, 40).sort(-1).values, "200 elements to sort"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_lowered_names_the_operation_and_the_block(name: str) -> None:
    function, said = REFUSED[name]
    with pytest.raises(LoweringError) as caught:
        Functions().add(f"plant.{name}", function, [Numbers(1).normal(5)])
    assert said in caught.value.found, caught.value
    assert caught.value.where == f"plant.{name}"


def test_a_sum_over_lanes_that_nothing_uses_is_no_fault() -> None:
    x = Numbers(1).normal(3)
    functions = Functions()
    functions.add("grad", torch.func.grad(lambda s: (s.sin() * s).sum()), [x])
    assert_agrees(functions.call("grad", [x], 8)[0], x.cos() * x + x.sin(), 1e-12)


def test_any_number_of_lanes_gives_the_same_bits() -> None:
    net = nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 3)).double()
    x = torch.randn(37, 5, dtype=D, generator=torch.Generator().manual_seed(1))
    functions = Functions()
    functions.add("net", net, [x])
    whole = functions.call("net", [x], 1)[0]
    for width in (1, 2, 4, 8, 16):
        for lanes in (1, 2, 7, 8, 9, 37):
            found = functions.call("net", [x[:lanes]], width)[0]
            assert torch.equal(bits(found), bits(whole[:lanes])), (width, lanes)


def test_weights_may_change_after_compilation() -> None:
    net = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)).double()
    x = Numbers(1).normal(5)
    functions = Functions()
    functions.add("net", net, [x])
    functions.call("net", [x], 8)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5).add_(0.1)
    assert_agrees(functions.call("net", [x], 8)[0], net(x).detach(), 1e-12)


def test_large_arrays_leave_the_stack_alone() -> None:
    x = Numbers(1).normal(40_000)
    functions = Functions()
    functions.add("large", lambda x: torch.tanh(x).flip(1) + torch.exp(-x * x).roll(1, 1), [x])
    _, text = functions.source(8)
    assert "static _Thread_local double" in text
    assert_agrees(functions.call("large", [x], 8)[0], torch.tanh(x).flip(1) + torch.exp(-x * x).roll(1, 1), 1e-12)


HOSTILE = [
    'x; system("touch /tmp/simdl_was_here");//', "*/ int main(void){abort();} /*", "??/", "back\\\nslash", '"quote"',
    "\u202eevil\u2066", "while", "n" * 300, "%s%n", "#include </etc/passwd>",
]  # fmt: skip


def test_names_never_reach_c() -> None:
    functions, x = Functions(), Numbers(1).normal(3)
    for name in HOSTILE:
        functions.add(name, lambda a: repeat(4, lambda s, k: s * 0.5 + k, a).sin(), [x])
    _, text = functions.source(8)
    plain = functions.source(8, [])[1]
    own = text[len(plain) - 1 :]
    for name in HOSTILE:
        assert name not in text or name == "while"
        for word in re.findall(r"[a-z_]{5,}", name):
            assert word not in own or word in ("while", "include"), word
    assert own.isascii()
    for name in HOSTILE:
        assert_agrees(functions.call(name, [x], 8)[0], functions.call(HOSTILE[0], [x], 8)[0], 0.0)


def test_numbers_keep_their_bits() -> None:
    numbers = [0.1, 1e-310, -0.0, float("inf"), 5e-324, 1.7976931348623157e308, 2**53 + 1.0]
    functions, x = Functions(), torch.ones(3, 1, dtype=D)
    functions.add("numbers", lambda a: torch.cat([a * 0 + n if n == n and abs(n) != float("inf") else a * n for n in numbers]
                                                 + [a.new_full(a.shape, n) for n in numbers], 1), [x])  # fmt: skip
    found = functions.call("numbers", [x], 8)[0]
    for i, number in enumerate(numbers):
        assert bits(found[0, len(numbers) + i]) == bits(torch.tensor(number, dtype=D))
    assert "0x1.999999999999ap-4" in functions.source(8)[1]


# -- random compositions ----------------------------------------------------------------------------------------------


@st.composite
def moves(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    names = ["slice", "cat", "flip", "roll", "transpose", "expand", "pad", "add", "merge", "index", "repeat", "write", "stack",
             "where", "unfold", "broadcast"]  # fmt: skip
    return draw(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=7))


def applied(steps: list[tuple[str, int, int]], x: Tensor) -> Tensor:
    """A composition of moves; every step keeps (lanes, a, b) with few elements."""
    first = x
    for name, i, j in steps:
        lanes, a, b = x.shape
        axis = 1 + i % 2
        size = x.shape[axis]
        if name == "slice":
            x = x.narrow(axis, j % size, 1 + i % (size - j % size))
        elif name == "cat" and x.numel() < 60 * lanes:
            x = torch.cat([x, x.flip(axis)[:, : 1 + j % a] if axis == 1 else x[..., : 1 + j % b]], axis)
        elif name == "flip":
            x = x.flip(axis)
        elif name == "roll":
            x = x.roll(j, axis)
        elif name == "transpose":
            x = x.transpose(1, 2)
        elif name == "expand" and a == 1:
            x = x.expand(lanes, 2, b)
        elif name == "pad":
            x = F.pad(x, (i % 2, j % 2, j % 3, 0), value=float(i))
        elif name == "add":
            x = x + x.flip(axis) * (1 + j)
        elif name == "merge":
            x = (x.reshape(lanes * a, b) * 2).reshape(lanes, a, b)
        elif name == "index":
            x = x.index_select(axis, torch.tensor([j % size, i % size]))
        elif name == "repeat" and x.numel() < 60 * lanes:
            x = x.repeat(1, 1 + i % 2, 1 + j % 2)
        elif name == "write":
            x = x.clone()
            x[:, i % a] = x[:, j % a].flip(-1)
            x[:, :, j % b] += 1
        elif name == "stack" and x.numel() < 60 * lanes:
            x = torch.stack([x, -x], axis).flatten(axis, axis + 1)
        elif name == "where":
            x = torch.where(x > x[:, :1], x, x[..., j % b].unsqueeze(-1))
        elif name == "unfold":
            x = x.unfold(axis, 1 + j % size, 1).flatten(2)[..., :40]
        elif name == "broadcast":
            x = x + first[:, :1, :1] + torch.arange(float(b), dtype=x.dtype)
    return x


@settings(max_examples=12, deadline=None)
@given(st.lists(moves(), min_size=12, max_size=12))
def test_compositions_of_moves_equal_eager_torch(programs: list[list[tuple[str, int, int]]]) -> None:
    functions, x = Functions(flags=("-O1",)), Numbers(3).normal(3, 4)
    for i, steps in enumerate(programs):
        functions.add(str(i), lambda x, s=steps: applied(s, x), [x])
    for i, steps in enumerate(programs):
        expected = applied(steps, x)
        for width in (1, 8):
            assert_agrees(flat(functions.call(str(i), [x], width))[0], expected, 1e-14, f"{steps}")


# -- what the C compiler makes of it ----------------------------------------------------------------------------------


def test_lane_loops_become_vector_code() -> None:
    """An LSTM cell, a network and a pendulum: as many vector loops as there are loops over lanes and elements."""
    from simdl.engine.native.compiler import find_compiler

    compiler = find_compiler()
    if compiler is None or "Free Software" not in subprocess.run(
        [*compiler.argv, "--version"], capture_output=True, text=True, check=True
    ).stdout:
        pytest.skip("the compiler does not tell as GCC does which loops are vectors")
    cell, net = nn.LSTMCell(3, 8).double(), nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1)).double()
    n = Numbers(1)
    functions = Functions()
    functions.add("cell", lambda x, h, c: cell(x, (h, c)), [n.normal(3), n.normal(8), n.normal(8)])
    functions.add("net", net, [n.normal(4)])
    functions.add("pendulum", lambda x, u: torch.stack([x[:, 1], u - 0.2 * x[:, 1] - 9.81 * torch.sin(x[:, 0])], 1),
                  [n.normal(2), n.normal()])  # fmt: skip
    _, text = functions.source(8)
    first = text.count("\n", 0, text.index("void f0(")) + 1
    flags = [f for f in compiler.flags if f != "-shared"]
    run = subprocess.run([*compiler.argv, *flags, "-fopt-info-vec-optimized", "-S", "-o", "/dev/null", "-x", "c", "-"],
                         input=text, capture_output=True, text=True, check=True)  # fmt: skip
    vectors = {int(m) for m in re.findall(r"<stdin>:(\d+):\d+: optimized: (?:loop|basic block) (?:vectorized|part)", run.stderr)}
    lines = text.splitlines()
    ends = {i: next(j for j in range(i, len(lines)) if lines[j].startswith("}")) for i in range(first, len(lines))
            if "LANES {" in lines[i]}  # fmt: skip
    loops = [i + 1 for i, end in ends.items() if re.search(r"m_|__builtin| [-+*/] ", "".join(lines[i:end]))]  # not mere copies
    assert len(loops) > 5
    left = [lines[i - 1 : i + 5] for i in loops if not vectors & set(range(i, i + 40))]
    assert not left, (left, sorted(vectors))
