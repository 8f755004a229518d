"""A small summary of each column of a reference, sufficient to measure drift without the rows.

A numeric column has up to 1,001 order statistics and exact counts in at most ten bins; a categorical one has its
counts. One million current rows are then compared in about a second, and the summary has a few kilobytes of JSON per
column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.errors import HeadraceError

__all__ = [
    "ColumnProfile",
    "MonitoringError",
    "aligned_numbers",
    "is_numeric",
    "numbers",
    "profile",
    "profile_column",
    "words",
]

#: Number of order statistics of a numeric column; a KS distance computed from them has an error of at most 1 / 2002.
QUANTILES = 1001
#: Bins of the population stability index: the deciles of the reference, the convention of credit scoring.
BINS = 10

_NUMERIC = {"integer", "floating", "mixed-integer-float", "boolean", "decimal"}
_TIMES = {"datetime64", "datetime", "date"}


class MonitoringError(HeadraceError, ValueError):
    """Predictions, outcomes or a reference cannot be compared; the message names the column and the value."""


@dataclass(frozen=True)
class ColumnProfile:
    """One reference column.

    ``rows`` counts all rows, ``nulls`` those with no (finite) value. Numeric: ``quantiles`` are order statistics of
    equal weight, all of them up to 1,001 values; ``counts[i]`` is the number of values in ``(edges[i-1], edges[i]]``,
    unbounded at both ends; ``std`` is the population standard deviation. Categorical: ``categories`` counts each value
    as text.
    """

    kind: Literal["numeric", "categorical"]
    rows: int
    nulls: int
    quantiles: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    std: float = 0.0
    categories: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ColumnProfile:
        """Read the output of :meth:`to_dict`, also after conversion to JSON and back."""
        sequences = {key: tuple(content[key]) for key in ("quantiles", "edges", "counts")}
        return cls(**{**content, **sequences})


def profile(reference: pd.DataFrame) -> dict[str, ColumnProfile]:
    """Profile each column of ``reference``: column name -> profile.

    >>> profile(pd.DataFrame({"carrier": ["UA", "UA", None]}))["carrier"].categories
    {'UA': 2}
    """
    return {str(name): profile_column(reference[name], str(name)) for name in reference.columns}


def profile_column(column: pd.Series[Any], name: str = "") -> ColumnProfile:
    """Profile one column. Numbers, booleans and times are numeric (times as seconds), everything else categorical;
    a column with no value counts as categorical, so that a first value of any kind is a new category."""
    if not is_numeric(column):
        counts = words(column).value_counts(sort=False)
        categories = {str(value): int(count) for value, count in sorted(counts.items())}
        return ColumnProfile("categorical", len(column), int(column.isna().sum()), categories=categories)
    values = np.sort(numbers(column, name))
    edges = _edges(values)
    return ColumnProfile(
        kind="numeric",
        rows=len(column),
        nulls=len(column) - len(values),
        quantiles=tuple(_order_statistics(values).tolist()),
        edges=tuple(edges.tolist()),
        counts=tuple(np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1).tolist()),
        std=float(values.std()) if len(values) else 0.0,
    )


def numbers(column: pd.Series[Any], name: str = "") -> npt.NDArray[np.float64]:
    """Return the finite values of a numeric column, shape (values,); infinities count as missing.

    Raises:
        MonitoringError: a value is not a number.
    """
    values = aligned_numbers(column, name)
    finite: npt.NDArray[np.float64] = values[~np.isnan(values)]
    return finite


def aligned_numbers(column: pd.Series[Any], name: str = "") -> npt.NDArray[np.float64]:
    """Return a numeric column with NaN for missing or infinite values, shape (rows,).

    Raises:
        MonitoringError: a value is not a number.
    """
    if pd.api.types.infer_dtype(column, skipna=True) in _TIMES:
        times = pd.to_datetime(column, utc=True).astype("datetime64[ns, UTC]")
        seconds = times.astype("int64").to_numpy(dtype=np.float64) / 1e9
        return np.where(times.isna(), np.nan, seconds)
    try:
        values: npt.NDArray[np.float64] = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        bad = next(value for value in column.dropna() if not _is_number(value))
        raise MonitoringError(
            f"Column '{name or column.name}' contains {bad!r}, but the reference contains numbers; "
            "expected the same type as in training."
        ) from None
    return np.where(np.isfinite(values), values, np.nan)


def words(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return the non-null values of a categorical column as text."""
    return column.dropna().astype(str)


def is_numeric(column: pd.Series[Any]) -> bool:
    """Whether a column has numbers, booleans or times."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    return pd.api.types.infer_dtype(column, skipna=True) in _NUMERIC | _TIMES


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _order_statistics(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """All sorted values, or 1,001 of them, each in the middle of one of 1,001 equal shares of the rows."""
    if len(values) <= QUANTILES:
        return values
    return values[((np.arange(QUANTILES) + 0.5) / QUANTILES * len(values)).astype(np.int64)]


def _edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distinct deciles. If the smallest or largest value fills a whole decile, as with flags and counts, there is an
    edge right next to it, so that a value beyond it is in a bin that is empty in the reference."""
    if not len(values):
        return values
    deciles = np.unique(np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    below = [np.nextafter(values[0], -np.inf)] if deciles[0] == values[0] else []
    return np.concatenate([below, deciles])
