"""The check of raw tables: every row is valid or refused with its reason, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo import nycflights
from feature_repo.quality import TableError, check, schema

KEY = {"weather": ["origin", "observed_at"], "flights": ["flight_id"], "outcomes": ["flight_id"], "planes": ["tailnum"]}
LOADERS: dict[str, Callable[[], pd.DataFrame]] = {
    "weather": nycflights.weather,
    "flights": nycflights.flights,
    "outcomes": nycflights.outcomes,
    "planes": nycflights.planes,
}
#: A value that the column cannot hold, per table: column → value.
BAD: dict[str, dict[str, Any]] = {
    "weather": {"temp": 500.0, "humid": "moist", "origin": "New York", "wind_dir": -1.0, "observed_at": None},
    "flights": {"flight": 0, "carrier": None, "dest": "ord", "scheduled_departure": "soon", "distance": None},
    "outcomes": {"arr_delay": 9999.0, "dep_delay": "late", "tailnum": "?", "known_at": None},
    "planes": {"seats": "many", "engines": 9, "year": 1066.0, "tailnum": None},
}


@pytest.fixture(scope="module")
def clean() -> dict[str, pd.DataFrame]:
    """Forty rows of each table that are valid."""
    found = {}
    for table, load in LOADERS.items():
        rows = load().iloc[100:160]
        found[table] = check(rows, schema(table), KEY[table], table).valid.head(40)
    return found


corruptions = st.sampled_from([(table, column) for table, bad in BAD.items() for column in bad])
several = st.lists(st.tuples(corruptions, st.integers(0, 39)), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(several, st.lists(st.integers(0, 39), max_size=3), st.sampled_from(list(BAD)))
def test_every_row_is_valid_or_refused(clean: Any, drawn: Any, again: list[int], table: str) -> None:
    good = clean[table]
    frame = good.astype(dict.fromkeys(BAD[table], object))
    wrong = {(row, column) for (of, column), row in drawn if of == table}
    for row, column in wrong:
        frame.loc[row, column] = BAD[table][column]
    frame = pd.concat([frame, frame.iloc[again]], ignore_index=True)
    found = check(frame, schema(table), KEY[table], table)
    assert len(found.valid) + len(found.refused) == len(frame)
    bad_rows = {row for row, _ in wrong}
    assert len(found.valid) == 40 - len(bad_rows)
    expected = good.drop(index=list(bad_rows)).reset_index(drop=True)
    pd.testing.assert_frame_equal(found.valid, expected)  # whatever it came as, it is typed
    assert list(found.refused) == [*frame, "reason"]
    assert found.refused["reason"].str.len().min() > 0 if len(found.refused) else True
    assert not found.refused["reason"].str.endswith("; ").any()
    said = " | ".join(found.refused["reason"].astype(str))
    for _, column in wrong:
        assert column in said


def test_all_that_is_wrong_with_a_row_is_said(clean: Any) -> None:
    frame = clean["weather"].copy()
    frame.loc[3, ["temp", "humid"]] = [500.0, -1.0]
    refused = check(frame, schema("weather"), KEY["weather"], "weather").refused
    assert refused["reason"].tolist() == ["temp = 500.0 fails in_range(-60, 130); humid = -1.0 fails in_range(0, 100)"]
    assert refused.loc[0, "temp"] == 500.0


def test_a_word_among_numbers_costs_its_own_row_only(clean: Any) -> None:
    frame = clean["weather"].astype({"temp": object})
    frame.loc[5, "temp"] = "warm"
    frame.loc[9, "temp"] = 500
    found = check(frame, schema("weather"), KEY["weather"], "weather")
    assert found.refused["reason"].tolist() == [
        "temp = warm fails coerce_dtype('float64')",
        "temp = 500.0 fails in_range(-60, 130)",
    ]
    assert found.valid["temp"].dtype == float and len(found.valid) == 38


def test_times_written_as_text_are_read_as_utc(clean: Any) -> None:
    frame = clean["weather"]
    texts = frame.assign(
        observed_at=frame["observed_at"].astype(str), known_at=frame["known_at"].map(pd.Timestamp.isoformat)
    )
    pd.testing.assert_frame_equal(check(texts, schema("weather"), KEY["weather"], "weather").valid, frame)


def test_rules_over_several_columns(clean: Any) -> None:
    frame = clean["flights"].copy()
    frame.loc[2, "dest"] = frame.loc[2, "origin"]
    frame.loc[4, "scheduled_arrival"] = frame.loc[4, "scheduled_departure"]
    refused = check(frame, schema("flights"), KEY["flights"], "flights").refused
    assert refused["reason"].tolist() == [
        "row fails destination_differs_from_origin",
        "row fails scheduled_to_last_30_to_900_minutes",
    ]


def test_the_first_of_two_rows_with_one_key_stays(clean: Any) -> None:
    frame = pd.concat([clean["weather"], clean["weather"].iloc[[7]].assign(temp=99.0)])
    found = check(frame, schema("weather"), KEY["weather"], "weather")
    assert found.refused[["temp", "reason"]].values.tolist() == [[99.0, "duplicate key (origin, observed_at)"]]
    pd.testing.assert_frame_equal(found.valid, clean["weather"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.drop(columns="humid"), "column 'humid' is missing; it has origin, temp"),
        (lambda f: f.rename(columns={"humid": "humidity"}), "column 'humid' is missing"),
        (lambda f: f.assign(extra=1), "column 'extra' is not declared"),
        (lambda f: f.assign(humid="moist"), r"column 'humid': coerce_dtype\('float64'\) failed with 'moist'"),
    ],
)
def test_a_table_that_is_wrong_as_a_whole_is_refused(clean: Any, change: Any, sentence: str) -> None:
    with pytest.raises(TableError, match=f"Table 'weather'.*{sentence}"):
        check(change(clean["weather"]), schema("weather"), KEY["weather"], "weather")


def test_an_empty_table_is_an_empty_table(clean: Any) -> None:
    found = check(clean["weather"].head(0), schema("weather"), KEY["weather"], "weather")
    assert len(found.valid) == len(found.refused) == 0 and "reason" in found.refused
