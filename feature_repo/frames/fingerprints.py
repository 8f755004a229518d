"""Fingerprints of content: of the rows of a frame, column by column, and of a raw table's content as of a time.

Equal content has equal fingerprints for any layout in files; another value, row or row order changes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.storage.sql import quoted
from feature_repo.tables import connect, manifest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["FrameDigest", "changed_days", "frame_fingerprint", "table_contents"]

#: Whole numbers up to this one are exact in float64.
_EXACT = 2**53


class FrameDigest:
    """Fingerprint of a frame, possibly in parts, in the order of its rows.

    Only values count, not their types: 1 and 1.0 are equal, as are None and NaN, and times of different resolution.

    >>> import pandas as pd
    >>> whole, parts = FrameDigest(), FrameDigest()
    >>> whole.update(pd.DataFrame({"x": [1.0, 2.0]}))
    >>> parts.update(pd.DataFrame({"x": [1]})); parts.update(pd.DataFrame({"x": [2]}))
    >>> whole.fingerprint() == parts.fingerprint()
    True
    """

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}
        self._rows = 0

    def update(self, rows: pd.DataFrame) -> None:
        """Add the next rows; every part has the same columns."""
        for name in rows.columns:
            digest = self._columns.setdefault(str(name), hashlib.blake2b(digest_size=8))
            digest.update(_hashed(rows[name]).astype("<u8").tobytes())
        self._rows += len(rows)

    def columns(self) -> dict[str, str]:
        """Fingerprint of each column, in the order of the columns."""
        return {name: digest.hexdigest() for name, digest in self._columns.items()}

    def fingerprint(self) -> str:
        """Fingerprint of the whole: of its columns' names, their values, and the number of rows."""
        summary = f"{self._rows} {list(self.columns().items())}"
        return hashlib.blake2b(summary.encode(), digest_size=8).hexdigest()


def frame_fingerprint(rows: pd.DataFrame) -> tuple[str, dict[str, str]]:
    """Fingerprint of a frame, and of each of its columns."""
    digest = FrameDigest()
    digest.update(rows)
    return digest.fingerprint(), digest.columns()


def table_contents(settings: Settings, tables: Collection[str], as_of: datetime) -> dict[str, dict[str, Any]]:
    """Content of each raw table as known at ``as_of``, independent of later ingests.

    Returns:
        table -> ``stored`` (the manifest's fingerprint, of all rows), ``known`` (of those known at ``as_of``), ``rows``
            (their number) and ``days`` (UTC day -> fingerprint; one entry ``all`` if the table has no days). Tables
            with no rows are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    with connect(settings, as_of, only=tables) as connection:
        for table in tables:
            held, spec = manifest(settings, table), settings.tables[table]
            if held is None or not held.files:
                continue
            day = f"strftime({quoted(spec.day)}, '%Y-%m-%d')" if spec.day else "'all'"
            parts = connection.execute(
                f"SELECT coalesce({day}, 'none') AS day, count(*), sum(hash(t)::HUGEINT)::VARCHAR, "
                f"bit_xor(hash(t))::VARCHAR FROM {quoted(table)} AS t GROUP BY 1 ORDER BY 1"
            ).fetchall()
            days = {str(name): _short(f"{rows} {total} {xor}") for name, rows, total, xor in parts}
            found[table] = {
                "stored": held.fingerprint,
                "known": _short(str(sorted(days.items()))),
                "rows": sum(int(rows) for _, rows, _, _ in parts),
                "days": days,
            }
    return found


def changed_days(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Days whose content differs between two results of :func:`table_contents`, in order."""
    return sorted(day for day in {*before, *now} if before.get(day) != now.get(day))


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _hashed(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """One 64-bit hash per value, shape (rows,)."""
    import numpy as np
    import pandas as pd

    values: np.ndarray[Any, Any]
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(column.dtype):
        values = column.to_numpy("datetime64[ns]").view("i8")
    elif pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy("float64", na_value=np.nan) + 0.0  # 0.0 for -0.0
        values[np.isnan(values)] = np.nan
    else:
        values = column.astype(object).to_numpy()
    hashes: np.ndarray[Any, Any] = pd.util.hash_array(values)
    if pd.api.types.is_integer_dtype(column.dtype):
        large = (column.notna() & ((column > _EXACT) | (column < -_EXACT))).to_numpy(bool)
        if large.any():
            hashes[large] = pd.util.hash_array(column[large].to_numpy("int64"))
    return hashes
