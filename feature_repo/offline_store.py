"""Feast offline store on Parquet with DuckDB's ASOF JOIN: point-in-time correct in event time and in known-at time.

Feast loads it by the class path in ``feature_store.yaml``. A feature row is visible at time *t* when its event
time and its known-at time (Feast's ``created_timestamp_column``) are both at or before *t*; of the visible rows the
one with the latest event time counts, the latest known among equals; it is null when older than the view's TTL.

One ASOF join has one inequality, so both times are first folded into one: sorted by ``greatest(event, known)``, only
rows that raise the running maximum of (event, known) can ever be the answer. What remains is a timeline per entity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage

__all__ = ["AsofOfflineStore", "AsofOfflineStoreConfig", "AsofRetrievalJob"]

_ROW = "__row"
_AT = "__at"


class AsofOfflineStoreConfig(FeastConfigBaseModel):
    """The ``offline_store:`` block. Relative source paths are below ``root``."""

    type: Literal["feature_repo.offline_store.AsofOfflineStore"] = "feature_repo.offline_store.AsofOfflineStore"
    root: str
    memory_limit: str = "4GB"


class AsofRetrievalJob(RetrievalJob):
    """A retrieval that runs when its result is asked for."""

    def __init__(
        self,
        run: Callable[[], pa.Table],
        on_demand_views: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        super().__init__()
        self._run = run
        self._on_demand_views = list(on_demand_views)
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._run().to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._run()

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        source = storage.to_data_source()
        if not isinstance(source, FileSource):
            raise ValueError(f"A training frame is saved to a Parquet file; got a {type(source).__name__}.")
        path = Path(source.path)
        if path.exists() and not allow_overwrite:
            raise FileExistsError(f"{path} exists already; pass allow_overwrite=True to replace it.")
        pq.write_table(self.to_arrow(), path)


class AsofOfflineStore(OfflineStore):
    """Reads :class:`FileSource` Parquet files; every method states its rule in terms of the module's docstring."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **_: Any,
    ) -> AsofRetrievalJob:
        """One row per row of ``entity_df``, in its order, with the columns of every feature view joined on."""
        if not isinstance(entity_df, pd.DataFrame):
            raise ValueError(f"Pass the request rows as a pandas DataFrame; got {type(entity_df).__name__}.")
        at = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        # microseconds, as in the Parquet files: DuckDB compares no two precisions
        rows: Any = entity_df.assign(**{at: pd.to_datetime(entity_df[at], utc=True).dt.as_unit("us")})
        columns = set(rows.columns)
        for view in feature_views:
            missing = sorted(set(_join_keys(view).values()) - columns)
            if missing:
                raise ValueError(
                    f"The request rows lack the join key '{missing[0]}' of feature view '{view.name}'; "
                    f"they have {sorted(columns)}."
                )

        def run() -> pa.Table:
            with _connect(config) as connection:
                requests = pa.Table.from_pandas(rows, preserve_index=False)
                keyed = requests.append_column(_ROW, pa.array(range(len(rows)), pa.int64()))
                connection.register("requests", keyed)
                result = requests
                for view in feature_views:
                    joined = _as_of_join(connection, config, view, feature_refs, at, full_feature_names)
                    for name in joined.column_names:
                        result = result.append_column(name, joined[name])
                return result

        return AsofRetrievalJob(
            run,
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names,
            RetrievalMetadata(
                features=feature_refs,
                keys=sorted(columns - {at}),
                min_event_timestamp=rows[at].min() if len(rows) else None,
                max_event_timestamp=rows[at].max() if len(rows) else None,
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> AsofRetrievalJob:
        """Each entity's value as known at ``end_date``, where that value became known after ``start_date``.

        So an incremental materialization brings late rows and corrections, and never an older value over a newer one.
        """
        known = created_timestamp_column or timestamp_field
        keys = ", ".join(map(_quote, join_key_columns)) or "1"
        columns = [*join_key_columns, *feature_name_columns, timestamp_field]
        columns += [created_timestamp_column] if created_timestamp_column else []

        def run() -> pa.Table:
            with _connect(config) as connection:
                at = f"greatest({_quote(timestamp_field)}, {_quote(known)})"
                return connection.execute(
                    f"""WITH visible AS (
                          SELECT {", ".join(map(_quote, columns))}, {at} AS {_AT}
                          FROM read_parquet(?) WHERE {at} <= ?
                        )
                        SELECT * EXCLUDE ({_AT}) FROM (
                          SELECT * FROM visible
                          QUALIFY row_number() OVER (PARTITION BY {keys}
                            ORDER BY {_quote(timestamp_field)} DESC, {_quote(known)} DESC) = 1
                        ) WHERE {_AT} > ?""",
                    [_path(config, data_source), _utc(end_date), _utc(start_date)],
                ).to_arrow_table()

        return AsofRetrievalJob(run)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> AsofRetrievalJob:
        """All rows with an event time in [start_date, end_date]."""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field]
        columns += [created_timestamp_column] if created_timestamp_column else []

        def run() -> pa.Table:
            with _connect(config) as connection:
                return connection.execute(
                    f"""SELECT {", ".join(map(_quote, columns))} FROM read_parquet(?)
                        WHERE {_quote(timestamp_field)} BETWEEN ? AND ?""",
                    [
                        _path(config, data_source),
                        _utc(start_date or datetime.min.replace(tzinfo=UTC)),
                        _utc(end_date or datetime.max.replace(tzinfo=UTC)),
                    ],
                ).to_arrow_table()

        return AsofRetrievalJob(run)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        raise NotImplementedError(
            f"Feature view '{feature_view.name}' is computed from its tables by `headrace run materialize`; "
            "rows cannot be pushed into its Parquet file."
        )

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        raise NotImplementedError("Served features are kept in the prediction log; see ray_cluster/serving.")

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Any FileSource will do: `apply` may come before the first Parquet file is written."""
        if not isinstance(data_source, FileSource):
            raise ValueError(f"Source '{data_source.name}' is a {type(data_source).__name__}; expected a FileSource.")

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        schema = pq.read_schema(_path(config, data_source))
        return [(field.name, str(field.type)) for field in schema]


def _as_of_join(
    connection: duckdb.DuckDBPyConnection,
    config: RepoConfig,
    view: FeatureView,
    feature_refs: list[str],
    at: str,
    full_feature_names: bool,
) -> pa.Table:
    """Columns of one view for every row of the relation ``requests``, in the order of its row number."""
    source = view.batch_source
    assert source is not None
    name = view.projection.name_to_use()  # type: ignore[no-untyped-call]
    features = [ref.split(":")[1] for ref in feature_refs if ref.split(":")[0] == name]
    event, known = source.timestamp_field, source.created_timestamp_column or source.timestamp_field
    keys = _join_keys(view)
    partition = ", ".join(_quote(column) for column in keys) or "1"
    order = f"{_AT}, {_quote(event)}, {_quote(known)}"
    expired = f"r.{_quote(at)} - v.{_quote(event)} > to_microseconds({_micros(view)})" if _micros(view) else "false"
    selected = ", ".join(
        f"CASE WHEN {expired} THEN NULL ELSE v.{_quote(feature)} END AS "
        + _quote(f"{view.projection.name_alias or view.name}__{feature}" if full_feature_names else feature)
        for feature in features
    )
    condition = " AND ".join(f"r.{_quote(request)} = v.{_quote(column)}" for column, request in keys.items()) or "true"
    wanted = ", ".join(map(_quote, dict.fromkeys([*keys, *features, event, known])))
    return connection.execute(
        f"""WITH history AS (
              SELECT {wanted}, greatest({_quote(event)}, {_quote(known)}) AS {_AT} FROM read_parquet(?)
              WHERE {_quote(event)} <= (SELECT max({_quote(at)}) FROM requests)
            ), timeline AS (
              SELECT * FROM history
              QUALIFY {_quote(event)} = max({_quote(event)}) OVER (PARTITION BY {partition} ORDER BY {order}
                                         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
                  AND row_number() OVER (PARTITION BY {partition}, {_AT}
                                         ORDER BY {_quote(event)} DESC, {_quote(known)} DESC) = 1
            )
            SELECT {selected} FROM requests r ASOF LEFT JOIN timeline v
            ON {condition} AND r.{_quote(at)} >= v.{_AT} ORDER BY r.{_ROW}""",
        [_path(config, source)],
    ).to_arrow_table()


def _join_keys(view: FeatureView) -> dict[str, str]:
    """Join keys of a view: its own column name → the name in the request rows."""
    mapped = view.projection.join_key_map
    return {column.name: mapped.get(column.name, column.name) for column in view.entity_columns}


def _micros(view: FeatureView) -> int:
    return int(view.ttl.total_seconds() * 1_000_000) if view.ttl else 0


def _connect(config: RepoConfig) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET memory_limit = '{config.offline_store.memory_limit}'")
    return connection


def _path(config: RepoConfig, source: DataSource) -> str:
    if not isinstance(source, FileSource):
        raise ValueError(f"Source '{source.name}' is a {type(source).__name__}; expected a FileSource.")
    path = Path(config.offline_store.root) / source.path
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run `headrace run materialize`, which computes it.")
    return str(path)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
