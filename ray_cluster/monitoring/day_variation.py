"""Variation of a period's mean if nothing has changed, from the days of the reference.

Days differ, and days near each other are alike: the weather, a rolling average and the model's luck last for days. How
much a period of a few days may differ from the reference follows from how much the reference's own days differ: their
long-run variance (:func:`ray_cluster.evaluation.intervals.cosine_sums`), which also includes a trend within the
reference, plus the variance of rows. So a period of any length can be judged, and a thin one is not mistaken for one
that has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.tables.stability import Floats
from ray_cluster.evaluation.column_profile import MonitoringError
from ray_cluster.evaluation.intervals import MIN_DAYS, cosine_sums, day_numbers
from ray_cluster.monitoring.binning import Integers

__all__ = [
    "Period",
    "ShortReferenceError",
    "Variation",
    "index_variation",
    "mean_variation",
    "reference_days",
    "utc_days",
]

#: Longest period of a mean, in units of ``days ** (1 / 3)``; a longer one counts as that. It leaves as many degrees of
#: freedom as an interval over all days has (:func:`ray_cluster.evaluation.intervals.cosine_sums`).
LONGEST = 3.6
#: Cosines of an index: only the slowest, because features have long memory and trends; its dimensions make up for the
#: few degrees of freedom. ``benchmarks/monitoring_rules.py`` measures both.
SLOW_COSINES = 0.25


class ShortReferenceError(MonitoringError):
    """The reference has too few days, so the variation between days is unknown."""


@dataclass(frozen=True)
class Period:
    """Size of a period: ``rows``, and ``days`` of equal size that they are worth (a day with few rows counts less);
    and the days ``after`` the end of the reference until it starts."""

    days: float
    rows: int
    after: float = 0.0

    @classmethod
    def of(cls, day: Integers | None, after: float = 0.0) -> Period:
        """The period of rows whose days have these numbers, shape (rows,); None counts as one day."""
        if day is None or not len(day):
            return cls(1.0, 0 if day is None else len(day), after)
        rows = np.bincount(day - day.min())
        return cls(float(rows.sum() ** 2 / np.sum(rows**2)), len(day), after)


@dataclass(frozen=True)
class Variation:
    """Variance of the difference between a period and the reference.

    Attributes:
        reference: size of the reference.
        between: long-run variance of a day beyond that of its rows.
        within: variance of a row.
        freedom: degrees of freedom of ``between``.
        dimensions: that the difference has (one for a mean, more for the bins of an index).
        wanders: whether days may wander (a random walk) instead of returning to their mean, as features with a season
            or a long memory do: then a period differs more, and the more the later it is.
    """

    reference: Period
    between: float
    within: float
    freedom: float
    dimensions: float = 1.0
    wanders: bool = False

    def variance(self, period: Period, scale: float = 1.0) -> float:
        """Variance of the difference of the two means, if the variance of the period's rows is ``scale`` times that of
        the reference's rows, and its days' effects are ``scale`` times as large."""
        apart = 1 / period.days + 1 / self.reference.days
        if self.wanders:
            apart = max(apart, self._wandered(period))
        return self.between * apart * scale**2 + self.chance(period) * scale

    def _wandered(self, period: Period) -> float:
        """The variance of the difference of two means of a random walk, relative to ``between``: each cosine sum has
        the variance ``(days / (pi * number)) ** 2`` per step of the walk."""
        days = self.reference.days
        sums = np.mean((days / (np.pi * np.arange(1, self.freedom + 1))) ** 2)
        return float((days / 3 + period.after + period.days / 3) / sums)

    def chance(self, period: Period) -> float:
        """The part of :meth:`variance` that rows alone cause."""
        return self.within * (1 / max(period.rows, 1) + 1 / self.reference.rows)


def utc_days(times: pd.Series[Any]) -> Integers:
    """The number of each row's UTC day among those that occur, shape (rows,)."""
    return day_numbers(pd.to_datetime(times, utc=True, cache=False).dt.tz_localize(None).dt.floor("D").to_numpy())


def reference_days(times: pd.Series[Any] | None) -> Integers:
    """The number of each reference row's UTC day, shape (rows,).

    Raises:
        ShortReferenceError: times are missing, or of fewer than ``MIN_DAYS`` days.
    """
    if times is None or times.isna().any():
        raise ShortReferenceError(
            "The reference has rows without prediction_time, so the variation between its days is unknown."
        )
    days = utc_days(times)
    count = int(days.max()) + 1 if len(days) else 0
    if count < MIN_DAYS:
        raise ShortReferenceError(
            f"The reference has rows of {count} days; how much days differ is known from {MIN_DAYS} days onwards: "
            "hold out a longer period."
        )
    return days


def mean_variation(halves: Floats, rows: int, period: Period) -> Variation:
    """Variation of a metric from its influences, for periods of the length of ``period``.

    A cosine has the weight that variation of its frequency has in the mean of such a period: faster variation averages
    out within it. So a short period has more degrees of freedom (M. S. Bartlett, Periodogram analysis and continuous
    spectra, Biometrika 37, 1950).

    Args:
        halves: influence of each half of each day in time order (:func:`ray_cluster.evaluation.intervals.influences`),
            shape (days, 2): the difference of two halves of one day is due to rows alone.
        rows: of the reference.
        period: the period whose mean is compared; only its length counts.
    """
    days = len(halves)
    sums = cosine_sums(halves.mean(axis=1), (days - 0.5) / days ** (2 / 3))  # all days - 1 of them
    length = min(max(1.0, period.days), LONGEST * days ** (1 / 3))
    weights = np.sinc(np.arange(1, days) / 2 / days * length) ** 2
    variance = float(weights @ sums**2 / weights.sum())
    freedom = float(weights.sum() ** 2 / np.sum(weights**2))
    noise = float(np.mean((halves[:, 0] - halves[:, 1]) ** 2)) / 4
    return Variation(Period(days, rows), max(0.0, variance - noise), noise * rows / days, freedom)


def index_variation(codes: Integers, days: Integers) -> Variation:
    """Variation of a population stability index, as a sum of the squared differences of all bins.

    If nothing has changed, the index of a period is about the sum over bins of the squared difference of the bin's
    shares divided by its share; the mean of that sum is the :meth:`Variation.variance` of the result. Its dimensions
    are those of a sum of independent squares that varies as much (G. E. P. Box, Some theorems on quadratic forms,
    Annals of Mathematical Statistics 25, 1954).

    Args:
        codes, days: number of the bin and of the day of each reference row, shape (rows,).
    """
    count, bins = int(days.max()) + 1, int(codes.max()) + 1
    found = np.bincount(days * bins + codes, minlength=count * bins).reshape(count, bins).astype(np.float64)
    found = found[:, found.sum(axis=0) > 0]
    share, rows = found.sum(axis=0) / len(codes), found.sum(axis=1, keepdims=True)
    sums = cosine_sums((found - rows * share) * count / len(codes) / np.sqrt(share), SLOW_COSINES)
    products, freedom = sums @ sums.T, len(sums)
    total, within = float(np.trace(products)) / freedom, len(share) - 1.0
    squares = float(np.sum(products**2) - np.sum(np.diag(products) ** 2)) / (freedom * (freedom - 1))  # of each pair
    dimensions = min(max(1.0, total**2 / squares if squares else within), max(1.0, within))
    between = max(0.0, total - within * count / len(codes))
    return Variation(Period(count, len(codes)), between, within, freedom, dimensions, wanders=True)
