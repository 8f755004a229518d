"""Feast's retrieval job: what a retrieval returns, run when its result is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from feature_repo.files import replacing

__all__ = ["AsofRetrievalJob"]


class AsofRetrievalJob(RetrievalJob):
    """``run`` makes the result; its argument says whether the times of the rows that count are asked for."""

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

        They are those of the row that counts at the request's time, also where it is older than the view's TTL and
        the features are null for that; null where there is no such row.
        """
        return self._with_times().to_arrow()

    def to_df_with_times(self) -> pd.DataFrame:
        """:meth:`to_df` with the columns of :meth:`to_arrow_with_times`."""
        return self._with_times().to_df()

    def to_df(self, validation_reference: Any = None, timeout: int | None = None) -> pd.DataFrame:
        """The result for pandas. A column of integers or booleans with nulls stays what it is: Int64, boolean."""
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
