"""Performance of predictions whose outcomes have arrived, compared with the held-out reference.

Three values of the live period are compared with those of the reference, each with the standard error that the
reference's own days give it (:mod:`ray_cluster.monitoring.day_variation`):

- ``calibration_gap``: mean score minus share of positives. Days move the log-odds, and so the gap in proportion to the
  mean of ``score * (1 - score)``, which scales its standard error: in a season with higher scores it varies more.
- ``cost``: mean cost of a row beyond the mean that the scores themselves predict, so that a stormy week is no rise if
  the scores know of the storm. It is the log loss, or the declared cost of the decision.
- ``ranking``: ROC AUC, also if the gate has another metric, minus the one that the scores themselves predict, so that
  a week of similar rows is no loss. It does not move with the share of positives, and its days differ so much less than
  those of average precision that it finds losses of the ranking weeks earlier.

Intervals of the metrics themselves are t intervals over the live days (:mod:`ray_cluster.evaluation.intervals`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.evaluation import Costs
from ray_cluster.evaluation.intervals import (
    EPSILON,
    MIN_DAYS,
    Floats,
    Ranked,
    day_numbers,
    influences,
    measured_intervals,
)
from ray_cluster.monitoring.day_variation import Period, mean_variation

__all__ = ["METRICS", "Decided", "HeldOut", "Scored", "performance", "score_metrics"]

#: The metric that is judged.
RANKING = "roc_auc"
METRICS = ("roc_auc", "average_precision", "brier", "log_loss", "calibration_gap")


@dataclass(frozen=True)
class Scored:
    """Predictions with outcomes: ``labels`` 0 or 1, ``scores`` probabilities, ``days`` the day of each row as a number
    (or None); each of shape (rows,)."""

    labels: Floats
    scores: Floats
    days: npt.NDArray[np.int64] | None = None

    @property
    def rate(self) -> float:
        """The share of positives."""
        return float(self.labels.mean()) if len(self.labels) else float("nan")

    @property
    def spread(self) -> float:
        """The mean variance of a row's label, if the scores are right."""
        return float(np.mean(self.scores * (1 - self.scores)))

    @property
    def day_count(self) -> int:
        """The number of days, 0 if they are unknown."""
        return 0 if self.days is None else len(np.unique(self.days))

    @property
    def judgeable(self) -> bool:
        """Whether both classes occur; otherwise no ranking metric is defined."""
        return len(self.labels) > 0 and 0 < self.labels.sum() < len(self.labels)


@dataclass(frozen=True)
class Decided:
    """The decision of a model with declared costs: flag a row from ``threshold`` on."""

    costs: Costs
    threshold: float


