"""Uncertainty of a metric: intervals from a bootstrap that draws whole days with replacement.

Rows are sorted once; after that, metrics for each weighting of the days are cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs.errors import HeadraceError

__all__ = [
    "BINS",
    "MetricError",
    "EPSILON",
    "LOWER_IS_BETTER",
    "Ranked",
    "LEVEL",
    "MIN_DAYS",
    "Gain",
    "blocks_of",
    "equal_mass_bins",
    "intervals",
    "paired_bootstrap",
    "percentiles",
    "resamples",
]


class MetricError(HeadraceError, ValueError):
    """A metric or its inputs cannot be used; the message is one sentence."""


Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

#: Scores are clipped to this distance from 0 and 1 in the log loss, so that a wrong score of 0 or 1 keeps it finite.
EPSILON = 1e-7
#: Metrics for which lower is better.
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece"})
#: Number of bins of the calibration error.
BINS = 15


@dataclass(frozen=True)
class Ranked:
    """Rows in order of decreasing score. Create it with :meth:`of`.

    Attributes:
        blocks: number of blocks; a weighting has one number per block, shape (blocks,).
    """

    blocks: int
    _block: Whole
    _positives: Whole
    _ties: Whole
    _positive_ties: Whole
    _sums: Floats
    _columns: tuple[str, ...]

    @classmethod
    def of(
        cls, y: npt.ArrayLike, scores: npt.ArrayLike, blocks: Whole | None, threshold: float | None = None
    ) -> Ranked:
        """Sort rows.

        Args:
            y, scores: labels 0 or 1 and probabilities, shape (rows,).
            blocks: the number of the block of each row, starting at 0; None makes every row its own block.
            threshold: if given, :meth:`metrics` includes precision, recall and F1 of ``scores >= threshold``.
        """
        labels, values = np.asarray(y, dtype=np.float64), np.asarray(scores, dtype=np.float64)
        block = np.arange(len(labels)) if blocks is None else blocks
        count = int(block.max()) + 1 if len(block) else 0
        order = np.argsort(-values, kind="stable")
        ranked = values[order]
        starts = np.flatnonzero(np.diff(ranked, prepend=np.inf))
        ends = np.append(starts[1:], len(ranked))
        positives = np.flatnonzero(labels[order] == 1)
        first, behind = np.searchsorted(positives, starts), np.searchsorted(positives, ends)
        kept = behind > first
        columns = _columns(labels, values, threshold)
        sums: Floats = np.stack(
            [np.bincount(block, weights=column, minlength=count).astype(np.float64) for column in columns.values()],
            axis=1,
        )
        return cls(
            count,
            block[order],
            block[order][positives],
            np.stack([starts[kept], ends[kept]]),
            np.stack([first[kept], behind[kept]]),
            sums,
            tuple(columns),
        )

    def ranking(self, weights: Floats | None = None, rate: float | None = None) -> dict[str, float]:
        """ROC AUC and average precision; NaN if the weighted rows have only one class.

        Args:
            weights: per block, shape (blocks,); None means 1 each.
            rate: average precision is computed for this share of positives (W. Siblini et al., Master your
                metrics with calibration, IDA 2020).
        """
        weights = np.ones(self.blocks) if weights is None else weights
        total = np.concatenate([[0.0], np.cumsum(weights[self._block])])
        gained = np.concatenate([[0.0], np.cumsum(weights[self._positives])])
        positives, negatives = gained[-1], total[-1] - gained[-1]
        if positives <= 0 or negatives <= 0:
            return {"roc_auc": float("nan"), "average_precision": float("nan")}
        true_before, true = gained[self._positive_ties]
        false_before, false = total[self._ties] - gained[self._positive_ties]
        new = true - true_before
        lift = 1.0 if rate is None else (rate * negatives) / ((1 - rate) * positives)
        flagged = true * lift + false
        precision = np.divide(true * lift, flagged, out=np.zeros_like(true), where=flagged > 0)
        return {
            "roc_auc": float(new @ (negatives - (false + false_before) / 2) / (positives * negatives)),
            "average_precision": float(new @ precision / positives),
        }

    def metrics(self, weights: Floats | None = None, rate: float | None = None) -> dict[str, float]:
        """The metrics of :meth:`ranking` and :meth:`means`."""
        return {**self.ranking(weights, rate), **self.means(weights)}

    def means(self, weights: Floats | None = None) -> dict[str, float]:
        """Means over rows: ``brier``, ``log_loss``, ``calibration_gap`` (mean score minus share of positives),
        ``ece`` (in the equal-mass bins of the unweighted rows), and with a threshold ``precision``, ``recall``, ``f1``
        and ``flagged`` (a share).
        """
        weights = np.ones(self.blocks) if weights is None else weights
        summed = dict(zip(self._columns, (weights @ self._sums).tolist(), strict=True))
        rows = summed["rows"] or float("nan")
        found = {
            "brier": summed["brier"] / rows,
            "log_loss": summed["log_loss"] / rows,
            "calibration_gap": (summed["scores"] - summed["positives"]) / rows,
            "ece": sum(abs(value) for name, value in summed.items() if name.startswith("bin")) / rows,
        }
        if "flagged" in summed:
            found |= {
                "precision": summed["right"] / summed["flagged"] if summed["flagged"] else 0.0,
                "recall": summed["right"] / summed["positives"] if summed["positives"] else 0.0,
                "f1": 2 * summed["right"] / (summed["flagged"] + summed["positives"])
                if summed["flagged"] + summed["positives"]
                else 0.0,
                "flagged": summed["flagged"] / rows,
            }
        return found


def _columns(labels: Floats, scores: Floats, threshold: float | None) -> dict[str, Floats]:
    """The terms that are summed per block, each of shape (rows,)."""
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    found = {
        "rows": np.ones(len(labels)),
        "positives": labels,
        "scores": scores,
        "brier": (scores - labels) ** 2,
        "log_loss": -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)),
    }
    if threshold is not None:
        flagged = (scores >= threshold).astype(np.float64)
        found |= {"flagged": flagged, "right": flagged * labels}
    bins = equal_mass_bins(scores, BINS)
    return found | {f"bin{number}": (scores - labels) * (bins == number) for number in range(BINS)}


def equal_mass_bins(scores: npt.ArrayLike, bins: int) -> Whole:
    """The bin of each score, from 0, shape (rows,): bins of equal size, except that equal scores share a bin.

    >>> equal_mass_bins([0.9, 0.1, 0.1, 0.1, 0.8, 0.7], 3).tolist()
    [2, 0, 0, 0, 2, 1]
    """
    _, place, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    found: Whole = (middles * bins / len(place)).astype(np.int64)[place]
    return found


MIN_DAYS = 8
#: Share of the resamples inside an interval.
LEVEL = 0.95


@dataclass(frozen=True)
class Gain:
    """Gain of the second of two models over the first in a metric.

    Attributes:
        gain: above zero if the second is better, also for a metric for which lower is better.
        low, high: the interval of the gain, of 95 % unless another level was requested.
        share: of the resamples in which the second is better; ties count as half.
    """

    gain: float
    low: float
    high: float
    share: float


def blocks_of(days: npt.ArrayLike | None, rows: int) -> Whole:
    """The block of each row, starting at 0, shape (rows,): its day, or the row itself if there are too few days."""
    if days is not None:
        found: Whole = np.unique(np.asarray(days), return_inverse=True)[1].astype(np.int64)
        if len(found) and found.max() + 1 >= MIN_DAYS:
            return found
    return np.arange(rows)


def resamples(blocks: int, count: int, random: np.random.Generator) -> Iterator[Floats]:
    """For each of ``count`` resamples: how often each of ``blocks`` blocks was drawn, in ``blocks`` draws."""
    for _ in range(count):
        yield np.bincount(random.integers(0, blocks, blocks), minlength=blocks).astype(np.float64)


def percentiles(values: list[float] | Floats, level: float = LEVEL) -> tuple[float, float]:
    """The interval that excludes equally many of the smallest and the largest values; NaN is ignored."""
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
    """The 95 % interval of each metric of :meth:`Ranked.metrics` (of :meth:`Ranked.ranking` alone if requested).

    Args:
        y, scores: labels 0 or 1 and probabilities, shape (rows,).
        days: the day of each row as a number or a date, or None.
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
    """Compare two models on the same rows: each resample draws the same days for both, so that variation between days
    cancels out.

    Args:
        y: labels 0 or 1, shape (rows,).
        a, b: the probabilities of the first and of the second model, shape (rows,).
        days: the day of each row, shape (rows,), or None.
        metric: one of :meth:`Ranked.metrics`; ``precision``, ``recall``, ``f1`` and ``flagged`` need ``thresholds``.
        level: share of the resamples inside the interval.

    Raises:
        MetricError: the arrays differ in length, or the metric is unknown.
    """
    rows = len(np.asarray(y))
    if not len(np.asarray(a)) == len(np.asarray(b)) == rows:
        raise MetricError(
            f"y, a and b have {rows}, {len(np.asarray(a))} and {len(np.asarray(b))} rows; expected the same."
        )
    blocks = blocks_of(days, rows)
    first, second = (
        Ranked.of(y, scores, blocks, threshold)
        for scores, threshold in zip((a, b), thresholds or (None, None), strict=True)
    )
    known = first.metrics()
    if metric not in known:
        raise MetricError(f"There is no metric '{metric}' to compare models by; known: {', '.join(known)}.")
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
