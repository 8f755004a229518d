"""Feast's offline store on Parquet files, with point-in-time retrieval by :mod:`feature_repo.offline.join`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage
from pydantic import field_validator

from feature_repo.offline.entity_rows import EntityRows, RetrievalError
from feature_repo.offline.history import History
from feature_repo.offline.join import ViewJoin, join_views, latest, rows_between
from feature_repo.offline.retrieval_plan import (
    entity_rows_of,
    micros,
    planned,
    request_table,
    request_times,
    source_files,
)
from feature_repo.storage.files import replacing
from feature_repo.transforms.age import age_feature

__all__ = [
    "size",
    "AsofRetrievalJob",
    "AsofOfflineStore",
    "AsofOfflineStoreConfig",
]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def size(text: str) -> int:
    """Bytes of a size such as ``500MB``, ``4GB`` or ``1.5 GiB``.

    Raises:
        ValueError: it is not a size, or zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if not found or not float(found[1]) or found[2] not in _UNITS:
        raise ValueError(f"'{text}' is not a size of memory; expected one such as 500MB, 4GB or 1.5GiB.")
    return int(float(found[1]) * _UNITS[found[2]])


class AsofRetrievalJob(RetrievalJob):
    """``run`` computes the result; its argument says whether the times of the valid rows are requested."""

    def __init__(
        self,
        run: Callable[[bool], pa.Table],
        on_demand_views: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
        times: bool = False,
    ) -> None:
        super().__init__()
        self._run = run
        self._on_demand_views = list(on_demand_views)
        self._full_feature_names = full_feature_names
        self._metadata = metadata
        self._times = times

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def to_arrow_with_times(self) -> pa.Table:
        """:meth:`to_arrow` with ``<view>__event_timestamp`` and ``<view>__known_at`` of each view of the store.

        They are the times of the row valid at the request's time, also if it is older than the view's TTL and the
        features are null for that reason; null if there is no such row.
        """
        return self._with_times().to_arrow()

    def to_df_with_times(self) -> pd.DataFrame:
        """:meth:`to_df` with the columns of :meth:`to_arrow_with_times`."""
        return self._with_times().to_df()

    def to_df(self, validation_reference: Any = None, timeout: int | None = None) -> pd.DataFrame:
        """The result for pandas. A column of integers or booleans with nulls keeps its type: Int64, boolean."""
        return _frame(self.to_arrow(validation_reference=validation_reference, timeout=timeout))

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Save the result as a Parquet file."""
        source = storage.to_data_source()
        if not isinstance(source, FileSource):
            raise ValueError(f"A training frame is saved to a Parquet file; got a {type(source).__name__}.")
        path = Path(source.path)
        if path.exists() and not allow_overwrite:
            raise FileExistsError(f"{path} exists already; pass allow_overwrite=True to replace it.")
        result = self.to_arrow()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            pq.write_table(result, temporary)

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return _frame(self._run(self._times))

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._run(self._times)

    def _with_times(self) -> AsofRetrievalJob:
        return AsofRetrievalJob(self._run, self._on_demand_views, self._full_feature_names, self._metadata, times=True)


_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def _frame(table: pa.Table) -> pd.DataFrame:
    exact = [field.name for field in table.schema if field.type in _NULLABLE and table.column(field.name).null_count]
    if not exact:
        return table.to_pandas()
    kept = table.drop_columns(exact).to_pandas()
    for name in exact:
        kept[name] = table.column(name).to_pandas(types_mapper=_NULLABLE.get)
    return kept[table.column_names]


class AsofOfflineStoreConfig(FeastConfigBaseModel):
    """The ``offline_store:`` block. Paths of sources are relative to ``root``.

    ``memory_limit``: memory for joining, in addition to the request rows and the result; a larger view is joined part
    by part.
    """

    type: Literal["feature_repo.offline.offline_store.AsofOfflineStore"] = (
        "feature_repo.offline.offline_store.AsofOfflineStore"
    )
    root: str
    memory_limit: str = "4GB"

    @field_validator("memory_limit")
    @classmethod
    def _is_a_size(cls, value: str) -> str:
        size(value)
        return value


class AsofOfflineStore(OfflineStore):
    """Read :class:`FileSource` Parquet files."""

    supports_filter_by_created_timestamp = True  # always: no row is visible before it was known

    @staticmethod
    def joined(config: RepoConfig, joins: Sequence[ViewJoin], asked: EntityRows) -> list[pl.DataFrame]:
        """The columns of each view for every request row: subclasses run the same work on another engine."""
        return join_views(joins, asked, size(config.offline_store.memory_limit))

    @classmethod
    def get_historical_features(  # type: ignore[override]
        cls,
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **_: Any,
    ) -> AsofRetrievalJob:
        """One row per row of ``entity_df``, in its order, with the columns of every feature view joined on.

        Raises:
            RetrievalError: ``entity_df`` is not a DataFrame, has no join key or time, or a column named like a feature.
        """
        if not isinstance(entity_df, pd.DataFrame):
            what = "none" if entity_df is None else "a query"
            raise RetrievalError(
                f"Pass the request rows as a pandas DataFrame, one row per entity and time; got {what}. To read all "
                "rows of a view between two times, use `pull_all_from_table_or_query` or its Parquet files."
            )
        at = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        rows = entity_df.assign(**{at: request_times(entity_df[at])})
        plan = [planned(config, view, feature_refs, set(rows.columns), full_feature_names) for view in feature_views]

        def run(times: bool) -> pa.Table:
            requests = request_table(rows)
            joins = [each(times) for each in plan]
            asked = entity_rows_of(requests, at, sorted({key for join in joins for key in join.keys}))
            for columns in cls.joined(config, joins, asked):
                table = columns.to_arrow(compat_level=pl.CompatLevel.oldest())
                for name in table.column_names:
                    requests = requests.append_column(name, table[name])
            return requests

        return AsofRetrievalJob(
            run,
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names,
            RetrievalMetadata(
                features=feature_refs,
                keys=sorted({*rows.columns} - {at}),
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
        """Each entity's value as known at ``end_date``, if that value became known after ``start_date``.

        So an incremental materialization writes late rows and corrections, and never an older value over a newer one.
        The age of a row (:mod:`feature_repo.transforms.age`) is not stored: its column is null.
        """
        stored = _stored(data_source, feature_name_columns)
        columns = _columns(join_key_columns, stored, timestamp_field, created_timestamp_column)

        def run(_: bool) -> pa.Table:
            history = History(
                data_source.name,
                source_files(config, data_source),
                tuple(join_key_columns),
                tuple(stored),
                timestamp_field,
                created_timestamp_column or timestamp_field,
            )
            found = latest(history, columns, micros(start_date), micros(end_date))
            return _pulled(found, join_key_columns, feature_name_columns)

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
        """All rows with an event time in [start_date, end_date]; the column of an age is null."""
        stored = _stored(data_source, feature_name_columns)
        columns = _columns(join_key_columns, stored, timestamp_field, created_timestamp_column)

        def run(_: bool) -> pa.Table:
            history = History(
                data_source.name, source_files(config, data_source), (), (), timestamp_field, timestamp_field
            )
            start, end = (None if moment is None else micros(moment) for moment in (start_date, end_date))
            return _pulled(rows_between(history, columns, start, end), join_key_columns, feature_name_columns)

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
        raise NotImplementedError("Served features are stored in the prediction log; see ray_cluster/serving.")

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Accept any FileSource: `apply` may run before the first Parquet file is written."""
        if not isinstance(data_source, FileSource):
            raise RetrievalError(
                f"Source '{data_source.name}' is a {type(data_source).__name__}; expected a FileSource."
            )

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        schema = pq.read_schema(source_files(config, data_source)[0])
        return [(field.name, str(field.type)) for field in schema]


def _stored(source: DataSource, features: Sequence[str]) -> list[str]:
    """The features without the age of the view, which has the name of its source."""
    return [feature for feature in features if feature != age_feature(source.name)]


def _pulled(rows: pl.DataFrame, join_keys: Sequence[str], features: Sequence[str]) -> pa.Table:
    """Join keys for materialization; a view without entities has Feast's placeholder key."""
    if not join_keys:
        rows = rows.with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID))
    rows = rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in features if name not in rows.columns)
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def _columns(keys: Sequence[str], features: Sequence[str], event: str, known: str | None) -> list[str]:
    return list(dict.fromkeys([*keys, *features, event, *([known] if known else [])]))