@dataclass(frozen=True)
class HeldOut:
    """The held-out side of the comparison. Create it with :meth:`of`.

    Attributes:
        ranked: the rows in blocks of half days (or one block if days are unknown).
        values: ``calibration_gap``, ``cost`` and ``ranking`` (both beyond the predicted ones).
        cost: mean cost of a row.
        halves: influence of each half of each day on each value, shape (days, 2); empty if their variation is unknown,
            for the reason in ``unknown``.
    """

    rows: Scored
    decided: Decided | None
    ranked: Ranked
    values: Mapping[str, float]
    cost: float
    halves: Mapping[str, Floats]
    unknown: str | None

    @classmethod
    def of(cls, rows: Scored, decided: Decided | None = None) -> HeldOut:
        """Measure held-out rows with outcomes of both classes."""
        half = np.zeros(len(rows.labels), dtype=np.int64)
        if rows.days is not None:
            day = day_numbers(rows.days)
            half = 2 * day + _halves(day)
        ranked = Ranked.of(rows.labels, rows.scores, half)
        costs, predicted = _costs(rows, decided)
        sums = np.stack(
            [np.bincount(half, each) for each in (np.ones(len(half)), rows.scores - rows.labels, costs - predicted)]
        )

        predicted_ranking = _predicted_ranking(rows.scores, half)

        def measure(weights: Floats) -> dict[str, float]:
            count, gap, cost = sums @ weights
            return {
                "calibration_gap": gap / count,
                "cost": cost / count,
                "ranking": ranked.ranking(weights)[RANKING] - predicted_ranking(weights),
            }

        values = measure(np.ones(ranked.blocks))
        unknown, halves = None, {}
        if rows.day_count < MIN_DAYS:
            unknown = (
                f"The reference has outcomes of {rows.day_count} days; performance is judged if it has {MIN_DAYS} or "
                "more: hold out a longer period."
            )
        elif np.bincount(half, minlength=2 * rows.day_count).min() == 0:
            unknown = "A day of the reference has one row, so that its variation is unknown: hold out more rows."
        else:
            halves = {
                name: influence.reshape(-1, 2)
                for name, influence in influences(measure, ranked.blocks).items()
                if np.isfinite(influence).all()
            }
            both = min(len(np.unique(half[rows.labels == label] // 2)) for label in (0, 1))
            if both < MIN_DAYS:
                halves.pop("ranking", None)
                unknown = (
                    f"The reference has both classes on {both} {'day' if both == 1 else 'days'}; the ranking is judged "
                    f"from {MIN_DAYS} onwards: hold out a longer period."
                )
        return cls(rows, decided, ranked, values, float(costs.mean()), halves, unknown)


def performance(live: Scored, held_out: HeldOut | None) -> dict[str, Any]:
    """Compare live performance with held-out performance.

    Args:
        held_out: None if the held-out rows have one class only.

    Returns:
        ``outcomes``, ``positives``, ``predicted_positives`` (the sum of the scores), ``days``, ``rate``,
        ``held_out_rate``; ``metrics``: name -> ``{live, low, high, held_out}`` with the 95 % interval of the live value
        (nothing while only one class has arrived; no interval with too few days); ``metric`` (of the ranking);
        ``cost``: ``kind`` (log_loss or declared), ``live``, ``predicted`` (by the live scores) and ``held_out``;
        ``ranking``: ``live``, ``predicted`` and ``held_out``, or None; ``changes``: for each of
        ``calibration_gap``, ``cost`` and ``ranking``, where it can be judged, ``live``, ``held_out``, ``change``, its
        standard ``error`` and degrees of ``freedom``; and ``unknown``: why some cannot, or None.
    """
    facts: dict[str, Any] = {
        "outcomes": len(live.labels),
        "positives": int(live.labels.sum()),
        "predicted_positives": float(live.scores.sum()),
        "days": live.day_count,
        "rate": live.rate if len(live.labels) else None,
        "held_out_rate": None if held_out is None else held_out.rows.rate,
        "metric": RANKING,
        "metrics": {},
        "cost": None,
        "ranking": None,
        "changes": {},
        "unknown": None if held_out else "The reference's outcomes have one class only, so performance is not judged.",
    }
    if held_out is None or not len(live.labels):
        return facts
    costs, predicted = _costs(live, held_out.decided)
    values = {"calibration_gap": float(np.mean(live.scores - live.labels)), "cost": float(np.mean(costs - predicted))}
    facts["cost"] = {
        "kind": "log_loss" if held_out.decided is None else "declared",
        "live": float(costs.mean()),
        "predicted": float(predicted.mean()),
        "held_out": held_out.cost,
    }
    if live.judgeable:
        ours = _ranked(live)
        plain, reference = ours.metrics(), held_out.ranked.metrics()
        ends = measured_intervals(ours.metrics, ours.blocks)
        for name in METRICS:
            low, high = ends.get(name, (None, None))
            facts["metrics"][name] = {"live": plain[name], "low": low, "high": high, "held_out": reference[name]}
        predicted_ranking = _predicted_ranking(live.scores, np.zeros(len(live.scores), dtype=np.int64))(np.ones(1))
        facts["ranking"] = {"live": plain[RANKING], "predicted": predicted_ranking, "held_out": reference[RANKING]}
        values["ranking"] = plain[RANKING] - predicted_ranking
    return facts | {"changes": _changes(values, live, held_out), "unknown": held_out.unknown}


def score_metrics(scored: Scored, weights: Floats | None = None) -> dict[str, float]:
    """Return each of ``METRICS``. ``calibration_gap`` is the mean score minus the share of positives: above zero, the
    scores are too high.

    >>> score_metrics(Scored(np.array([0.0, 1.0]), np.array([0.2, 0.8])))["roc_auc"]
    1.0
    """
    found = Ranked.of(scored.labels, scored.scores, None).metrics(weights)
    return {name: found[name] for name in METRICS}


def _changes(values: Mapping[str, float], live: Scored, held_out: HeldOut) -> dict[str, dict[str, float]]:
    period, found = Period.of(live.days), {}
    for name, halves in held_out.halves.items():
        if name in values:
            variation = mean_variation(halves, len(held_out.rows.labels), period)
            scale = live.spread / (held_out.rows.spread or 1.0) if name == "calibration_gap" else 1.0
            found[name] = {
                "live": values[name],
                "held_out": float(held_out.values[name]),
                "change": values[name] - float(held_out.values[name]),
                "error": float(np.sqrt(variation.variance(period, scale))),
                "freedom": variation.freedom,
            }
    return found


def _costs(rows: Scored, decided: Decided | None) -> tuple[Floats, Floats]:
    """Cost of each row, and the one that its score predicts, shape (rows,) each."""
    if decided is None:
        clipped = np.clip(rows.scores, EPSILON, 1 - EPSILON)
        positive, negative = -np.log(clipped), -np.log1p(-clipped)
    else:
        flagged, costs = rows.scores >= decided.threshold, decided.costs
        positive = np.where(flagged, costs.true_positive, costs.false_negative)
        negative = np.where(flagged, costs.false_positive, costs.true_negative)
    actual: Floats = np.where(rows.labels == 1, positive, negative)
    return actual, rows.scores * positive + (1 - rows.scores) * negative


def _predicted_ranking(scores: Floats, blocks: npt.NDArray[np.int64]) -> Callable[[Floats], float]:
    """The ROC AUC that scores predict, as a function of the weight of each block, shape (blocks,).

    It is the probability that a positive has a higher score than a negative, if each row is positive with the
    probability of its score (D. van Klaveren et al., A new concordance measure for risk prediction models in external
    validation settings, Statistics in Medicine 35, 2016); 0.5 if no row can be positive, or none negative.
    """
    order = np.argsort(scores, kind="stable")
    ranked, block = scores[order], blocks[order]
    first, behind = np.searchsorted(ranked, ranked, side="left"), np.searchsorted(ranked, ranked, side="right")

    def measure(weights: Floats) -> float:
        weight = weights[block]
        positives, negatives = weight * ranked, np.concatenate([[0.0], np.cumsum(weight * (1 - ranked))])
        pairs = positives.sum() * negatives[-1]
        return float(positives @ (negatives[first] + negatives[behind]) / 2 / pairs) if pairs else 0.5

    return measure


def _halves(day: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0 or 1 in turn within each day, shape (rows,)."""
    order = np.argsort(day, kind="stable")
    starts = np.searchsorted(day[order], day[order])
    found = np.empty(len(day), dtype=np.int64)
    found[order] = (np.arange(len(day)) - starts) % 2
    return found


def _ranked(scored: Scored) -> Ranked:
    days = np.zeros(len(scored.labels), dtype=np.int64) if scored.days is None else day_numbers(scored.days)
    return Ranked.of(scored.labels, scored.scores, days)
