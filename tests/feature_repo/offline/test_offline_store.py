"""The store's other doors: pulls for materialization, types, join keys, and what it refuses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Float64, Int64, String
from hypothesis import HealthCheck, given, settings

from feature_repo.materialization.view_files import MissingDataError
from feature_repo.offline import join as latest_rows
from feature_repo.offline.offline_store import AsofOfflineStore, AsofOfflineStoreConfig, size
from tests.feature_repo.offline.histories import BASE, FEATURES, NANOS, Case, cases, config, registry

START = datetime(2024, 1, 1, tzinfo=UTC)


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


def write(folder: Path, rows: list[tuple[Any, ...]], key: pa.DataType = pa.string(), value: pa.DataType = pa.float64()):  # noqa: B008
    """A view ``v`` of (key, event, known, value), minutes after START."""
    moment = pa.timestamp("us", "UTC")
    pq.write_table(
        pa.table(
            {
                "key": pa.array([row[0] for row in rows], key),
                "event": pa.array([minute(row[1]) for row in rows], moment),
                "known": pa.array([minute(row[2]) for row in rows], moment),
                "value": pa.array([row[3] for row in rows], value),
            }
        ),
        folder / "v.parquet",
    )


def view(ttl: timedelta | None = None, key: Any = String, value: Any = Float64, **source: Any) -> FeatureView:
    kind = ValueType.STRING if key == String else ValueType.INT64
    return FeatureView(
        name="v",
        entities=[Entity(name="key", join_keys=["key"], value_type=kind)],
        ttl=ttl,
        schema=[Field(name="key", dtype=key), Field(name="value", dtype=value)],
        source=FileSource(
            **{"path": "v.parquet", "timestamp_field": "event", "created_timestamp_column": "known", **source}
        ),
    )


def retrieve(folder: Path, requests: pd.DataFrame, *views: FeatureView, full: bool = False) -> Any:
    refs = [f"{each.projection.name_to_use()}:value" for each in views or (view(),)]
    return AsofOfflineStore.get_historical_features(
        config(folder), list(views or (view(),)), refs, requests, registry(), "p", full
    )


def asked(*keys: Any, at: int = 10) -> pd.DataFrame:
    return pd.DataFrame({"key": list(keys), "event_timestamp": [minute(at)] * len(keys)})


def test_the_last_in_file_order_wins_a_tie_in_retrieval_and_in_materialization(tmp_path):
    write(tmp_path, [("a", 1, 1, 1.0), ("a", 1, 1, 3.0), ("a", 1, 1, 2.0)])
    assert retrieve(tmp_path, asked("a")).to_df()["value"].tolist() == [2.0]
    job = AsofOfflineStore.pull_latest_from_table_or_query(
        config(tmp_path), view().batch_source, ["key"], ["value"], "event", "known", minute(0), minute(9)
    )
    assert job.to_df()["value"].tolist() == [2.0]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases(views=1))
def test_incremental_materialization_ends_where_a_full_one_does(tmp_path_factory, case: Case):
    """Whatever arrives late: values brought in two steps are those that a retrieval sees at the end."""
    folder = tmp_path_factory.mktemp("store")
    (drawn,) = case.views
    source = drawn.write(folder).batch_source
    scale = (
        10**6
        if drawn.rows and any((row.event - NANOS) % 10**6 == 0 != row.event - NANOS for row in drawn.rows)
        else 1000
    )
    first, end = BASE + timedelta(microseconds=12 * scale // 1000), BASE + timedelta(microseconds=25 * scale // 1000)

    def pull(start: datetime, until: datetime) -> dict[Any, tuple[Any, ...]]:
        found = AsofOfflineStore.pull_latest_from_table_or_query(
            config(folder), source, list(drawn.keys), list(FEATURES), "event", "known", start, until
        ).to_arrow()
        keys = [tuple(row[key] for key in drawn.keys) for row in found.to_pylist()]
        assert len(set(keys)) == len(keys)
        return {key: tuple(row[name] for name in FEATURES) for key, row in zip(keys, found.to_pylist(), strict=True)}

    online = {**pull(BASE - timedelta(days=1), first), **pull(first, end)}
    at = NANOS + 25 * scale
    expected = {}
    for keys in {row.keys for row in drawn.rows}:
        row, _ = drawn.expected(dict(zip(drawn.keys.values(), keys, strict=True)), at)
        if row is not None:
            expected[keys] = row.values
    assert online == expected


def test_latest_in_many_batches_is_latest_in_one(tmp_path, monkeypatch):
    random = np.random.default_rng(7)
    rows = [
        (f"k{random.integers(40)}", int(e), int(e + random.integers(3)), float(n))
        for n, e in enumerate(random.integers(0, 99, 900))
    ]
    write(tmp_path, rows)

    def pull() -> list[dict[str, Any]]:
        job = AsofOfflineStore.pull_latest_from_table_or_query(
            config(tmp_path), view().batch_source, ["key"], ["value"], "event", "known", minute(-1), minute(80)
        )
        return sorted(job.to_arrow().to_pylist(), key=lambda row: row["key"])

    whole = pull()
    monkeypatch.setattr(latest_rows, "_BATCH", 10)
    assert pull() == whole and len(whole) == 40


def test_pull_all_is_by_event_time_with_both_ends(tmp_path):
    write(tmp_path, [("a", 1, 50, 1.0), ("a", 2, 2, 2.0), (None, 3, 3, 3.0), ("b", 4, 4, 4.0)])

    def pull(start: datetime | None, end: datetime | None) -> list[float]:
        job = AsofOfflineStore.pull_all_from_table_or_query(
            config(tmp_path), view().batch_source, ["key"], ["value"], "event", "known", start, end
        )
        return job.to_arrow()["value"].to_pylist()

    assert pull(minute(1), minute(3)) == [1.0, 2.0, 3.0]
    assert pull(None, None) == [1.0, 2.0, 3.0, 4.0]


def test_integers_and_booleans_with_nulls_stay_exact_in_pandas(tmp_path):
    write(tmp_path, [("a", 1, 1, 2**60 + 1), ("b", 1, 1, None)], value=pa.int64())
    frame = retrieve(tmp_path, asked("a", "b", "z"), view(value=Int64)).to_df()
    assert str(frame["value"].dtype) == "Int64"
    assert frame["value"].tolist()[0] == 2**60 + 1 and frame["value"].isna().tolist() == [False, True, True]


def test_one_view_joined_twice_under_two_keys(tmp_path):
    write(tmp_path, [("a", 1, 1, 1.0), ("b", 1, 1, 2.0)])
    requests = asked("a", "b").rename(columns={"key": "from"}).assign(to=["b", None])
    views = [
        view().with_name("start").with_join_key_map({"key": "from"}),
        view().with_name("end").with_join_key_map({"key": "to"}),
    ]
    frame = retrieve(tmp_path, requests, *views, full=True).to_df()
    assert frame["start__value"].tolist() == [1.0, 2.0]
    assert frame["end__value"].tolist()[0] == 2.0 and np.isnan(frame["end__value"].tolist()[1])


def test_a_mapped_column_is_read_under_its_own_name(tmp_path):
    write(tmp_path, [("a", 1, 1, 1.0)])
    table = pq.read_table(tmp_path / "v.parquet").rename_columns(["key", "event", "known", "raw"])
    pq.write_table(table, tmp_path / "v.parquet")
    frame = retrieve(tmp_path, asked("a"), view(field_mapping={"raw": "value"})).to_df()
    assert frame["value"].tolist() == [1.0]


def test_a_view_without_ttl_never_expires_and_one_with_expires_after_it(tmp_path):
    write(tmp_path, [("a", 0, 0, 1.0)])
    requests = pd.concat([asked("a", at=at) for at in (5, 6, 10**6)])
    for ttl, expected in ((timedelta(0), [1, 1, 1]), (None, [1, 1, 1]), (timedelta(minutes=5), [1, None, None])):
        found = retrieve(tmp_path, requests, view(ttl)).to_arrow()["value"].to_pylist()
        assert found == expected


def test_a_row_whose_time_is_unknown_is_never_seen(tmp_path):
    write(tmp_path, [("a", 1, 1, 1.0)])
    table = pq.read_table(tmp_path / "v.parquet")
    unknown = table.set_column(2, "known", pa.array([None], pa.timestamp("us", "UTC")))
    later = unknown.set_column(1, "event", pa.array([minute(2)], pa.timestamp("us", "UTC")))
    pq.write_table(pa.concat_tables([table, later]), tmp_path / "v.parquet")
    assert retrieve(tmp_path, asked("a")).to_df()["value"].tolist() == [1.0]


def test_files_with_naive_times_dates_or_small_integers_are_read(tmp_path):
    table = pa.table(
        {
            "key": pa.array([1, 2], pa.int16()),
            "event": pa.array([date(2023, 12, 31), date(2024, 1, 1)]),
            "known": pa.array([minute(0).replace(tzinfo=None)] * 2, pa.timestamp("ms")),
            "value": [1.0, 2.0],
        }
    )
    pq.write_table(table, tmp_path / "v.parquet")
    frame = retrieve(tmp_path, asked(1.0, 2, None, at=0), view(key=Int64)).to_df()
    assert frame["value"].tolist()[:2] == [1.0, 2.0]


def test_a_key_column_without_any_value_matches_nothing_whatever_its_type(tmp_path):
    write(tmp_path, [("a", 1, 1, 1.0), (None, 1, 1, 2.0)])
    for dtype in (object, float, "Int64", "string"):
        requests = asked("a", "b").assign(key=pd.Series([None, None], dtype=dtype))
        assert retrieve(tmp_path, requests).to_df()["value"].isna().all()


def test_no_request_rows_give_no_rows_with_all_columns(tmp_path):
    write(tmp_path, [("a", 1, 1, 1.0)])
    found = retrieve(tmp_path, asked("a").head(0)).to_arrow_with_times()
    assert found.num_rows == 0
    assert found.column_names == ["key", "event_timestamp", "value", "v__event_timestamp", "v__known_at"]


def test_only_row_groups_that_can_matter_are_read(tmp_path, monkeypatch):
    import polars as pl

    rows = [("a", number, number, float(number)) for number in range(1000)]
    write(tmp_path, rows)
    table = pq.read_table(tmp_path / "v.parquet")
    (tmp_path / "v").mkdir()
    for number in range(10):
        pq.write_table(table.slice(100 * number, 100), tmp_path / "v" / f"{number}.parquet")
    read: list[str] = []
    scan = pl.scan_parquet
    monkeypatch.setattr(pl, "scan_parquet", lambda files, **how: (read.extend(files), scan(files, **how))[1])
    frame = retrieve(tmp_path, asked("a", at=550), view(timedelta(minutes=60), path="v/*.parquet")).to_df()
    assert frame["value"].tolist() == [550.0]
    assert [Path(file).name for file in read] == ["4.parquet", "5.parquet"]


def test_a_result_is_saved_once_as_parquet(tmp_path):
    write(tmp_path, [("a", 1, 1, 1.0)])
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved" / "frame.parquet"))
    job = retrieve(tmp_path, asked("a"))
    job.persist(storage)
    assert pq.read_table(tmp_path / "saved" / "frame.parquet").equals(job.to_arrow())
    with pytest.raises(FileExistsError, match="allow_overwrite=True"):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        (None, "got none"),
        ("SELECT 1", "got a query"),
        (pd.DataFrame({"other": ["a"], "event_timestamp": [minute(1)]}), "have no join key 'key'"),
        (asked("a").assign(value=1.0), "a column 'value', which is also a feature of view 'v'"),
        (asked("a").assign(event_timestamp="noon"), "'event_timestamp' of the request rows is not a time"),
        (asked(1, 2), "has integers, but feature view 'v' has text"),
        (asked(1.5), "has Float64, but feature view 'v' has text"),
        (asked("a", 1), "mixes types"),
    ],
)
def test_requests_that_cannot_be_joined_are_refused_in_one_sentence(tmp_path, requests, says):
    write(tmp_path, [("a", 1, 1, 1.0)])
    with pytest.raises(ValueError, match=says) as caught:
        retrieve(tmp_path, requests).to_df()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["a"], "has text, but feature view 'v' has integers"),
        ([1.5], "has Float64"),
        ([2.0**60, None], "2\\*\\*53"),
    ],
)
def test_keys_that_no_integer_can_equal_are_refused(tmp_path, keys, says):
    write(tmp_path, [(1, 1, 1, 1.0)], key=pa.int64())
    with pytest.raises(ValueError, match=says):
        retrieve(tmp_path, asked(*keys), view(key=Int64)).to_df()


def test_a_missing_file_a_missing_column_and_a_time_that_is_none_are_named(tmp_path):
    with pytest.raises(MissingDataError, match="headrace run materialize"):
        retrieve(tmp_path, asked("a")).to_df()
    write(tmp_path, [("a", 1, 1, 1.0)])
    table = pq.read_table(tmp_path / "v.parquet")
    pq.write_table(table.drop_columns(["value"]), tmp_path / "v.parquet")
    with pytest.raises(ValueError, match="no column 'value' of feature view 'v'"):
        retrieve(tmp_path, asked("a")).to_df()
    pq.write_table(table.set_column(1, "event", pa.array([1.0])), tmp_path / "v.parquet")
    with pytest.raises(ValueError, match="Column 'event' of feature view 'v' has type Float64; expected a timestamp"):
        retrieve(tmp_path, asked("a")).to_df()


def test_times_beyond_nanoseconds_are_refused_not_wrapped(tmp_path):
    write(tmp_path, [("a", 1, 1, 1.0)])
    table = pq.read_table(tmp_path / "v.parquet")
    fine = table.set_column(1, "event", table["event"].cast(pa.timestamp("ns", "UTC")))
    pq.write_table(fine, tmp_path / "v.parquet")
    far = asked("a").assign(event_timestamp=pd.Series(np.array(["2500-01-01"], "datetime64[us]")))
    with pytest.raises(ValueError, match="Request time 2500-01-01T00:00:00\\.000000 cannot be compared"):
        retrieve(tmp_path, far).to_df()


@pytest.mark.parametrize(
    ("text", "bytes_"), [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("500mb", 5 * 10**8), ("7", 7)]
)
def test_sizes(text, bytes_):
    assert size(text) == bytes_


@pytest.mark.parametrize("text", ["", "0GB", "lots", "4 GBs", "-1GB"])
def test_a_memory_limit_that_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is not a size of memory"):
        AsofOfflineStoreConfig(root="x", memory_limit=text)
