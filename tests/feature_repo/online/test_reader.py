"""What the endpoint reads: every kind of feature, expiry, on-demand code, and the shape of the frames."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float64

from feature_repo import features
from feature_repo.frames.training_frame import model_inputs
from feature_repo.online.layout import LayoutError, ViewLayout, layouts
from feature_repo.online.reader import OnlineReader
from feature_repo.online.sqlite_values import SqliteValues
from tests.feature_repo.online.drawn import START, shop_rows, visit_rows

SHOPS = ["a", "b", "c|d", "#1", "ü"]
VISITS = [("a", 1), ("a", -2), ("b", 2**60), ("ü", 1)]


def table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.fixture
def stored(environment, values):
    """The two views' rows as they were written, by key."""
    held = layouts(environment)
    shops, visits = shop_rows(1, SHOPS), visit_rows(2, VISITS)
    values.write(held["shops"], table(shops))
    values.write(held["visits"], table(visits))
    values.set_known_until(held["shops"], START + timedelta(hours=4))
    return shops.set_index("shop"), visits.set_index(["shop", "customer"])


def asked(random: np.random.Generator, count: int) -> pd.DataFrame:
    shops = random.choice(np.array([*SHOPS, "nobody", None], object), count)
    customers = random.choice(np.array([1, -2, 2**60, 7, None], object), count)
    rows = pd.DataFrame({"shop": shops, "customer": customers}, index=range(5, 5 + count)).astype(object)
    return rows.assign(price=random.random(count).astype(object), items=random.integers(1, 9, count).astype(object))


