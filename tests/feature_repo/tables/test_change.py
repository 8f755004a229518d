"""Change between two profiles: exact where it says so, silent where nothing changed, one sentence each."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.tables.change import alerts, aligned, compare
from feature_repo.tables.stability import stability_index
from feature_repo.tables.table_profile import profile_table


def profiled(**columns: Any) -> dict[str, Any]:
    return dict(json.loads(json.dumps(profile_table(pd.DataFrame(columns)))))


def told(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return alerts(now, compare(before, now))


@settings(max_examples=150, deadline=None)
@given(st.floats(-50, 50), st.floats(-3, 3), st.integers(20, 400), st.integers(0, 2**32 - 1))
def test_both_are_counted_in_the_same_bins(shift: float, stretch: float, rows: int, seed: int) -> None:
    """Whatever the two ranges: each bin holds exactly the rows that lie between its edges."""
    random = np.random.default_rng(seed)
    old, new = random.normal(size=rows), random.normal(size=2 * rows) * 10**stretch + shift
    first, second = (profiled(x=values)["columns"][0] for values in (old, new))
    a, b = aligned(first, second)
    assert a.sum() == len(old) and b.sum() == len(new) and len(a) == len(b)
    width = max(each["edges"][1] - each["edges"][0] for each in (first, second))
    low = max(np.ceil(each["edges"][0] / width) for each in (first, second))
    high = min(np.floor(each["edges"][-1] / width) for each in (first, second))
    if low > high:  # the ranges do not meet
        return
    bounds = [-np.inf, *(np.arange(low, high + 1) * width), np.inf]
    for values, counts in ((old, a), (new, b)):
        expected = [((values >= x) & (values < y)).sum() for x, y in pairwise(bounds)]
        np.testing.assert_array_equal(counts, expected)


def test_without_change_there_is_nothing_to_say() -> None:
    random = np.random.default_rng(0)
    for rows in (50, 500, 20_000):
        samples = [
            profiled(
                x=random.normal(size=rows),
                n=random.integers(0, 9, rows),
                t=random.choice(["a", "b", "c"], rows),
                gap=np.where(random.random(rows) < 0.3, np.nan, 1.0) * random.normal(size=rows),
            )
            for _ in range(2)
        ]
        found = compare(*samples)
        assert [column["psi"] < 0.2 for column in found["columns"]] == [True] * 4
        assert not [line for line in told(*samples) if rows > 500]
        same = compare(samples[0], samples[0])
        assert all(column["psi"] == 0 for column in same["columns"]) and not told(samples[0], samples[0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)), min_size=1, max_size=12))
def test_stability_is_never_below_zero_and_no_more_than_the_textbook_has(pairs: list[tuple[int, int]]) -> None:
    old, new = (np.array(side, float) for side in zip(*pairs, strict=True))
    new[0] += 1
    found = stability_index(old, new)[1]
    old, new = np.where(old > 0, old, 0.5), np.where(new > 0, new, 0.5)
    p, q = old / old.sum(), new / new.sum()
    textbook = sum((b - a) * np.log(b / a) for a, b in zip(p, q, strict=True))
    assert 0 <= found <= textbook + 1e-12


def test_what_moved_is_said_in_one_sentence_each() -> None:
    rows = 1000
    base: dict[str, Any] = {
        "arr_delay": np.r_[np.arange(999.0), np.nan],
        "speed": np.arange(rows) % 100.0,
        "carrier": ["UA", "AA"] * 500,
        "kind": ["x"] * rows,
        "old": 1.0,
        "wide": np.tile([-1.0, 0.0, 1.0, 0.0], 250),
    }
    base["old"] = np.arange(rows) * 1.0
    moved = base | {
        "arr_delay": np.r_[np.arange(975.0), [np.nan] * 25],
        "speed": base["speed"] + 50,
        "carrier": ["UA", "B6"] * 500,
        "kind": np.arange(rows) % 7,
        "wide": np.tile([-20.0, 20.0], 500),
        "new": [" a", "b"] * 500,
    }
    del moved["old"]
    lines = told(profiled(**base), profiled(**moved))
    assert "arr_delay: 2.5 % null, was 0.1 %." in lines
    assert "speed: mean 99.5, was 49.5 (+1.73 standard deviations)." in lines
    assert "carrier: 'B6' (500 rows) appeared." in lines and "carrier: 'AA' (500 rows) vanished." in lines
    assert "kind: int64, was object." in lines
    assert "old: the column is gone." in lines and "new: the column is new." in lines
    assert "new: 500 rows begin or end with white space (cleaning.trim)." in lines
    assert any(line.startswith("wide: the distribution changed, PSI ") for line in lines)
    assert len(lines) == 9


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (1000, 995, None),
        (1000, 980, "980 rows, was 1,000 (-2%)."),
        (1000, 1400, None),
        (1000, 1600, "1,600 rows, was 1,000 (+60%)."),
        (0, 10, None),
    ],
)
def test_rows_lost_are_told_before_rows_won(before: int, now: int, said: str | None) -> None:
    lines = told(profiled(x=np.arange(before) % 9.0), profiled(x=np.arange(now) % 9.0))
    assert [line for line in lines if " was " in line and "rows" in line] == ([said] if said else [])


def test_oddities_are_told_without_an_earlier_ingest() -> None:
    days = pd.date_range("2013-01-01", periods=40, tz="UTC").delete([10])
    frame = pd.DataFrame({"at": days, "same": 1, "none": None, "t": ["", *["a"] * 38]})
    lines = alerts(profile_table(frame, day="at"), None)
    assert lines == [
        "No rows for 2013-01-11.",
        "same: every value is 1.",
        "none: no row has a value.",
        "t: 1 row holds an empty text.",
    ]
    twice = pd.DataFrame({"a": [1, 1, 2], "b": ["x", "x", "y"]})
    assert alerts(profile_table(twice), None) == ["1 row repeats an earlier one in every column."]


def test_a_sample_is_no_loss_of_rows() -> None:
    frame = pd.DataFrame({"x": np.arange(3000) * 1.0})
    before, now = profile_table(frame), profile_table(frame[::3], total=3000)
    assert compare(before, now)["rows"] == [3000, 3000] and not told(before, now)
