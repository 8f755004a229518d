"""Plan a retrieval from Feast's objects and the request rows: columns, files and times, checked in advance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from feature_repo.materialization.view_files import MissingDataError, view_files
from feature_repo.offline.entity_rows import EntityRows, RetrievalError
from feature_repo.offline.history import History
from feature_repo.offline.join import ViewJoin
from feature_repo.transforms.age import age_feature

__all__ = ["entity_rows_of", "micros", "planned", "request_table", "request_times", "source_files"]


def planned(
    config: RepoConfig, view: FeatureView, feature_refs: list[str], taken: set[str], full_feature_names: bool
) -> Callable[[bool], ViewJoin]:
    """The join of one view, checked now; its files are listed when it runs."""
    source = view.batch_source
    if source is None:
        raise RetrievalError(f"Feature view '{view.name}' has no source to read from.")
    name = view.projection.name_to_use()  # type: ignore[no-untyped-call]
    prefix = view.projection.name_alias or view.name
    features = [ref.split(":")[1] for ref in feature_refs if ref.split(":")[0] == name]
    outputs = [f"{prefix}__{feature}" if full_feature_names else feature for feature in features]
    mapped = view.projection.join_key_map
    keys = {
        column.name: mapped.get(column.name, column.name)
        for column in view.entity_columns
        if column.name != DUMMY_ENTITY_ID
    }
    if missing := sorted(set(keys.values()) - taken):
        raise RetrievalError(
            f"The request rows have no join key '{missing[0]}' of feature view '{view.name}'; "
            f"they have {sorted(taken)}."
        )
    if clash := sorted(taken & set(outputs)):
        raise RetrievalError(
            f"The request rows have a column '{clash[0]}', which is also a feature of view '{view.name}'; rename it, "
            "or pass full_feature_names=True."
        )
    stored = {feature: column for column, feature in source.field_mapping.items()}
    age = age_feature(view.name)
    shown = dict(zip(features, outputs, strict=True))

    def join(times: bool) -> ViewJoin:
        history = History(
            view.name,
            source_files(config, source),
            tuple(stored.get(key, key) for key in keys),
            tuple(stored.get(feature, feature) for feature in features if feature != age),
            source.timestamp_field,
            source.created_timestamp_column or source.timestamp_field,
            (view.ttl // timedelta(microseconds=1)) if view.ttl else 0,
        )
        named = (f"{prefix}__event_timestamp", f"{prefix}__known_at") if times else None
        return ViewJoin(history, tuple(keys.values()), tuple(outputs), named, shown.get(age))

    return join


def request_times(column: pd.Series) -> pd.Series:
    """Request times in UTC, in their original unit."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "M":
        return column.dt.tz_localize("UTC")
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC")
    try:
        return pd.to_datetime(column, utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise RetrievalError(f"Column '{column.name}' of the request rows is not a time ({error}).") from None


def request_table(rows: pd.DataFrame) -> pa.Table:
    """The request rows as an Arrow table."""
    try:
        return pa.Table.from_pandas(rows, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RetrievalError(
            f"A column of the request rows mixes types; give it one: {', '.join(error.args)}."
        ) from None


def entity_rows_of(requests: pa.Table, at: str, keys: list[str]) -> EntityRows:
    """Keys and times of the request rows; ``at``: the column of the times."""
    times = requests[at].combine_chunks()
    unit = times.type.unit
    if unit in ("s", "ms"):
        times = times.cast(pa.timestamp("us", "UTC"))
    numbers = pc.fill_null(times.cast(pa.int64()), np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
    columns = pl.from_arrow(requests.select(keys))
    assert isinstance(columns, pl.DataFrame)
    return EntityRows(columns, numbers, "ns" if unit == "ns" else "us")


def source_files(config: RepoConfig, source: DataSource) -> tuple[str, ...]:
    """The Parquet files of a source: the name of a view, or a path below the root (file, folder or pattern)."""
    if not isinstance(source, FileSource):
        raise RetrievalError(f"Source '{source.name}' is a {type(source).__name__}; expected a FileSource.")

    root = Path(config.offline_store.root)
    path = root / source.path
    if "*" in source.path:
        found = sorted(root.glob(source.path))
    elif path.suffix == ".parquet":
        found = [path]
    else:
        found = view_files(root, source.path)
    if not found or not found[0].exists():
        raise MissingDataError(
            f"{path} does not exist; run `headrace run ingest` for its tables and `headrace run materialize`, which "
            "computes it."
        )
    return tuple(map(str, found))


def micros(moment: datetime) -> int:
    """Microseconds since 1970; a time without a time zone is UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
