"""Decisions by what they cost: the threshold with the least cost, and that cost beside flagging all or nothing.

For calibrated scores the best threshold follows from the costs alone (C. Elkan, The foundations of cost-sensitive
learning, IJCAI 2001); it is kept beside the one found on the rows, which needs no such faith.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from configs.evaluation import Costs
from ray_cluster.evaluation.bootstrap import blocks_of, percentiles, resamples

__all__ = ["cost_evidence", "cost_threshold", "mean_cost", "theoretical_threshold"]

Values = npt.NDArray[Any]


def theoretical_threshold(costs: Costs) -> float:
    """Above which calibrated probability flagging is cheaper than not flagging (Elkan 2001, eq. 2).

    >>> round(theoretical_threshold(Costs(false_positive=1, false_negative=4)), 3)
    0.2
    """
    wrong, missed = costs.false_positive - costs.true_negative, costs.false_negative - costs.true_positive
    return wrong / (wrong + missed)


def mean_cost(y: Values, flagged: Values, costs: Costs) -> float:
    """Mean cost per row of decisions ``flagged`` (true or false), shape (rows,), for labels ``y`` 0 or 1."""
    return float(_row_costs(y, flagged, costs).mean())


def cost_threshold(y: Values, scores: Values, costs: Costs) -> float:
    """The threshold with the least mean cost of ``scores >= threshold``: one of the scores, the lowest of equally good
    ones that flag something, or just above all of them where flagging nothing is cheaper."""
    thresholds, means = _sweep(y, scores, costs)
    return float(thresholds[int(np.argmin(means))])


def cost_evidence(
    y: Values, scores: Values, threshold: float, costs: Costs, days: npt.ArrayLike | None, points: int = 200
) -> dict[str, Any]:
    """What the decisions cost on held-out rows.

    Returns:
        ``costs`` (the matrix), ``theoretical_threshold``, ``mean`` (per row, at ``threshold``) with ``low`` and
        ``high`` (95 %), ``flag_all`` and ``flag_none`` (the same without a model), and ``curve``: ``threshold`` and
        ``cost``, at most ``points`` of each.
    """
    each = _row_costs(y, scores >= threshold, costs)
    blocks = blocks_of(days, len(y))
    count = int(blocks.max()) + 1
    sums = np.stack([np.bincount(blocks, each, count), np.bincount(blocks, minlength=count)], axis=1)
    drawn = [weights @ sums for weights in resamples(count, 1000, np.random.default_rng(0))]
    low, high = percentiles([float(cost / rows) for cost, rows in drawn if rows])
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
    """Every threshold that decides differently, rising, and its mean cost; the last one flags nothing."""
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
