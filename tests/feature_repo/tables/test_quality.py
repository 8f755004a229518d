"""The check of raw tables: every row is valid or refused with its reason, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pandera.errors
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.settings import CONFIGS
from configs.table import Column, Source, Table, load_tables
from feature_repo.examples import nycflights
from feature_repo.tables.conditions import ConditionError, prove
from feature_repo.tables.quality import TableError, check, schema

TABLES = load_tables(CONFIGS / "tables", CONFIGS / "local" / "tables")
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
        found[table] = check(rows, TABLES[table], table).valid.head(40).reset_index(drop=True)
    return found


corruptions = st.sampled_from([(table, column) for table, bad in BAD.items() for column in bad])
several = st.lists(st.tuples(corruptions, st.integers(0, 39)), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(several, st.sampled_from(list(BAD)))
def test_every_row_is_valid_or_refused(clean: Any, drawn: Any, table: str) -> None:
    good = clean[table]
    frame = good.astype(dict.fromkeys(BAD[table], object))
    wrong = {(row, column) for (of, column), row in drawn if of == table}
    for row, column in wrong:
        frame.loc[row, column] = BAD[table][column]
    found = check(frame, TABLES[table], table)
    assert len(found.valid) + len(found.refused) == len(frame)
    bad_rows = {row for row, _ in wrong}
    assert len(found.valid) == 40 - len(bad_rows)
    expected = good.drop(index=list(bad_rows))
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
    refused = check(frame, TABLES["weather"], "weather").refused
    assert refused["reason"].tolist() == ["temp = 500.0 fails in_range(-60, 130); humid = -1.0 fails in_range(0, 100)"]
    assert refused.loc[3, "temp"] == 500.0


def test_a_word_among_numbers_costs_its_own_row_only(clean: Any) -> None:
    frame = clean["weather"].astype({"temp": object})
    frame.loc[5, "temp"] = "warm"
    frame.loc[9, "temp"] = 500
    found = check(frame, TABLES["weather"], "weather")
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
    pd.testing.assert_frame_equal(check(texts, TABLES["weather"], "weather").valid, frame)


def test_rules_over_several_columns(clean: Any) -> None:
    frame = clean["flights"].copy()
    frame.loc[2, "dest"] = frame.loc[2, "origin"]
    frame.loc[4, "scheduled_arrival"] = frame.loc[4, "scheduled_departure"]
    refused = check(frame, TABLES["flights"], "flights").refused
    assert refused["reason"].tolist() == [
        "row fails destination_differs_from_origin",
        "row fails scheduled_to_last_30_to_900_minutes",
    ]


def test_the_whole_schema_refuses_what_only_several_rows_show(clean: Any) -> None:
    """What an ingest does batch by batch and then over all rows, pandera says of a whole frame."""
    good = clean["weather"]
    schema(TABLES["weather"]).validate(good)
    twice = pd.concat([good, good.iloc[[7]].assign(temp=99.0)], ignore_index=True)
    with pytest.raises(pandera.errors.SchemaErrors) as found:
        schema(TABLES["weather"]).validate(twice, lazy=True)
    assert set(found.value.failure_cases["index"]) == {40}
    backwards = clean["flights"].assign(dest=clean["flights"]["origin"])
    with pytest.raises(pandera.errors.SchemaErrors, match="destination_differs_from_origin"):
        schema(TABLES["flights"]).validate(backwards, lazy=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.drop(columns="humid"), "column 'humid' is missing; it has origin, temp"),
        (lambda f: f.rename(columns={"humid": "humidity"}), "column 'humid' is missing"),
        (lambda f: f.assign(extra=1), "column 'extra' is not declared"),
        (lambda f: pd.concat([f, f["temp"]], axis=1), "column 'temp' occurs twice"),
        (lambda f: f.assign(humid="moist"), r"column 'humid': coerce_dtype\('float64'\) failed with 'moist'"),
    ],
)
def test_a_table_that_is_wrong_as_a_whole_is_refused(clean: Any, change: Any, sentence: str) -> None:
    with pytest.raises(TableError, match=f"Table 'weather'.*{sentence}"):
        check(change(clean["weather"]), TABLES["weather"], "weather")


def test_an_empty_table_is_an_empty_table(clean: Any) -> None:
    found = check(clean["weather"].head(0), TABLES["weather"], "weather")
    assert len(found.valid) == len(found.refused) == 0 and "reason" in found.refused


def table(condition: str) -> Table:
    columns = {"a": Column(type="number"), "b": Column(type="string"), "t": Column(type="time", nullable=True)}
    return Table(source=Source(kind="csv", location="x"), key=["b"], columns=columns, rows={"rule": condition})


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("a >", "syntax error"),
        ("amount > 1", "amount"),
        ("1 = 1", "it names no column of the table"),
        ("a + 1", "it returns double; expected true or false"),
        ("count(a) > 1", "it returns something else; expected true or false for one row"),
        ("a > 1) AS x, (a", "it returns something else"),
        ("a IN (SELECT a FROM read_csv('/etc/passwd'))", "disabled"),
    ],
)
def test_a_condition_that_cannot_be_used_is_one_sentence(condition: str, why: str) -> None:
    with pytest.raises(ConditionError) as error:
        prove(table(condition), "sales")
    said = str(error.value)
    assert said.startswith(f"Table 'sales': the row condition rule: {condition} cannot be used: ")
    assert why in said and said.endswith("correct it in configs/tables/sales.yaml.") and "\n" not in said


def test_conditions_that_can_be_used_and_null_is_not_fulfilled() -> None:
    prove(table("a > 1 AND b LIKE 'x%' AND (t IS NULL OR t > TIMESTAMPTZ '2013-01-01 00:00:00+00')"), "sales")
    rows = pd.DataFrame({"a": [2.0, 0.0, 2.0], "b": ["x", "x", "y"], "t": pd.to_datetime([None] * 3, utc=True)})
    assert check(rows, table("a > 1"), "sales").refused["reason"].tolist() == ["row fails rule"]
    found = check(rows, table("t > TIMESTAMPTZ '2013-01-01 00:00:00+00'"), "sales")
    assert len(found.refused) == 3


def one(kind: str, values: Any, **more: Any) -> tuple[list[Any], list[str]]:
    """The valid values of one column, and the reasons of the others."""
    spec = Table(
        source=Source(kind="csv", location="x"),
        key=["id"],
        columns={"id": Column(type="integer"), "x": Column(type=kind, nullable=True, **more)},  # type: ignore[arg-type]
    )
    found = check(pd.DataFrame({"id": range(len(values)), "x": values}), spec, "t")
    return found.valid["x"].tolist(), found.refused["reason"].tolist()


def test_values_take_their_declared_type_or_are_refused() -> None:
    assert one("integer", ["1", 2, "3.0", 2.5, True, "9007199254740993", "1e30", "x"]) == (
        [1, 2, 3, 1, 9007199254740993],
        [
            "x = 2.5 fails coerce_dtype('int64')",
            "x = 1e30 fails coerce_dtype('int64')",
            "x = x fails coerce_dtype('int64')",
        ],
    )
    assert one("integer", pd.Series([2**53 + 1, None], dtype="Int64"))[0] == [2**53 + 1, pd.NA]
    assert one("number", ["1.5", Decimal("2.25"), 3, "x"]) == (
        [1.5, 2.25, 3.0],
        ["x = x fails coerce_dtype('float64')"],
    )
    assert one("boolean", [True, "f", "TRUE", 0, "maybe"]) == (
        [True, False, True, False],
        ["x = maybe fails coerce_dtype('bool')"],
    )
    assert one("string", [7, "007", 1.5, None]) == (["7", "007", "1.5", None], [])
    assert one("string", pd.Series([7.0, np.nan]))[0] == ["7", None]
    assert one("string", pd.Series(["a", "b"], dtype="category"))[0] == ["a", "b"]
    assert one("string", ["red", "blue"], choices=["red"]) == (["red"], ["x = blue fails isin(['red'])"])
    texts = ["2013-01-01T05:00:00+02:00", "2013-01-01", date(2013, 1, 2), 20130101, "soon"]
    times, reasons = one("time", texts)
    assert [str(time) for time in times] == [
        "2013-01-01 03:00:00+00:00",
        "2013-01-01 00:00:00+00:00",
        "2013-01-02 00:00:00+00:00",
    ]
    assert len(reasons) == 2  # a bare number could be days, seconds or a date
    assert one("time", pd.Series(pd.to_datetime(["2013-01-01T12:00"])))[0][0] == pd.Timestamp("2013-01-01T12:00Z")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=8), st.booleans())
def test_integers_survive_whatever_they_came_as(values: list[int | None], as_text: bool) -> None:
    came = [None if value is None else str(value) if as_text else value for value in values]
    valid, reasons = one("integer", pd.Series(came, dtype=object))
    assert [None if value is pd.NA else value for value in valid] == values and not reasons
