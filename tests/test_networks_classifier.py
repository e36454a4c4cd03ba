"""Classifiers: labels, scores and confidence against torch's own functions; enumerations that keep their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
from torch import Tensor, nn

from simdl import Diagram, Input, ModelCard, Output, Recurrent, simulate
from simdl.errors import ModelError, NetworkError, RunError
from simdl.networks import Classes, Classifier, Network, Window, load, save
from simdl.networks.architecture import mlp
from simdl.requirements import always
from tests.network_player import ENGINES, Played, alone, play

matplotlib.use("Agg")
LABELS = ("ok", "scratch", "dent")
PORTS = ("predicted", "scores", "confidence")
ARGUMENTS = {"inputs": 4, "outputs": 3, "hidden": (8,)}


def samples(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


@pytest.mark.parametrize("engine", ENGINES)
def test_predicted_is_the_argmax_and_scores_are_the_softmax(engine: str) -> None:
    module, x = features(), samples(3, 9, 4)
    run = play(Classifier(module, labels=LABELS, inputs="x", period="1 s"), x, engine, PORTS)
    scores = torch.softmax(module(x), -1).detach()
    assert run.engine == engine
    torch.testing.assert_close(run["net.scores"].values, scores, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(run["net.confidence"].values, scores.max(-1)[0], rtol=1e-12, atol=1e-14)
    assert torch.equal(run["net.predicted"].values, scores.argmax(-1)) and len(scores.argmax(-1).unique()) > 1


@pytest.mark.parametrize("engine", ENGINES)
def test_probabilities_are_left_as_they_are(engine: str) -> None:
    module, x = nn.Sequential(features(), nn.Softmax(-1)), samples(2, 5, 4)
    net = Classifier(module, labels=LABELS, probabilities=True, inputs="x", period="1 s")
    run = play(net, x, engine, PORTS)
    torch.testing.assert_close(run["net.scores"].values, module(x).detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lane_alone_is_the_lane_in_the_batch(engine: str) -> None:
    def net() -> Classifier:
        return Classifier(features().float(), labels=LABELS, inputs="x", period="1 s")

    x = samples(7, 6, 4)
    assert alone(play(net(), x, engine, PORTS), play(net(), x, engine, PORTS, lanes=[5]), 5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_a_classifier_with_memory_is_recurrent(engine: str, kind: Callable[..., nn.RNNBase]) -> None:
    torch.manual_seed(0)
    cell, head, x = kind(4, 5, num_layers=2, batch_first=True).double(), nn.Linear(5, 3).double(), samples(3, 8, 4)
    net = Recurrent(cell, head=head, result=Classes(LABELS), inputs="x", period="1 s")
    run = play(net, x, engine, (*PORTS, "h"))
    scores = torch.softmax(head(cell(x)[0]), -1).detach()
    torch.testing.assert_close(run["net.scores"].values, scores, rtol=1e-10, atol=1e-12)
    assert torch.equal(run["net.predicted"].values, scores.argmax(-1))
    assert run["net.predicted"].labels == LABELS and run.engine == engine


@pytest.mark.parametrize("engine", ENGINES)
def test_a_window_of_samples_is_classified(engine: str) -> None:
    from simdl.networks import Window

    torch.manual_seed(1)
    module, x = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double(), samples(2, 6, 4)
    net = Classifier(module, labels=LABELS, inputs={"x": Input(shape=(4,))}, period="1 s", window=Window(3, hop=2))
    run = play(net, x, engine, ("predicted", "ok"))
    full = torch.stack([module(x[:, k - 2 : k + 1]).argmax(-1) for k in (2, 2, 4, 4)], -1)
    assert torch.equal(run["net.predicted"].values[:, 2:], full)
    assert run["net.ok"].values.tolist() == [[False, False, True, True, True, True]] * 2


class Alarm(Diagram):
    """Wires the name of a class."""

    which, shown, alarm = Input(), Output(), Output()

    def __init__(self, x: Tensor) -> None:
        self.inner = Played(x, Classifier(features(), labels=LABELS, inputs="x", period="1 s"), "x")
        self.inner.which = self.which
        self.shown = self.inner.net.predicted
        self.alarm = self.inner.net.predicted.is_("scratch")


@pytest.mark.parametrize("engine", ENGINES)
def test_names_survive_recording_tables_plots_and_diagrams(engine: str) -> None:
    x = 4 * samples(1, 9, 4, seed=12)
    run = simulate(Alarm(x), 8, inputs={"which": 0.0}, engine=engine, every=1)
    expected = [LABELS[i] for i in features()(x)[0].argmax(-1)]
    trace = run["shown"]
    assert trace.labels == LABELS and trace.names[0].tolist() == expected and len(set(expected)) == 3
    assert run["alarm"].values[0].bool().tolist() == [name == "scratch" for name in expected]
    assert trace.to_pandas().iloc[:, 0].tolist() == expected and "ok | scratch | dent" in repr(trace)
    assert [text.get_text() for text in trace.plot().get_yticklabels()] == list(LABELS)
    assert trace.to_xarray().attrs["flag_meanings"] == list(LABELS) and expected[-1] in trace._repr_html_()


def test_requirements_compare_with_a_name() -> None:
    loop = Alarm(4 * samples(1, 9, 4, seed=12))
    from simdl import monte_carlo

    never, seen = always(~loop.inner.net.predicted.is_("dent")), always(loop.inner.net.confidence > 0)
    campaign = monte_carlo(loop, {}, inputs={"which": 0.0}, lanes=1, until=8, every=1,
                           requirements={"never a dent": never, "seen": seen})  # fmt: skip
    found = features()(4 * samples(1, 9, 4, seed=12))[0].argmax(-1).tolist()
    assert 2 in found and campaign.count("never a dent", "fail") == 1 and campaign.count("seen", "pass") == 1


def test_a_name_that_is_none_is_refused() -> None:
    net = Classifier(features(), labels=LABELS, inputs="x", period="1 s")
    with pytest.raises(ModelError, match="'scrach'.*\n.*one of its labels(.|\n)*did you mean: scratch"):
        net.predicted.is_("scrach")
    with pytest.raises(ModelError, match="declare it: scores = Output"):
        net.scores.is_("ok")
    with pytest.raises(RunError, match="a signal of numbers"):
        _ = simulate(Alarm(samples(1, 2, 4)), 1, inputs={"which": 0.0})["alarm"].names
    with pytest.raises(ModelError, match="one name each"):
        Output(labels=("a", "a"))
    with pytest.raises(ModelError, match="a whole number"):
        Output(labels=("a", "b"), dtype="float64")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ("ok", "scratch")}, r"returned \(2, 3\).*\n.*\(lanes, 2\): a score for each"),
        ({"labels": "ok"}, "at least two names"),
        ({}, "at least two names"),
        ({"labels": LABELS, "outputs": ("a", "b")}, "names for predicted, scores, confidence"),
    ],
)
def test_labels_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Classifier(features(), inputs="x", period="1 s", **options)


class Centred(nn.Module):
    """Probabilities at zero, and nowhere else."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3] + 1 / 3


