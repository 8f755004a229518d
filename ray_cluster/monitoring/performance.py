"""How good the predictions are whose outcomes have arrived, beside the held-out reference.

Intervals come from a bootstrap that draws whole days with replacement, because rows of one day share its weather and
its trouble (C. A. Field and A. H. Welsh, Bootstrapping clustered data, JRSS B 69(3), 2007); with fewer than
``MIN_DAYS`` days it draws rows. Average precision grows with the share of positives, so the value that is compared with
the held-out one gives the positives the weight they had there (W. Siblini et al., Master your metrics with
calibration, IDA 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["METRICS", "Scored", "performance", "score_metrics"]

METRICS = ("roc_auc", "average_precision", "brier", "log_loss", "calibration_gap")
MIN_DAYS = 8
RESAMPLES = 300
_EPSILON = 1e-15

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Predictions with outcomes: ``labels`` 0 or 1, ``scores`` probabilities, ``days`` a number per row that says
    which day it belongs to (or None); each of shape (rows,)."""

    labels: Floats
    scores: Floats
    days: npt.NDArray[np.int64] | None = None

    @property
    def rate(self) -> float:
        """The share of positives."""
        return float(self.labels.mean()) if len(self.labels) else float("nan")

    @property
    def judgeable(self) -> bool:
        """Whether both classes are there; without that no ranking metric is defined."""
        return len(self.labels) > 0 and 0 < self.labels.sum() < len(self.labels)


def performance(live: Scored, held_out: Scored, metric: str, seed: int = 0) -> dict[str, Any]:
    """Compare live performance with the held-out one.

    Args:
        metric: ``roc_auc`` or ``average_precision``: the one the verdict is made from.
        seed: of the bootstrap; the same inputs give the same figures.

    Returns:
        ``outcomes``, ``positives``, ``rate``, ``held_out_rate``; ``metrics``: name -> ``{live, low, high, held_out}``
        with the 95 % interval of the live value (values None while only one class has arrived); and for the verdict
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
    ours, theirs = _Ranked.of(live), _Ranked.of(held_out)
    value, reference = ours.metrics(rate=rate), theirs.metrics()
    plain = ours.metrics()
    random = np.random.default_rng(seed)
    drawn = [(ours.metrics(weights), ours.metrics(weights, rate)) for weights in _resamples(ours.days, random)]
    against = [theirs.metrics(weights)[metric] for weights in _resamples(theirs.days, random)]
    for name in METRICS:
        low, high = _interval([draw[name] for draw, _ in drawn])
        facts["metrics"][name] = {"live": plain[name], "low": low, "high": high, "held_out": reference[name]}
    drop_low, drop_high = _interval([there - here[metric] for (_, here), there in zip(drawn, against, strict=True)])
    return facts | {
        "live": value[metric],
        "held_out": reference[metric],
        "drop": reference[metric] - value[metric],
        "drop_low": drop_low,
        "drop_high": drop_high,
    }


def score_metrics(scored: Scored, weights: Floats | None = None) -> dict[str, float]:
    """Return each of ``METRICS``. ``calibration_gap`` is the mean score less the share of positives: above zero the
    model promises too much.

    >>> score_metrics(Scored(np.array([0.0, 1.0]), np.array([0.2, 0.8])))["roc_auc"]
    1.0
    """
    ranked = _Ranked.of(scored)
    return ranked.metrics(None if weights is None else weights[ranked.order])


@dataclass(frozen=True)
class _Ranked:
    """Rows sorted once by falling score, so that each weighted resample costs a few cumulative sums."""

    order: npt.NDArray[np.int64]
    labels: Floats
    scores: Floats
    days: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, scored: Scored) -> _Ranked:
        order = np.argsort(-scored.scores, kind="stable")
        scores = scored.scores[order]
        ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
        rows = np.arange(len(scores))
        days = rows if scored.days is None else np.unique(scored.days, return_inverse=True)[1]
        if not len(days) or days.max() + 1 < MIN_DAYS:
            days = rows
        return cls(order, scored.labels[order], scores, days[order], ends)

    def metrics(self, weights: Floats | None = None, rate: float | None = None) -> dict[str, float]:
        weights = np.ones(len(self.labels)) if weights is None else weights
        up, down = weights * self.labels, weights * (1 - self.labels)
        positives, negatives = up.sum(), down.sum()
        if not positives or not negatives:
            return dict.fromkeys(METRICS, float("nan"))
        true, false = np.cumsum(up)[self.ends], np.cumsum(down)[self.ends]
        gained = np.diff(true, prepend=0.0)
        lift = 1.0 if rate is None else (rate * negatives) / ((1 - rate) * positives)
        flagged = true * lift + false
        precision = np.divide(true * lift, flagged, out=np.zeros_like(true), where=flagged > 0)
        below = negatives - false + np.diff(false, prepend=0.0) / 2
        clipped = np.clip(self.scores, _EPSILON, 1 - _EPSILON)
        total = positives + negatives
        return {
            "roc_auc": float(np.sum(gained * below) / (positives * negatives)),
            "average_precision": float(np.sum(gained * precision) / positives),
            "brier": float(np.sum(weights * (self.scores - self.labels) ** 2) / total),
            "log_loss": float(-np.sum(up * np.log(clipped) + down * np.log1p(-clipped)) / total),
            "calibration_gap": float((np.sum(weights * self.scores) - positives) / total),
        }


def _resamples(days: npt.NDArray[np.int64], random: np.random.Generator) -> Iterator[Floats]:
    """Weights per row: how often the row's day was drawn."""
    blocks = int(days.max()) + 1
    for _ in range(RESAMPLES):
        drawn = np.bincount(random.integers(0, blocks, blocks), minlength=blocks).astype(np.float64)
        yield drawn[days]


def _interval(values: list[float]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
