"""Scorers of strangeness: distances against scikit-learn and SciPy, rates of false alarms against closed forms."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import special, stats
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from simdl import Input, ModelCard, Network, Output
from simdl.errors import NetworkError
from simdl.networks import save
from simdl.networks.architecture import mlp
from simdl.networks.ood import (
    KNN,
    Energy,
    InputBox,
    Mahalanobis,
    Scorer,
    load_scorer,
    per_hour,
    per_sample,
    save_scorer,
)
from simdl.networks.ood.threshold import rise_chance

SCORERS = (InputBox(0.1), Mahalanobis(), Mahalanobis(shrinkage=0.2), Energy(2.0), KNN(), KNN(k=3, bank=40))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixed(count: int, seed: int = 0) -> Tensor:
    """Correlated features of very different sizes."""
    mix = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.3, 0.0], [0.1, 0.5, 2.0]], dtype=torch.float64)
    return normal(count, 3, seed=seed) @ mix.T * torch.tensor([1e-3, 1.0, 50.0]) + torch.tensor([3.7, -2.0, 300.0])


def fresh(scorer: Scorer) -> Scorer:
    return type(scorer)(**scorer.options)


class TestInputBox:
    def test_one_is_the_edge_of_the_widened_box(self) -> None:
        box = InputBox(margin=0.5).fit(torch.tensor([[0.0, -1.0], [2.0, 3.0]]))
        x = torch.tensor([[1.0, 1.0], [2.5, 1.0], [1.0, 4.0], [-1.0, 1.0], [2.5, 5.0]])
        assert box.score(x).tolist() == pytest.approx([0.0, 1.0, 1.0, 4 / 3, 4 / 3])
        assert float(box.threshold) == 1.0

    def test_no_row_of_the_data_is_outside(self) -> None:
        x = mixed(500)
        assert float(InputBox().fit(x).scores(x).max()) <= 1.0 + 1e-12

    def test_a_feature_that_never_changed_stays_finite(self) -> None:
        score = InputBox().fit(torch.tensor([[5.0], [5.0]])).score(torch.tensor([[5.0], [5.1]]))
        assert score[0] == 0 and 1 < score[1] < math.inf

    def test_of_a_card(self) -> None:
        module = mlp(inputs=2, outputs=1, hidden=[4])
        net = Network(module, inputs=("a", "b"), outputs=("y",), period="1 s")
        arguments = {"inputs": 2, "outputs": 1, "hidden": [4]}
        card = ModelCard.of(net, "mlp", arguments, boxes={"a": (-1.0, 1.0), "b": (0.0, 10.0)})
        assert InputBox.of(card).score(torch.tensor([[0.5, 10.0]])).tolist() == [1.0]
        with pytest.raises(NetworkError, match="a: no low and high in the card"):
            InputBox.of(ModelCard.of(net, "mlp", arguments))


class TestMahalanobis:
    def test_against_scipy_without_shrinkage(self) -> None:
        x, other = mixed(400), mixed(50, seed=1) * 1.1
        inverse = np.linalg.inv(np.cov(x.numpy(), rowvar=False, bias=True))
        mean = x.mean(0).numpy()
        from scipy.spatial.distance import mahalanobis

        wanted = [mahalanobis(row, mean, inverse) ** 2 for row in other.numpy()]
        found = Mahalanobis(shrinkage=0.0).fit(x).score(other)
        assert found.numpy() == pytest.approx(np.array(wanted), rel=1e-8)

    @pytest.mark.parametrize("count", [20, 400])
    def test_shrinkage_of_ledoit_and_wolf_against_scikit_learn(self, count: int) -> None:
        x, other = mixed(count), mixed(50, seed=1)
        scale = StandardScaler().fit(x.numpy())
        oracle = LedoitWolf(assume_centered=True).fit(scale.transform(x.numpy()))
        assert oracle.shrinkage_ > 0
        wanted = oracle.mahalanobis(scale.transform(other.numpy()))
        assert Mahalanobis().fit(x).score(other).numpy() == pytest.approx(wanted, rel=1e-8)

    def test_classes_have_means_of_their_own_and_share_a_covariance(self) -> None:
        labels = torch.arange(300) % 3
        centres = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 7.0]], dtype=torch.float64)
        noise = normal(300, 2)
        scorer = Mahalanobis(shrinkage=0.0).fit(centres[labels] + noise, labels)
        residual = noise - torch.stack([noise[labels == k].mean(0) for k in range(3)])[labels]
        inverse = torch.linalg.inv(residual.T @ residual / 300)
        means = torch.stack([(centres[labels] + noise)[labels == k].mean(0) for k in range(3)])
        x = torch.tensor([[50.0, 1.0], [1.0, 6.0]], dtype=torch.float64)
        away = x[:, None] - means
        wanted = torch.einsum("nci,ij,ncj->nc", away, inverse, away).amin(1)
        assert torch.allclose(scorer.score(x), wanted, rtol=1e-9)

    @pytest.mark.parametrize("chance", [0.1, 0.01])
    def test_false_alarms_on_gaussian_data_are_those_of_chi_square(self, chance: float) -> None:
        scorer = Mahalanobis().fit(mixed(20_000))
        limit = stats.chi2.ppf(1 - chance, df=3)
        alarms = float((scorer.scores(mixed(40_000, seed=1)) > limit).double().mean())
        assert alarms == pytest.approx(chance, abs=5 * math.sqrt(chance / 40_000) + 0.02 * chance)
        found = scorer.calibrate(mixed(40_000, seed=2), per_sample=chance).calibration
        assert found is not None and found.threshold == pytest.approx(limit, rel=0.05)

    @pytest.mark.parametrize("shift", [1.0, 3.0])
    def test_auroc_of_a_shift_is_that_of_noncentral_chi_square(self, shift: float) -> None:
        scorer = Mahalanobis().fit(normal(20_000, 4))
        sound, strange = normal(20_000, 4, seed=1), normal(20_000, 4, seed=2)
        strange[:, 0] += shift
        scores = torch.cat([scorer.scores(sound), scorer.scores(strange)])
        found = roc_auc_score(np.repeat([0, 1], 20_000), scores.numpy())
        grid = np.linspace(0, 200, 40_001)
        below = stats.chi2.cdf(grid, df=4) * stats.ncx2.pdf(grid, df=4, nc=shift**2)
        assert found == pytest.approx(np.trapezoid(below, grid), abs=0.01)

    def test_dependent_features_need_shrinkage(self) -> None:
        x = normal(100, 2)
        x = torch.cat([x, x[:, :1] + x[:, 1:]], 1)
        with pytest.raises(NetworkError, match="singular covariance"):
            Mahalanobis(shrinkage=0.0).fit(x)
        assert bool(Mahalanobis(shrinkage=0.1).fit(x).scores(x).isfinite().all())


class TestEnergy:
    def test_against_scipy(self) -> None:
        logits = 5 * normal(50, 7)
        wanted = -2.0 * special.logsumexp(logits.numpy() / 2.0, axis=1)
        assert Energy(2.0).fit(logits).score(logits).numpy() == pytest.approx(wanted, rel=1e-12)

    def test_a_classifier_that_favours_nothing_is_stranger(self) -> None:
        sure, unsure = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0]])
        scorer = Energy().fit(torch.cat([sure, unsure]))
        assert scorer.score(unsure) > scorer.score(sure)


class TestKNN:
    @pytest.mark.parametrize("k", [1, 4])
    def test_against_scikit_learn(self, k: int) -> None:
        x, other = mixed(200), mixed(60, seed=1)
        scale = StandardScaler().fit(x.numpy())
        oracle = NearestNeighbors(n_neighbors=k).fit(scale.transform(x.numpy()))
        wanted = oracle.kneighbors(scale.transform(other.numpy()))[0][:, -1]
        assert KNN(k=k, bank=200).fit(x).score(other).numpy() == pytest.approx(wanted, rel=1e-9)

    def test_a_coreset_covers_as_well_as_twice_the_best_one(self) -> None:
        # Greedy k-centre is within twice the optimum; a line of length 1 and 11 points can be covered to 1/22.
        x = torch.linspace(0.0, 1.0, 2001, dtype=torch.float64).unsqueeze(1)
        scorer = KNN(bank=11).fit(x)
        assert len(scorer.bank) == 11
        assert float((scorer.scores(x) * scorer.deviation).max()) <= 2 / 22 + 1e-3

    def test_a_larger_bank_never_makes_a_known_row_stranger(self) -> None:
        x = mixed(300)
        worst = [float(KNN(bank=size).fit(x).scores(x).max()) for size in (2, 8, 32, 128, 300)]
        assert worst == sorted(worst, reverse=True) and worst[-1] == 0.0

    def test_the_bank_is_the_same_each_time(self) -> None:
        x = normal(25_000, 2)
        assert torch.equal(KNN(bank=16).fit(x).bank, KNN(bank=16).fit(x).bank)


class TestAll:
    @pytest.mark.parametrize("scorer", SCORERS, ids=str)
    def test_a_lane_alone_has_the_bits_of_the_lane_in_a_batch(self, scorer: Scorer) -> None:
        made, x = fresh(scorer).fit(mixed(300)), mixed(257, seed=3)
        batch = made.score(x)
        assert all(torch.equal(batch[i : i + 1], made.score(x[i : i + 1])) for i in range(0, 257, 16))
        assert torch.equal(batch, made.scores(x))

    @pytest.mark.parametrize("scorer", SCORERS, ids=str)
    def test_scores_have_gradients(self, scorer: Scorer) -> None:
        made, x = fresh(scorer).fit(mixed(300)), mixed(3, seed=3).requires_grad_()
        (slope,) = torch.autograd.grad(made.score(x).sum(), x)
        assert bool(slope.isfinite().all()) and bool((slope != 0).any())

    @pytest.mark.parametrize("scorer", SCORERS, ids=str)
    def test_far_away_is_an_alarm_and_near_is_none(self, scorer: Scorer) -> None:
        made = fresh(scorer).fit(normal(2000, 3)).calibrate(normal(2000, 3, seed=1), per_sample=0.01)
        far = torch.full((1, 3), -30.0, dtype=torch.float64)
        assert float(made.score(far)) > float(made.threshold)
        assert float((made.scores(normal(4000, 3, seed=2)) > made.threshold).double().mean()) < 0.02

    @pytest.mark.parametrize("scorer", SCORERS, ids=str)
    def test_saved_and_loaded_gives_the_same_bits(self, scorer: Scorer, tmp_path: Path) -> None:
        made = fresh(scorer).fit(mixed(300)).calibrate(mixed(500, seed=1), per_sample=0.05)
        save_scorer(tmp_path, made, features=("v", "i", "t"), notes="of a test")
        again, x = load_scorer(tmp_path), mixed(20, seed=2)
        assert type(again) is type(made) and again.options == made.options
        assert torch.equal(again.score(x), made.score(x)) and again.calibration == made.calibration
        assert sorted(p.name for p in tmp_path.iterdir()) == ["scorer.json", "scorer.safetensors"]

    def test_what_no_row_can_be_is_refused(self) -> None:
        scorer = Mahalanobis().fit(mixed(100))
        for wrong, text in (
            (torch.zeros(4, 2), "rows of shape"),
            (torch.zeros(3), "rows of shape"),
            (torch.full((2, 3), math.nan), "2 of 2 rows are not finite"),
        ):
            with pytest.raises(NetworkError, match=text):
                scorer.scores(wrong)
        with pytest.raises(NetworkError, match="not fitted"):
            Mahalanobis().scores(torch.zeros(2, 3))
        with pytest.raises(NetworkError, match="at least two rows"):
            Mahalanobis().fit(torch.zeros(1, 3))

    @pytest.mark.parametrize("make", [
        lambda: InputBox(-0.1), lambda: Mahalanobis(shrinkage=2.0), lambda: Energy(0.0), lambda: KNN(k=3, bank=2),
        lambda: KNN(k=True), lambda: InputBox(math.inf),
    ])  # fmt: skip
    def test_options_out_of_range_are_refused(self, make: Any) -> None:
        with pytest.raises(NetworkError, match="expected:"):
            make()


@pytest.mark.parametrize("scorer", [InputBox(), Mahalanobis(), KNN(), Energy()])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_rows_of_another_width_are_refused_and_not_broadcast(scorer: Scorer, width: int) -> None:
    scorer.fit(normal(50, 3))
    with pytest.raises(NetworkError, match=rf"\(5, {width}\)\n.*\(lanes, 3\)"):
        scorer(normal(5, width))


class TestPerSample:
    @given(n=st.integers(20, 200), chance=st.floats(0.06, 0.9), seed=st.integers(0, 99))
    @settings(max_examples=60, deadline=None)
    def test_the_threshold_is_the_conformal_order_statistic(self, n: int, chance: float, seed: int) -> None:
        scores = normal(n, seed=seed)
        found = per_sample(scores, chance).threshold
        below = int((scores <= found).sum())  # a further score ranks above these with chance 1 - below / (n + 1)
        assert 1 - below / (n + 1) <= chance + 1e-9
        assert 1 - (below - 1) / (n + 1) > chance - 1e-9

    def test_on_average_the_promise_holds_for_few_samples(self) -> None:
        scores = normal(4000, 40, seed=5)
        limits = torch.tensor([per_sample(row[:39], 0.1).threshold for row in scores], dtype=torch.float64)
        assert float((scores[:, 39] > limits).double().mean()) == pytest.approx(0.1, abs=0.015)

    def test_too_few_samples_say_how_many(self) -> None:
        with pytest.raises(NetworkError, match="at least 999 for a chance of 0.001"):
            per_sample(normal(900), 0.001)
        with pytest.raises(NetworkError, match="not all finite"):
            per_sample(torch.tensor([1.0, math.inf]), 0.5)


def autoregressive(sequences: int, length: int, r: float, seed: int = 0) -> Tensor:
    w = normal(sequences, length, seed=seed)
    x = [w[:, 0]]
    for k in range(1, length):
        x.append(r * x[-1] + math.sqrt(1 - r * r) * w[:, k])
    return torch.stack(x, 1)


class TestPerHour:
    @pytest.mark.parametrize("z", [0.0, 1.0, 2.5, 4.0])
    @pytest.mark.parametrize("r", [0.0, 0.5, 0.95])
    def test_the_chance_of_a_rise_against_scipy(self, z: float, r: float) -> None:
        both = stats.multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([z, z])
        assert rise_chance(z, r) == pytest.approx(stats.norm.cdf(z) - both, rel=1e-6, abs=1e-10)

    @pytest.mark.parametrize("r", [0.0, 0.9])
    def test_from_samples_and_their_autocorrelation(self, r: float) -> None:
        found = per_hour(normal(400_000), 3.0, "10 s", autocorrelation=r)
        x = autoregressive(200, 2000, r, seed=1)
        rises = int(((x[:, 1:] > found.threshold) & (x[:, :-1] <= found.threshold)).sum())
        assert rises / (x.numel() * 10 / 3600) == pytest.approx(3.0, rel=0.12)

    def test_the_more_neighbours_agree_the_lower_the_threshold(self) -> None:
        limits = [per_hour(normal(100_000), 3.0, "10 s", autocorrelation=r).threshold for r in (0.0, 0.5, 0.9, 0.99)]
        assert limits == sorted(limits, reverse=True)

    @given(seed=st.integers(0, 50), trip=st.integers(1, 4), number=st.floats(1.0, 8.0))
    @settings(max_examples=60, deadline=None)
    def test_counted_rises_are_at_most_those_asked_for(self, seed: int, trip: int, number: float) -> None:
        x = autoregressive(7, 300, 0.8, seed)
        found = per_hour(x, number, "10 s", trip=trip)

        def alarms(level: float) -> int:
            count = 0
            for row in x.tolist():
                run, on = 0, False
                for value in row:
                    run = run + 1 if value > level else 0
                    count += run >= trip and not on
                    on = run >= trip
            return count

        hours = x.numel() * 10 / 3600
        most = int(number * hours + 1e-9)  # 2.4 an hour in 5 h 50 min are 14, and 13.999... in floats
        assert alarms(found.threshold) == round((found.per_hour or 0) * hours) <= most
        held = x.unfold(-1, trip, 1).amin(-1)
        assert alarms(float(held[held < found.threshold].max())) > most

    def test_counting_and_the_autocorrelation_agree_on_a_gaussian_process(self) -> None:
        x = autoregressive(300, 2000, 0.9)
        counted = per_hour(x, 2.0, "10 s").threshold
        assert per_hour(x.flatten(), 2.0, "10 s", autocorrelation=0.9).threshold == pytest.approx(counted, abs=0.05)

    def test_errors_say_what_to_do(self) -> None:
        with pytest.raises(NetworkError, match="hours of scores"):
            per_hour(normal(2, 100), 0.1, "10 s")
        with pytest.raises(NetworkError, match="no threshold is risen above so often"):
            per_hour(normal(7, 300), 300.0, "10 s")
        with pytest.raises(NetworkError, match="do not rise as often"):
            per_hour(normal(1000), 300.0, "1 s", autocorrelation=0.999)
        with pytest.raises(NetworkError, match="their autocorrelation"):
            per_hour(normal(1000), 1.0, "1 s")
        with pytest.raises(NetworkError, match="per_hour= without a period"):
            InputBox().fit(mixed(10)).calibrate(mixed(10), per_hour=1.0)
        with pytest.raises(NetworkError, match="both rates, or none"):
            InputBox().fit(mixed(10)).calibrate(mixed(10))


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        save_scorer(tmp_path, Mahalanobis().fit(mixed(100)).calibrate(mixed(99, seed=1), per_sample=0.1))
        return tmp_path

    def edited(self, folder: Path, **changes: Any) -> Path:
        place = folder / "scorer.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | changes))
        return folder

    @pytest.mark.parametrize("changes, text", [
        ({"kind": "pickle"}, "Input should be 'box'"),
        ({"kind": "knn", "options": {}}, "the tensors"),
        ({"options": {"shrinkage": 0.1, "load": 1}}, "options"),
        ({"options": {"shrinkage": 7.0}}, "from 0 to 1"),
        ({"factory": "os:system"}, "Extra inputs are not permitted"),
        ({"weights": {"file": "../x", "sha256": "0" * 64, "size": 1}}, "not the name of a file beside the card"),
        ({"weights": {"file": "scorer.safetensors", "sha256": "0" * 64, "size": 1}}, "not the tensors that the card"),
    ])  # fmt: skip
    def test_a_changed_card_is_refused(self, folder: Path, changes: dict[str, Any], text: str) -> None:
        with pytest.raises(NetworkError, match=text):
            load_scorer(self.edited(folder, **changes))

    def test_a_changed_threshold_is_refused(self, folder: Path) -> None:
        calibration = json.loads((folder / "scorer.json").read_text())["calibration"] | {"threshold": 1e9}
        with pytest.raises(NetworkError, match="that of the tensors"):
            load_scorer(self.edited(folder, calibration=calibration))

    def test_changed_tensors_are_refused(self, folder: Path) -> None:
        file = folder / "scorer.safetensors"
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
        with pytest.raises(NetworkError, match="not the tensors that the card says"):
            load_scorer(folder)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(NetworkError, match="no such file"):
            load_scorer(tmp_path)

    def test_a_scorer_belongs_to_the_network_beside_it(self, tmp_path: Path) -> None:
        arguments = {"inputs": 3, "outputs": 1, "hidden": [4]}
        for seed in (0, 1):
            torch.manual_seed(seed)
            module = mlp(**arguments)
            net = Network(module, inputs={n: Input() for n in "abc"}, outputs={"y": Output()}, period="1 s")
            save(tmp_path, module, ModelCard.of(net, "mlp", arguments))
            if seed == 0:
                save_scorer(tmp_path, InputBox().fit(mixed(10)))
                assert isinstance(load_scorer(tmp_path), nn.Module)
        with pytest.raises(NetworkError, match="fitted for a network of SHA-256"):
            load_scorer(tmp_path)

    def test_only_fitted_scorers_are_written(self, tmp_path: Path) -> None:
        with pytest.raises(NetworkError, match="not fitted"):
            save_scorer(tmp_path, KNN())
        with pytest.raises(NetworkError, match="2 names"):
            save_scorer(tmp_path, InputBox().fit(mixed(10)), features=("a", "b"))
