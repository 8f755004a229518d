"""Natural variation of a column: the reference's own stretches, as long as the current one, against its rest.

The population stability index assumes independent rows. Features that look back over one or four weeks, and the
weather, are similar from day to day, so that any two weeks differ from the ten before, and a fixed bound marks most of
them as drifted. The reference itself measures this variation: the largest index of any of its stretches against its
rest. If the current stretch is exchangeable with K disjoint ones, it exceeds all of them in one of K + 1 cases, as for
a conformal p-value (V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World, 2005, ch. 2). With
five that is one in six; so stretches start at every fourteenth of their length, as in a scan statistic (J. Naus, The
distribution of the size of the maximum cluster of points on a line, JASA 60, 1965). That roughly halves it for columns
whose autocorrelation ends within a stretch; a column with a longer autocorrelation can still exceed all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.tables.stability import Floats, stability_index
from ray_cluster.evaluation.column_profile import MonitoringError
from ray_cluster.monitoring.binning import Bins, Integers

__all__ = ["Stretches", "ShortReferenceError", "cut", "baseline_variation"]

#: Stretches start at every fourteenth of their length (daily, for two weeks); less often in a long reference.
STEPS, MOST = 14, 100
#: Minimum of rows per stretch: with a hundred rows, ten bins and no shift the index is rarely above 0.15.
MIN_ROWS = 100

_DAY = pd.Timedelta(days=1)
_SLACK = 0.95  # 27.9 days count as twice 14


class ShortReferenceError(MonitoringError):
    """The reference is too short for two stretches of the current length, so its natural variation is unknown."""


@dataclass(frozen=True)
class Stretches:
    """Stretches of a reference, each ``days`` whole days long (hours differ by design) and ``wide`` slots wide.

    ``slots`` is the time slot of each reference row, shape (rows,); ``starts`` is the first slot of each stretch. Rows
    without a time have a slot after the last.
    """

    days: int
    slots: Integers
    starts: Integers
    wide: int

    @cached_property
    def order(self) -> Integers:
        """Row numbers in the order of their slots, shape (rows,)."""
        return np.argsort(self.slots, kind="stable")

    @cached_property
    def bounds(self) -> Integers:
        """First and last row (exclusive) of each stretch in that order, shape (stretches, 2)."""
        ends = np.column_stack([self.starts, self.starts + self.wide])
        return np.searchsorted(self.slots[self.order], ends).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts for a reader: ``days`` and ``count``."""
        return {"days": self.days, "count": len(self.starts)}


def cut(reference: pd.Series[Any], current: pd.Series[Any]) -> Stretches:
    """Cut a reference into stretches as long as the current rows span, in days begun; neighbours overlap.

    Args:
        reference, current: UTC times of the rows.

    Raises:
        ShortReferenceError: the reference spans less than two stretches, or they have too few rows.
    """
    current = current.dropna()
    days = max(1, ceil((current.max() - current.min()) / _DAY)) if len(current) else 1
    length = days * _DAY
    first, span = reference.min(), reference.max() - reference.min()
    if pd.isna(span) or span < 2 * _SLACK * length:
        raise ShortReferenceError(
            f"The reference spans {0 if pd.isna(span) else span / _DAY:.1f} days, less than twice the {days} of these "
            "predictions, so its natural variation is unknown; hold out a longer period or monitor a shorter window."
        )
    wide = min(STEPS, max(1, MOST // ceil(span / length)))
    places = ((reference - first) / (length / wide)).to_numpy(dtype=np.float64)
    last = int(np.nanmax(places)) + 1
    slots = np.where(np.isnan(places), last, np.nan_to_num(places)).astype(np.int64)
    rows = _windows(np.bincount(slots, minlength=last + 1).astype(np.float64), np.arange(last - wide + 1), wide)
    enough = (rows >= max(MIN_ROWS, rows.mean() / 2)) & (len(reference) - rows >= MIN_ROWS)
    if not enough.any():
        raise ShortReferenceError(
            f"The reference has {len(reference):,} rows, fewer than {MIN_ROWS} in each stretch of {days} days, so "
            "its natural variation is unknown; hold out more rows."
        )
    return Stretches(days, slots, np.flatnonzero(enough), wide)


def baseline_variation(bins: Bins, codes: Integers, stretches: Stretches) -> float:
    """Return the largest corrected PSI of any stretch of a reference column against the rest of it.

    Rare categories are pooled for each stretch, so that a value that is not in the rest counts as unseen, as in the
    comparison of the current rows with the whole reference.

    Args:
        codes: the bin of each reference row, from :meth:`Bins.codes`, shape (rows,).
    """
    total, ordered = bins.count(codes), codes[stretches.order]
    inside = (bins.count(ordered[first:end]) for first, end in stretches.bounds)
    return max(stability_index(*bins.comparable(total - each, each))[1] for each in inside)


def _windows(counts: Floats, starts: Integers, wide: int) -> Floats:
    """Sums of ``wide`` consecutive rows of ``counts``, one for each of ``starts``."""
    before = np.concatenate([np.zeros((1, *counts.shape[1:])), counts.cumsum(axis=0)])
    sums: Floats = before[np.minimum(starts + wide, len(counts))] - before[starts]
    return sums
