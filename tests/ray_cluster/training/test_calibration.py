"""Calibrators: against scikit-learn, monotone on any scores, and what the bundle that holds one gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from ray_cluster.evaluation.metrics import metrics
from ray_cluster.registry.bundles import TRUSTED
from ray_cluster.training.calibration import Calibrated, Isotonic, Sigmoid, calibrated, fit_calibrator

rows = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=32)), min_size=4, max_size=60)


def overconfident(n: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    odds = random.normal(-1, 1, n)
    y = (random.random(n) < 1 / (1 + np.exp(-odds))).astype(int)
    return y, 1 / (1 + np.exp(-(2.2 * odds + 0.5)))


@settings(max_examples=120, deadline=None)
@given(rows, st.sampled_from(["sigmoid", "isotonic"]))
def test_no_calibrator_turns_a_ranking_round(drawn: list[tuple[int, float]], method: str) -> None:
    y, scores = np.array([row[0] for row in drawn]), np.array([row[1] for row in drawn])
    assume(0 < y.sum() < len(y))
    calibrator = fit_calibrator(method, y, scores)
    every = np.unique(np.concatenate([scores, np.linspace(0, 1, 50)]))
    found = calibrator(every)
    assert np.all(np.diff(found) >= -1e-12)
    assert found.min() >= 0 and found.max() <= 1 and np.isfinite(found).all()


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_overconfident_scores_become_calibrated_on_other_rows(method: str) -> None:
    calibrator = fit_calibrator(method, *overconfident())
    y, scores = overconfident(seed=1)
    before, after = metrics(y, scores, 0.5), metrics(y, calibrator(scores), 0.5)
    assert before["ece"] > 0.08 and after["ece"] < 0.016 and after["log_loss"] < before["log_loss"]
    assert after["roc_auc"] == pytest.approx(before["roc_auc"], abs=2e-3)


def test_the_sigmoid_finds_the_distortion() -> None:
    found = fit_calibrator("sigmoid", *overconfident(200_000))
    assert isinstance(found, Sigmoid)
    assert found.slope == pytest.approx(1 / 2.2, abs=0.01) and found.intercept == pytest.approx(-0.5 / 2.2, abs=0.02)


def test_isotonic_is_that_of_scikit_learn() -> None:
    y, scores = overconfident(2000)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, y)
    grid = np.linspace(0, 1, 500)
    np.testing.assert_allclose(fit_calibrator("isotonic", y, scores)(grid), theirs.predict(grid))


def fitted(seed: int = 0) -> tuple[Any, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(3000, 3))
    y = (random.random(3000) < 1 / (1 + np.exp(1 - 2 * x[:, 0]))).astype(int)
    return LogisticRegression(C=1e-3).fit(x[:1000], y[:1000]), x[1000:], y[1000:]


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_the_wrapped_classifier_is_that_of_scikit_learn(method: str) -> None:
    """A linear model's decision function is the log odds that the sigmoid takes, so both agree exactly."""
    classifier, x, y = fitted()
    theirs = CalibratedClassifierCV(FrozenEstimator(classifier), method=method).fit(x, y)
    ours = Calibrated(classifier, fit_calibrator(method, y, classifier.predict_proba(x)[:, 1]))
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=2e-4)
    assert (ours.predict(x) == (ours.predict_proba(x)[:, 1] > 0.5)).all()


def test_scores_that_say_the_opposite_become_the_rate() -> None:
    y, scores = overconfident()
    found = fit_calibrator("sigmoid", y, 1 - scores)
    assert np.ptp(found(scores)) == 0 and found(scores)[0] == pytest.approx(y.mean(), abs=1e-3)


def test_a_bundle_with_a_calibrator_survives_skops(tmp_path: Path) -> None:
    _, x, y = fitted()
    inner = XGBClassifier(n_estimators=5, max_depth=2)
    pipeline = Pipeline([("preprocessing", StandardScaler()), ("classifier", inner)]).fit(x, y)
    assert calibrated(pipeline, None) is pipeline
    for method in ("sigmoid", "isotonic"):
        whole = calibrated(pipeline, fit_calibrator(method, y, pipeline.predict_proba(x)[:, 1]))
        skops.io.dump(whole, tmp_path / "model.skops")
        loaded = skops.io.load(tmp_path / "model.skops", trusted=TRUSTED)
        np.testing.assert_array_equal(loaded.predict_proba(x), whole.predict_proba(x))
        assert isinstance(loaded[-1], Calibrated) and loaded[-1].classes_.tolist() == [0, 1]
        assert isinstance(loaded[-1].calibrator, Sigmoid if method == "sigmoid" else Isotonic)


def test_fitting_again_keeps_the_calibrator() -> None:
    classifier, x, y = fitted()
    wrapped = Calibrated(classifier, Sigmoid(0.5, 0.1))
    assert wrapped.fit(x, y).calibrator.slope == 0.5
    np.testing.assert_allclose(wrapped.predict_proba(x).sum(axis=1), 1)