@pytest.mark.parametrize("module", [features(), nn.Sequential(features(), nn.Sigmoid()), Centred()])
@pytest.mark.parametrize("more", [{}, {"window": Window(length=1)}])
def test_probabilities_that_are_none_are_refused(module: nn.Module, more: dict[str, Any]) -> None:
    options: dict[str, Any] = dict(labels=LABELS, inputs={"x": Input(shape=(4,))}, period="1 s", **more)
    if more and isinstance(module, Centred):
        module = nn.Sequential(nn.Flatten(), module)
    with pytest.raises(NetworkError, match="probabilities=True, and the module returned .*sum to(.|\n)*"
                       "fix: probabilities=False"):  # fmt: skip
        Classifier(module, probabilities=True, **options)
    Classifier(module, **options)


def test_probabilities_of_a_network_with_memory_are_checked_too() -> None:
    def made(head: nn.Module) -> Recurrent:
        options: dict[str, Any] = dict(inputs={"x": Input(shape=(4,))}, period="1 s", result=Classes(LABELS, True))
        return Recurrent(nn.GRU(4, 5, batch_first=True), head=head, **options)

    with pytest.raises(NetworkError, match="fix: probabilities=False"):
        made(nn.Linear(5, 3))
    assert "its own probabilities" in str(made(nn.Sequential(nn.Linear(5, 3), nn.Softmax(-1)))._plan.result)


def test_the_card_keeps_the_labels(tmp_path: Path) -> None:
    module = mlp(**ARGUMENTS)
    net = Classifier(module, labels=LABELS, inputs={"x": Input(shape=(4,))}, period="1 s")
    card = ModelCard.of(net, "mlp", ARGUMENTS)
    save(tmp_path / "net", module, card)
    assert load(tmp_path / "net")[1].classes == card.classes
    x = samples(2, 4, 4)
    for again in (Network.from_card(tmp_path / "net"), Classifier.from_card(tmp_path / "net")):
        run = play(again, x, "torch", PORTS)
        assert run["net.predicted"].labels == LABELS
        assert torch.equal(run["net.predicted"].values, module(x.float()).argmax(-1))


def test_outputs_may_have_other_names() -> None:
    net = Classifier(features(), labels=LABELS, inputs="x", outputs=("kind", "p", "sure"), period="1 s")
    run = play(net, samples(1, 3, 4), "torch", ("kind", "p", "sure"))
    assert run["net.kind"].labels == LABELS and run["net.p"].values.shape == (1, 3, 3)
