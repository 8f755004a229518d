"""A profile of a table for a person to look at: per column its gaps, its range and its shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["BINS", "TOP", "profile_table"]

#: Bars of a histogram.
BINS = 24
#: Most frequent values kept of a column that is not a number or a time.
TOP = 8


def profile_table(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Describe each column of ``table`` as a JSON object.

    Returns:
        Per column ``name``, ``dtype``, ``nulls`` (rows), ``distinct`` (values), ``minimum`` and ``maximum`` (a number,
        ISO time or text; None without values) and either ``histogram``, counts in ``BINS`` bins of equal width from
        minimum to maximum (numbers and times), or ``top``, up to ``TOP`` pairs of value and count (everything else).
        Infinite numbers count as missing.

    >>> profile_table(pd.DataFrame({"carrier": ["UA", "UA", None]}))[0]["top"]
    [['UA', 2]]
    """
    return [_describe(str(name), table[name]) for name in table.columns]


def _describe(name: str, column: pd.Series[Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": name, "dtype": str(column.dtype)}
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        values = column.dropna()
        numbers = values.astype("int64").to_numpy(dtype=np.float64)
        ends = [value.isoformat() for value in (values.min(), values.max())] if len(values) else [None, None]
    elif pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        numbers = numbers[np.isfinite(numbers)]
        ends = [_plain(numbers.min()), _plain(numbers.max())] if len(numbers) else [None, None]
    else:
        texts = column.dropna().astype(str)
        counts = texts.value_counts()
        return facts | {
            "nulls": int(column.isna().sum()),
            "distinct": len(counts),
            "minimum": texts.min() if len(texts) else None,
            "maximum": texts.max() if len(texts) else None,
            "top": [[str(value), int(count)] for value, count in counts.head(TOP).items()],
        }
    return facts | {
        "nulls": len(column) - len(numbers),
        "distinct": len(np.unique(numbers)),
        "minimum": ends[0],
        "maximum": ends[1],
        "histogram": np.histogram(numbers, bins=BINS)[0].tolist() if len(numbers) else [],
    }


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)
