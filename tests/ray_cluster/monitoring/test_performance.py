"""Live performance beside scikit-learn, what its cost should be, and how often nothing is called a change."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from configs.evaluation import Costs
from configs.model import Monitoring
from ray_cluster.decisions.monitoring_rules import performance_changes
from ray_cluster.evaluation.metrics import mean_cost
from ray_cluster.monitoring.performance import Decided, HeldOut, Scored, performance, score_metrics

rows = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(1, 19), st.integers(0, 3)), min_size=2, max_size=50)
POLICY = Monitoring(min_rows=300).model_dump() | {"min_class_rows": 30}


def sample(
    days: int, seed: int, level: float = 0.0, slope: float = 1.0, spread: float = 0.4, each: int = 120
) -> Scored:
    """Rows of a calibrated model whose days differ, with autocorrelation 0.5, by effects that the scores do not know;
    ``level`` and ``slope`` change the truth."""
    random = np.random.default_rng(seed)
    luck = random.normal(size=days)
    for day in range(1, days):
        luck[day] = 0.5 * luck[day - 1] + np.sqrt(0.75) * luck[day]
    true = -2 + 1.2 * random.normal(size=(days, each))
    scores = 1 / (1 + np.exp(-true / np.sqrt(1 + np.pi / 8 * spread**2)))
    truth = level - 2 + slope * (true + 2) + spread * luck[:, None]
    labels = (random.random((days, each)) < 1 / (1 + np.exp(-truth))).astype(float)
    return Scored(labels.ravel(), scores.ravel(), np.repeat(np.arange(days), each))


def part(rows: Scored, chosen: Any) -> Scored:
    assert rows.days is not None
    return Scored(rows.labels[chosen], rows.scores[chosen], rows.days[chosen])


def alarms(live: Scored, held_out: HeldOut) -> list[bool]:
    """Whether calibration, cost and ranking alarm."""
    evidence = {"rows": len(live.labels), "performance": performance(live, held_out)}
    return [alarm for alarm, _ in performance_changes(evidence, POLICY)[1]]


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


def test_the_values_that_are_compared_are_the_textbook_ones() -> None:
    live, held_out = sample(14, 1), sample(77, 2)
    facts = performance(live, HeldOut.of(held_out))
    for side, rows in (("live", live), ("held_out", held_out)):
        y, s = rows.labels, rows.scores
        assert facts["changes"]["calibration_gap"][side] == pytest.approx(np.mean(s) - np.mean(y))
        either = np.repeat([1.0, 0.0], len(s))  # each row as a positive and as a negative
        predicted = roc_auc_score(either, np.tile(s, 2), sample_weight=np.concatenate([s, 1 - s]))
        assert facts["changes"]["ranking"][side] == pytest.approx(roc_auc_score(y, s) - predicted)
        entropy = np.mean(-s * np.log(s) - (1 - s) * np.log1p(-s))
        assert facts["changes"]["cost"][side] == pytest.approx(log_loss(y, s) - entropy)
        assert facts["changes"]["cost"][side] == pytest.approx(np.mean((s - y) * np.log(s / (1 - s))))
        assert facts["cost"][side] == pytest.approx(log_loss(y, s))
    assert facts["cost"]["kind"] == "log_loss" and facts["unknown"] is None
    for row in facts["changes"].values():
        assert row["change"] == row["live"] - row["held_out"] and row["error"] > 0 and 7 < row["freedom"] < 9


def test_declared_costs_are_those_of_the_decision() -> None:
    live, held_out = sample(14, 1), sample(77, 2)
    costs = Costs(false_positive=1, false_negative=5, true_positive=0.5)
    facts = performance(live, HeldOut.of(held_out, Decided(costs, 0.2)))
    flagged = live.scores >= 0.2
    assert facts["cost"]["kind"] == "declared"
    assert facts["cost"]["live"] == pytest.approx(mean_cost(live.labels, flagged, costs))
    s = live.scores
    predicted = s * np.where(flagged, 0.5, 5) + (1 - s) * np.where(flagged, 1, 0)
    assert facts["cost"]["predicted"] == pytest.approx(np.mean(predicted))


def test_nothing_is_seldom_called_a_change_although_days_differ() -> None:
    """Seven looks in a week may alarm in 5 % of weeks; one is made here."""
    found = []
    for seed in range(50):
        held_out = HeldOut.of(sample(77, seed, each=60))
        found += [any(alarms(sample(days, 1_000 + seed, each=60), held_out)) for days in (3, 7, 14, 30)]
    assert np.mean(found) < 0.04, np.mean(found)


@pytest.mark.parametrize(
    ("change", "judgment"),
    [({"level": 1.0}, 0), ({"level": 1.0}, 1), ({"slope": -1.0}, 1), ({"slope": 0.0}, 2)],
)
def test_changes_of_the_truth_are_found(change: dict[str, Any], judgment: int) -> None:
    held_out = [HeldOut.of(sample(77, seed, each=60)) for seed in range(4)]
    found = [alarms(sample(14, 1_000 + seed, **change), held_out[seed % 4]) for seed in range(40)]
    assert np.mean(found, axis=0)[judgment] > 0.6


def test_a_storm_that_the_scores_know_is_no_rise_of_cost() -> None:
    held_out, live = sample(77, 1), sample(14, 2)
    stormy = live.scores > 0.15
    storm = part(live, stormy)
    facts = performance(storm, HeldOut.of(held_out))
    assert facts["cost"]["live"] > 1.3 * facts["cost"]["held_out"]
    assert not any(alarms(storm, HeldOut.of(held_out))[:2])


def test_a_period_of_a_few_days_is_judged_by_the_days_of_the_reference() -> None:
    facts = performance(sample(4, 1), HeldOut.of(sample(77, 2)))
    assert facts["days"] == 4 and facts["changes"]["ranking"]["error"] > 0
    assert facts["metrics"]["roc_auc"]["low"] is None  # its own days are too few for an interval


@pytest.mark.parametrize(
    ("held_out", "reason"),
    [
        (sample(9, 2), "has outcomes of 9 days; performance is judged if it has 10 or more"),
        (Scored(sample(20, 2).labels, sample(20, 2).scores), "has outcomes of 0 days"),
        (
            Scored(np.repeat([1.0, 0.0], [40, 1_160]), np.linspace(0.06, 0.01, 1_200), np.repeat(np.arange(12), 100)),
            "has both classes on 1 day; the ranking is judged from 10",
        ),
        (part(sample(12, 2), slice(None, -119)), "A day of the reference has one row"),
    ],
)
def test_what_cannot_be_judged_says_why(held_out: Scored, reason: str) -> None:
    facts = performance(sample(14, 1), HeldOut.of(held_out))
    assert reason in facts["unknown"] and "ranking" not in facts["changes"]
    evidence = {"rows": len(sample(14, 1).labels), "performance": facts}
    _, findings = performance_changes(evidence, POLICY)
    assert any(reason in sentence for _, sentence in findings) and not any(alarm for alarm, _ in findings)


def test_outcomes_of_one_class_are_judged_by_what_the_scores_predict() -> None:
    """A table of outcomes that lost its positives: the ranking is not defined, the calibration is."""
    live, held_out = sample(14, 1), HeldOut.of(sample(77, 2))
    facts = performance(Scored(np.zeros(len(live.labels)), live.scores, live.days), held_out)
    assert facts["metrics"] == {} and set(facts["changes"]) == {"calibration_gap", "cost"}
    _, findings = performance_changes({"rows": len(live.labels), "performance": facts}, POLICY)
    assert findings[0][0] and "the share of positives is 0.000" in findings[0][1]
    nothing = performance(Scored(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64)), held_out)
    assert nothing["outcomes"] == 0 and nothing["changes"] == {}


def test_a_thin_period_has_a_larger_error() -> None:
    live, held_out = sample(14, 1), HeldOut.of(sample(77, 2))
    thin = performance(part(live, slice(None, None, 10)), held_out)
    full = performance(live, held_out)
    for name in thin["changes"]:
        assert thin["changes"][name]["error"] > full["changes"][name]["error"]
