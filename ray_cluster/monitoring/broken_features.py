"""Features that break at once: no values, one value, another unit, or texts that were never seen.

The newest rows are compared with stretches of the reference half as long, so that what happens by nature (a weather
station that fails for a night, a value that is constant for a day) does not count until it has lasted twice as long as
ever before. Fifty rows suffice where it never happened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from feature_repo.tables.stability import Floats
from ray_cluster.evaluation.column_profile import aligned_numbers, is_numeric

__all__ = ["broken_feature"]

#: Numbers of newest rows that are looked at.
LENGTHS = (50, 200, 800, 3200, 12800)
#: A spread counts as lost from this many rows on: a batch of requests about one thing has equal values.
MIN_SPREAD_ROWS = 200
#: Share of the newest rows that must show it, and the largest share that a stretch of the reference may have.
NEARLY_ALL, BEFORE = 0.98, 0.9
#: The spread of a quantity does not become this much smaller than in all of the reference.
FACTOR = 10.0


def broken_feature(name: str, reference: pd.Series[Any], current: pd.Series[Any]) -> dict[str, Any] | None:
    """Say how a feature is broken: ``feature``, ``kind`` (null, constant, unit or unseen) and ``rows``, the number of
    newest rows that show it; None if it is not.

    Args:
        reference, current: values in time order.

    Raises:
        MonitoringError: the reference is numeric and a current value is not a number.
    """
    number = is_numeric(reference)
    if number:
        before, values = aligned_numbers(reference, name), aligned_numbers(current, name)
        missing_before, missing = np.isnan(before), np.isnan(values)
        before = before[~missing_before]
        ends = np.quantile(before, [0.005, 0.1, 0.9, 0.995]) if len(before) else np.zeros(4)
    else:
        missing_before, missing = reference.isna().to_numpy(), current.isna().to_numpy()
    for rows in LENGTHS:
        if rows > len(current):
            break
        newest, half = slice(len(current) - rows, None), rows // 2
        kind = None
        if missing[newest].mean() >= NEARLY_ALL:
            kind = "null" if _most(missing_before, half) < BEFORE else None
        elif number:
            kind = _other_scale(before, ends, values[newest][~missing[newest]], half)
        elif _unseen(reference, current.iloc[newest], half):
            kind = "unseen"
        if kind:
            return {"feature": name, "kind": kind, "rows": rows}
    return None


def _other_scale(before: Floats, ends: Floats, values: Floats, half: int) -> str | None:
    """``unit`` if the median is farther from all stretches of the reference than those are from each other, or if the
    spread is lost; ``constant`` if there is none left. ``ends``: quantiles 0.005, 0.1, 0.9, 0.995 of the reference."""
    least, low, high, most = ends
    if least == most or len(before) < 2 * half:
        return None
    middle = float(np.median(values))
    if not least <= middle <= most:
        middles = np.median(_stretches(before, half), axis=1)
        width = max(float(np.ptp(middles)), float(most - least))
        if not middles.min() - width <= middle <= middles.max() + width:
            return "unit"
    bottom, top = np.quantile(values, [0.1, 0.9])
    if len(values) >= MIN_SPREAD_ROWS and (top - bottom) * FACTOR < high - low:
        spreads = np.subtract(*np.quantile(_stretches(before, half), [0.9, 0.1], axis=1))
        if (top - bottom) * FACTOR < spreads.min():
            return "constant" if top == bottom else "unit"
    return None


def _unseen(reference: pd.Series[Any], newest: pd.Series[Any], half: int) -> bool:
    """Whether nearly all texts are new, unless the later half of the reference had a stretch of them in its turn."""
    values, texts = newest.dropna().astype(str), reference.dropna().astype(str)
    if len(values) <= half or not len(texts) or np.mean(~values.isin(texts.unique())) < NEARLY_ALL:
        return False
    first, later = texts.iloc[: len(texts) // 2], texts.iloc[len(texts) // 2 :]
    return _most((~later.isin(first.unique())).to_numpy(), half) < BEFORE


def _most(flags: Any, length: int) -> float:
    """The largest share of flags in a stretch."""
    return float(_stretches(flags.astype(np.float64), length).mean(axis=1).max(initial=0.0))


def _stretches(values: Floats, length: int) -> Floats:
    """Stretches that overlap by half, shape (stretches, length); all values if they are fewer."""
    length = max(1, min(length, len(values)))
    return np.lib.stride_tricks.sliding_window_view(values, length)[:: max(1, length // 2)]
