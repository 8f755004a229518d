"""Profiles of a raw table: each column's range, distribution and frequent values, rows over time, and correlations.

The profiles of the last ingest and of the last different one are stored next to the table.
"""

from __future__ import annotations

from math import ceil, frexp, ldexp
from typing import Any

import numpy as np
import pandas as pd

from configs.settings import Settings
from feature_repo.storage.files import read_json
from feature_repo.tables.table_files import table_path

__all__ = [
    "CATEGORIES",
    "QUANTILES",
    "TOP",
    "TUKEY",
    "bin_counts",
    "bin_edges",
    "describe",
    "numbers",
    "profile_table",
    "held_profile",
    "previous_profile",
    "profile_frame",
]

#: Number of most frequent values per column.
TOP = 8
#: A text column with at most this many distinct values has all of them counted, so that a vanished one is detected.
CATEGORIES = 200
#: A number column with at most this many distinct values has all of them counted: bins would show false gaps.
DISCRETE = 60
#: Levels of the quantiles, in percent.
QUANTILES = (1, 5, 25, 50, 75, 95, 99)
#: Quantiles of a longer column use about this many evenly spaced rows: the error of their levels is about 0.001.
SAMPLE = 500_000
#: Tukey's rule (Exploratory Data Analysis, 1977): an outlier lies this many interquartile ranges beyond a quartile.
TUKEY = 1.5
#: Larger numbers (the largest float often means "none") are clipped to this value where a difference would overflow.
LARGEST = 1e150
#: Maximum of bins of equal width; there are also one bin below and one above them.
BINS = 48
#: A text or whole-number column with at least this share of different values counts as an identifier.
NEAR_UNIQUE = 0.9

Values = np.ndarray[Any, Any]


def describe(name: str, column: pd.Series[Any]) -> tuple[dict[str, Any], Values]:
    """Return the JSON facts of one column and an array of shape (rows,) with equal entries for equal values.

    The array has codes of the texts, or the numbers themselves (times as seconds), NaN where missing.
    """
    facts: dict[str, Any] = {"name": name, "dtype": str(column.dtype), "kind": _kind(column)}
    if facts["kind"] in ("number", "time"):
        values = numbers(column)
        return facts | _numbers(values, facts["kind"], whole=pd.api.types.is_integer_dtype(column.dtype)), values
    return _texts(facts, column)


def numbers(column: pd.Series[Any]) -> Values:
    """A numeric column as float64, or a time column as seconds since 1970; NaN where missing or infinite."""
    if _kind(column) == "time":
        times = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
        micros = times.to_numpy().astype("datetime64[us]")
        seconds = micros.astype("int64") / 1e6
        return np.where(np.isnat(micros), np.nan, seconds)
    found = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(found), found, np.nan)


