"""Performance of predictions whose outcomes have arrived, compared with the held-out reference.

Intervals are the t intervals over days of :mod:`ray_cluster.evaluation.intervals`. Average precision grows with the
share of positives, so the compared value weights the positives to their share in the held-out rows
(W. Siblini et al., Master your metrics with calibration, IDA 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_cluster.evaluation.intervals import (
    MIN_DAYS,
    Floats,
    Ranked,
    around,
    day_numbers,
    influences,
    measured_intervals,
    standard_error,
)

__all__ = ["METRICS", "Scored", "performance", "score_metrics"]

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
    def day_count(self) -> int:
        """The number of days, 0 if they are unknown."""
        return 0 if self.days is None else len(np.unique(self.days))

    @property
    def judgeable(self) -> bool:
        """Whether both classes occur; otherwise no ranking metric is defined."""
        return len(self.labels) > 0 and 0 < self.labels.sum() < len(self.labels)


def performance(live: Scored, held_out: Scored, metric: str) -> dict[str, Any]:
    """Compare live performance with held-out performance.

    Args:
        metric: ``roc_auc`` or ``average_precision``: the metric of the verdict.

    Returns:
        ``outcomes``, ``positives``, ``days``, ``rate``, ``held_out_rate``; ``metrics``: name -> ``{live, low, high,
        held_out}`` with the 95 % interval of the live value (nothing while only one class has arrived); and for the
        verdict ``metric``, ``live``, ``held_out``, ``drop``, ``drop_low``, ``drop_high`` and ``reweighted``, whether
        the live value is at the held-out share of positives. The ends of intervals are None with too few days.
    """
    facts: dict[str, Any] = {
        "outcomes": len(live.labels),
        "positives": int(live.labels.sum()),
        "days": live.day_count,
        "rate": live.rate if len(live.labels) else None,
        "held_out_rate": held_out.rate,
        "metric": metric,
        "reweighted": metric == "average_precision",
        "metrics": {},
    }
    if not live.judgeable or not held_out.judgeable:
        return facts | {"live": None, "held_out": None, "drop": None, "drop_low": None, "drop_high": None}
    rate = held_out.rate if metric == "average_precision" else None
    ours, theirs = _ranked(live), _ranked(held_out)
    value, reference, plain = ours.ranking(rate=rate)[metric], theirs.metrics(), ours.metrics()
    ends = measured_intervals(ours.metrics, ours.blocks)
    for name in METRICS:
        low, high = ends.get(name, (None, None))
        facts["metrics"][name] = {"live": plain[name], "low": low, "high": high, "held_out": reference[name]}
    drop = reference[metric] - value
    drop_low, drop_high = _drop_interval(drop, ours, theirs, metric, rate)
    return facts | {
        "live": value,
        "held_out": reference[metric],
        "drop": drop,
        "drop_low": drop_low,
        "drop_high": drop_high,
    }


def score_metrics(scored: Scored, weights: Floats | None = None) -> dict[str, float]:
    """Return each of ``METRICS``. ``calibration_gap`` is the mean score minus the share of positives: above zero, the
    scores are too high.

    >>> score_metrics(Scored(np.array([0.0, 1.0]), np.array([0.2, 0.8])))["roc_auc"]
    1.0
    """
    found = Ranked.of(scored.labels, scored.scores, None).metrics(weights)
    return {name: found[name] for name in METRICS}


def _drop_interval(
    drop: float, live: Ranked, held_out: Ranked, metric: str, rate: float | None
) -> tuple[float | None, float | None]:
    """The interval of a difference between two periods, with Welch's degrees of freedom; None with too few days."""
    if min(live.blocks, held_out.blocks) < MIN_DAYS:
        return None, None
    now = standard_error(influences(lambda weights: live.ranking(weights, rate), live.blocks)[metric])
    then = standard_error(influences(held_out.ranking, held_out.blocks)[metric])
    error = float(np.hypot(now[0], then[0]))
    freedom = error**4 / sum(each**4 / free for each, free in (now, then)) if error else 1.0
    low, high = around(drop, error, freedom)
    return (None, None) if np.isnan(low) else (low, high)


def _ranked(scored: Scored) -> Ranked:
    days = np.zeros(len(scored.labels), dtype=np.int64) if scored.days is None else day_numbers(scored.days)
    return Ranked.of(scored.labels, scored.scores, days)
