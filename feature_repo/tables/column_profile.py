"""The profile of one column: its gaps, its range, its shape, its most frequent values, and what is odd about it."""

from __future__ import annotations

from math import ceil, frexp, ldexp
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["CATEGORIES", "QUANTILES", "TOP", "TUKEY", "bin_counts", "bin_edges", "describe", "numbers"]

#: Most frequent values kept of a column.
TOP = 8
#: A text column with no more distinct values than this has all of them counted, so that a vanished one is noticed.
CATEGORIES = 200
#: A number column with no more distinct values than this has all of them counted: bins would show gaps it has not.
DISCRETE = 60
#: Shares of the rows below the quantiles kept, in percent.
QUANTILES = (1, 5, 25, 50, 75, 95, 99)
#: Quantiles of a longer column are taken from about this many evenly spaced rows: their shares are off by about 0.001.
SAMPLE = 500_000
#: Tukey's rule (Exploratory Data Analysis, 1977): an outlier lies this many interquartile ranges beyond a quartile.
TUKEY = 1.5
#: Numbers beyond this (the largest float is a common mark for "none") count as it where a difference would overflow.
LARGEST = 1e150
#: At most so many bins of equal width; beside them one for everything below and one for everything above.
BINS = 48
#: A text or whole-number column with at least this share of different values is taken for an identifier.
NEAR_UNIQUE = 0.9

Values = np.ndarray[Any, Any]


def describe(name: str, column: pd.Series[Any]) -> tuple[dict[str, Any], Values]:
    """Return the JSON facts of one column and an array of shape (rows,) that is equal where the values are equal.

    The array holds codes of the texts, or the numbers themselves (times as seconds), NaN where missing.
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

    The width is a power of two and every edge a multiple of it. So the edges of two tables of different range are
    either the same or every second, fourth … of the other's, and their counts can be compared exactly.
    """
    width = ldexp(1.0, frexp((high - low) / BINS)[1]) if high > low else 1.0
    least = ldexp(1.0, frexp(max(abs(low), abs(high), 1e-300))[1] - 50)  # finer than that floats cannot tell
    width = max(width, least, 1.0 if whole else 0.0)
    while True:
        first, last = int(low // width), int(high // width) + 1  # exact, also where a quotient would underflow
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
    """The most frequent numbers that occur more than once, the smaller first where two are as frequent."""
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
    """constant: one value in every row that has one. unique, near-unique: an identifier rather than a measurement."""
    if distinct == 1 and rows > 1:
        return ["constant"]
    if not countable or rows < 10 or distinct < NEAR_UNIQUE * rows:
        return []
    return ["unique" if distinct == rows else "near-unique"]


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _moment(seconds: float) -> str:
    return str((pd.Timestamp(0, tz="UTC") + pd.Timedelta(microseconds=round(float(seconds) * 1e6))).isoformat())
