"""Natural variation: stretches of a reference, and what it takes to be called drifted, as statistics."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.model import load_model
from feature_repo.tables.stability import stability_index
from ray_cluster.decisions.monitoring_rules import beyond
from ray_cluster.evaluation.column_profile import profile_column
from ray_cluster.monitoring.baseline_variation import ShortReferenceError, baseline_variation, cut
from ray_cluster.monitoring.binning import Bins
from ray_cluster.monitoring.drift import column_drift
from ray_cluster.monitoring.measurements import measure

START = pd.Timestamp("2013-10-01", tz="UTC")
DAYS, LIVE, ROWS = 77, 14, 150
BOUND = 0.2


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
    """Whether the plain bound, and whether bound and natural variation, call the current stretch drifted."""
    stretches = cut(times(DAYS, len(reference)), times(LIVE, len(current), first=DAYS))
    profile = profile_column(reference)
    bins = Bins.of(profile, len(current))
    natural = baseline_variation(bins, bins.codes(reference), stretches)
    psi = column_drift("x", profile, current, bins).psi
    return psi > BOUND, beyond({"psi": psi, "natural": natural}, BOUND)


@pytest.mark.parametrize("memory", [0.6, 0.85])
def test_a_feature_that_wanders_gives_no_false_alarm(memory: float) -> None:
    found = np.array([judged(*rolling(seed, memory)) for seed in range(150)])
    plain, natural = found.mean(axis=0)
    assert plain > 0.6 and natural < 0.1, (plain, natural)


def test_a_real_shift_is_found() -> None:
    """A shift of three standard deviations of the day's level; and of one of rows without any memory."""
    assert np.mean([judged(*rolling(seed, shift=3.0))[1] for seed in range(60)]) > 0.8
    for seed in range(20):
        random = np.random.default_rng(seed)
        reference, current = random.normal(size=DAYS * ROWS), random.normal(1, 1, LIVE * ROWS)
        assert judged(pd.Series(reference), pd.Series(current)) == (True, True)


