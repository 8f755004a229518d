"""Variation between days: what a period may differ by if nothing has changed, beside simulation and a reference."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.model import Monitoring, load_model
from ray_cluster.decisions.monitoring_rules import beyond, natural_bound
from ray_cluster.evaluation.column_profile import profile_column
from ray_cluster.evaluation.intervals import cosine_sums
from ray_cluster.monitoring.binning import Bins
from ray_cluster.monitoring.day_variation import (
    SLOW_COSINES,
    Period,
    ShortReferenceError,
    Variation,
    index_variation,
    mean_variation,
    reference_days,
)
from ray_cluster.monitoring.drift import column_drift
from ray_cluster.monitoring.measurements import measure

START = pd.Timestamp("2013-10-01", tz="UTC")
DAYS, LIVE, ROWS = 77, 14, 150
POLICY = Monitoring(feature_psi=0.2).model_dump()
DAY = np.repeat(np.arange(DAYS), ROWS)


def times(days: float, rows: int, first: float = 0.0) -> pd.Series[Any]:
    return pd.Series(START + pd.to_timedelta(first + np.arange(rows) * days / rows, unit="D"))


def walk(random: np.random.Generator, days: int, memory: float) -> Any:
    """A daily level of variance 1 that keeps ``memory`` of itself from day to day."""
    level = [random.normal()]
    for step in random.normal(size=days - 1) * np.sqrt(1 - memory**2):
        level.append(memory * level[-1] + step)
    return np.array(level)


def rolling(seed: int, memory: float = 0.85, shift: float = 0.0) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """A feature of eleven weeks and of the two that follow, whose rows share the level of their day."""
    random = np.random.default_rng(seed)
    values = np.repeat(walk(random, DAYS + LIVE, memory), ROWS) + 0.4 * random.normal(size=(DAYS + LIVE) * ROWS)
    return pd.Series(values[: DAYS * ROWS]), pd.Series(values[DAYS * ROWS :] + shift)


def judged(reference: pd.Series[Any], current: pd.Series[Any]) -> tuple[bool, bool]:
    """Whether the plain bound, and whether bound and natural variation, call the current rows drifted."""
    profile, day = profile_column(reference), np.repeat(np.arange(DAYS), len(reference) // DAYS)
    bins = Bins.of(profile, len(current))
    codes, period = bins.codes(reference), Period(LIVE, len(current))
    brief = bins.brief(codes, day, LIVE)
    variation = index_variation(bins.pooled(codes, bins.count(bins.codes(current)), brief), day)
    psi = column_drift("x", profile, current, bins, brief).psi
    known = {"variance": variation.variance(period), "chance": variation.chance(period), "freedom": variation.freedom}
    known["dimensions"] = variation.dimensions
    natural = natural_bound({"variation": known}, POLICY, POLICY["drifted_share"])
    return psi > 0.2, beyond({"psi": psi}, 0.2, natural)


@pytest.mark.parametrize("memory", [0.6, 0.85, 0.95])
def test_a_feature_that_wanders_gives_no_false_alarm(memory: float) -> None:
    found = np.array([judged(*rolling(seed, memory)) for seed in range(80)])
    plain, natural = found.mean(axis=0)
    assert plain > 0.5 and natural < 0.02, (plain, natural)


def test_a_trend_that_goes_on_is_no_drift() -> None:
    random = np.random.default_rng(0)
    values = np.repeat(np.linspace(0, 3, DAYS + LIVE), ROWS) + random.normal(size=(DAYS + LIVE) * ROWS)
    assert judged(pd.Series(values[: DAYS * ROWS]), pd.Series(values[DAYS * ROWS :])) == (True, False)


def test_a_real_shift_is_found() -> None:
    """A shift of one standard deviation of rows without memory; and where days differ, one they never came near to."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        reference, current = random.normal(size=DAYS * ROWS), random.normal(1, 1, LIVE * ROWS)
        assert judged(pd.Series(reference), pd.Series(current)) == (True, True)
    assert np.mean([judged(*rolling(seed, memory=0.3, shift=3.0))[1] for seed in range(40)]) > 0.7


