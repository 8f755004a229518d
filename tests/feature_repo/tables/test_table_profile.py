"""A profile against plain pandas, numpy and scipy over random tables; and how long it takes."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from feature_repo.tables import table_profile
from feature_repo.tables.table_profile import BINS, bin_counts, bin_edges, profile_table

floats = st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(-3, 3).map(float), st.just(float("inf")))
texts = st.one_of(st.none(), st.sampled_from(["a", "B", " x", "", "  ", "long text"]), st.text(max_size=3))


def only(frame: pd.DataFrame, **given: Any) -> dict[str, Any]:
    return dict(profile_table(frame, **given)["columns"][0])


@settings(max_examples=150, deadline=None)
@given(st.lists(floats, max_size=60))
def test_numbers_are_as_numpy_has_them(values: list[float | None]) -> None:
    found = only(pd.DataFrame({"x": pd.Series(values, dtype="float64")}))
    present = np.array([value for value in values if value is not None and np.isfinite(value)])
    assert found["nulls"] == len(values) - len(present) and found["kind"] == "number"
    assert found["distinct"] == len(set(present))
    assert sum(found["histogram"]) == len(present)
    assert json.loads(json.dumps(found)) == found
    if not len(present):
        assert found["minimum"] is None and "mean" not in found
        return
    assert (found["minimum"], found["maximum"]) == (present.min(), present.max())
    assert found["mean"] == pytest.approx(present.mean()) and found["std"] == pytest.approx(present.std(), abs=1e-6)
    assert (found["zeros"], found["negative"]) == ((present == 0).sum(), (present < 0).sum())
    quantiles = np.quantile(present, [q / 100 for q in (1, 5, 25, 50, 75, 95, 99)])
    np.testing.assert_allclose(list(found["quantiles"].values()), quantiles, rtol=1e-12)
    reach = 1.5 * (quantiles[4] - quantiles[2])
    assert found["outliers"]["below"] == (present < quantiles[2] - reach).sum()
    assert found["outliers"]["above"] == (present > quantiles[4] + reach).sum()
    counts = Counter(present.tolist())
    expected = sorted(((v, n) for v, n in counts.items() if n > 1), key=lambda pair: (-pair[1], pair[0]))[:8]
    assert found["top"] == [[v, n] for v, n in expected]
    edges = [-np.inf, *found["edges"], np.inf]
    assert found["histogram"] == [int(((present >= low) & (present < high)).sum()) for low, high in pairwise(edges)]
    assert (found.get("values") or sorted(counts.items())) == [list(pair) for pair in sorted(counts.items())] or len(
        counts
    ) > 60


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=60))
def test_texts_are_as_a_counter_has_them(values: list[str | None]) -> None:
    found = only(pd.DataFrame({"x": pd.Series(values, dtype=object)}))
    present = [value for value in values if value is not None]
    counts = Counter(present)
    assert (found["nulls"], found["distinct"]) == (len(values) - len(present), len(counts))
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    assert found["categories"] == dict(ranked) and found["top"] == [list(pair) for pair in ranked[:8]]
    if present:
        lengths = [len(value) for value in present]
        assert (found["minimum"], found["maximum"]) == (min(present), max(present))
        assert found["lengths"]["minimum"] == min(lengths) and found["lengths"]["maximum"] == max(lengths)
        assert found["lengths"]["mean"] == pytest.approx(np.mean(lengths))
        assert found["lengths"]["median"] == sorted(lengths)[(len(lengths) - 1) // 2]
        assert found["blank"] == sum(not value.strip() for value in present)
        assert found["untrimmed"] == sum(value != value.strip() and bool(value.strip()) for value in present)


@settings(max_examples=300, deadline=None)
@example(47.0, -5e-324, False)
@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12), st.booleans())
def test_edges_are_multiples_of_a_power_of_two(one: float, other: float, whole: bool) -> None:
    low, high = min(one, other), max(one, other)
    edges = np.array(bin_edges(low, high, whole))
    width = edges[1] - edges[0]
    assert edges[0] <= low and high < edges[-1] and 1 <= len(edges) - 1 <= BINS
    assert np.frexp(width)[0] == 0.5 and (np.diff(edges) == width).all() and (edges % width == 0).all()
    assert width >= 1 or not whole
    values = np.random.default_rng(0).uniform(low - width, high + width, 50)
    bounds = [-np.inf, *edges, np.inf]
    expected = [int(((values >= a) & (values < b)).sum()) for a, b in pairwise(bounds)]
    assert bin_counts(values, edges.tolist()) == expected


def test_times_days_and_gaps_over_time() -> None:
    moments = pd.to_datetime(["2013-01-01T05:00Z", "2013-01-01T23:59Z", "2013-01-03T00:00Z", "2013-01-03T12:00Z"])
    frame = pd.DataFrame({"at": moments, "x": [1.0, None, None, None], "full": [1, 2, 3, 4]})
    found = profile_table(frame, day="at")
    assert found["series"] == {
        "column": "at",
        "unit": "day",
        "starts": ["2013-01-01", "2013-01-02", "2013-01-03"],
        "rows": [2, 0, 2],
    }
    at, x, full = found["columns"]
    assert (at["kind"], at["minimum"], at["quantiles"]["50"]) == (
        "time",
        "2013-01-01T05:00:00+00:00",
        "2013-01-02T11:59:30+00:00",
    )
    assert x["null_share"] == [0.5, 0.0, 1.0] and "null_share" not in full
    assert profile_table(frame)["series"] is None
    for unit, end in (("month", "2020-01-01"), ("year", "2070-01-01")):
        long = profile_table(pd.DataFrame({"at": pd.to_datetime(["2013-01-05", end], utc=True)}), day="at")["series"]
        assert long["unit"] == unit and long["rows"][0] == long["rows"][-1] == 1 and sum(long["rows"]) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", None]), st.booleans()), max_size=30))
def test_rows_that_repeat(rows: list[tuple[int, str | None, bool]]) -> None:
    frame = pd.DataFrame(rows, columns=["n", "t", "b"])
    assert profile_table(frame)["duplicates"] == int(frame.duplicated().sum())
    numbered = frame.assign(id=[f"row {at}" for at in range(len(frame))])
    found = profile_table(numbered)
    assert found["duplicates"] == 0
    assert found["repeats"] == (int(frame.duplicated().sum()) if len(frame) >= 10 else None)


def test_flags() -> None:
    frame = pd.DataFrame(
        {
            "id": [f"k{at}" for at in range(100)],
            "almost": [f"k{min(at, 94)}" for at in range(100)],
            "number": np.arange(100),
            "measured": np.linspace(0, 1, 100),
            "same": ["x"] * 99 + [None],
            "zero": 0.0,
            "flag": [True, False] * 50,
        }
    )
    flags = {column["name"]: column["flags"] for column in profile_table(frame)["columns"]}
    assert flags == {
        "id": ["unique"],
        "almost": ["near-unique"],
        "number": ["unique"],
        "measured": [],
        "same": ["constant"],
        "zero": ["constant"],
        "flag": [],
    }


def test_correlations_are_scipys_over_the_rows_that_both_have() -> None:
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"a": random.normal(size=500), "b": random.integers(0, 5, 500), "c": random.random(500) < 0.3})
    frame["a"] += frame["b"]
    frame.loc[random.random(500) < 0.2, "a"] = np.nan
    frame["text"], frame["same"] = "x", 1.0
    found = profile_table(frame)["correlations"]
    assert (found["method"], found["rows"], found["columns"]) == ("Spearman", 500, ["a", "b", "c"])
    both = frame.dropna()
    for first, second in ((0, 1), (0, 2)):
        expected = spearmanr(both.iloc[:, first], both.iloc[:, second].astype(float)).statistic
        assert found["values"][first][second] == pytest.approx(expected, abs=1e-4)
    assert profile_table(frame[["a", "text"]])["correlations"] is None


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([], dtype=float),
        pd.Series([], dtype=object),
        pd.Series([None, None], dtype=object),
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([True, None], dtype="boolean"),
        pd.Series(["a", None], dtype="string"),
        pd.Series(["a", "b"], dtype="category"),
        pd.Series([[1], [1], None], dtype=object),
        pd.Series([pd.NaT], dtype="datetime64[ns, UTC]"),
        pd.Series(pd.to_datetime(["2013-01-01"])),
        pd.Series([2.0**60, 2.0**60]),
        pd.Series([1e-300, 0.0]),
        pd.Series([-1.7e308, 1.7e308]),
        pd.Series([3, 2**62]),
    ],
)
def test_any_column_has_a_profile(column: pd.Series[Any]) -> None:
    found = profile_table(pd.DataFrame({"x": column}))
    assert found["rows"] == len(column) and found["columns"][0]["nulls"] == column.isna().sum()
    assert json.loads(json.dumps(found)) == found  # an ingest compares what it kept with what it has
    held = found["columns"][0]
    if held.get("histogram"):
        assert sum(held["histogram"]) == len(column) - held["nulls"]


def test_quantiles_of_a_sample_are_close(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pd.DataFrame({"x": np.random.default_rng(0).normal(size=40_000)})
    exact = only(values)
    monkeypatch.setattr(table_profile, "SAMPLE", 10_000)
    monkeypatch.setattr(
        sys.modules["feature_repo.tables.table_profile"], "SAMPLE", 10_000
    )  # beside the function profile
    assert profile_table(values)["quantile_rows"] == 10_000
    found = only(values)
    assert found["quantiles"] != exact["quantiles"]
    for share, value in found["quantiles"].items():
        assert (values["x"] < value).mean() == pytest.approx(int(share) / 100, abs=0.01)
    assert found["mean"] == exact["mean"] and found["nulls"] == exact["nulls"]


def test_a_table_of_the_size_of_a_year_of_flights_is_quick() -> None:
    random, rows = np.random.default_rng(0), 337_000
    frame = pd.DataFrame({f"n{at}": random.normal(size=rows).round(at) for at in range(5)})
    frame["id"] = [f"flight-{at}" for at in range(rows)]
    for at, values in enumerate((3, 16, 105, 4000)):
        frame[f"t{at}"] = random.integers(0, values, rows).astype(str).astype(object)
    frame["at"] = pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(random.integers(0, 525_600, rows), unit="min")
    frame["flag"] = random.random(rows) < 0.1
    assert frame.shape == (rows, 12)
    started = time.process_time()
    profile_table(frame, day="at")
    assert time.process_time() - started < 3  # 0.6 s on a quiet core
