"""Measure scores against outcomes: metrics, curves, costs of decisions, thresholds. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.evaluation import Costs
from ray_cluster.evaluation.intervals import BINS, day_numbers, equal_mass_bins, measured_intervals

__all__ = [
    "MIN_CLASS_ROWS",
    "MIN_MEASURED_ROWS",
    "calibration",
    "curves",
    "f1_threshold",
    "metric",
    "metrics",
    "ranking",
    "reliability",
    "cost_evidence",
    "cost_threshold",
    "mean_cost",
    "theoretical_threshold",
]

#: A ranking metric (ROC AUC, average precision) is judged only with at least this many rows of each class: with fewer,
#: its interval is too wide to distinguish good from bad.
MIN_CLASS_ROWS = 30
#: A rate over fewer rows, or a ranking with fewer rows of either class, is not meaningful: it is not computed.
MIN_MEASURED_ROWS = 20


def metric(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """The metric of a search, (labels, scores) -> float, by its name in a model's file."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {"average_precision": average_precision_score, "roc_auc": roc_auc_score}[name]  # type: ignore[no-any-return]


def ranking(y: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """ROC AUC and average precision (PR AUC)."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "roc_auc": float(roc_auc_score(y, scores)),
        "average_precision": float(average_precision_score(y, scores)),
    }


def metrics(y: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Ranking, probability and decision metrics of scores in [0, 1]; positive at ``scores >= threshold``."""
    from sklearn.metrics import brier_score_loss, f1_score, log_loss, precision_score, recall_score

    decided = scores >= threshold
    predicted, observed, rows = calibration(y, scores)
    return {
        **ranking(y, scores),
        "brier": float(brier_score_loss(y, scores)),
        "log_loss": float(log_loss(y, np.clip(scores, 1e-7, 1 - 1e-7))),
        "precision": float(precision_score(y, decided, zero_division=0)),
        "recall": float(recall_score(y, decided, zero_division=0)),
        "f1": float(f1_score(y, decided, zero_division=0)),
        "ece": float(np.sum(np.abs(np.subtract(predicted, observed)) * rows) / np.sum(rows)),
    }


def calibration(y: np.ndarray, scores: np.ndarray, bins: int = BINS) -> tuple[list[float], list[float], list[int]]:
    """Mean score, share of positives and rows in ``bins`` groups of equal size by score (empty groups left out).

    Equal scores are in one group. Expected calibration error over such groups: Naeini et al., AAAI 2015, with
    equal-mass bins.
    """
    group = equal_mass_bins(scores, bins)
    rows = np.bincount(group, minlength=bins)
    kept = np.flatnonzero(rows)
    predicted, observed = (np.bincount(group, weights=each, minlength=bins)[kept] / rows[kept] for each in (scores, y))
    return predicted.tolist(), observed.tolist(), rows[kept].tolist()


def reliability(y: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """Data of a reliability plot: ``predicted`` (mean score), ``observed`` (share of positives) and ``rows`` of each
    group of :func:`calibration`."""
    predicted, observed, rows = calibration(y, scores)
    return {"predicted": predicted, "observed": observed, "rows": [float(count) for count in rows]}


def curves(y: np.ndarray, scores: np.ndarray, points: int = 200) -> dict[str, dict[str, list[float]]]:
    """ROC, precision-recall and calibration curves, thinned to at most ``points`` points each, and score counts."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    false_positive, true_positive, _ = roc_curve(y, scores)
    precision, recall, _ = precision_recall_curve(y, scores)
    edges = np.linspace(0, 1, 41)

    def thin(values: np.ndarray) -> list[float]:
        return [float(value) for value in values[np.unique(np.linspace(0, len(values) - 1, points).astype(int))]]

    return {
        "roc": {"x": thin(false_positive), "y": thin(true_positive)},
        "pr": {"x": thin(recall), "y": thin(precision)},
        "calibration": reliability(y, scores),
        "scores": {
            "edges": edges.tolist(),
            "positives": np.histogram(scores[y == 1], edges)[0].astype(float).tolist(),
            "negatives": np.histogram(scores[y == 0], edges)[0].astype(float).tolist(),
        },
    }


def f1_threshold(y: np.ndarray, scores: np.ndarray) -> float:
    """The threshold with the highest F1, clipped to (0, 1)."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(y, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(np.clip(thresholds[int(np.argmax(f1[:-1]))], 1e-6, 1 - 1e-6))


Values = npt.NDArray[Any]


def theoretical_threshold(costs: Costs) -> float:
    """The calibrated probability above which flagging is cheaper than not flagging (Elkan 2001, eq. 2).

    >>> round(theoretical_threshold(Costs(false_positive=1, false_negative=4)), 3)
    0.2
    """
    wrong, missed = costs.false_positive - costs.true_negative, costs.false_negative - costs.true_positive
    return wrong / (wrong + missed)


def mean_cost(y: Values, flagged: Values, costs: Costs) -> float:
    """Mean cost per row of decisions ``flagged`` (true or false), shape (rows,), for labels ``y`` 0 or 1."""
    return float(_row_costs(y, flagged, costs).mean())


def cost_threshold(y: Values, scores: Values, costs: Costs) -> float:
    """The threshold with the lowest mean cost of ``scores >= threshold``: the lowest score with that cost, or a value
    just above all scores if flagging nothing is cheaper."""
    thresholds, means = _sweep(y, scores, costs)
    return float(thresholds[int(np.argmin(means))])


def cost_evidence(
    y: Values, scores: Values, threshold: float, costs: Costs, days: npt.ArrayLike, points: int = 200
) -> dict[str, Any]:
    """Costs of the decisions on held-out rows.

    Returns:
        ``costs`` (the matrix), ``theoretical_threshold``, ``mean`` (per row, at ``threshold``) with ``low`` and
        ``high`` (95 %; None with too few days), ``flag_all`` and ``flag_none`` (the same without a model), and
        ``curve``: ``threshold`` and ``cost``, at most ``points`` of each.
    """
    each = _row_costs(y, scores >= threshold, costs)
    day = day_numbers(days)
    cost, rows = np.bincount(day, each), np.bincount(day)
    ends = measured_intervals(lambda weights: {"mean": float(weights @ cost / (weights @ rows))}, len(rows))
    low, high = ends.get("mean", (None, None))
    thresholds, means = _sweep(y, scores, costs)
    shown = np.unique(np.linspace(0, len(thresholds) - 1, points).astype(int))
    return {
        "costs": costs.model_dump(),
        "theoretical_threshold": theoretical_threshold(costs),
        "mean": float(each.mean()),
        "low": low,
        "high": high,
        "flag_all": mean_cost(y, np.ones(len(y), dtype=bool), costs),
        "flag_none": mean_cost(y, np.zeros(len(y), dtype=bool), costs),
        "curve": {"threshold": thresholds[shown].tolist(), "cost": means[shown].tolist()},
    }


def _row_costs(y: Values, flagged: Values, costs: Costs) -> npt.NDArray[np.float64]:
    when_positive = np.where(flagged, costs.true_positive, costs.false_negative)
    when_negative = np.where(flagged, costs.false_positive, costs.true_negative)
    return np.where(np.asarray(y) == 1, when_positive, when_negative).astype(np.float64)


def _sweep(y: Values, scores: Values, costs: Costs) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """All thresholds with different decisions, increasing, and their mean costs; the last one flags nothing."""
    values = np.asarray(scores, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    ranked, labels = values[order], np.asarray(y)[order]
    starts = np.flatnonzero(np.diff(ranked, prepend=-np.inf))
    below = np.concatenate([[0], np.cumsum(labels)])
    ends = np.append(starts, len(ranked))  # rows below each threshold
    missed, left = below[ends], ends - below[ends]
    total = below[-1]
    means = (
        missed * costs.false_negative
        + left * costs.true_negative
        + (total - missed) * costs.true_positive
        + (len(ranked) - total - left) * costs.false_positive
    ) / len(ranked)
    return np.append(ranked[starts], np.nextafter(ranked[-1], np.inf)), means
