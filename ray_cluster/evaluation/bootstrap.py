"""How sure a metric is: intervals from a bootstrap that draws whole days with replacement.

Rows of one day share its weather and its trouble, so drawing rows would promise too much (C. A. Field and A. H. Welsh,
Bootstrapping clustered data, JRSS B 69(3), 2007; for blocks of a series H. R. Künsch, The jackknife and the bootstrap
for general stationary observations, Annals of Statistics 17(3), 1989). With fewer than ``MIN_DAYS`` days rows are
drawn. The intervals are percentiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ray_cluster.evaluation.weighted import LOWER_IS_BETTER, Floats, Ranked, Whole

__all__ = ["LEVEL", "MIN_DAYS", "Gain", "blocks_of", "intervals", "paired_bootstrap", "percentiles", "resamples"]

MIN_DAYS = 8
#: Share of the resamples inside an interval.
LEVEL = 0.95


@dataclass(frozen=True)
class Gain:
    """What the second of two models gains over the first in a metric.

    Attributes:
        gain: above zero where the second is better, also in a metric of which less is better.
        low, high: the interval of the gain, of 95 % unless another level was asked for.
        share: of the resamples in which the second is better; ties count half.
    """

    gain: float
    low: float
    high: float
    share: float


def blocks_of(days: npt.ArrayLike | None, rows: int) -> Whole:
    """The block of each row, from 0 on, shape (rows,): its day, or the row itself where there are too few days."""
    if days is not None:
        found: Whole = np.unique(np.asarray(days), return_inverse=True)[1].astype(np.int64)
        if len(found) and found.max() + 1 >= MIN_DAYS:
            return found
    return np.arange(rows)


def resamples(blocks: int, count: int, random: np.random.Generator) -> Iterator[Floats]:
    """``count`` times: how often each of ``blocks`` blocks was drawn, in as many draws as there are blocks."""
    for _ in range(count):
        yield np.bincount(random.integers(0, blocks, blocks), minlength=blocks).astype(np.float64)


def percentiles(values: list[float] | Floats, level: float = LEVEL) -> tuple[float, float]:
    """The interval that leaves out as many of the smallest as of the largest values; NaN counts for nothing."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(
    y: npt.ArrayLike,
    scores: npt.ArrayLike,
    days: npt.ArrayLike | None,
    threshold: float | None = None,
    count: int = 1000,
    seed: int = 0,
    ranking_only: bool = False,
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric of :meth:`Ranked.metrics` (of :meth:`Ranked.ranking` alone if so asked).

    Args:
        y, scores: labels 0 or 1 and probabilities, shape (rows,).
        days: a number or a date per row that says which day it belongs to, or None.
        seed: the same inputs give the same intervals.
    """
    blocks = blocks_of(days, len(np.asarray(y)))
    ranked = Ranked.of(y, scores, blocks, threshold)
    measure = ranked.ranking if ranking_only else ranked.metrics
    drawn = [measure(weights) for weights in resamples(ranked.blocks, count, np.random.default_rng(seed))]
    return {name: percentiles([draw[name] for draw in drawn]) for name in drawn[0]}


def paired_bootstrap(
    y: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    days: npt.ArrayLike | None,
    metric: str,
    thresholds: tuple[float, float] | None = None,
    count: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Gain:
    """Compare two models on the same rows: each resample draws the same days for both, so that what is luck of the
    days cancels out.

    Args:
        y: labels 0 or 1, shape (rows,).
        a, b: the probabilities of the first and of the second model, shape (rows,).
        days: which day each row belongs to, shape (rows,), or None.
        metric: one of :meth:`Ranked.metrics`; ``precision``, ``recall``, ``f1`` and ``flagged`` need ``thresholds``.
        level: share of the resamples inside the interval.

    Raises:
        ValueError: the arrays differ in length, or the metric is not known.
    """
    rows = len(np.asarray(y))
    if not len(np.asarray(a)) == len(np.asarray(b)) == rows:
        raise ValueError(
            f"y, a and b have {rows}, {len(np.asarray(a))} and {len(np.asarray(b))} rows; expected the same."
        )
    blocks = blocks_of(days, rows)
    first, second = (
        Ranked.of(y, scores, blocks, threshold)
        for scores, threshold in zip((a, b), thresholds or (None, None), strict=True)
    )
    known = first.metrics()
    if metric not in known:
        raise ValueError(f"There is no metric '{metric}' to compare models by; known: {', '.join(known)}.")
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    ranking = metric in ("roc_auc", "average_precision")

    def measured(ranked: Ranked, weights: Floats | None = None) -> float:
        return (ranked.ranking(weights) if ranking else ranked.means(weights))[metric]

    random = np.random.default_rng(seed)
    gains = np.array(
        [
            sign * (measured(second, weights) - measured(first, weights))
            for weights in resamples(first.blocks, count, random)
        ]
    )
    low, high = percentiles(gains, level)
    known_gains = gains[~np.isnan(gains)]
    share = float(np.mean((known_gains > 0) + 0.5 * (known_gains == 0))) if len(known_gains) else float("nan")
    return Gain(sign * (measured(second) - measured(first)), low, high, share)
