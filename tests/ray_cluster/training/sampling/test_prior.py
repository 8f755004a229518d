"""What sampling does to probabilities is undone: on average a score is the share of positives again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from ray_cluster.training.families import Rows, start
from ray_cluster.training.families.fit_steps import NUMBERS
from ray_cluster.training.families.prior import PriorCorrected, corrected, weight_shift
from ray_cluster.training.sampling.prior import prior_shift
from ray_cluster.training.sampling.sampler_selection import resample
from tests.ray_cluster.training.sampling.mixed_rows import mixed


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(-6, 6))
def test_the_correction_keeps_the_order_and_can_be_undone(scores, shift):
    found = corrected(scores, shift)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[np.argsort(scores, kind="stable")]) >= -1e-12).all()
    assert corrected(found, -shift) == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize("method", ["none", "class_weight", "undersample"])
def test_a_weighted_fit_says_what_the_plain_one_says(method):
    random = np.random.default_rng(0)
    y = (random.random(60_000) < 0.02).astype(int)
    x = random.normal(size=(60_000, 1)) + y[:, None]
    found = resample(method, pd.DataFrame(x, columns=["a"]), y, np.arange(len(y)), 0.5, 0, {})
    shift = prior_shift(found, y)
    fitted = LogisticRegression(C=1e6).fit(found.features.to_numpy(), found.y, sample_weight=found.weights)
    model = PriorCorrected(fitted, shift)
    assert (shift == 0) == (method == "none")
    plain = LogisticRegression(C=1e6).fit(x, y)
    assert model.predict_proba(x)[:, 1].mean() == pytest.approx(y.mean(), rel=0.1)
    assert model.predict_proba([[1.0]])[0, 1] == pytest.approx(plain.predict_proba([[1.0]])[0, 1], rel=0.15)
    assert fitted.predict_proba(x)[:, 1].mean() == pytest.approx(y.mean(), rel=0.05) or method != "none"


@pytest.mark.parametrize("family", ["xgboost", "hist_gradient_boosting", "random_forest", "mlp", "logistic_regression"])
@pytest.mark.parametrize("weights", [False, True])
def test_class_weights_of_a_trial_do_not_change_the_mean_score(family, weights):
    """Also for rows that already have weights, of sampling: their own shift is corrected elsewhere."""
    random = np.random.default_rng(0)
    y = (random.random(20_000) < 0.045).astype(int)
    x = (random.normal(size=(20_000, 2)) + y[:, None]).astype("float32")
    rows = Rows(x, y, np.where(y == 1, 3.0, 1.0) if weights else None, columns=NUMBERS)
    iterations = 1 if family == "logistic_regression" else 30
    params = {"max_depth": 3} if family not in ("mlp", "logistic_regression") else {}
    found = {}
    for class_weight in (None, "balanced", {0: 1, 1: 10}):
        fit = start(family, params | {"class_weight": class_weight}, rows, seed=0)
        fit.advance(iterations, lambda: False)
        found[str(class_weight)] = fit.scores(rows)
        assert fit.scores(rows) == pytest.approx(fit.predict(x), abs=1e-6)
        assert fit.classifier.predict_proba(x)[:, 1] == pytest.approx(fit.predict(x), abs=1e-6)
    plain, *others = found.values()
    assert np.average(plain, weights=rows.weights) == pytest.approx(np.average(y, weights=rows.weights), rel=0.1)
    for other in others:
        assert other.mean() == pytest.approx(
            plain.mean(), rel=0.25
        )  # without the correction it is 4 to 9 times as high


def test_a_continued_fit_with_class_weights_is_the_same():
    random = np.random.default_rng(0)
    y = (random.random(2000) < 0.1).astype(int)
    rows = Rows((random.normal(size=(2000, 2)) + y[:, None]).astype("float32"), y, columns=NUMBERS)
    params = {"max_depth": 3, "class_weight": "balanced"}
    whole, half = (start("xgboost", params, rows, seed=0) for _ in range(2))
    whole.advance(10, lambda: False)
    half.advance(5, lambda: False)
    again = start("xgboost", params, rows, seed=0, checkpoint=half.checkpoint())
    assert again.done == 5
    again.advance(10, lambda: False)
    np.testing.assert_array_equal(again.scores(rows), whole.scores(rows))


def test_the_shift_counts_synthetic_rows():
    x, y, ids = mixed(1000, 0.05, 0)
    found = resample("copula", x, y, ids, 0.5, 0, {})
    assert prior_shift(found, y) == pytest.approx(np.log(0.5 / ((y == 1).sum() / (y == 0).sum())), abs=0.01)


@given(st.integers(0, 10**6), st.floats(0.1, 2.0))
def test_the_shift_is_one_for_weights_of_sampling_and_of_a_trial(seed, ratio):
    y = (np.random.default_rng(seed).random(200) < 0.1).astype(int)
    assume(0 < y.sum() < len(y))
    found = resample("class_weight", pd.DataFrame({"a": np.zeros(200)}), y, np.arange(200), ratio, 0, {})
    weights = np.where(y == 1, found.weights[y == 1][0], 1.0)
    assert prior_shift(found, y) == weight_shift(y, weights) == pytest.approx(np.log(weights.max()))
    assert weight_shift(y, 3 * weights, weights) == pytest.approx(0, abs=1e-12)
