"""Uncertainty of a metric: t intervals from the influence of each day.

Rows are sorted once; after that, metrics for each weighting of the days are cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.errors import HeadraceError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BINS",
    "MetricError",
    "EPSILON",
    "LOWER_IS_BETTER",
    "Ranked",
    "LEVEL",
    "MIN_DAYS",
    "Gain",
    "around",
    "combined",
    "cosine_sums",
    "day_numbers",
    "equal_mass_bins",
    "influences",
    "intervals",
    "local_days",
    "measured_intervals",
    "paired_gain",
    "standard_error",
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


#: With fewer days there is no interval: their long-run variance cannot be estimated.
MIN_DAYS = 10
#: Coverage of an interval.
LEVEL = 0.95
#: Metrics in [0, 1], whose intervals end there.
_SHARES = frozenset({"roc_auc", "average_precision", "brier", "ece", "precision", "recall", "f1", "flagged"})


@dataclass(frozen=True)
class Gain:
    """Gain of the second of two models over the first in a metric.

    Attributes:
        gain: above zero if the second is better, also for a metric for which lower is better.
        low, high: the interval of the gain, of 95 % unless another level was requested; NaN if there is none.
        share: confidence that the second is better, in [0, 1]; NaN if there is no interval.
        why: why there is no interval, a sentence; None if there is one.
        error, freedom: standard error of the gain and its degrees of freedom; NaN if there is no interval.
    """

    gain: float
    low: float
    high: float
    share: float
    why: str | None = None
    error: float = float("nan")
    freedom: float = float("nan")

    def at_least(self, alpha: float) -> float:
        """The lower bound that the true gain is below with probability ``alpha`` at most; NaN without an interval."""
        return around(self.gain, self.error, self.freedom, 1 - 2 * alpha)[0]


def local_days(times: pd.Series[Any], timezone: str) -> Whole:
    """The day of each time in a time zone (an IANA name), as a number, shape (rows,).

    A day ends at midnight there, also where the clocks change and it has 23 or 25 hours.
    """
    days: Whole = times.dt.tz_convert(timezone).dt.tz_localize(None).dt.floor("D").astype("int64").to_numpy()
    return days


def day_numbers(days: npt.ArrayLike) -> Whole:
    """The number of each row's day among those that occur, in time order and starting at 0, shape (rows,)."""
    found: Whole = np.unique(np.asarray(days), return_inverse=True)[1].astype(np.int64)
    return found


def influences(
    measure: Callable[[Floats], Mapping[str, float]], days: int, whole: Mapping[str, float] | None = None
) -> dict[str, Floats]:
    """Influence of each day on each value of ``measure``, which takes one weight per day: the pseudo-values of the
    jackknife that leaves out a day, shape (days,). ``whole``: the values of all days, if they are measured already."""
    whole = measure(np.ones(days)) if whole is None else whole
    without = [measure(np.where(np.arange(days) == day, 0.0, 1.0)) for day in range(days)]
    return {
        name: days * value - (days - 1) * np.array([each[name] for each in without]) for name, value in whole.items()
    }


def cosine_sums(influence: Floats, share: float = 0.41) -> Floats:
    """A few sums of the days' influence, weighted by slow cosines: the mean of their squares is the long-run variance,
    with as many degrees of freedom (E. Lazarus et al., HAR Inference: Recommendations for Practice, JBES 36, 2018).

    Days near each other are alike, which only slow cosines see; ``benchmarks/intervals.py`` shows that intervals then
    cover as often as they say.

    Args:
        influence: of each day in time order, shape (days,), or (days, values) for several values.
        share: number of cosines, in units of ``days ** (2 / 3)``.

    Returns:
        The sums, shape (cosines,) or (cosines, values).
    """
    days = len(influence)
    numbers = np.arange(1, max(2, int(share * days ** (2 / 3))) + 1)
    sums: Floats = np.sqrt(2 / days) * (np.cos(np.pi * np.outer(numbers, np.arange(days) + 0.5) / days) @ influence)
    return sums


def standard_error(influence: Floats) -> tuple[float, float]:
    """Standard error of a metric from the days' influence in time order (:func:`cosine_sums`), and its degrees of
    freedom; NaN with too few days, or if a day's influence is unknown."""
    days = len(influence)
    if days < MIN_DAYS or not np.isfinite(influence).all():
        return float("nan"), float("nan")
    sums = cosine_sums(influence)
    return float(np.sqrt(np.mean(sums**2) / days)), float(len(sums))


