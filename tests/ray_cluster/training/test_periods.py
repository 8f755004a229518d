"""The split by time: periods in order, and nobody fits on what was not known yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.model import Split
from ray_cluster.training.data import SplitError, split

AS_OF = datetime(2013, 12, 1, tzinfo=UTC)

#: Per row: hours before ``AS_OF`` of the prediction, hours until the outcome is known, the outcome.
rows = st.lists(st.tuples(st.integers(-48, 24 * 60), st.integers(0, 24 * 20), st.integers(0, 1)), min_size=30)
lengths = st.builds(
    lambda v, h: Split(validation=timedelta(hours=v), held_out=timedelta(hours=h)),
    st.integers(24, 24 * 20),
    st.integers(24, 24 * 20),
)


def columns(drawn: list[tuple[int, int, int]]) -> tuple[pd.Series, pd.Series, pd.Series]:
    times = pd.Series([AS_OF - timedelta(hours=before) for before, _, _ in drawn])
    known = times + pd.Series([timedelta(hours=delay) for _, delay, _ in drawn])
    return times, known, pd.Series([label for _, _, label in drawn])


@settings(max_examples=150, deadline=None)
@given(rows, lengths)
def test_no_row_is_fitted_on_before_its_outcome_was_known(drawn: list[tuple[int, int, int]], cut: Split) -> None:
    times, known, label = columns(drawn)
    try:
        periods = split(times, known, label, AS_OF, cut)
    except SplitError:
        return
    bounds = periods.bounds
    assert bounds["train"][1] == bounds["validation"][0] == AS_OF - cut.held_out - cut.validation
    assert bounds["validation"][1] == bounds["held_out"][0] == AS_OF - cut.held_out
    assert bounds["held_out"][1] == AS_OF
    masks = {name: getattr(periods, name) for name in bounds}
    assert np.sum(list(masks.values()), axis=0).max() == 1  # no row is in two periods
    for name, (start, end) in bounds.items():
        assert ((times[masks[name]] >= start) & (times[masks[name]] < end)).all()
        assert label[masks[name]].nunique() == 2
    for name in ("train", "validation"):
        assert (known[masks[name]] <= bounds[name][1]).all()
    ordered = [times[masks[name]] for name in ("train", "validation", "held_out")]
    assert ordered[0].max() < ordered[1].min() and ordered[1].max() < ordered[2].min()
    left_out = ~np.any(list(masks.values()), axis=0) & (times < AS_OF)
    ends = np.where(times < bounds["train"][1], bounds["train"][1], bounds["validation"][1])
    assert (known[left_out] > pd.Series(ends)[left_out]).all()  # and for no other reason


def hourly(days: int) -> tuple[pd.Series, pd.Series, pd.Series]:
    return columns([(hour, 2, hour % 2) for hour in range(1, 24 * days)])


def test_bounds_rows_and_positives_are_told() -> None:
    times, known, label = hourly(40)
    told = split(times, known, label, AS_OF, Split(validation="10d", held_out="10d")).describe(label)
    assert list(told) == ["train", "validation", "held_out"]
    assert told["held_out"] == {
        "start": "2013-11-21T00:00:00+00:00",
        "end": "2013-12-01T00:00:00+00:00",
        "rows": 240,
        "positives": 120,
    }
    assert told["validation"]["rows"] == 240 - 1  # the last hour's outcome came too late
    assert told["train"]["start"] == times.min().isoformat()


@pytest.mark.parametrize("name", ["train", "validation", "held_out"])
def test_a_period_with_one_outcome_only_is_refused(name: str) -> None:
    times, known, label = hourly(40)
    cut = Split(validation="10d", held_out="10d")
    mask = getattr(split(times, known, label, AS_OF, cut), name)
    with pytest.raises(SplitError, match=f"The {name.replace('_', '-')} period .* needs rows of both outcomes"):
        split(times, known, label.mask(mask, 1), AS_OF, cut)


def test_a_history_that_is_too_short_is_refused_with_its_bounds() -> None:
    with pytest.raises(SplitError, match=r"The train period .* has 0 rows .* ingest more history"):
        split(*hourly(20), AS_OF, Split(validation="15d", held_out="10d"))


def test_folds_follow_one_another_up_to_the_held_out_period() -> None:
    times, known, label = hourly(60)
    cut = Split(validation="8d", held_out="10d", folds=3)
    periods = split(times, known, label, AS_OF, cut)
    plain = split(times, known, label, AS_OF, cut.model_copy(update={"folds": 1}))
    assert len(periods.folds) == 3 and plain.folds[0].start == periods.folds[-1].start
    for name in ("train", "validation", "held_out"):
        np.testing.assert_array_equal(getattr(periods, name), getattr(plain, name))
    assert [fold.end for fold in periods.folds] == [fold.start for fold in periods.folds[1:]] + [AS_OF - cut.held_out]
    for fold in periods.folds:
        assert fold.end - fold.start == cut.validation
        assert (times[fold.train] < fold.start).all() and (known[fold.train] <= fold.start).all()
        assert times[fold.validation].between(fold.start, fold.end, inclusive="left").all()
        assert (known[fold.validation] <= fold.end).all()
        assert not (fold.validation & periods.held_out).any() and not (fold.train & periods.held_out).any()


def test_a_fold_without_rows_is_refused_with_its_number() -> None:
    with pytest.raises(SplitError, match=r"training period of fold 1 .* has 0 rows .* use fewer split\.folds"):
        split(*hourly(35), AS_OF, Split(validation="8d", held_out="10d", folds=4))
