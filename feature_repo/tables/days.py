"""Write a table's days as Parquet files named after their content, so that an unchanged day keeps its file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["content_fingerprint", "write_days"]


def write_days(folder: Path, days: Iterable[tuple[str, pa.Table]], by_day: bool) -> dict[str, str]:
    """Write each day's rows where no file holds them yet; returns day → file relative to ``folder``.

    Nothing that a manifest names is replaced. ``by_day``: whether the table has days, or one file for all.
    """
    import pyarrow.parquet as pq

    files: dict[str, str] = {}
    for day, rows in days:
        fingerprint = content_fingerprint(rows)
        file = f"day={day}/{fingerprint}.parquet" if by_day else f"{fingerprint}.parquet"
        path = folder / file
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # what a kill leaves, the next ingest sweeps
            pq.write_table(rows.combine_chunks(), temporary, coerce_timestamps="us", compression="zstd")
            temporary.replace(path)
        files[day] = file
    return files


def content_fingerprint(rows: pa.Table) -> str:
    """Identify rows by their values in their order, whatever lies in memory under nulls or between chunks.

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
    """The bytes of an array of texts one after the other (an array may be a slice of a larger buffer)."""
    import numpy as np

    _, offsets, data = chunk.buffers()
    if data is None or not len(chunk):
        return b""
    ends = np.frombuffer(offsets, dtype=np.int32)
    return memoryview(data)[ends[chunk.offset] : ends[chunk.offset + len(chunk)]]
