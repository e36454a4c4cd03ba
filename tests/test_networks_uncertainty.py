"""Networks that say how sure they are, and whether they should be."""

import math

import pytest
import torch
from torch import nn

from simdl import Diagram, Input, NetworkError, Output, simulate
from simdl.blocks import WhiteNoise
from simdl.learn import fit
from simdl.networks import (
    Ensemble,
    Gaussian,
    MCDropout,
    ModelCard,
    Network,
    Pinball,
    Quantile,
    calibration,
    gaussian_nll,
)

PORTS = {"inputs": ("a", "b"), "period": "100 ms"}
ENGINES = ("torch", "native")


def seeded(*sizes, p=None):
    torch.manual_seed(1)
    layers = []
    for size, following in zip(sizes, sizes[1:]):
        layers += [nn.Linear(size, following), nn.Tanh(), *([nn.Dropout(p)] if p is not None else [])]
    return nn.Sequential(*layers[: -1 if p is None else -2]).double()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_ensemble_is_the_mean_and_the_spread_of_its_members(engine):
    members = [seeded(2, 8, 1) for _ in range(2)] + [nn.Linear(2, 1).double()]
    run = simulate(Ensemble(members, members=True, **PORTS), 0.2, inputs={"a": 0.4, "b": -1.0}, engine=engine)
    with torch.no_grad():
        expected = torch.cat([m(torch.tensor([[0.4, -1.0]], dtype=torch.float64)) for m in members], 1)
    torch.testing.assert_close(run["members"].values[:, -1], expected)
    torch.testing.assert_close(run["mean"].values[:, -1], expected.mean(1))
    torch.testing.assert_close(run["std"].values[:, -1], expected.std(1))


