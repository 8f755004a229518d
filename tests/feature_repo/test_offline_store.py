"""The offline store against a reference that looks at every row, over random histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.offline_store import AsofOfflineStore

START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = ["a", "b", "c"]


def minute(number: int) -> pd.Timestamp:
    return pd.Timestamp(START + timedelta(minutes=number))


def config(root) -> SimpleNamespace:
    return SimpleNamespace(offline_store=SimpleNamespace(root=str(root), memory_limit="500MB"))


def view(ttl: timedelta) -> FeatureView:
    found = FeatureView(
        name="v",
        entities=[Entity(name="key", join_keys=["key"], value_type=ValueType.STRING)],
        ttl=ttl,
        schema=[Field(name="key", dtype=String), Field(name="value", dtype=Float64)],
        source=FileSource(path="v.parquet", timestamp_field="event", created_timestamp_column="known"),
    )
    return found


def reference(history: pd.DataFrame, key: str | None, at: pd.Timestamp, ttl: timedelta) -> float | None:
    """The rule, read literally: visible rows, latest event, then latest known; null when older than the TTL."""
    rows = history[(history["key"] == key) & (history["event"] <= at) & (history["known"] <= at)]
    if rows.empty:
        return None
    row = rows.sort_values(["event", "known"]).iloc[-1]
    return None if ttl and at - row["event"] > ttl else row["value"]


def written(history: list[tuple[str, int, int]], folder: Path) -> pd.DataFrame:
    """The drawn history as a frame, also written where the store reads it."""
    frame = pd.DataFrame(
        [(key, minute(event), minute(event + lag), float(n)) for n, (key, event, lag) in enumerate(history)],
        columns=["key", "event", "known", "value"],
    ).astype({"key": object, "event": "datetime64[us, UTC]", "known": "datetime64[us, UTC]", "value": float})
    frame.to_parquet(folder / "v.parquet")
    return frame


# distinct (event, known) pairs per key: with an exact tie the rule names no row
histories = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 40), st.integers(0, 60)), max_size=40, unique=True)
requests = st.lists(
    st.tuples(st.sampled_from([*KEYS, "never seen", None]), st.integers(0, 110)), min_size=1, max_size=25
)


@settings(max_examples=120, deadline=None)
@given(history=histories, asked=requests, ttl=st.sampled_from([0, 5, 30]))
def test_equals_the_rule_read_literally(tmp_path_factory, history, asked, ttl):
    folder = tmp_path_factory.mktemp("store")
    frame = written(history, folder)
    rows = pd.DataFrame([(key, minute(at)) for key, at in asked], columns=["key", "event_timestamp"])
    rows["key"] = rows["key"].astype(object)
    age = timedelta(minutes=ttl)
    registry = SimpleNamespace(list_on_demand_feature_views=lambda *_, **__: [])
    job = AsofOfflineStore.get_historical_features(config(folder), [view(age)], ["v:value"], rows, registry, "p")
    found = job._to_arrow_internal().to_pandas()
    assert len(found) == len(rows)
    assert found["event_timestamp"].tolist() == rows["event_timestamp"].tolist()
    expected = [reference(frame, key, minute(at), age) for key, at in asked]
    assert [None if pd.isna(value) else value for value in found["value"]] == expected


@settings(max_examples=80, deadline=None)
@given(history=histories, first=st.integers(0, 100), later=st.integers(0, 40))
def test_incremental_materialization_ends_where_a_full_one_does(tmp_path_factory, history, first, later):
    """Whatever arrives late: values brought in two steps are those known at the end."""
    folder = tmp_path_factory.mktemp("store")
    frame = written(history, folder)

    def pull(start: int, end: int) -> dict[str, float]:
        job = AsofOfflineStore.pull_latest_from_table_or_query(
            config(folder),
            view(timedelta(0)).batch_source,
            ["key"],
            ["value"],
            "event",
            "known",
            minute(start),
            minute(end),
        )
        found = job._to_arrow_internal().to_pandas()
        return dict(zip(found["key"], found["value"], strict=True))

    end = first + later
    online = {**pull(-1, first), **pull(first, end)}
    expected = {key: reference(frame, key, minute(end), timedelta(0)) for key in KEYS}
    assert online == {key: value for key, value in expected.items() if value is not None}


def test_a_missing_file_says_how_to_make_it(tmp_path):
    rows = pd.DataFrame({"key": ["a"], "event_timestamp": [minute(1)]})
    registry = SimpleNamespace(list_on_demand_feature_views=lambda *_, **__: [])
    job = AsofOfflineStore.get_historical_features(
        config(tmp_path), [view(timedelta(0))], ["v:value"], rows, registry, "p"
    )
    with pytest.raises(FileNotFoundError, match="headrace run materialize"):
        job._to_arrow_internal()


def test_a_missing_join_key_is_named(tmp_path):
    rows = pd.DataFrame({"other": ["a"], "event_timestamp": [minute(1)]})
    with pytest.raises(ValueError, match="lack the join key 'key'"):
        AsofOfflineStore.get_historical_features(config(tmp_path), [view(timedelta(0))], ["v:value"], rows, None, "p")
