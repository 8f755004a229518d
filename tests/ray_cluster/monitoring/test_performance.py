"""Live performance beside scikit-learn, its intervals, and what is compared when the base rate moves."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from ray_cluster.monitoring.performance import Scored, performance, score_metrics

rows = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(1, 19), st.integers(0, 3)), min_size=2, max_size=50)


def sample(n: int, signal: float, rate: float, seed: int, days: int = 25) -> Scored:
    random = np.random.default_rng(seed)
    labels = (random.random(n) < rate).astype(float)
    scores = 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + signal * (labels - rate) + random.normal(size=n))))
    return Scored(labels, scores, random.integers(0, days, n))


@settings(deadline=None)
@given(rows)
def test_metrics_agree_with_scikit_learn_under_weights_and_ties(drawn: list[tuple[float, int, int]]) -> None:
    labels, scores, weights = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    scores = scores / 20
    assume(weights[labels == 1].sum() > 0 and weights[labels == 0].sum() > 0)
    found = score_metrics(Scored(labels, scores), weights)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    assert found["average_precision"] == pytest.approx(average_precision_score(labels, scores, sample_weight=weights))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, scores, sample_weight=weights))
    assert found["log_loss"] == pytest.approx(log_loss(labels, scores, sample_weight=weights))


def test_a_changed_base_rate_alone_is_no_drop() -> None:
    """Average precision itself moves with the share of positives; at the held-out share it does not."""
    facts = performance(sample(6000, 2.0, 0.10, 1), sample(20_000, 2.0, 0.30, 2), "average_precision")
    shown = facts["metrics"]["average_precision"]
    assert shown["held_out"] - shown["live"] > 0.15
    assert abs(facts["drop"]) < 0.03 and facts["drop_low"] < 0 < facts["drop_high"]


def test_a_weaker_model_is_a_drop() -> None:
    facts = performance(sample(4000, 0.8, 0.2, 1), sample(10_000, 2.0, 0.2, 2), "roc_auc")
    assert facts["drop_low"] > 0.1 and facts["drop"] == pytest.approx(facts["held_out"] - facts["live"])


@pytest.mark.parametrize("days", [10, 14, 30])
def test_no_drop_is_seldom_called_one_although_days_differ(days: int) -> None:
    """Days move the model's quality up and down, with autocorrelation; an interval over rows would be too narrow."""
    random, false = np.random.default_rng(days), 0

    def period(count: int) -> Scored:
        luck = random.normal(size=count)
        for day in range(1, count):
            luck[day] = 0.5 * luck[day - 1] + np.sqrt(0.75) * luck[day]
        labels = (random.random((count, 60)) < 0.3).astype(float)
        scores = 1 / (1 + np.exp(1 - (1 + 0.5 * luck[:, None]) * labels - random.normal(size=labels.shape)))
        return Scored(labels.ravel(), scores.ravel(), np.repeat(np.arange(count), 60))

    for _ in range(100):
        false += performance(period(days), period(77), "roc_auc")["drop_low"] > 0
    assert false <= 8  # 2.5 are promised


def test_too_few_days_give_no_interval() -> None:
    facts = performance(sample(4000, 0.8, 0.2, 1, days=9), sample(10_000, 2.0, 0.2, 2), "roc_auc")
    assert facts["days"] == 9 and facts["drop"] > 0.1 and facts["drop_low"] is facts["drop_high"] is None
    assert facts["metrics"]["roc_auc"]["low"] is None
    live = sample(400, 1, 0.2, 1)
    unknown = performance(live, Scored(live.labels, live.scores), "roc_auc")
    assert unknown["drop_low"] is None and unknown["metrics"]["roc_auc"]["low"] is not None


def test_one_class_alone_is_not_measured_and_the_same_rows_give_the_same_figures() -> None:
    held_out = sample(500, 1, 0.2, 0)
    facts = performance(Scored(np.zeros(50), np.full(50, 0.3)), held_out, "roc_auc")
    assert facts["outcomes"] == 50 and facts["live"] is None and facts["metrics"] == {} and facts["days"] == 0
    live = sample(400, 1, 0.2, 1, days=12)
    assert performance(live, held_out, "roc_auc") == performance(live, held_out, "roc_auc")