def test_a_mixture_of_gaussians_has_the_variance_of_its_samples():
    class Says(nn.Module):
        def __init__(self, mean, std):
            super().__init__()
            self.says = torch.tensor([mean, 2 * math.log(std)], dtype=torch.float64)

        def forward(self, x):
            return self.says.expand(x.shape[0], 2)

    net = Ensemble([Says(0.0, 1.0), Says(3.0, 0.5)], gaussian=True, inputs=("a",), period="1 s")
    out = net.step(torch.zeros(1, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2, 200_000, generator=generator, dtype=torch.float64)
    draws = torch.cat((draws[0], 3.0 + 0.5 * draws[1]))
    assert float(out["mean"]) == 1.5
    assert float(out["std"]) == pytest.approx(float(draws.std()), rel=0.01)


@pytest.mark.parametrize("engine", ENGINES)
def test_dropout_of_a_lane_alone_is_that_of_the_lane_among_many_and_replays(engine):
    net = MCDropout(seeded(2, 8, 8, 1, p=0.2), samples=4, **PORTS)
    options = {"inputs": {"a": 0.4, "b": -1.0}, "engine": engine}
    many = simulate(net, 1, lanes=40, seed=3, **options)["std"].values
    alone = simulate(net, 1, ids=[17], seed=3, **options)["std"].values
    again = simulate(net, 1, lanes=40, seed=3, **options)["std"].values
    other = simulate(net, 1, lanes=40, seed=4, **options)["std"].values
    assert torch.equal(many[17:18], alone)
    assert torch.equal(many, again)
    assert not torch.equal(many, other)
    assert len(many[:, 1:].unique()) == many[:, 1:].numel()  # a new mask for each lane and tick


def test_dropout_has_the_moments_of_bernoulli_masks():
    """y = sum of w_i m_i / (1 - p): mean sum w, variance p / (1 - p) sum w^2."""
    module = nn.Sequential(nn.Dropout(0.3), nn.Linear(2, 1, bias=False)).double()
    module[1].weight.data.copy_(torch.tensor([[2.0, -1.0]]))
    net = MCDropout(module, samples=20, members=True, **PORTS)
    found = simulate(net, 0.1, lanes=2000, inputs={"a": 1.0, "b": 1.0}, seed=1, engine="torch")["members"].values[:, -1]
    assert float(found.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(found.var()) == pytest.approx(0.3 / 0.7 * 5.0, rel=0.02)
    assert sorted({round(v, 9) for v in found.flatten().tolist()}) == sorted(
        {round(v, 9) for v in (0.0, 2 / 0.7, -1 / 0.7, 1 / 0.7)}
    )


def test_dropout_that_cannot_be_drawn_is_refused():
    with pytest.raises(NetworkError, match=r"without nn\.Dropout"):
        MCDropout(nn.Linear(2, 1), **PORTS)
    shared = nn.Dropout(0.1)
    with pytest.raises(NetworkError, match="in two places"):
        MCDropout(nn.Sequential(shared, nn.Linear(2, 2), shared, nn.Linear(2, 1)), **PORTS)
    with pytest.raises(NetworkError, match="Dropout2d"):
        MCDropout(nn.Sequential(nn.Dropout2d(), nn.Linear(2, 1)), **PORTS)
    with pytest.raises(NetworkError, match="samples=1"):
        MCDropout(seeded(2, 4, 1, p=0.1), samples=1, **PORTS)


def test_dropout_shares_the_weights_of_its_module():
    module = seeded(2, 4, 1, p=0.1)
    net = MCDropout(module, **PORTS)
    assert {id(p) for p in net.parameters()} == {id(p) for p in module.parameters()}
    assert any(isinstance(part, nn.Dropout) for part in module.modules())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("levels", [(0.05, 0.5, 0.95), (0.1, 0.25, 0.5, 0.75, 0.9), (0.2, 0.8)])
def test_quantiles_never_cross(engine, levels):
    module = seeded(2, len(levels))
    inputs = {"a": torch.linspace(-3, 3, 50), "b": torch.linspace(2, -1, 50)}
    run = simulate(Quantile(module, levels=levels, **PORTS), 0.1, lanes=50, inputs=inputs, engine=engine)
    found = torch.stack([trace.values[:, -1] for trace in run.traces.values()], 1)
    with torch.no_grad():
        raw = module(torch.stack([inputs["a"], inputs["b"]], 1).double())
    torch.testing.assert_close(found, raw.sort(1).values)
    assert not torch.equal(raw, raw.sort(1).values)


def test_the_pinball_loss_is_smallest_at_the_quantiles():
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(20_001, 1, generator=generator, dtype=torch.float64).exp()
    guess = nn.Parameter(torch.ones(1, 3, dtype=torch.float64))
    loss, optimizer = Pinball((0.1, 0.5, 0.9)), torch.optim.Adam([guess], lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        loss(guess.expand(len(y), 3), y).backward()
        optimizer.step()
    expected = y.flatten().quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    torch.testing.assert_close(guess.detach()[0], expected, atol=0.03, rtol=0.03)


def test_the_likelihood_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    predicted, y = (torch.randn(64, n, generator=generator, dtype=torch.float64) for n in (2, 1))
    expected = -torch.distributions.Normal(predicted[:, :1], (predicted[:, 1:] / 2).exp()).log_prob(y).mean()
    torch.testing.assert_close(gaussian_nll(predicted, y), expected)


def test_a_gaussian_head_finds_noise_that_changes_and_is_calibrated():
    """y = sin x + (0.1 + 0.2 |x|) noise."""
    generator = torch.Generator().manual_seed(0)
    x = 4 * torch.rand(8000, 1, generator=generator) - 2
    y = torch.sin(x) + (0.1 + 0.2 * x.abs()) * torch.randn(8000, 1, generator=generator)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2))
    fit(module, (x[:6000], y[:6000].expand(-1, 2)), loss=gaussian_nll, epochs=60, rate=0.01, batch=500, progress=False)
    out = Gaussian(module, inputs=("x",), period="1 s").step(x[6000:, 0].double())
    true = 0.1 + 0.2 * x[6000:, 0].abs()
    assert float((out["std"].detach() / true - 1).abs().mean()) < 0.12
    found = calibration(y[6000:], out["mean"], out["std"])
    assert found.error < 0.03


def normal(count, seed=0):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_true_forecasts_are_calibrated_and_false_ones_are_not():
    y, zero = normal(4000), torch.zeros(4000)
    good = calibration(y, zero, torch.ones(4000), confidence=0.999)
    assert all(one.agrees for one in good.coverage)
    assert max(abs(share - 0.1) for share in good.pit) < 0.02
    wide, narrow = calibration(y, zero, 2 * torch.ones(4000)), calibration(y, zero, 0.5 * torch.ones(4000))
    assert not any(one.agrees for one in (*wide.coverage[:9], *narrow.coverage))
    assert wide.pit[0] < 0.05 < 0.15 < narrow.pit[0]
    assert wide.factor == pytest.approx(0.5, rel=0.05)
    assert narrow.factor == pytest.approx(2.0, rel=0.05)


def test_the_interval_of_coverage_is_exact():
    """Clopper & Pearson: at its ends, the tail of the binomial distribution is half of what is left over."""
    from scipy.stats import binom

    one = calibration(normal(300), torch.zeros(300), torch.ones(300)).coverage[8]
    assert float(binom.sf(one.held - 1, one.count, one.low)) == pytest.approx(0.025, abs=1e-9)
    assert float(binom.cdf(one.held, one.count, one.high)) == pytest.approx(0.025, abs=1e-9)


def test_conformal_scaling_covers_new_values_at_its_level_whatever_the_distribution():
    heavy = normal(40_000) ** 3
    old, new = heavy[:20_000], heavy[20_000:]
    factor = calibration(old, torch.zeros(20_000), torch.ones(20_000), level=0.9).factor
    after = calibration(new, torch.zeros(20_000), factor * torch.ones(20_000))
    assert next(one for one in after.coverage if one.nominal == 0.9).rate == pytest.approx(0.9, abs=0.01)
    flat = {0.05: -torch.ones(20_000), 0.5: torch.zeros(20_000), 0.95: torch.ones(20_000)}
    factor = calibration(old, quantiles=flat).factor
    after = calibration(new, quantiles={p: factor * value for p, value in flat.items()})
    assert after.coverage[0].rate == pytest.approx(0.9, abs=0.01)


def test_conformal_factors_travel_on_the_card():
    module = seeded(1, 2)
    block = Gaussian(module, inputs={"x": Input(())}, period="1 s")
    found = calibration(normal(500), torch.zeros(500), 0.5 * torch.ones(500))
    plain = Network(module, inputs={"x": Input(())}, outputs=("mean", "std"), period="1 s")
    card = found.on_card(ModelCard.of(plain, "mlp"))
    x = torch.tensor([0.3], dtype=torch.float64)
    scaled = Gaussian(module, card=card, period="1 s").step(x)["std"]
    torch.testing.assert_close(scaled, found.factor * block.step(x)["std"])
    torch.testing.assert_close(
        Gaussian(module, card=card, factor=1.0, period="1 s").step(x)["std"], block.step(x)["std"]
    )


class Loop(Diagram):
    """A guess of a noisy signal, the same signal at the next tick, and how sure the guess is."""

    truth, mean, std = Output(), Output(), Output()

    def __init__(self):
        says = nn.Linear(1, 2).double()
        says.weight.data.zero_()
        says.bias.data.copy_(torch.tensor([1.0, 2 * math.log(0.5)]))
        self.noise = WhiteNoise(mean=1.0, std=0.5, period="100 ms")
        self.net = Gaussian(says, inputs=("x",), period="100 ms")
        self.net.x = self.noise.y
        self.truth, self.mean, self.std = self.noise.y, self.net.mean, self.net.std


def test_coverage_over_a_run_of_many_lanes():
    run = simulate(Loop(), 5, lanes=100, seed=2)
    found = calibration(run["truth"].values, run["mean"].values, run["std"].values, confidence=0.999)
    assert found.count == 5100
    assert all(one.agrees for one in found.coverage)


def test_wrong_arguments_name_themselves():
    with pytest.raises(NetworkError, match="at least 19"):
        calibration(normal(9), torch.zeros(9), torch.ones(9), level=0.95)
    with pytest.raises(NetworkError, match="NaN"):
        calibration(torch.tensor([math.nan]), torch.zeros(1), torch.ones(1))
    with pytest.raises(NetworkError, match="above zero"):
        calibration(normal(9), torch.zeros(9), torch.zeros(9))
    with pytest.raises(NetworkError, match="5 values"):
        calibration(normal(9), torch.zeros(5), torch.zeros(9))
    with pytest.raises(NetworkError, match="levels"):
        Quantile(seeded(2, 2), levels=(0.9, 0.1), **PORTS)
    with pytest.raises(NetworkError, match="even last axis"):
        Gaussian(seeded(2, 3), **PORTS)
    with pytest.raises(NetworkError, match="two or more modules"):
        Ensemble([seeded(2, 1)], **PORTS)
    with pytest.raises(NetworkError, match="factor=0"):
        Gaussian(seeded(2, 2), factor=0, **PORTS)
    assert issubclass(Gaussian, Network)


def test_the_picture_is_drawn(tmp_path):
    figure = calibration(normal(500), torch.zeros(500), torch.ones(500)).plot(tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").stat().st_size > 10_000
    assert len(figure.axes) == 2