@pytest.mark.parametrize("count", [1, 2, 40])
def test_every_row_is_what_was_written(environment, values, stored, count):
    """Against a reference that looks up each row, feature by feature."""
    shops, visits = stored
    reader = OnlineReader(environment, "everything", values)
    random = np.random.default_rng(count)
    for _ in range(10):
        rows = asked(random, count)
        microseconds = random.integers(0, 500 * 60_000_000, count)
        as_of = pd.Series([START + timedelta(microseconds=int(each)) for each in microseconds], rows.index)
        found = reader.read(rows, as_of)
        for place, (at, row) in enumerate(rows.iterrows()):
            got = {**found.features.iloc[place].to_dict()}
            shop = shops.loc[row["shop"]] if row["shop"] in shops.index else None
            expired = shop is not None and as_of[at] - shop["event_timestamp"] > timedelta(hours=2)
            assert found.expired.loc[at, "shops"] == expired
            assert not found.expired.loc[at, "visits"]
            for name in ("size", "city", "open", "staff", "rate", "since"):
                expected = None if shop is None or expired or pd.isna(shop[name]) else shop[name]
                assert (pd.isna(got[name]) and expected is None) or got[name] == expected, (name, got[name], expected)
            key = (row["shop"], row["customer"])
            visit = visits.loc[key] if key in visits.index else None
            seen = {"shops": shop, "visits": visit}
            for view, value in seen.items():
                hours = np.nan
                if value is not None and not (view == "shops" and expired):
                    late = max(as_of[at] - value["event_timestamp"], timedelta(0))  # ahead of the request: 0
                    hours = float(Fraction(late // timedelta(microseconds=1), 3_600_000_000))
                assert got[f"{view}_age_hours"] == hours or np.isnan([got[f"{view}_age_hours"], hours]).all()
                moment = found.event_times.loc[at, view]
                assert (value is None and moment is pd.NaT) or moment == value["event_timestamp"]
            assert (visit is None and np.isnan(got["count"])) or got["count"] == visit["count"]
            assert got["share"] == row["price"] / visit["spent"] if visit is not None else np.isnan(got["share"])
            assert got["label"] == (visit["mood"] if visit is not None and visit["mood"] else "?") + "!"
            assert got["large"] == float(row["items"] > 3)
            assert got["unit_price"] == row["price"] / row["items"]
        assert found.known_until == {"shops": START + timedelta(hours=4), "visits": None}


def test_columns_and_types(environment, values, stored):
    reader = OnlineReader(environment, "everything", values)
    assert reader.entities == ["shop", "customer"]
    assert reader.request_fields == ["price", "items"]
    assert reader.view_keys == {"shops": ["shop"], "visits": ["customer", "shop"]}
    assert reader.view_features["visits"] == ["visits_age_hours", "spent", "mood", "count"]
    assert reader.ttls == {"shops": 7200.0, "visits": 0.0}
    rows = asked(np.random.default_rng(0), 3)
    found = reader.read(rows, pd.Series(pd.to_datetime([START] * 3, utc=True), rows.index))
    assert list(found.features) == reader.features
    assert reader.features == [
        *("size", "city", "open", "staff", "since", "rate", "shops_age_hours"),
        *("visits_age_hours", "spent", "mood", "count"),
        *("share", "label", "large", "unit_price", "whole"),
    ]
    texts = {"city", "mood", "label"}
    for name, dtype in found.features.dtypes.items():
        assert str(dtype) == {"since": "datetime64[us, UTC]"}.get(name, "object" if name in texts else "float64")
    assert list(found.event_times.dtypes.astype(str)) == ["datetime64[ns, UTC]"] * 2
    assert list(found.expired.dtypes) == [bool, bool]
    for frame in (found.features, found.event_times, found.expired):
        assert frame.index.equals(rows.index)
    found.features.loc[[True, False, False], "size"] = 9.0  # frames can be changed like any other
    assert found.features["size"].iloc[0] == 9.0
    numbers = found.features.drop(columns="since")
    assert model_inputs(numbers).equals(numbers)
    empty = reader.read(rows.iloc[:0], pd.Series([], dtype="datetime64[ns, UTC]"))
    assert list(empty.features) == reader.features and len(empty.features) == 0


def test_features_that_only_on_demand_code_reads(environment, values, stored):
    reader = OnlineReader(environment, "without_visits", values)
    assert reader.features == ["staff", "city", "share"]
    assert list(reader.view_keys) == ["shops"]
    assert reader.entities == ["shop", "customer"]
    rows = pd.DataFrame({"shop": ["a"], "customer": [1], "price": [1.0], "items": [1]})
    found = reader.read(rows, pd.Series([START + timedelta(minutes=1)]))
    assert found.features["share"][0] == 1.0 / stored[1].loc[("a", 1), "spent"]
    assert list(found.event_times) == list(found.expired) == list(found.known_until) == ["shops"]


@pytest.mark.parametrize("number", [0.0, 1e-200, 1e39, -np.inf])
def test_a_number_that_is_infinite_in_float32_is_null_in_its_row_only(environment, values, stored, number):
    """A stored one, and the ``share`` that on-demand code computes by dividing by it."""
    visits = stored[1].reset_index()
    visits.loc[0, "spent"] = number
    values.write(layouts(environment)["visits"], table(visits))
    keys = pd.DataFrame(VISITS[:2], columns=["shop", "customer"], dtype=object)
    rows = keys.assign(price=2.0, items=1)
    found = OnlineReader(environment, "everything", values).read(rows, pd.Series([START] * 2)).features
    large = abs(number) > 1
    assert found["spent"].isna().tolist() == [large, False] and found["share"].isna().tolist() == [not large, False]
    assert found["share"][1] == 2.0 / found["spent"][1]


def test_as_of_in_any_form(environment, values, stored):
    reader = OnlineReader(environment, "without_visits", values)
    rows = pd.DataFrame({"shop": ["a"], "customer": [1], "price": [1.0], "items": [1]})
    late = stored[0].loc["a", "event_timestamp"].to_pydatetime() + timedelta(hours=2)
    for moment, expired in ((late, False), (late + timedelta(microseconds=1), True)):
        forms = [
            pd.Series([moment]),
            pd.Series([moment], dtype=object),
            pd.Series([moment.replace(tzinfo=None)]),
            pd.Series([pd.Timestamp(moment).tz_convert("Asia/Tokyo")]),
            pd.Series([moment]).astype("datetime64[us, UTC]"),
        ]
        for as_of in forms:
            assert reader.read(rows, as_of).expired.loc[0, "shops"] == expired, as_of
    assert not reader.read(rows, pd.Series([pd.NaT], dtype="datetime64[ns, UTC]")).expired.loc[0, "shops"]


def test_values_written_before_the_view_changed(environment, values, stored):
    """A feature that is gone or changed its kind is null, the others are read: no value is ever taken for another."""
    before = ViewLayout("headrace", "shops", ("shop",), (("old", "number"), ("city", "string"), ("staff", "number")), 0)
    frame = shop_rows(3, ["new shop"])[["shop", "event_timestamp", "known_at"]].assign(old=1.0, city="Bern", staff=3.0)
    values.write(before, table(frame))
    reader = OnlineReader(environment, "everything", values)
    rows = pd.DataFrame({"shop": ["new shop", "a"], "customer": [1, 1], "price": [1.0] * 2, "items": [1] * 2})
    found = reader.read(rows, pd.Series([START] * 2))
    assert found.features["city"][0] == "Bern"
    assert found.features.loc[0, ["size", "staff", "open", "rate"]].isna().all()
    assert found.event_times.loc[0, "shops"] == frame["event_timestamp"][0]
    expected = stored[0].loc["a", "size"]
    assert found.features["size"][1] == expected or pd.isna(expected)
    unknown = values.written_layouts(before)
    assert len(unknown) == 2


def test_threads_read_what_one_would(environment, values, stored):
    reader = OnlineReader(environment, "everything", values)
    rows = asked(np.random.default_rng(9), 30)
    as_of = pd.Series([START] * 30, rows.index)
    alone, wrong = reader.read(rows, as_of).features, []

    def reads():
        for _ in range(20):
            if not reader.read(rows, as_of).features.equals(alone):
                wrong.append(1)

    threads = [threading.Thread(target=reads) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_was_ever_brought_online(environment):
    reader = OnlineReader(environment, "flight_risk")
    at = pd.Series(pd.to_datetime(["2013-07-01T12:00Z"]))
    rows = pd.DataFrame({"carrier": ["UA"], "origin": ["EWR"], "dest": [None], "tailnum": [float("nan")]})
    found = reader.read(rows.assign(scheduled_departure=at, scheduled_arrival=at + pd.Timedelta("2h")), at)
    assert found.features["hour_of_day"][0] == 8.0 and found.features["scheduled_minutes"][0] == 120.0
    assert found.event_times.isna().all(axis=None) and not found.expired.any(axis=None)
    assert set(found.known_until.values()) == {None}
    texts = ["plane_manufacturer", "plane_engine"]
    assert found.features[texts].to_dict("records") == [dict.fromkeys(texts)]
    assert isinstance(reader._values, SqliteValues) and (environment.home / "online.db").exists()


def test_an_unknown_service_is_named(environment):
    with pytest.raises(LookupError, match=r"no feature service 'flight_rsik'.*flight_risk"):
        OnlineReader(environment, "flight_rsik")


def view(name: str, **schema) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[Entity(name="k", join_keys=["k"], value_type=ValueType.STRING)],
        schema=[Field(name=feature, dtype=dtype) for feature, dtype in schema.items()],
        source=FileSource(path="x.parquet", timestamp_field="event_timestamp"),
    )


def test_types_that_cannot_be_held_are_refused(environment, monkeypatch):
    monkeypatch.setattr(features, "drawn_array", view("lists", many=Array(Float64)), raising=False)
    monkeypatch.setattr(
        features, "drawn_k", Entity(name="k", join_keys=["k"], value_type=ValueType.STRING), raising=False
    )
    with pytest.raises(
        LayoutError, match=r"Feature 'many' of view 'lists' has the type Array\(Float64\), which the online"
    ):
        layouts(environment)


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (lambda one, two: [one.with_name("other")], "uses view 'one' under another name"),
        (
            lambda one, two: [one.with_join_key_map({"k": "j"})],
            "uses view 'one' under another name or with other join keys",
        ),
        (lambda one, two: [one, two], "has a from more than one view"),
    ],
)
def test_services_that_cannot_be_read_are_refused(environment, monkeypatch, taken, said):
    one, two = view("one", a=Float64), view("two", a=Float64)
    names = {
        "drawn_k": Entity(name="k", join_keys=["k"], value_type=ValueType.STRING),
        "drawn_one": one,
        "drawn_two": two,
    }
    for name, definition in {**names, "drawn_bad": FeatureService(name="bad", features=taken(one, two))}.items():
        monkeypatch.setattr(features, name, definition, raising=False)
    with pytest.raises(LayoutError, match=said):
        OnlineReader(environment, "bad")


def test_layouts_are_kept_and_read_again(environment):
    first = layouts(environment)
    assert (environment.home / "features" / "layouts.json").exists()
    assert layouts(environment) == first
    assert first["route_stats"].join_keys == ("dest", "origin")
    assert first["weather"].ttl == timedelta(hours=6).total_seconds()
    assert first["weather"].project == "headrace"
    assert first["plane_attributes"].features[-1] == ("plane_engine", "string")
    assert datetime.now(UTC) > START
