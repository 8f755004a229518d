"""Intervals and paired comparisons: against scikit-learn under weights, leaving out days, and known coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from ray_cluster.evaluation.intervals import (
    MIN_DAYS,
    Gain,
    Ranked,
    day_numbers,
    influences,
    intervals,
    local_days,
    measured_intervals,
    paired_gain,
    standard_error,
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


def test_a_day_weighs_in_the_influence_what_leaving_it_out_changes() -> None:
    """Of a mean over rows: the influence of a day is the day's deviation, in proportion to its rows."""
    y, scores, days = scored(1500, 1.2, 1)
    ranked = Ranked.of(y, scores, days)
    found = influences(ranked.metrics, 40)
    of_day = [np.flatnonzero(days == day) for day in range(40)]
    plain = metrics(y, scores, 0.5)
    for name, measure in (("average_precision", average_precision_score), ("roc_auc", roc_auc_score)):
        without = [measure(np.delete(y, rows), np.delete(scores, rows)) for rows in of_day]
        np.testing.assert_allclose(found[name], 40 * plain[name] - 39 * np.array(without))
    even = Ranked.of(np.tile([0, 1], 40), np.full(80, 0.3), np.repeat(np.arange(40), 2))
    np.testing.assert_allclose(influences(even.means, 40)["calibration_gap"], -0.2)


def test_the_standard_error_is_that_of_independent_days_and_grows_with_their_likeness() -> None:
    random = np.random.default_rng(0)
    errors = {}
    for correlation in (0.0, 0.6):
        found = []
        for _ in range(400):
            values = random.normal(size=60)
            for day in range(1, 60):
                values[day] = correlation * values[day - 1] + np.sqrt(1 - correlation**2) * values[day]
            found.append(standard_error(values))
        assert {freedom for _, freedom in found} == {6.0}  # 0.41 * 60 ** (2 / 3)
        errors[correlation] = np.sqrt(np.mean([error**2 for error, _ in found]))
    assert errors[0.0] == pytest.approx(1 / np.sqrt(60), rel=0.1)
    assert errors[0.6] == pytest.approx(2 / np.sqrt(60), rel=0.15)  # (1 + 0.6) / (1 - 0.6) = 2 squared
    assert np.isnan(standard_error(np.zeros(MIN_DAYS - 1))).all()
    assert np.isnan(standard_error(np.array([np.nan, *np.zeros(20)]))).all()


@pytest.mark.parametrize("days", [MIN_DAYS, 20, 77])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_intervals_cover_the_truth_about_as_often_as_they_say(days: int, correlation: float) -> None:
    """Days shift the share of positives, and are alike if they follow each other. Of 200, where 190 are promised; the
    benchmark ``intervals`` has more, and other metrics."""
    random, covered = np.random.default_rng(days), 0
    for _ in range(200):
        shift = random.normal(size=days)
        for day in range(1, days):
            shift[day] = correlation * shift[day - 1] + np.sqrt(1 - correlation**2) * shift[day]
        rate = stats.norm.cdf(-1 + 0.3 * shift)
        y = (random.random((days, 40)) < rate[:, None]).astype(int).ravel()
        scores = np.full(len(y), stats.norm.cdf(-1 / np.sqrt(1 + 0.3**2)))
        low, high = intervals(y, scores, np.repeat(np.arange(days), 40))["calibration_gap"]
        covered += low <= 0 <= high
    assert covered >= 179  # four standard errors below


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_a_model_against_itself_gains_nothing(seed: int) -> None:
    y, scores, days = scored(300, 1.0, seed)
    for metric in ("average_precision", "log_loss"):
        assert paired_gain(y, scores, scores, days, metric) == Gain(0, 0, 0, 0.5, None, 0, 1)


@pytest.mark.parametrize("metric", ["average_precision", "roc_auc", "brier", "log_loss"])
def test_a_better_model_gains_whichever_way_the_metric_points(metric: str) -> None:
    y, good, days = scored(4000, 1.5, 3)
    worse = np.clip(good + np.random.default_rng(0).normal(0, 0.2, len(good)), 0.01, 0.99)
    gain, loss = (paired_gain(y, a, b, days, metric) for a, b in ((worse, good), (good, worse)))
    assert 0 < gain.low <= gain.gain <= gain.high and gain.share > 0.99
    reverse = (-gain.gain, -gain.high, -gain.low, 1 - gain.share)
    assert (loss.gain, loss.low, loss.high, loss.share) == pytest.approx(reverse)
    wider = paired_gain(y, worse, good, days, metric, level=0.99)
    assert wider.low < gain.low < gain.high < wider.high and wider.gain == gain.gain


