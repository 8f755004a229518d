"""What is settled on validation scores alone once the point is chosen: the calibration and the threshold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.evaluation import CostThreshold
from configs.model import ModelSpec
from ray_cluster.evaluation.bootstrap import paired_bootstrap
from ray_cluster.evaluation.costs import cost_threshold
from ray_cluster.evaluation.metrics import f1_threshold, metrics
from ray_cluster.training.calibration import Calibrator, fit_calibrator

__all__ = ["Settled", "settle"]

Values = npt.NDArray[Any]
_METHODS = ("sigmoid", "isotonic")
_BLOCKS = 5
#: Fewer rows of either outcome than this are not learned from.
_ENOUGH = 20


@dataclass(frozen=True)
class Settled:
    """The calibrator (None leaves scores as they are), the threshold on calibrated scores, and how both were found."""

    calibrator: Calibrator | None
    threshold: float
    evidence: dict[str, Any]


def settle(spec: ModelSpec, y: Values, scores: Values, days: Values) -> Settled:
    """Choose calibration and threshold on validation rows.

    Args:
        y, scores, days: labels 0 or 1, what models that had not seen the rows gave, and which day each is of, in time
            order, shape (rows,).

    ``auto`` goes through the validation rows in five blocks: each method learns from the blocks before one and is
    measured on that one. The one with the least log loss is taken where it beats the scores as they are on other days
    too (the 95 % interval of the gain is above zero), and then learns from all rows.
    """
    asked, tried = spec.calibration, _tried(y, scores, days) if spec.calibration == "auto" else []
    method: str = asked
    if asked == "auto":
        best = min(tried, key=lambda found: float(found["log_loss"]), default=None)
        method = str(best["method"]) if best and best["low"] > 0 else "none"
    if min(int(y.sum()), len(y) - int(y.sum())) < _ENOUGH:
        method = "none"
    calibrator = None if method == "none" else fit_calibrator(method, y, scores)
    probabilities = np.asarray(scores, dtype=np.float64) if calibrator is None else calibrator(scores)
    if isinstance(spec.threshold, CostThreshold):
        threshold = cost_threshold(y, probabilities, spec.threshold.costs)
    else:
        threshold = f1_threshold(y, probabilities) if spec.threshold == "f1" else float(spec.threshold)
    return Settled(
        calibrator,
        threshold,
        {
            "asked": asked,
            "method": method,
            "tried": tried,
            "rows": len(y),
            "positives": int(y.sum()),
            "validation_ece": metrics(y, np.asarray(scores), 0.5)["ece"] if 0 < y.sum() < len(y) else None,
        },
    )


def _tried(y: Values, scores: Values, days: Values) -> list[dict[str, Any]]:
    """Per method its log loss on blocks later than what it learned from, and its gain over the scores as they are
    (``before``) with an interval; empty where no block can be learned from."""
    blocks = np.array_split(np.arange(len(y)), _BLOCKS)
    earlier = {number: np.concatenate(blocks[:number]) for number in range(1, _BLOCKS)}
    learnable = [
        number
        for number, rows in earlier.items()
        if len(blocks[number]) and min(int(y[rows].sum()), len(rows) - int(y[rows].sum())) >= _ENOUGH
    ]
    if not learnable:
        return []
    taken = np.concatenate([blocks[number] for number in learnable])
    if y[taken].min() == y[taken].max():
        return []
    found = []
    for method in _METHODS:
        parts = [
            fit_calibrator(method, y[earlier[number]], scores[earlier[number]])(scores[blocks[number]])
            for number in learnable
        ]
        learned = np.concatenate(parts)
        gain = paired_bootstrap(y[taken], scores[taken], learned, days[taken], "log_loss", count=300)
        losses = [metrics(y[taken], np.asarray(values), 0.5)["log_loss"] for values in (learned, scores[taken])]
        found.append({"method": method, "log_loss": losses[0], "before": losses[1], **asdict(gain)})
    return found