@pytest.mark.parametrize("kind", ["cities", "campaigns of one day"])
def test_many_categories_give_no_false_alarm(kind: str) -> None:
    def draw(random: np.random.Generator) -> tuple[pd.Series[Any], pd.Series[Any]]:
        rows = (DAYS + LIVE) * 40
        values = random.integers(0, 800, rows)
        if kind != "cities":
            values = values % 12 + 12 * (np.arange(rows) // 40)  # no value comes back, so that all current ones are new
        texts = pd.Series(values).astype(str)
        return texts[: DAYS * 40], texts[DAYS * 40 :].reset_index(drop=True)

    assert np.mean([judged(*draw(np.random.default_rng(seed)))[1] for seed in range(40)]) <= 0.05
    reference, current = draw(np.random.default_rng(99))
    if kind == "cities":
        assert judged(reference, pd.Series(["elsewhere"] * len(current))) == (True, True)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), min_size=1, max_size=80),
    st.lists(st.one_of(st.none(), st.floats(-5, 5), st.just(float("inf"))), min_size=1, max_size=80),
    st.lists(st.sampled_from("abcdefghxyz"), min_size=1, max_size=40),
    st.integers(1, 500),
)
def test_every_row_of_a_reference_is_in_the_bin_that_expects_it(
    texts: list[str | None], values: list[float | None], now: list[str], rows: int
) -> None:
    for column in (pd.Series(texts, dtype=object), pd.Series(values, dtype=float)):
        bins = Bins.of(profile_column(column), rows)
        codes = bins.codes(column)
        assert bins.count(codes).tolist() == bins.expected.tolist() and bins.expected.sum() == len(column)
        if bins.categories is not None:
            current = bins.count(bins.codes(pd.Series(now)))
            brief = bins.brief(codes, np.arange(len(column)), 5)
            expected, _ = bins.comparable(bins.expected, current, brief)
            assert np.bincount(bins.pooled(codes, current, brief), minlength=len(expected)).tolist() == list(expected)


def test_the_mean_of_the_index_is_the_variance() -> None:
    """Independent rows, and days that all rows share: the sum of squares of the shares, from simulation."""
    random, found = np.random.default_rng(3), []
    codes = random.integers(0, 4, (DAYS, 50))
    alone = index_variation(codes.ravel(), np.repeat(np.arange(DAYS), 50))
    assert alone.within == 3 and alone.between < 0.15
    for _ in range(200):
        days = random.integers(0, 4, DAYS + LIVE)
        shares = np.bincount(days[:DAYS], minlength=4) / DAYS
        variation = index_variation(np.repeat(days[:DAYS], 50), np.repeat(np.arange(DAYS), 50))
        squares = np.sum((np.bincount(days[DAYS:], minlength=4) / LIVE - shares) ** 2 / shares)
        period = Period(LIVE, LIVE * 50)
        found.append((squares, replace(variation, wanders=False).variance(period), variation.variance(period)))
    real, expected, cautious = np.mean(found, axis=0)
    assert expected == pytest.approx(real, rel=0.2)
    assert real < cautious < 2.5 * real


@pytest.mark.parametrize("after", [0, 40])
def test_a_random_walk_differs_more_the_later_it_is(after: int) -> None:
    """The variance of the difference of two means of a walk, from simulation and from the cosines of the first days."""
    random, found = np.random.default_rng(5), []
    for _ in range(400):
        level = np.cumsum(random.normal(size=DAYS + after + LIVE))
        sums = cosine_sums(level[:DAYS], SLOW_COSINES)
        variation = Variation(Period(DAYS, DAYS), float(np.mean(sums**2)), 0.0, len(sums), wanders=True)
        difference = level[DAYS + after :].mean() - level[:DAYS].mean()
        found.append((difference**2, variation.variance(Period(LIVE, LIVE, after))))
    real, expected = np.mean(found, axis=0)
    assert expected == pytest.approx(real, rel=0.2)