def test_a_gain_without_an_interval_says_why() -> None:
    y, scores, days = scored(400, 1.0, 5)
    few = paired_gain(y, scores, scores**2, days % 6, "average_precision")
    assert few.why == f"The rows are of 6 days, and an interval needs {MIN_DAYS}."
    one_day = paired_gain(np.where(days == 3, y, 0), scores, scores**2, days, "average_precision")
    assert one_day.why == "All rows of one class are of one day, so the metric is not defined without that day."
    for found in (few, one_day):
        assert np.isnan([found.low, found.high, found.share]).all() and np.isfinite(found.gain)
    assert paired_gain(y, scores, scores**2, days, "average_precision").why is None


def test_all_days_together_are_measured_once() -> None:
    y, scores, days = scored(400, 1.0, 6)
    ranked, seen = Ranked.of(y, scores, days), []

    def measure(weights: np.ndarray) -> dict[str, float]:
        seen.append(weights.tolist())
        return ranked.metrics(weights)

    found = measured_intervals(measure, 40)
    assert found == intervals(y, scores, days) and len(seen) == 41 and seen.count([1.0] * 40) == 1


def test_pairing_is_narrower_than_two_intervals() -> None:
    y, scores, days = scored(4000, 1.5, 4)
    other = np.clip(scores + np.random.default_rng(0).normal(0, 0.01, len(scores)), 0.001, 0.999)
    gain = paired_gain(y, scores, other, days, "average_precision")
    low, high = intervals(y, scores, days)["average_precision"]
    assert gain.high - gain.low < (high - low) / 3


def test_the_threshold_metrics_need_thresholds_and_unknown_ones_are_told() -> None:
    y, scores, days = scored(200, 1.0, 0)
    with pytest.raises(ValueError, match="There is no metric 'f1' to compare models by; known: roc_auc, average_prec"):
        paired_gain(y, scores, scores, days, "f1")
    assert paired_gain(y, scores, scores, days, "f1", thresholds=(0.3, 0.3)).gain == 0
    with pytest.raises(ValueError, match="y, a and b have 200, 199 and 200 rows; expected the same"):
        paired_gain(y, scores[1:], scores, days, "roc_auc")


def test_with_too_few_days_there_is_no_interval() -> None:
    y, scores, days = scored(400, 1.0, 2, days=MIN_DAYS - 1)
    assert intervals(y, scores, days, threshold=0.3) == {}
    found = paired_gain(y, scores, scores**2, days, "roc_auc")
    assert found.gain == 0 and np.isnan([found.low, found.high, found.share]).all()
    enough = intervals(*scored(2000, 1.0, 2, days=MIN_DAYS), threshold=0.3)
    assert {"roc_auc", "average_precision", "f1", "ece"} <= set(enough)
    assert all(low <= high for low, high in enough.values())


def test_intervals_of_shares_end_at_0_and_1() -> None:
    y, scores, days = scored(600, 9.0, 5, days=12)
    found = intervals(y, scores, days)
    assert found["roc_auc"][1] == 1.0 and found["ece"][0] >= 0.0 and found["brier"][0] >= 0.0


def test_a_metric_that_a_day_decides_has_no_interval() -> None:
    """All positives are of one day: without it the ranking is unknown."""
    y, scores, days = scored(600, 1.0, 6, days=12)
    found = intervals(np.where(days == 3, y, 0), scores, days)
    assert "roc_auc" not in found and "calibration_gap" in found


@pytest.mark.parametrize("days", [12, 77])
def test_rows_are_sorted_once(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """What makes an interval over 84,000 rows take a second: the sorts do not grow with the days."""
    y, scores, day = scored(2_000, 1.5, 0, days=days)
    sorts: list[int] = []
    sort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda values, **more: sorts.append(len(values)) or sort(values, **more))
    intervals(y, scores, day, threshold=0.3)
    assert sorts == [2_000]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_days_end_at_midnight_where_the_rows_are(zone: str) -> None:
    times = pd.Series(pd.date_range("2013-01-01", "2014-01-01", freq="30min", tz="UTC"))
    days, dates = local_days(times, zone), times.dt.tz_convert(zone).dt.date
    np.testing.assert_array_equal(day_numbers(days), day_numbers(dates.to_numpy()))
    assert len(np.unique(np.diff(np.unique(days)))) == 1  # equal steps


def test_the_day_on_which_clocks_change_has_23_or_25_hours() -> None:
    times = pd.Series(pd.date_range("2013-03-08", "2013-11-06", freq="1h", tz="UTC"))
    hours = np.unique(local_days(times, "America/New_York"), return_counts=True)[1].tolist()
    assert hours[2:5] == [24, 23, 24]  # on 10 March an hour is left out
    assert hours[-4:-1] == [24, 25, 24]  # on 3 November one is repeated
    assert set(hours[4:-4]) == {24}


def test_days_of_utc_are_what_they_were() -> None:
    random = np.random.default_rng(0)
    for unit in ("ns", "us"):
        times = pd.Series(
            pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(random.integers(0, 10**7, 500), unit="s")
        )
        times = times.dt.as_unit(unit)
        np.testing.assert_array_equal(local_days(times, "UTC"), times.dt.floor("D").astype("int64").to_numpy())
