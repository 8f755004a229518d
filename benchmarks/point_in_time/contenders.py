"""The same join by each contender: ``prepare`` opens what may be open beforehand and returns the join to be timed.

Each reads the request rows from a pandas frame and the features from Parquet, and ends with an Arrow table of one row
per request, in order (stock Feast: in whatever order it gives).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.point_in_time.workloads import Workload

__all__ = ["CONTENDERS"]

Join = Callable[[], pa.Table]


def _requests(workload: Workload) -> pd.DataFrame:
    return pq.read_table(workload.requests).to_pandas()


def duckdb_by_hand(workload: Workload) -> Join:
    """ASOF JOIN after folding event and known-at time into one timeline, where rows are late at all."""
    import duckdb

    frame = _requests(workload)

    def join() -> pa.Table:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        requests = pa.Table.from_pandas(frame, preserve_index=False)
        connection.register("requests", requests.append_column("place", pa.array(range(len(frame)), pa.int64())))
        result = requests
        for view in workload.views:
            keys = ", ".join(view.keys)
            alive = f"r.event_timestamp - v.event <= to_microseconds({view.ttl})" if view.ttl else "true"
            values = ", ".join(f"CASE WHEN {alive} THEN v.{name} END AS {name}" for name in view.features)
            files = ", ".join(f"'{file}'" for file in view.files)
            read = f"read_parquet([{files}], hive_partitioning=false)"
            (late,) = connection.execute(f"SELECT bool_or(known_at > event_timestamp) FROM {read}").fetchone() or (1,)
            fold = f"""QUALIFY event = max(event) OVER (PARTITION BY {keys} ORDER BY moment, event, known_at
                                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
                       AND row_number() OVER (PARTITION BY {keys}, moment ORDER BY event DESC, known_at DESC) = 1"""
            joined = connection.execute(
                f"""WITH history AS (
                      SELECT *, event_timestamp AS event, greatest(event_timestamp, known_at) AS moment FROM {read}
                      WHERE event_timestamp <= (SELECT max(event_timestamp) FROM requests)
                    ), timeline AS (SELECT * FROM history {fold if late else ""})
                    SELECT {values} FROM requests r ASOF LEFT JOIN timeline v
                    ON {" AND ".join(f"r.{key} = v.{key}" for key in view.keys)} AND r.event_timestamp >= v.moment
                    ORDER BY r.place"""
            ).to_arrow_table()
            for name in view.features:
                result = result.append_column(name, joined[name])
        return result

    return join


def polars_by_hand(workload: Workload) -> Join:
    """join_asof after the same folding, only where rows are late."""
    frame = _requests(workload)

    def join() -> pa.Table:
        asked = pl.from_pandas(frame)
        requests = asked.with_row_index("place").sort("event_timestamp")
        last = requests["event_timestamp"].max()
        results = [asked]
        for view in workload.views:
            history = (
                pl.scan_parquet(view.files, hive_partitioning=False)
                .select(*view.keys, "event_timestamp", "known_at", *view.features)
                .filter(pl.col("event_timestamp") <= last)
                .rename({"event_timestamp": "event"})
                .with_columns(pl.max_horizontal("event", "known_at").alias("at"))
                .collect()
            )
            if (history["known_at"] > history["event"]).any():
                history = history.sort("at", "event", "known_at").filter(
                    pl.col("event") == pl.col("event").cum_max().over(view.keys)
                )
            joined = (
                requests.lazy()
                .select("place", "event_timestamp", *view.keys)
                .join_asof(
                    history.lazy(), left_on="event_timestamp", right_on="at", by=view.keys, check_sortedness=False
                )
            )
            if view.ttl:
                alive = pl.col("event_timestamp") - pl.col("event") <= pl.duration(microseconds=view.ttl)
                joined = joined.with_columns(pl.when(alive).then(pl.col(name)).alias(name) for name in view.features)
            results.append(joined.sort("place").select(view.features).collect())
        return pl.concat(results, how="horizontal").to_arrow(compat_level=pl.CompatLevel.oldest())

    return join


def headrace(workload: Workload) -> Join:
    """Headrace's store through Feast's API."""
    return _feast(workload, {"type": "feature_repo.offline.offline_store.AsofOfflineStore"})


def headrace_limited(workload: Workload) -> Join:
    """The same with 250 MB for a join."""
    kind = "feature_repo.offline.offline_store.AsofOfflineStore"
    return _feast(workload, {"type": kind, "memory_limit": "250MB"})


def headrace_on_ray(workload: Workload) -> Join:
    """Headrace's Ray engine through Feast's API, on a cluster of this machine that runs already."""
    import ray

    ray.init(include_dashboard=False, log_to_driver=False, object_store_memory=3 * 10**9)
    kind = {"type": "ray_cluster.cluster.ray_offline_store.RayAsofOfflineStore", "parallelism": 2}
    return _feast(workload, kind)


def feast_dask(workload: Workload) -> Join:
    """Feast's default store."""
    return _feast(workload, {"type": "dask"}, stock=True)


def feast_duckdb(workload: Workload) -> Join:
    """Feast's DuckDB store."""
    return _feast(workload, {"type": "duckdb"}, stock=True)


def _feast(workload: Workload, offline_store: dict[str, Any], stock: bool = False) -> Join:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Bool, Float64, Int64, String

    types = {pl.String: String, pl.Int64: Int64, pl.Float64: Float64, pl.Boolean: Bool}
    folder = Path(tempfile.mkdtemp())
    if not stock:
        offline_store = {"root": str(folder), **offline_store}
    frame = _requests(workload)
    store = FeatureStore(
        config=RepoConfig(
            project="benchmark",
            registry=str(folder / "registry.db"),
            provider="local",
            offline_store=offline_store,
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    entities: dict[str, Entity] = {}
    views = []
    for view in workload.views:
        schema = pl.read_parquet_schema(view.single)
        for key in view.keys:
            kind = ValueType.STRING if schema[key] == pl.String else ValueType.INT64
            entities[key] = Entity(name=key, join_keys=[key], value_type=kind)
        (folder / view.name).mkdir()
        for number, file in enumerate(view.files):
            (folder / view.name / f"{number:05}.parquet").symlink_to(file)
        views.append(
            FeatureView(
                name=view.name,
                entities=[entities[key] for key in view.keys],
                ttl=timedelta(microseconds=view.ttl),
                schema=[Field(name=name, dtype=types[type(schema[name])]) for name in [*view.keys, *view.features]],
                source=FileSource(
                    name=view.name,
                    path=view.single if stock else f"{view.name}/*.parquet",
                    timestamp_field="event_timestamp",
                    created_timestamp_column="known_at",
                ),
            )
        )
    store.apply([*entities.values(), *views])
    features = [f"{view.name}:{name}" for view in workload.views for name in view.features]

    def join() -> pa.Table:
        return store.get_historical_features(frame, features).to_arrow()

    return join


CONTENDERS = {
    "Headrace": headrace,
    "Headrace, memory_limit 250MB": headrace_limited,
    "Headrace on Ray": headrace_on_ray,
    "polars join_asof by hand": polars_by_hand,
    "DuckDB ASOF JOIN by hand": duckdb_by_hand,
    "Feast, duckdb store": feast_duckdb,
    "Feast, dask store (its default)": feast_dask,
}
