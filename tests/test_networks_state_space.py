"""Neural state space: networks as differential and difference equations."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from simdl import RK4, NetworkError, simulate
from simdl.networks import NeuralStateSpace, free_run


def linear(matrix):
    layer = nn.Linear(len(matrix[0]), len(matrix), bias=False).double()
    layer.weight.data.copy_(torch.tensor(matrix))
    return layer


STEP = {"solver": RK4(max_step=0.005)}


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_linear_network_is_the_matrix_exponential(engine):
    """The scales are those of a change of coordinates: they must leave x' = A x + B u as it is."""
    a, b = torch.tensor([[0.0, 1.0], [-4.0, -0.4]]).double(), torch.tensor([0.0, 2.0]).double()
    scales, time = {"x": (0.0, 2.0), "v": (0.0, 5.0), "u": (0.0, 0.5)}, 0.3
    size = torch.tensor([2.0, 5.0]).double()
    inner = torch.cat((a * size, 0.5 * b[:, None]), 1) / size[:, None] * time
    block = NeuralStateSpace(linear(inner.tolist()), {"x": 1.0, "v": 0.0}, ("u",), scales=scales, time=time)
    run = simulate(block, 2, inputs={"u": 0.7}, record=["x", "v"], engine=engine, **STEP)
    rest = torch.linalg.solve(a, -b * 0.7)
    expected = torch.linalg.matrix_exp(2 * a) @ (torch.tensor([1.0, 0.0]).double() - rest) + rest
    found = torch.stack([run["x"].at(2), run["v"].at(2)]).flatten()
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("engine", ["torch", "native"])
@pytest.mark.parametrize("residual", [True, False])
def test_with_a_period_it_is_a_difference_equation(engine, residual):
    block = NeuralStateSpace(
        linear([[-0.5, 1.0]]), {"x": 3.0}, ("u",), ("y",), linear([[2.0]]), residual=residual, through=False,
        scales={"x": (1.0, 2.0), "y": (10.0, 1.0)}, period=1,
    )  # fmt: skip
    run = simulate(block, 4, inputs={"u": 0.25}, record=["x", "y"], engine=engine)
    x, expected = 3.0, []
    for _ in range(5):
        expected.append(x)
        change = 2.0 * (-0.5 * (x - 1.0) / 2.0 + 0.25)
        x = change + (x if residual else 1.0)
    torch.testing.assert_close(run["x"].values[0], torch.tensor(expected).double())
    torch.testing.assert_close(run["y"].values[0], 10.0 + 2.0 * (torch.tensor(expected).double() - 1.0) / 2.0)


def test_a_lane_alone_is_the_lane_among_many_and_engines_agree():
    torch.manual_seed(0)
    f = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 2)).double()
    block = NeuralStateSpace(f, ("theta", "omega"), ("torque",))
    torque = torch.linspace(-1, 1, 50).double()
    many = simulate(block, 1, lanes=50, inputs={"torque": torque}, record="theta", engine="torch", **STEP)[
        "theta"
    ].values
    alone = simulate(block, 1, inputs={"torque": torque[17]}, record="theta", engine="torch", **STEP)["theta"].values
    native = simulate(block, 1, lanes=50, inputs={"torque": torque}, record="theta", engine="native", **STEP)
    assert torch.equal(many[17:18], alone)
    torch.testing.assert_close(native["theta"].values, many, atol=1e-12, rtol=1e-12)


def test_it_learns_a_damped_pendulum_by_rollouts_of_many_steps():
    """theta'' = -9.81 sin(theta) - 0.3 theta' + torque, from runs; judged on runs it has not seen."""

    def true(lanes, seed):
        generator = torch.Generator().manual_seed(seed)
        state = 2 * torch.rand(lanes, 2, generator=generator, dtype=torch.float64) - 1
        torque = 2 * torch.rand(lanes, generator=generator, dtype=torch.float64) - 1
        rows = [state]
        for _ in range(400):

            def flow(s):
                return torch.stack((s[:, 1], -9.81 * torch.sin(s[:, 0]) - 0.3 * s[:, 1] + torque), 1)

            k1 = flow(state)
            k2 = flow(state + 0.0025 * k1)
            k3 = flow(state + 0.0025 * k2)
            state = state + 0.005 / 6 * (k1 + 2 * k2 + 2 * k3 + flow(state + 0.005 * k3))
            rows.append(state)
        return torch.stack(rows, 1)[:, ::8], torque  # every 40 ms

    torch.manual_seed(0)
    f = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 2)).double()
    block = NeuralStateSpace(f, ("theta", "omega"), ("torque",), scales={"omega": (0.0, 2.0)}, time=0.3)
    options = {"record": ["theta", "omega"], "every": 0.04, "engine": "torch", "solver": RK4(max_step=0.04)}

    def error(states, torque, until, grad):
        run = simulate(block, until, lanes=len(torque), inputs={"torque": torque}, grad=grad, **options,
                       set={"theta": states[:, 0, 0], "omega": states[:, 0, 1]})  # fmt: skip
        found = torch.stack([run["theta"].values, run["omega"].values / 2.0], 2)
        return (found - states[:, : found.shape[1]] / torch.tensor([1.0, 2.0]).double()).square().mean()

    data, torque = true(64, 1)
    optimizer = torch.optim.Adam(f.parameters(), lr=0.01)
    for turn in range(120):
        start = (turn * 7) % 40
        optimizer.zero_grad()
        loss = error(data[:, start:], torque, 0.4, True)
        loss.backward()
        optimizer.step()
    unseen, new = true(64, 2)
    with torch.no_grad():
        assert math.sqrt(float(error(unseen, new, 1.0, False))) < 0.08