def combined(*errors: tuple[float, float]) -> tuple[float, float]:
    """Standard error of a sum of independent terms, and its degrees of freedom (B. L. Welch, The generalization of
    "Student's" problem, Biometrika 34, 1947), from those of the terms."""
    total = sum(error**2 for error, _ in errors)
    if not total:
        return float(total), 1.0
    return float(np.sqrt(total)), total**2 / sum(error**4 / freedom for error, freedom in errors)


def around(value: float, error: float, freedom: float, level: float = LEVEL) -> tuple[float, float]:
    """The t interval around a value."""
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    return value - half, value + half


def intervals(
    y: npt.ArrayLike,
    scores: npt.ArrayLike,
    days: npt.ArrayLike,
    threshold: float | None = None,
    ranking_only: bool = False,
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric of :meth:`Ranked.metrics` (of :meth:`Ranked.ranking` alone if requested); none
    with fewer than :data:`MIN_DAYS` days.

    Args:
        y, scores: labels 0 or 1 and probabilities, shape (rows,).
        days: the day of each row as a number or a date.
    """
    ranked = Ranked.of(y, scores, day_numbers(days), threshold)
    return measured_intervals(ranked.ranking if ranking_only else ranked.metrics, ranked.blocks)


def measured_intervals(measure: Callable[[Floats], Mapping[str, float]], days: int) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each value of ``measure``, which takes a weight per day; those without one are left out."""
    found = {}
    if days >= MIN_DAYS:
        whole = measure(np.ones(days))
        for name, influence in influences(measure, days, whole).items():
            low, high = around(whole[name], *standard_error(influence))
            if not np.isnan(low):
                found[name] = (max(low, 0.0), min(high, 1.0)) if name in _SHARES else (low, high)
    return found


def paired_gain(
    y: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    days: npt.ArrayLike,
    metric: str,
    thresholds: tuple[float, float] | None = None,
    level: float = LEVEL,
    noise: Sequence[tuple[float, float]] = (),
) -> Gain:
    """Compare two models on the same rows, so that variation between days cancels out.

    Args:
        y: labels 0 or 1, shape (rows,).
        a, b: the probabilities of the first and of the second model, shape (rows,).
        days: the day of each row, shape (rows,).
        metric: one of :meth:`Ranked.metrics`; ``precision``, ``recall``, ``f1`` and ``flagged`` need ``thresholds``.
        level: coverage of the interval.
        noise: standard errors, with degrees of freedom, of what makes the gain vary besides the days, as the seeds.

    Raises:
        MetricError: the arrays differ in length, or the metric is unknown.
    """
    from scipy.special import stdtr

    rows = len(np.asarray(y))
    if not len(np.asarray(a)) == len(np.asarray(b)) == rows:
        raise MetricError(
            f"y, a and b have {rows}, {len(np.asarray(a))} and {len(np.asarray(b))} rows; expected the same."
        )
    blocks = day_numbers(days)
    first, second = (
        Ranked.of(y, scores, blocks, threshold)
        for scores, threshold in zip((a, b), thresholds or (None, None), strict=True)
    )
    known = first.metrics()
    if metric not in known:
        raise MetricError(f"There is no metric '{metric}' to compare models by; known: {', '.join(known)}.")
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    ranking = metric in ("roc_auc", "average_precision")

    def measured(weights: Floats) -> dict[str, float]:
        before, after = (
            (ranked.ranking(weights) if ranking else ranked.means(weights))[metric] for ranked in (first, second)
        )
        return {metric: sign * (after - before)}

    whole = measured(np.ones(first.blocks))
    gain = whole[metric]
    if first.blocks < MIN_DAYS:
        why = f"The rows are of {first.blocks} days, and an interval needs {MIN_DAYS}."
        return Gain(gain, float("nan"), float("nan"), float("nan"), why)
    error, freedom = combined(standard_error(influences(measured, first.blocks, whole)[metric]), *noise)
    if np.isnan(error):
        why = "All rows of one class are of one day, so the metric is not defined without that day."
        return Gain(gain, float("nan"), float("nan"), float("nan"), why)
    share = float(stdtr(freedom, gain / error)) if error else 0.5 + 0.5 * float(np.sign(gain))
    return Gain(gain, *around(gain, error, freedom, level), share, None, error, freedom)