def test_the_variance_of_a_mean_has_a_part_of_days_and_a_part_of_rows() -> None:
    random = np.random.default_rng(1)
    period = Period(LIVE, 1_400)
    days = np.array([mean_variation(walk(random, DAYS, 0)[:, None] * [1, 1], 7_700, period).between for _ in range(50)])
    assert np.mean(days) == pytest.approx(1, rel=0.1)
    rows = [mean_variation(random.normal(size=(DAYS, 2)), 7_700, period) for _ in range(50)]
    assert np.mean([each.within for each in rows]) == pytest.approx(50, rel=0.05)
    assert np.mean([each.between for each in rows]) < 0.15
    thin, full = Period(LIVE, 140), Period(LIVE, 1_400)
    assert rows[0].chance(thin) > 8 * rows[0].chance(full)


@pytest.mark.parametrize("days", [3, 7, 30])
def test_the_variance_of_a_mean_is_that_of_periods_of_its_length(days: int) -> None:
    """Days with autocorrelation 0.5: the estimate is near the variance of the mean of so many days, and has more
    degrees of freedom for a shorter period."""
    random, period = np.random.default_rng(9), Period(days, 0)
    variations = [mean_variation(walk(random, DAYS, 0.5)[:, None] * [1, 1], DAYS, period) for _ in range(300)]
    real = np.var([walk(random, days, 0.5).mean() for _ in range(4_000)])
    assert np.mean([each.between for each in variations]) / days == pytest.approx(real, rel=0.25)
    assert variations[0].freedom == pytest.approx({3: 33, 7: 16, 30: 7}[days], abs=1)


def test_days_with_few_rows_count_less() -> None:
    assert Period.of(np.repeat([0, 1, 2], 10)) == Period(3.0, 30)
    assert 1 < Period.of(np.array([0] * 100 + [1])).days < 1.1
    assert Period.of(None) == Period(1.0, 0)


def test_a_short_reference_says_so() -> None:
    with pytest.raises(ShortReferenceError, match="has rows of 9 days; how much days differ is known from 10 days"):
        reference_days(times(9, 900))
    for unknown in (None, pd.Series(pd.to_datetime([None, None], utc=True))):
        with pytest.raises(ShortReferenceError, match="without prediction_time"):
            reference_days(unknown)
    assert reference_days(times(77, 154)).tolist() == np.repeat(np.arange(77), 2).tolist()


def test_measurements_hold_it_and_a_short_reference_falls_back() -> None:
    reference, current = rolling(3)
    frame = pd.DataFrame({"rate": reference, "score": 1 / (1 + np.exp(-reference)), "label": 0})
    log = pd.DataFrame({"as_of": times(LIVE, len(current), DAYS), "features": [{"rate": value} for value in current]})
    log["score"] = 1 / (1 + np.exp(-current))
    outcomes, end = pd.DataFrame({"id": [], "label": []}), START + pd.Timedelta(days=91)
    spec = load_model("flight_delay")
    seen = measure(spec, log, outcomes, frame.assign(prediction_time=times(DAYS, len(frame))), end)
    feature, prediction = seen["features"][0], seen["prediction"]
    assert seen["variation"] == {"days": 77}
    policy = spec.monitoring.model_dump()
    assert feature["natural"] == natural_bound(feature, policy, spec.monitoring.drifted_share)
    assert prediction["variation"] == pytest.approx(feature["variation"])  # the score is the feature, bent
    assert prediction["natural"] < feature["natural"]
    for short in (frame, frame.head(900).assign(prediction_time=times(6, 900))):
        seen = measure(spec, log, outcomes, short, end)
        assert seen["features"][0]["natural"] is None and seen["prediction"]["natural"] is None
        assert "unknown" in seen["variation"]["unknown"] or "is known from 10 days" in seen["variation"]["unknown"]


def test_it_is_quick() -> None:
    """46 features of 70,000 rows take about 0.2 s on one core; the bound leaves room for a busy one."""
    random = np.random.default_rng(0)
    codes, day = random.integers(0, 10, 77_000), np.repeat(np.arange(77), 1_000)
    started = time.process_time()
    for _ in range(46):
        index_variation(codes, day)
    assert time.process_time() - started < 1.5
