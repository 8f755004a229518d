"""Intervals and paired comparisons: against scikit-learn under weights, a naive bootstrap, and known coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from ray_cluster.evaluation.bootstrap import (
    MIN_DAYS,
    Ranked,
    blocks_of,
    intervals,
    paired_bootstrap,
    percentiles,
    resamples,
)
from ray_cluster.evaluation.metrics import metrics

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(0, 4)), min_size=2, max_size=60)


def scored(n: int, signal: float, seed: int, days: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    day = random.integers(0, days, n)
    y = (random.random(n) < 0.2).astype(int)
    return y, 1 / (1 + np.exp(1.4 - signal * y - random.normal(size=n))), day


@settings(deadline=None, max_examples=80)
@given(rows, st.integers(1, 99))
def test_weights_of_blocks_are_weights_of_their_rows(drawn: list[tuple[int, int, int]], percent: int) -> None:
    y, tenths, blocks = (np.array(column) for column in zip(*drawn, strict=True))
    scores, threshold = tenths / 10, percent / 100
    weights = np.arange(5.0)[: blocks.max() + 1]
    each = weights[blocks]
    assume(each[y == 1].sum() > 0 and each[y == 0].sum() > 0)
    found = Ranked.of(y, scores, blocks, threshold).metrics(weights)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(y, scores, sample_weight=each))
    assert found["average_precision"] == pytest.approx(average_precision_score(y, scores, sample_weight=each))
    decided = scores >= threshold
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert found[name] == pytest.approx(score(y, decided, sample_weight=each, zero_division=0))
    assert found["brier"] == pytest.approx(np.average((scores - y) ** 2, weights=each))
    assert found["calibration_gap"] == pytest.approx(np.average(scores - y, weights=each))
    assert found["flagged"] == pytest.approx(np.average(decided, weights=each))


@settings(deadline=None, max_examples=60)
@given(rows)
def test_without_weights_they_are_the_plain_metrics(drawn: list[tuple[int, int, int]]) -> None:
    y, tenths, blocks = (np.array(column) for column in zip(*drawn, strict=True))
    assume(0 < y.sum() < len(y))
    found, plain = Ranked.of(y, tenths / 10, blocks, 0.4).metrics(), metrics(y, tenths / 10, 0.4)
    assert {name: found[name] for name in plain} == pytest.approx(plain)


def test_the_interval_is_that_of_a_naive_bootstrap_over_days() -> None:
    y, scores, days = scored(1500, 1.2, 1)
    found = intervals(y, scores, days, threshold=0.3, count=200, seed=7)
    random, naive = np.random.default_rng(7), []
    of_day = [np.flatnonzero(days == day) for day in range(40)]
    for _ in range(200):
        taken = np.concatenate([of_day[day] for day in random.integers(0, 40, 40)])
        naive.append((average_precision_score(y[taken], scores[taken]), recall_score(y[taken], scores[taken] >= 0.3)))
    for column, name in enumerate(("average_precision", "recall")):
        assert found[name] == pytest.approx(np.quantile([draw[column] for draw in naive], [0.025, 0.975]))


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Days shift the share of positives, which rows drawn alone would not notice."""
    covered = {"days": 0, "rows": 0}
    for seed in range(80):
        random = np.random.default_rng(seed)
        days = np.repeat(np.arange(40), 25)
        y = (random.random(1000) < np.repeat(random.beta(2, 8, 40), 25)).astype(int)
        scores = np.full(1000, 0.2)
        for name, by in (("days", days), ("rows", None)):
            low, high = intervals(y, scores, by, count=150, seed=seed)["calibration_gap"]
            covered[name] += low <= 0 <= high
    assert covered["days"] >= 66 and covered["rows"] < 60  # of 80, where 76 are promised


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_a_model_against_itself_gains_nothing(seed: int) -> None:
    y, scores, days = scored(300, 1.0, seed)
    for metric in ("average_precision", "log_loss"):
        assert paired_bootstrap(y, scores, scores, days, metric, count=20).__dict__ == {
            "gain": 0,
            "low": 0,
            "high": 0,
            "share": 0.5,
        }


@pytest.mark.parametrize("metric", ["average_precision", "roc_auc", "brier", "log_loss"])
def test_a_better_model_gains_whichever_way_the_metric_points(metric: str) -> None:
    y, good, days = scored(4000, 1.5, 3)
    worse = np.clip(good + np.random.default_rng(0).normal(0, 0.2, len(good)), 0.01, 0.99)
    gain, loss = (paired_bootstrap(y, a, b, days, metric, count=200) for a, b in ((worse, good), (good, worse)))
    assert 0 < gain.low <= gain.gain <= gain.high and gain.share == 1
    assert (loss.gain, loss.low, loss.high, loss.share) == pytest.approx((-gain.gain, -gain.high, -gain.low, 0))


def test_pairing_is_narrower_than_two_intervals() -> None:
    y, scores, days = scored(4000, 1.5, 4)
    other = np.clip(scores + np.random.default_rng(0).normal(0, 0.01, len(scores)), 0.001, 0.999)
    gain = paired_bootstrap(y, scores, other, days, "average_precision", count=200)
    low, high = intervals(y, scores, days, count=200)["average_precision"]
    assert gain.high - gain.low < (high - low) / 3


def test_the_threshold_metrics_need_thresholds_and_unknown_ones_are_told() -> None:
    y, scores, days = scored(200, 1.0, 0)
    with pytest.raises(ValueError, match="There is no metric 'f1' to compare models by; known: roc_auc, average_prec"):
        paired_bootstrap(y, scores, scores, days, "f1")
    assert paired_bootstrap(y, scores, scores, days, "f1", thresholds=(0.3, 0.3), count=9).gain == 0
    with pytest.raises(ValueError, match="y, a and b have 200, 199 and 200 rows; expected the same"):
        paired_bootstrap(y, scores[1:], scores, days, "roc_auc")


def test_few_days_are_not_drawn_but_rows() -> None:
    assert list(blocks_of(np.arange(MIN_DAYS - 1), MIN_DAYS - 1)) == list(range(MIN_DAYS - 1))
    assert list(blocks_of(np.repeat([3, 9], 3), 6)) == list(range(6))
    assert list(blocks_of(np.repeat(np.arange(MIN_DAYS) * 5, 2), 2 * MIN_DAYS))[:4] == [0, 0, 1, 1]
    assert blocks_of(None, 3).tolist() == [0, 1, 2]


def test_each_resample_draws_as_many_blocks_as_there_are() -> None:
    drawn = list(resamples(9, 50, np.random.default_rng(0)))
    assert {weights.sum() for weights in drawn} == {9.0} and len({tuple(weights) for weights in drawn}) == 50
    assert np.isnan(percentiles([float("nan")])).all()
    assert percentiles([1.0, float("nan"), 3.0]) == pytest.approx((1.05, 2.95))


@pytest.mark.parametrize("count", [2, 100])
def test_resamples_sort_no_rows_again(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """What makes a thousand resamples of 84,000 rows take seconds: the sorts do not grow with the resamples."""
    y, scores, days = scored(2_000, 1.5, 0, days=77)
    sorts: list[int] = []
    sort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda values, **more: sorts.append(len(values)) or sort(values, **more))
    intervals(y, scores, days, threshold=0.3, count=count)
    assert sorts == [2_000]