def test_copies_and_pickles_are_the_same_equation():
    block = NeuralStateSpace(linear([[-1.0, 1.0]]), {"x": 1.0}, ("u",), ("y",), linear([[1.0, 2.0]]), period=0.1)
    first = simulate(block, 1, inputs={"u": 0.3})["y"].values
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert torch.equal(simulate(other, 1, inputs={"u": 0.3})["y"].values, first)


def test_what_does_not_fit_names_itself():
    with pytest.raises(NetworkError, match=r"fails on \(2, 2\)"):
        NeuralStateSpace(nn.Linear(3, 1), ("x",), ("u",))
    with pytest.raises(NetworkError, match="returns"):
        NeuralStateSpace(nn.Linear(2, 2), ("x",), ("u",))
    with pytest.raises(NetworkError, match="no states"):
        NeuralStateSpace(nn.Linear(2, 2))
    with pytest.raises(NetworkError, match="scale for 'w'"):
        NeuralStateSpace(nn.Linear(2, 1), ("x",), ("u",), scales={"w": (0.0, 1.0)})
    with pytest.raises(NetworkError, match="outputs without"):
        NeuralStateSpace(nn.Linear(2, 1), ("x",), ("u",), ("y",))
    with pytest.raises(NetworkError, match="time="):
        NeuralStateSpace(nn.Linear(2, 1), ("x",), ("u",), time=0)


def test_the_free_run_error_of_a_wrong_rate_is_the_closed_form():
    """x(k) = a^k, the network says b: after n steps from x = a^m it is wrong by a^m (b^n - a^n), after one by b - a."""
    a, b = 0.9, 0.92
    block = NeuralStateSpace(linear([[b - 1]]), ("x",), period="100 ms")
    record = a ** torch.arange(41, dtype=torch.float64)
    found = free_run(block, {"x": record[None]}, {}, horizon=40, starts=1, tolerance=0.2)
    n = torch.arange(1, 41, dtype=torch.float64)
    torch.testing.assert_close(found.error["x"], b**n - a**n)
    assert found.one_step["x"] == pytest.approx(float(((b - a) * record[:-1]).square().mean().sqrt()))
    late = (b**n - a**n) > 0.2 * float(record.std())
    assert found.stable == pytest.approx(0.1 * int(late.long().argmax()))
    assert not found.whole
    assert "one step" in str(found)


def test_a_network_that_diverges_has_a_short_horizon_however_small_its_one_step_error(tmp_path):
    block = NeuralStateSpace(linear([[0.05]]), ("x",), period=1)
    record = 1e-3 + torch.sin(torch.arange(2000, dtype=torch.float64) * 0.01)
    found = free_run(block, {"x": record[None]}, {}, starts=5)
    assert found.one_step["x"] < 0.1 * found.spread["x"] < 1e3 < float(found.error["x"][-1])
    assert found.stable < 10
    found.plot(tmp_path / "free.png")
    assert (tmp_path / "free.png").stat().st_size > 10_000


def test_a_free_run_needs_a_period_and_whole_data():
    with pytest.raises(NetworkError, match="continuous"):
        free_run(NeuralStateSpace(linear([[1.0]]), ("x",)), {"x": torch.zeros(1, 9)}, {})
    block = NeuralStateSpace(linear([[1.0, 1.0]]), ("x",), ("u",), period=1)
    with pytest.raises(NetworkError, match="no data for 'u'"):
        free_run(block, {"x": torch.zeros(1, 9)}, {})
    with pytest.raises(NetworkError, match="NaN"):
        free_run(block, {"x": torch.zeros(1, 9)}, {"u": torch.full((1, 9), math.nan)})
