"""Evaluation against scikit-learn, hand-computed values and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from ray_cluster.evaluation.intervals import Ranked, equal_mass_bins
from ray_cluster.evaluation.metrics import calibration, curves, f1_threshold, metrics, ranking

Y = np.array([0, 0, 1, 1, 0, 1])
SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.2, 0.9])


@st.composite
def scored(draw: st.DrawFn, most: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of both kinds and scores in (0, 1), ties included."""
    scores = draw(st.lists(st.integers(1, 99).map(lambda n: n / 100), min_size=2, max_size=most))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=len(scores), max_size=len(scores))))
    assume(0 < y.sum() < len(y))
    return y, np.array(scores)


def test_metrics_by_hand() -> None:
    found = metrics(Y, SCORES, threshold=0.4)
    # of 9 pairs of one positive and one negative, one is the wrong way round: 0.35 < 0.4
    assert found["roc_auc"] == pytest.approx(8 / 9)
    # precision at each positive in order of score: 1/1, 2/2, 3/4
    assert found["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    # decided positive: 0.4 (wrong), 0.8, 0.9
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04 + 0.04 + 0.01) / 6)
    likelihoods = [0.9, 0.6, 0.35, 0.8, 0.8, 0.9]
    assert found["log_loss"] == pytest.approx(-np.log(likelihoods).mean())
    # fewer rows than groups: every row is a group of its own
    assert found["ece"] == pytest.approx(np.abs(Y - SCORES).mean())


@settings(max_examples=60, deadline=None)
@given(scored(), st.integers(1, 99))
def test_metrics_equal_those_of_scikit_learn(pair: Any, percent: int) -> None:
    y, scores = pair
    found, decided = metrics(y, scores, percent / 100), scores >= percent / 100
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(y, scores))
    assert found["average_precision"] == pytest.approx(reference.average_precision_score(y, scores))
    assert found["brier"] == pytest.approx(((y - scores) ** 2).mean())
    assert found["log_loss"] == pytest.approx(reference.log_loss(y, scores))
    true = int((decided & (y == 1)).sum())
    assert found["precision"] == pytest.approx(true / max(decided.sum(), 1))
    assert found["recall"] == pytest.approx(true / y.sum())
    assert ranking(y, scores).items() <= found.items()
    assert all(0 <= found[name] <= 1 for name in found if name != "log_loss")


def test_certain_scores_have_a_finite_log_loss() -> None:
    found = metrics(np.array([0, 1, 1]), np.array([0.0, 1.0, 0.0]), 0.5)
    assert found["log_loss"] == pytest.approx(-np.log(1e-7) / 3, rel=1e-3)


@settings(max_examples=100, deadline=None)
@given(scored(), st.integers(1, 20))
def test_calibration_groups_partition_the_rows(pair: Any, bins: int) -> None:
    y, scores = pair
    predicted, observed, rows = calibration(y, scores, bins)
    assert sum(rows) == len(y) and len(rows) <= min(bins, len(y))
    group = equal_mass_bins(scores, bins)
    assert all(len(set(group[scores == score])) == 1 for score in scores)
    assert np.all(np.diff(group[np.argsort(scores)]) >= 0)
    if len(set(scores)) == len(scores):
        assert len(rows) == min(bins, len(y)) and max(rows) - min(rows) <= 1
    assert np.dot(observed, rows) == pytest.approx(y.sum())
    assert np.dot(predicted, rows) == pytest.approx(scores.sum())
    assert np.all(np.diff(predicted) >= -1e-12)


def test_equal_scores_have_no_calibration_error_by_the_order_of_their_rows() -> None:
    """A constant score equal to the base rate, on rows whose base rate rises with time."""
    generator = np.random.default_rng(5)
    y = (generator.uniform(size=9000) < np.linspace(0.05, 0.35, 9000)).astype(int)
    scores = np.full(len(y), y.mean())
    assert metrics(y, scores, 0.5)["ece"] == pytest.approx(0, abs=1e-12)
    assert Ranked.of(y, scores, None).means()["ece"] == pytest.approx(0, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(scored())
def test_the_error_under_weights_is_that_of_the_metrics(pair: Any) -> None:
    y, scores = pair
    assert Ranked.of(y, scores, None).means()["ece"] == pytest.approx(metrics(y, scores, 0.5)["ece"])


def test_a_calibrated_score_has_a_small_error_and_a_shifted_one_its_shift() -> None:
    generator = np.random.default_rng(5)
    truth = generator.uniform(0.2, 0.8, 40_000)
    y = (generator.uniform(size=len(truth)) < truth).astype(int)
    assert metrics(y, truth, 0.5)["ece"] < 0.015
    assert metrics(y, truth + 0.15, 0.5)["ece"] == pytest.approx(0.15, abs=0.015)


def f1_at(y: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    decided = scores >= threshold
    true = int((decided & (y == 1)).sum())
    return 2 * true / max(int(decided.sum()) + int(y.sum()), 1)


@settings(max_examples=150, deadline=None)
@given(scored(most=30))
def test_no_threshold_has_a_higher_f1(pair: Any) -> None:
    y, scores = pair
    found = f1_threshold(y, scores)
    assert 0 < found < 1
    best = max(f1_at(y, scores, threshold) for threshold in [*np.unique(scores), 0.001, 0.999])
    assert f1_at(y, scores, found) == pytest.approx(best)
    assert f1_at(y, scores, found) == pytest.approx(reference.f1_score(y, scores >= found))


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_the_threshold_stays_inside_the_unit_interval(score: float) -> None:
    assert 0 < f1_threshold(np.array([0, 1]), np.array([score, score])) < 1


@settings(max_examples=60, deadline=None)
@given(scored(), st.integers(2, 50))
def test_curves_are_monotone_thin_and_keep_their_ends(pair: Any, points: int) -> None:
    y, scores = pair
    found = curves(y, scores, points)
    for name in ("roc", "pr"):
        assert len(found[name]["x"]) == len(found[name]["y"]) <= points
    assert np.all(np.diff(found["roc"]["x"]) >= 0) and np.all(np.diff(found["roc"]["y"]) >= 0)
    assert (found["roc"]["x"][0], found["roc"]["y"][0], found["roc"]["x"][-1], found["roc"]["y"][-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(found["pr"]["x"]) <= 0)
    assert (found["pr"]["x"][0], found["pr"]["x"][-1], found["pr"]["y"][-1]) == (1, 0, 1)
    assert sum(found["calibration"]["rows"]) == len(y)
    assert len(found["scores"]["edges"]) == len(found["scores"]["positives"]) + 1
    assert sum(found["scores"]["positives"]) == y.sum()
    assert sum(found["scores"]["negatives"]) == len(y) - y.sum()


def test_the_area_under_the_thinned_curve_is_that_of_all_points() -> None:
    generator = np.random.default_rng(1)
    y = generator.integers(0, 2, 20_000)
    scores = np.clip(0.3 * y + generator.uniform(size=len(y)), 0.001, 1.299) / 1.3
    roc = curves(y, scores)["roc"]
    assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(reference.roc_auc_score(y, scores), abs=2e-3)
