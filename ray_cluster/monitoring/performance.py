"""Performance of predictions whose outcomes have arrived, compared with the held-out reference.

Intervals come from the bootstrap over days of :mod:`ray_cluster.evaluation.bootstrap`. Average precision grows with the
share of positives, so the compared value weights the positives to their share in the held-out rows
(W. Siblini et al., Master your metrics with calibration, IDA 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_cluster.evaluation.bootstrap import Floats, Ranked, blocks_of, percentiles, resamples

__all__ = ["METRICS", "Scored", "performance", "score_metrics"]

METRICS = ("roc_auc", "average_precision", "brier", "log_loss", "calibration_gap")
RESAMPLES = 300


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
    def judgeable(self) -> bool:
        """Whether both classes occur; otherwise no ranking metric is defined."""
        return len(self.labels) > 0 and 0 < self.labels.sum() < len(self.labels)


def performance(live: Scored, held_out: Scored, metric: str, seed: int = 0) -> dict[str, Any]:
    """Compare live performance with held-out performance.

    Args:
        metric: ``roc_auc`` or ``average_precision``: the metric of the verdict.
        seed: of the bootstrap; the same inputs give the same figures.

    Returns:
        ``outcomes``, ``positives``, ``rate``, ``held_out_rate``; ``metrics``: name -> ``{live, low, high, held_out}``
        with the 95 % interval of the live value (None while only one class has arrived); and for the verdict
        ``metric``, ``live``, ``held_out``, ``drop``, ``drop_low``, ``drop_high`` and ``reweighted``, whether the live
        value is at the held-out share of positives.
    """
    facts: dict[str, Any] = {
        "outcomes": len(live.labels),
        "positives": int(live.labels.sum()),
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
    value, reference = ours.metrics(rate=rate), theirs.metrics()
    plain = ours.metrics()
    random = np.random.default_rng(seed)
    drawn = [
        (ours.metrics(weights), ours.ranking(weights, rate)) for weights in resamples(ours.blocks, RESAMPLES, random)
    ]
    against = [theirs.ranking(weights)[metric] for weights in resamples(theirs.blocks, RESAMPLES, random)]
    for name in METRICS:
        low, high = percentiles([draw[name] for draw, _ in drawn])
        facts["metrics"][name] = {"live": plain[name], "low": low, "high": high, "held_out": reference[name]}
    drop_low, drop_high = percentiles([there - here[metric] for (_, here), there in zip(drawn, against, strict=True)])
    return facts | {
        "live": value[metric],
        "held_out": reference[metric],
        "drop": reference[metric] - value[metric],
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


def _ranked(scored: Scored) -> Ranked:
    return Ranked.of(scored.labels, scored.scores, blocks_of(scored.days, len(scored.labels)))