def test_the_natural_variation_is_the_largest_index_of_a_stretch_against_the_rest() -> None:
    reference, current = rolling(5)
    reference[::50] = np.nan
    moments = times(DAYS, len(reference))
    stretches = cut(moments, times(LIVE, len(current), first=DAYS))
    bins = Bins.of(profile_column(reference), len(current))
    codes = bins.codes(reference)
    day = ((moments - START) // pd.Timedelta("1D")).to_numpy()
    inside = [(day >= first) & (day < first + LIVE) for first in range(DAYS - LIVE + 1)]
    expected = max(stability_index(bins.count(codes[~part]), bins.count(codes[part]))[1] for part in inside)
    assert baseline_variation(bins, codes, stretches) == pytest.approx(expected, rel=1e-12)
    assert stretches.to_dict() == {"days": LIVE, "count": DAYS - LIVE + 1}


def test_rare_categories_are_pooled_for_each_stretch() -> None:
    """Each stretch is compared with the rest as current rows are with a reference: its own values are unseen there."""
    random = np.random.default_rng(2)
    rows = DAYS * 40
    values = random.integers(0, 900, rows) + 600 * (np.arange(rows) // (rows // 4))  # new values come, old ones go
    reference = pd.Series(values).astype(str)
    moments = times(DAYS, rows)
    stretches = cut(moments, times(LIVE, 500, first=DAYS))
    bins = Bins.of(profile_column(reference), 500)
    day = ((moments - START) // pd.Timedelta("1D")).to_numpy()
    inside = [(day >= first) & (day < first + LIVE) for first in range(DAYS - LIVE + 1)]
    expected = [column_drift("x", profile_column(reference[~part]), reference[part]).psi for part in inside]
    assert baseline_variation(bins, bins.codes(reference), stretches) == pytest.approx(max(expected), rel=1e-12)
    assert max(expected) > BOUND


@pytest.mark.parametrize("kind", ["cities", "campaigns of one day"])
def test_many_categories_give_no_false_alarm(kind: str) -> None:
    def draw(random: np.random.Generator) -> tuple[pd.Series[Any], pd.Series[Any]]:
        rows = (DAYS + LIVE) * 40
        values = random.integers(0, 800, rows)
        if kind != "cities":
            values = values % 12 + 12 * (np.arange(rows) // 40)  # no value comes back, so that all current ones are new
        texts = pd.Series(values).astype(str)
        return texts[: DAYS * 40], texts[DAYS * 40 :].reset_index(drop=True)

    plain, natural = np.mean([judged(*draw(np.random.default_rng(seed))) for seed in range(40)], axis=0)
    assert plain == (0 if kind == "cities" else 1) and natural <= 0.1
    reference, current = draw(np.random.default_rng(99))
    if kind == "cities":
        assert judged(reference, pd.Series(["elsewhere"] * len(current))) == (True, True)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), min_size=1, max_size=80),
    st.lists(st.one_of(st.none(), st.floats(-5, 5), st.just(float("inf"))), min_size=1, max_size=80),
    st.integers(1, 500),
)
def test_every_row_of_a_reference_is_in_the_bin_that_expects_it(
    texts: list[str | None], values: list[float | None], rows: int
) -> None:
    for column in (pd.Series(texts, dtype=object), pd.Series(values, dtype=float)):
        bins = Bins.of(profile_column(column), rows)
        assert bins.count(bins.codes(column)).tolist() == bins.expected.tolist()
        assert bins.expected.sum() == len(column)


@pytest.mark.parametrize(
    ("held", "live", "days", "count"),
    [
        (77, 14, 14, 64),  # each day begins one
        (28, 13.99, 14, 15),
        (77, 0.0, 1, 77),  # predictions of one moment: whole days, one after another
        (77, 0.4, 1, 77),
        (365, 6.9, 7, 52),
    ],
)
def test_stretches_are_as_long_as_the_current_one(held: float, live: float, days: int, count: int) -> None:
    found = cut(times(held, 40_000), pd.Series([START, START + pd.Timedelta(days=live)]))
    assert found.days == days
    assert len(found.starts) == count
    assert (found.starts + found.wide <= found.slots.max() + 1).all()


def test_a_short_or_thin_reference_says_so() -> None:
    live = pd.Series([START, START + pd.Timedelta(days=13)])
    with pytest.raises(ShortReferenceError, match=r"spans 20\.0 days, less than twice the 13"):
        cut(times(20, 5_000), live)
    with pytest.raises(ShortReferenceError, match="has 60 rows, fewer than 100 in each stretch of 13 days"):
        cut(times(77, 60), live)
    with pytest.raises(ShortReferenceError, match=r"spans 0\.0 days"):
        cut(pd.Series(pd.to_datetime([None, None], utc=True)), live)


def test_a_gap_is_no_stretch_and_rows_without_a_time_belong_to_the_rest() -> None:
    moments = times(77, 7_700)
    gap = moments[(moments < START + pd.Timedelta(days=30)) | (moments > START + pd.Timedelta(days=45))]
    assert cut(gap, times(14, 500)).to_dict()["count"] < 64 - 8
    missing = moments.where(np.arange(7_700) % 10 > 0)
    stretches = cut(missing, times(14, 500))
    assert (stretches.slots == stretches.slots.max()).sum() == 770
    same = pd.Series(["a"] * 7_700)
    bins = Bins.of(profile_column(same), 500)
    assert baseline_variation(bins, bins.codes(same), stretches) == 0


def test_measurements_hold_it_and_a_short_reference_falls_back() -> None:
    reference, current = rolling(3)
    frame = pd.DataFrame({"rate": reference, "score": 1 / (1 + np.exp(-reference)), "label": 0})
    log = pd.DataFrame({"as_of": times(LIVE, len(current), DAYS), "features": [{"rate": value} for value in current]})
    log["score"] = 1 / (1 + np.exp(-current))
    outcomes, end = pd.DataFrame({"id": [], "label": []}), START + pd.Timedelta(days=91)
    spec = load_model("flight_delay")
    seen = measure(spec, log, outcomes, frame.assign(prediction_time=times(DAYS, len(frame))), end)
    feature, prediction = seen["features"][0], seen["prediction"]
    assert seen["stretches"] == {"days": 14, "count": 64}
    assert feature["drifted"] == beyond(feature, spec.monitoring.feature_psi)
    assert prediction["natural"] == pytest.approx(feature["natural"])  # the score is the feature, bent
    for short in (frame, frame.assign(prediction_time=times(20, len(frame)))):
        seen = measure(spec, log, outcomes, short, end)
        assert seen["features"][0]["natural"] is None and seen["prediction"]["natural"] is None
        assert "natural variation is unknown" in seen["stretches"]["unknown"]


def test_it_is_quick() -> None:
    """46 features of 70,000 rows take about 0.2 s on one core; the bound leaves room for a busy one."""
    random = np.random.default_rng(0)
    column = pd.Series(random.normal(size=70_000))
    stretches = cut(times(DAYS, 70_000), times(LIVE, 3_000, DAYS))
    bins = Bins.of(profile_column(column), 3_000)
    started = time.process_time()
    for _ in range(46):
        baseline_variation(bins, bins.codes(column), stretches)
    assert time.process_time() - started < 1.5
