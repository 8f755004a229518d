"""Every feature view's rows, computed from the raw tables in SQL on DuckDB.

A row's value depends only on data known at the row's own ``known_at``; so truncating the raw tables at a time does not
change any row up to that time (checked in tests/feature_repo/transforms).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from feature_repo.transforms import cards, flights
from feature_repo.transforms.rolling import Query

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

__all__ = ["VIEWS", "Query", "code", "compute", "sql"]

#: Feature view → its query.
VIEWS: dict[str, Query] = {**flights.QUERIES, **cards.QUERIES}


def sql(view: str) -> str:
    """The query that computes one feature view over the views of :func:`feature_repo.tables.connect`."""
    return VIEWS[view].sql


def code(view: str) -> str:
    """Fingerprint of the query that computes one feature view."""
    return hashlib.blake2b(sql(view).encode(), digest_size=8).hexdigest()


def compute(connection: duckdb.DuckDBPyConnection, view: str) -> pd.DataFrame:
    """All rows of one feature view, as a frame (tests and notebooks; the store writes Parquet directly)."""
    return connection.execute(sql(view)).df()
