"""Checked raw tables as Parquet: one immutable file per day, listed in a manifest that is replaced atomically.

Files are named by their content, so a day that did not change keeps its file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from configs.settings import Settings
from feature_repo.storage.files import read_json, replacing
from feature_repo.storage.sql import quoted, text_literal

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = [
    "Manifest",
    "connect",
    "manifest",
    "scan",
    "table_path",
    "content_fingerprint",
    "write_days",
]


@dataclass(frozen=True)
class Manifest:
    """The content of one table, and statistics of its ingest.

    ``rows_in == rows_out + quarantined + later``, always: every counted row of the source is stored, quarantined or
    ``later``, not yet known at ``as_of``. For a source with a cursor these are not the rows of the last read but of all
    reads since the first (or since its query or columns changed), each row once, even if it was read several times; a
    row that was replaced by a newer row of its key does not count, so ``rows_in`` is the result of a complete read.

    Rows that do not count are in ``replaced`` (by a newer row of their key in the same ingest) and ``erased`` (of
    entities in ``home/erasures.json``). They, ``read`` and ``cleaned`` are of the last ingest alone.
    """

    table: str
    fingerprint: str
    source_fingerprint: str | None
    as_of: str
    rows_in: int
    rows_out: int
    quarantined: int
    later: int
    files: dict[str, str] = field(repr=False)
    reasons: dict[str, int] = field(default_factory=dict)
    #: Rows read from the source, including those that do not count.
    read: int = 0
    erased: int = 0
    replaced: int = 0
    #: Rule of ``cleaning`` → number of changed values (``dedupe``: quarantined rows).
    cleaned: dict[str, int] = field(default_factory=dict)
    #: Column of ``references`` → number of stored rows with a value that has no match.
    unmatched: dict[str, int] = field(default_factory=dict)
    #: The cursor value from which the next ingest reads, and a fingerprint of its query and rules.
    mark: str | int | float | None = None
    rules: str | None = None
    #: Secondary work that failed (:mod:`feature_repo.storage.secondary`): the profile.
    failures: list[dict[str, str]] = field(default_factory=list)


def table_path(settings: Settings, table: str) -> Path:
    """Folder of one table."""
    return settings.home / "tables" / table


def manifest(settings: Settings, table: str) -> Manifest | None:
    """The table's manifest, or None before its first ingest."""
    content = read_json(table_path(settings, table) / "manifest.json")
    return Manifest(**content) if content else None


def connect(
    settings: Settings, as_of: datetime | None = None, only: Collection[str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with one view per ingested table (``only``: of these), with the rows known at ``as_of``.

    Without ``as_of`` the views have all rows.
    """
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table, spec in settings.tables.items():
        content = manifest(settings, table) if only is None or table in only else None
        if content is None:
            continue
        paths = [table_path(settings, table) / file for file in content.files.values()]
        if not paths:
            continue
        known = ""
        if as_of and spec.known_at:
            known = f" WHERE \"{spec.known_at}\" <= TIMESTAMPTZ '{as_of.astimezone(UTC).isoformat()}'"
        connection.execute(f"CREATE VIEW {quoted(table)} AS SELECT * FROM {scan(paths)}{known}")
    return connection


def scan(paths: Iterable[Path]) -> str:
    """The DuckDB table function that reads these Parquet files."""
    listed = ", ".join(map(text_literal, paths))
    return f"read_parquet([{listed}], hive_partitioning=false)"


def write_days(folder: Path, days: Iterable[tuple[str, pa.Table]], by_day: bool) -> dict[str, str]:
    """Write each day's rows unless a file already has them; returns day → file relative to ``folder``.

    A file in a manifest is never replaced. ``by_day``: whether the table has days, or one file for all.
    """
    import pyarrow.parquet as pq

    files: dict[str, str] = {}
    for day, rows in days:
        fingerprint = content_fingerprint(rows)
        file = f"day={day}/{fingerprint}.parquet" if by_day else f"{fingerprint}.parquet"
        path = folder / file
        if not path.exists():
            with replacing(path) as temporary:
                pq.write_table(rows.combine_chunks(), temporary, coerce_timestamps="us", compression="zstd")
        files[day] = file
    return files


def content_fingerprint(rows: pa.Table) -> str:
    """Fingerprint of rows by their values and order, independent of memory under nulls and of chunks.

    >>> import pyarrow as pa
    >>> one = pa.table({"x": pa.chunked_array([[1, None], [3]])})
    >>> content_fingerprint(one) == content_fingerprint(pa.table({"x": [1, None, 3]}))
    True
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    digest = hashlib.blake2b(f"{rows.num_rows}".encode(), digest_size=8)
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        digest.update(f"{name} {column.type}".encode())
        if column.null_count:
            digest.update(np.packbits(column.is_valid().to_numpy()).tobytes())
        if pa.types.is_string(column.type):
            filled = pc.fill_null(column, "")
            digest.update(pc.binary_length(filled).to_numpy().tobytes())
            for chunk in filled.chunks:
                digest.update(_text(chunk))
        elif pa.types.is_boolean(column.type):
            digest.update(np.packbits(pc.fill_null(column, False).to_numpy()).tobytes())
        else:
            numbers = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            digest.update(np.ascontiguousarray(pc.fill_null(numbers, 0).to_numpy()).tobytes())
    return digest.hexdigest()


def _text(chunk: pa.StringArray) -> bytes | memoryview:
    """The concatenated bytes of an array of texts (an array may be a slice of a larger buffer)."""
    import numpy as np

    _, offsets, data = chunk.buffers()
    if data is None or not len(chunk):
        return b""
    ends = np.frombuffer(offsets, dtype=np.int32)
    return memoryview(data)[ends[chunk.offset] : ends[chunk.offset + len(chunk)]]