def bin_edges(low: float, high: float, whole: bool = False) -> list[float]:
    """Edges of 24 to 48 bins of equal width from ``low`` to ``high``.

    The width is a power of two and every edge a multiple of it. So the edges of two tables with different ranges are
    the same, or those of one are every second, fourth … of the other's, and their counts can be compared exactly.
    """
    width = ldexp(1.0, frexp((high - low) / BINS)[1]) if high > low else 1.0
    least = ldexp(1.0, frexp(max(abs(low), abs(high), 1e-300))[1] - 50)  # the finest resolution of floats
    width = max(width, least, 1.0 if whole else 0.0)
    while True:
        first, last = int(low // width), int(high // width) + 1  # exact, even if a quotient would underflow
        if last - first <= BINS:
            return [place * width for place in range(first, last + 1)]
        width *= 2


def bin_counts(values: Values, edges: list[float]) -> list[int]:
    """Counts of ``values`` (no NaN) below the first edge, in each bin [edge, next edge), and from the last edge on."""
    width = edges[1] - edges[0]  # a power of two: the division is exact, a difference to the first edge would round
    places = np.floor(values / width) - edges[0] / width
    inner = np.clip(places, -1, len(edges) - 1).astype(np.int64) + 1
    return np.bincount(inner, minlength=len(edges) + 1).tolist()  # type: ignore[no-any-return]


def _kind(column: pd.Series[Any]) -> str:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "time"
    if pd.api.types.is_bool_dtype(column.dtype):
        return "boolean"
    return "number" if pd.api.types.is_numeric_dtype(column.dtype) else "text"


def _numbers(values: Values, kind: str, whole: bool) -> dict[str, Any]:
    present = values[~np.isnan(values)]
    counts = pd.Series(present).value_counts(sort=False)
    plain = _moment if kind == "time" else _plain
    facts: dict[str, Any] = {
        "nulls": len(values) - len(present),
        "distinct": len(counts),
        "minimum": plain(present.min()) if len(present) else None,
        "maximum": plain(present.max()) if len(present) else None,
        "histogram": [],
        "edges": [],
        "flags": _flags(len(present), len(counts), kind == "number" and whole),
    }
    if not len(present):
        return facts
    step = ceil(len(present) / SAMPLE)
    shares = [q / 100 for q in QUANTILES]
    bounded = np.clip(present, -LARGEST, LARGEST)
    held = bounded[::step]
    lowest, *quantiles, highest = np.quantile(held, [0.005, *shares, 0.995])
    if len(counts) <= DISCRETE and kind == "number":
        facts["values"] = [[plain(value), int(count)] for value, count in counts.sort_index().items()]
    if lowest == highest:
        lowest, highest = held.min(), held.max()
    edges = bin_edges(float(lowest), float(highest), whole)
    facts |= {
        "quantiles": {str(q): plain(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        "top": [[plain(value), count] for value, count in _most_frequent(counts)],
        "histogram": bin_counts(present, edges),
        "edges": edges,
    }
    if kind == "time":
        return facts
    below = quantiles[2] - TUKEY * (quantiles[4] - quantiles[2])
    above = quantiles[4] + TUKEY * (quantiles[4] - quantiles[2])
    return facts | {
        "mean": float(bounded.mean()),
        "std": float(bounded.std()),
        "zeros": int((present == 0).sum()),
        "negative": int((present < 0).sum()),
        "outliers": {
            "rule": f"Tukey, {TUKEY} interquartile ranges beyond a quartile",
            "low": float(below),
            "high": float(above),
            "below": int((present < below).sum()),
            "above": int((present > above).sum()),
        },
    }


def _most_frequent(counts: pd.Series[int]) -> list[tuple[float, int]]:
    """The most frequent numbers that occur more than once, the smaller first if two are equally frequent."""
    held = counts.to_numpy()
    least = max(int(np.partition(held, -TOP)[-TOP]) if len(held) > TOP else 1, 2)
    known = counts.index.to_numpy()
    many, equal = held > least, np.sort(known[held == least])[:TOP]
    pairs = [*zip(known[many], held[many], strict=True), *((value, least) for value in equal)]
    return [(float(value), int(count)) for value, count in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:TOP]]


def _texts(facts: dict[str, Any], column: pd.Series[Any]) -> tuple[dict[str, Any], Values]:
    try:
        codes, found = pd.factorize(column)
    except TypeError:  # lists and other values without a hash
        codes, found = pd.factorize(column.astype(str).where(column.notna()))
    words = [str(word) for word in found]
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    rows = int(counts.sum())
    head = np.argsort(-counts, kind="stable")[: TOP if len(words) > CATEGORIES else None]
    ranked = sorted(((words[at], int(counts[at])) for at in head), key=lambda pair: (-pair[1], pair[0]))
    facts |= {
        "nulls": len(column) - rows,
        "distinct": len(words),
        "minimum": min(words, default=None),
        "maximum": max(words, default=None),
        "top": [[word, count] for word, count in ranked[:TOP]],
        "flags": _flags(rows, len(words), facts["kind"] == "text"),
    }
    if len(words) <= CATEGORIES:
        facts["categories"] = dict(ranked)
    if facts["kind"] == "text" and words:
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        bare = np.fromiter((not word or word.isspace() for word in words), dtype=bool, count=len(words))
        loose = np.fromiter((word != word.strip() for word in words), dtype=bool, count=len(words))
        order = np.argsort(lengths)
        middle = np.searchsorted(np.cumsum(counts[order]), rows / 2)
        facts["lengths"] = {
            "minimum": int(lengths.min()),
            "median": int(lengths[order][middle]),
            "mean": float(lengths @ counts / rows),
            "maximum": int(lengths.max()),
        }
        facts |= {"blank": int(counts[bare].sum()), "untrimmed": int(counts[loose & ~bare].sum())}
    return facts, np.where(codes >= 0, codes, np.nan).astype(np.float64)


def _flags(rows: int, distinct: int, countable: bool) -> list[str]:
    """constant: one value in all rows with a value. unique, near-unique: an identifier rather than a measurement."""
    if distinct == 1 and rows > 1:
        return ["constant"]
    if not countable or rows < 10 or distinct < NEAR_UNIQUE * rows:
        return []
    return ["unique" if distinct == rows else "near-unique"]


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _moment(seconds: float) -> str:
    return str((pd.Timestamp(0, tz="UTC") + pd.Timedelta(microseconds=round(float(seconds) * 1e6))).isoformat())


#: Maximum of evenly spaced rows, and of columns, for rank correlations.
CORRELATION_ROWS = 20_000
CORRELATION_COLUMNS = 40
#: Maximum of points of a series over time: days, else months, else years.
POINTS = 400


def profile_table(table: pd.DataFrame, day: str | None = None, total: int | None = None) -> dict[str, Any]:
    """Describe ``table`` as a JSON object; ``day`` names its UTC time column.

    ``total`` is the number of rows of the whole table if ``table`` is a sample of it; every count is of the sample.

    Returns:
        ``rows`` and ``total``; ``columns``, a list with an object per column (below); ``duplicates``: rows that
        repeat an earlier one in every column, and ``repeats``: in every column but those that identify a row (flagged
        unique or near-unique), None if there is none; ``quantile_rows``: evenly spaced rows used for quantiles;
        ``series``: with ``day``, counts over time ``{column, unit, starts, rows}``, unit day, month or year, else
        None; ``correlations``: Spearman's rank correlations ``{method, rows, columns,
        values}`` of numbers and booleans that vary, of evenly spaced rows if there are more than
        ``CORRELATION_ROWS``, pairs without a common row None.

        A column: ``name``, ``dtype``, ``kind`` (number, time, boolean, text), ``nulls`` (rows), ``distinct`` (values),
        ``minimum``, ``maximum`` (number, ISO time or text; None without values), ``top`` (up to ``TOP`` pairs of value
        and count), ``flags`` (constant, unique, near-unique). Numbers and times: ``edges``, and ``histogram``, the
        counts below the first edge, between the edges (left end included) and from the last edge on; ``quantiles``.
        Numbers: ``mean``, ``std`` (population), ``zeros``, ``negative``, ``outliers``, and ``values``, every value and
        its count in order, if there are at most 60. Texts and booleans:
        ``categories``, every value and its count if there are at most 200. Texts: ``lengths``, ``blank``,
        ``untrimmed``. With ``day``, if values are missing: ``null_share`` per point of ``series``.
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
    """Rows over time, and for each row its position in that series."""
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
    """Number of rows that are equal to an earlier one in all of ``values``, by a 64-bit hash of each row."""
    if not values or not rows:
        return 0
    hashes = np.zeros(rows, dtype=np.uint64)
    for each in values:
        bits = np.where(np.isnan(each), np.nan, each + 0.0).view(np.uint64)  # -0.0 is 0.0
        hashes = _mixed(hashes ^ _mixed(bits))
    return rows - len(pd.unique(hashes))


def _mixed(bits: Values) -> Values:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every input bit affects every output bit."""
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


def held_profile(settings: Settings, table: str) -> dict[str, Any] | None:
    """The profile of the last ingest, or None before it (:func:`feature_repo.tables.table_profile.profile_table`)."""
    return _read(settings, table, "profile.json")


def previous_profile(settings: Settings, table: str) -> dict[str, Any] | None:
    """The profile of the table before its content last changed; None if it never did."""
    return _read(settings, table, "profile.previous.json")


def profile_frame(settings: Settings, table: str) -> pd.DataFrame:
    """The profile of the last ingest with a row per column, for a notebook; empty before it.

    Columns: dtype, kind, nulls, distinct, minimum, maximum, mean, std, the quantiles (q1 … q99), zeros, negative,
    outliers, most_frequent, flags; NaN if a figure does not apply to the kind of column.
    """
    rows = {}
    for column in (held_profile(settings, table) or {"columns": []})["columns"]:
        outliers = column.get("outliers")
        rows[column["name"]] = {
            **{key: column.get(key) for key in ("dtype", "kind", "nulls", "distinct", "minimum", "maximum")},
            **{key: column.get(key) for key in ("mean", "std")},
            **{f"q{share}": value for share, value in column.get("quantiles", {}).items()},
            **{key: column.get(key) for key in ("zeros", "negative")},
            "outliers": outliers["below"] + outliers["above"] if outliers else None,
            "most_frequent": column["top"][0][0] if column.get("top") else None,
            "flags": ", ".join(column["flags"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("column")


def _read(settings: Settings, table: str, file: str) -> dict[str, Any] | None:
    content = read_json(table_path(settings, table) / file)
    return content if isinstance(content, dict) else None
