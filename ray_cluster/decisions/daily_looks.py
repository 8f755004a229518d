"""The boundary of a difference that is looked at on each day of a week.

The windows of two looks overlap, and all looks share one standard error, so that a week of them is worth less than
seven independent ones. The boundary is the quantile of the highest of the week's looks. It keeps the level of the week,
and is lower than the quantile at a seventh of the level (Bonferroni).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ray_cluster.evaluation.intervals import Floats

__all__ = ["LOOKS", "weekly_quantile"]

#: Days of a week, each of which has one look.
LOOKS = 7
#: Simulated weeks: the level of a boundary is exact to about 2 %.
WEEKS = 20_000
#: Longest window that is simulated, in days; the boundary of a longer one is a little too high.
LONGEST = 60


@lru_cache(maxsize=256)
def weekly_quantile(level: float, freedom: float, days: int) -> float:
    """Number of standard errors that the highest of a week's looks exceeds with probability ``level``.

    Args:
        level: below 0.5.
        freedom: degrees of freedom of the standard error.
        days: days of the window that moves by one day from look to look.

    >>> round(weekly_quantile(0.05, 11, 7), 1), round(weekly_quantile(0.05, 11, 30), 1)
    (2.5, 2.2)
    """
    from scipy.optimize import brentq
    from scipy.special import gammainc, stdtrit

    highest = _highest(min(max(days, 1), LONGEST))
    highest = highest[highest > 0]

    def excess(limit: float) -> float:
        """Probability that the standard error is below the highest look / ``limit``, minus the level."""
        below = gammainc(freedom / 2, freedom / 2 * (highest / limit) ** 2)
        return float(below.sum() / WEEKS) - level

    alone, bonferroni = (float(stdtrit(freedom, 1 - each)) for each in (level, level / LOOKS))
    found = brentq(excess, 0.5 * alone, 1.5 * bonferroni, xtol=1e-4)
    return min(max(alone, float(found)), bonferroni)


@lru_cache(maxsize=LONGEST)
def _highest(days: int) -> Floats:
    """The highest of a week's looks in each simulated week, in standard deviations, shape (weeks,).

    Days are independent; days that are alike make the looks more alike, and the boundary a little too high.
    """
    noise = np.random.default_rng(0).normal(size=(WEEKS, days + LOOKS - 1))
    sums = np.cumsum(np.pad(noise, ((0, 0), (1, 0))), axis=1)
    found: Floats = (sums[:, days:] - sums[:, :-days]).max(axis=1) / np.sqrt(days)
    return found
