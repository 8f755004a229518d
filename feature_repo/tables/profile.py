"""A profile of a table for a person to look at: its columns, its rows over time, and how its columns move together."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.tables.column_profile import SAMPLE, TOP, describe, numbers

__all__ = ["TOP", "profile_table"]

#: Rank correlations are of this many evenly spaced rows, and of no more columns than this.
CORRELATION_ROWS = 20_000
CORRELATION_COLUMNS = 40
#: A series over time has at most this many points: of days, else months, else years.
POINTS = 400

Values = np.ndarray[Any, Any]


def profile_table(table: pd.DataFrame, day: str | None = None, total: int | None = None) -> dict[str, Any]:
    """Describe ``table`` as a JSON object; ``day`` names its UTC time column.

    ``total`` is the number of rows of the whole where ``table`` is a sample of it; every count is of the sample.

    Returns:
        ``rows`` and ``total``; ``columns``, a list with an object per column (below); ``duplicates``: rows that
        repeat an earlier one in every column, and ``repeats``: in every column but those that identify a row (flagged
        unique or near-unique), None where there is none; ``quantile_rows``: evenly spaced rows that quantiles are of;
        ``series``: with ``day``, counts over time ``{column, unit, starts, rows}``, unit day, month or year, else
        None; ``correlations``: Spearman's rank correlations ``{method, rows, columns,
        values}`` of numbers and booleans that vary, of evenly spaced rows where there are more than
        ``CORRELATION_ROWS``, pairs without a common row None.

        A column: ``name``, ``dtype``, ``kind`` (number, time, boolean, text), ``nulls`` (rows), ``distinct`` (values),
        ``minimum``, ``maximum`` (number, ISO time or text; None without values), ``top`` (up to ``TOP`` pairs of value
        and count), ``flags`` (constant, unique, near-unique). Numbers and times: ``edges``, and ``histogram``, the
        counts below the first edge, between the edges (left end included) and from the last edge on; ``quantiles``.
        Numbers: ``mean``, ``std`` (population), ``zeros``, ``negative``, ``outliers``, and ``values``, every value and
        its count in order, where there are at most 60. Texts and booleans:
        ``categories``, every value and its count where there are at most 200. Texts: ``lengths``, ``blank``,
        ``untrimmed``. With ``day``, where values are missing: ``null_share`` per point of ``series``.
        Infinite numbers count as missing.

    >>> profile_table(pd.DataFrame({"carrier": ["UA", "UA", None]}))["columns"][0]["top"]
    [['UA', 2]]
    """
    described = [describe(str(name), table[name]) for name in table.columns]
    columns = [facts for facts, _ in described]
    values = [values for _, values in described]
    series, place = _series(table, day)
    if series:
        for facts, held in described:
            if facts["nulls"]:
                missing = np.bincount(place, weights=np.isnan(held), minlength=len(series["rows"]))
                shares = missing / np.maximum(series["rows"], 1)
                facts["null_share"] = [round(float(share), 4) for share in shares]
    measured = [held for facts, held in described if not {"unique", "near-unique"} & set(facts["flags"])]
    return {
        "rows": len(table),
        "total": len(table) if total is None else total,
        "columns": columns,
        "duplicates": _repeated(values, len(table)),
        "repeats": _repeated(measured, len(table)) if 0 < len(measured) < len(values) else None,
        "quantile_rows": len(range(0, len(table), ceil(len(table) / SAMPLE) or 1)),
        "series": series,
        "correlations": _correlations(table, columns),
    }


def _series(table: pd.DataFrame, day: str | None) -> tuple[dict[str, Any] | None, Values]:
    """Rows over time, and for each row its place in that series."""
    if day is None or day not in table or not len(table) or table[day].isna().any():
        return None, np.empty(0, np.int64)
    seconds = numbers(table[day])
    stamps = (seconds // 1).astype("int64").astype("datetime64[s]")
    for unit, code in (("day", "D"), ("month", "M"), ("year", "Y")):
        points = stamps.astype(f"datetime64[{code}]").astype("int64")
        first, last = int(points.min()), int(points.max())
        if last - first < POINTS or unit == "year":
            break
    place = points - first
    starts = np.arange(first, last + 1).astype(f"datetime64[{code}]").astype("datetime64[D]")
    return {
        "column": day,
        "unit": unit,
        "starts": [str(start) for start in starts],
        "rows": np.bincount(place, minlength=last - first + 1).tolist(),
    }, place


def _repeated(values: list[Values], rows: int) -> int:
    """Rows that are equal to an earlier one in all of ``values``, by a 64-bit hash of each row."""
    if not values or not rows:
        return 0
    hashes = np.zeros(rows, dtype=np.uint64)
    for each in values:
        bits = np.where(np.isnan(each), np.nan, each + 0.0).view(np.uint64)  # -0.0 is 0.0
        hashes = _mixed(hashes ^ _mixed(bits))
    return rows - len(pd.unique(hashes))


def _mixed(bits: Values) -> Values:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every bit that goes in stirs every bit."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Values = bits ^ (bits >> np.uint64(31))
    return mixed


def _correlations(table: pd.DataFrame, columns: list[dict[str, Any]]) -> dict[str, Any] | None:
    taken = [
        facts["name"]
        for facts in columns
        if facts["kind"] in ("number", "boolean") and facts["distinct"] > 1 and "unique" not in facts["flags"]
    ][:CORRELATION_COLUMNS]
    if len(taken) < 2:
        return None
    rows = table[taken].iloc[:: ceil(len(table) / CORRELATION_ROWS)]
    numeric = pd.DataFrame({str(name): numbers(rows[name]) for name in rows})
    found = numeric.corr(method="spearman").to_numpy()
    return {
        "method": "Spearman",
        "rows": len(rows),
        "columns": taken,
        "values": [[None if np.isnan(value) else round(float(value), 4) for value in line] for line in found],
    }
