"""Calibration and threshold, chosen on validation scores alone.

An increasing function maps scores to probabilities; it is saved in the bundle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from configs.evaluation import CostThreshold
from configs.model import ModelSpec
from ray_cluster.evaluation.intervals import paired_gain
from ray_cluster.evaluation.metrics import MIN_MEASURED_ROWS, cost_threshold, f1_threshold, metrics

__all__ = [
    "Calibrated",
    "Calibrator",
    "Isotonic",
    "Sigmoid",
    "calibrated",
    "fit_calibrator",
    "OperatingPoint",
    "choose_operating_point",
]

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
#: Scores are clipped to this distance from 0 and 1 before the log odds are computed.
_EPSILON = 1e-12


class Sigmoid(BaseEstimator):  # type: ignore[misc]
    """``1 / (1 + exp(-(slope · log odds of the score + intercept)))`` with ``slope`` >= 0."""

    def __init__(self, slope: float = 1.0, intercept: float = 0.0) -> None:
        self.slope = slope
        self.intercept = intercept

    def __call__(self, scores: Values) -> Floats:
        """Probabilities of scores in [0, 1], shape (rows,)."""
        found: Floats = 1 / (1 + np.exp(-(self.slope * _log_odds(scores) + self.intercept)))
        return found


class Isotonic(BaseEstimator):  # type: ignore[misc]
    """Increasing and linear between ``knots`` (scores), with ``values`` at the knots; constant outside them."""

    def __init__(self, knots: Any = (0.0, 1.0), values: Any = (0.0, 1.0)) -> None:
        self.knots = knots
        self.values = values

    def __call__(self, scores: Values) -> Floats:
        """Probabilities of scores in [0, 1], shape (rows,)."""
        found: Floats = np.interp(np.asarray(scores, dtype=np.float64), self.knots, self.values)
        return found


Calibrator = Sigmoid | Isotonic


class Calibrated(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier of two classes whose probabilities go through a fitted calibrator."""

    def __init__(self, classifier: Any = None, calibrator: Any = None) -> None:
        self.classifier = classifier
        self.calibrator = calibrator

    @property
    def classes_(self) -> Values:
        """The classifier's classes, negative first."""
        found: Values = self.classifier.classes_
        return found

    def fit(self, x: Any, y: Any) -> Calibrated:
        """Fit the classifier again; the calibrator does not change, because it must be fitted on other rows."""
        self.classifier.fit(x, y)
        return self

    def predict_proba(self, x: Any) -> Floats:
        """Calibrated probabilities of the two classes, shape (rows, 2)."""
        positive = self.calibrator(self.classifier.predict_proba(x)[:, 1])
        return np.column_stack([1 - positive, positive])

    def predict(self, x: Any) -> Values:
        """The more probable class, shape (rows,)."""
        found: Values = self.classes_[(self.predict_proba(x)[:, 1] > 0.5).astype(int)]
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return self.classifier is not None and self.calibrator is not None


def fit_calibrator(method: str, y: Values, scores: Values) -> Calibrator:
    """Fit a calibrator (``sigmoid`` or ``isotonic``) from labels 0 or 1 and scores in [0, 1], shape (rows,)."""
    scores = np.asarray(scores, dtype=np.float64)
    return _fit_isotonic(y, scores) if method == "isotonic" else _fit_sigmoid(y, scores)


def calibrated(pipeline: Pipeline, calibrator: Calibrator | None) -> Pipeline:
    """The pipeline with calibrated probabilities of its classifier; the pipeline itself if ``calibrator`` is None."""
    if calibrator is None:
        return pipeline
    *steps, (name, classifier) = pipeline.steps
    return Pipeline([*steps, (name, Calibrated(classifier, calibrator))])


def _fit_sigmoid(y: Values, scores: Floats) -> Sigmoid:
    """Logistic regression on log odds with Platt's targets, which stay finite where scores separate the classes."""
    from sklearn.linear_model import LogisticRegression

    odds = _log_odds(scores)
    positives = float(np.sum(y))
    negatives = len(y) - positives
    target = np.where(np.asarray(y) == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    fitted = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(
        np.concatenate([odds, odds])[:, None],
        np.repeat([1, 0], len(odds)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope = float(fitted.coef_[0, 0])
    if slope <= 0:  # scores ranked the wrong way: a decreasing function would reverse the ranking
        rate = float(target.mean())
        return Sigmoid(0.0, float(np.log(rate) - np.log1p(-rate)))
    return Sigmoid(slope, float(fitted.intercept_[0]))


def _fit_isotonic(y: Values, scores: Floats) -> Isotonic:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, increasing=True).fit(scores, y)
    return Isotonic(np.asarray(fitted.X_thresholds_, float), np.asarray(fitted.y_thresholds_, float))


def _log_odds(scores: Values) -> Floats:
    clipped = np.clip(np.asarray(scores, dtype=np.float64), _EPSILON, 1 - _EPSILON)
    found: Floats = np.log(clipped) - np.log1p(-clipped)
    return found


_METHODS = ("sigmoid", "isotonic")
_BLOCKS = 5


@dataclass(frozen=True)
class OperatingPoint:
    """The calibrator (None: scores unchanged), the threshold on calibrated scores, and how both were chosen."""

    calibrator: Calibrator | None
    threshold: float
    evidence: dict[str, Any]


def choose_operating_point(
    spec: ModelSpec, y: Values, scores: Values, days: Values, recent: int | None = None
) -> OperatingPoint:
    """Choose calibration and threshold on validation rows.

    Args:
        y, scores, days: labels 0 or 1, scores of models that were not fitted on these rows, and the day of each row, in
            time order, shape (rows,).
        recent: number of the latest rows on which the threshold of the best F1 is chosen: it depends on the share of
            positives, which differs between windows. None: all rows.

    ``auto`` splits the validation rows into five blocks: each method is fitted on the blocks before a block and
    measured on that block. The method with the lowest log loss is used if it improves on the uncalibrated scores on
    other days too (the 95 % interval of the gain is above zero); it is then fitted on all rows."""
    asked, tried = spec.calibration, _tried(y, scores, days) if spec.calibration == "auto" else []
    method: str = asked
    if asked == "auto":
        best = min(tried, key=lambda found: float(found["log_loss"]), default=None)
        method = str(best["method"]) if best and best["low"] > 0 else "none"
    if min(int(y.sum()), len(y) - int(y.sum())) < MIN_MEASURED_ROWS:
        method = "none"
    calibrator = None if method == "none" else fit_calibrator(method, y, scores)
    probabilities = np.asarray(scores, dtype=np.float64) if calibrator is None else calibrator(scores)
    recent = recent or len(y)
    if min(int(y[-recent:].sum()), recent - int(y[-recent:].sum())) < MIN_MEASURED_ROWS:
        recent = len(y)
    if isinstance(spec.threshold, CostThreshold):
        threshold = cost_threshold(y, probabilities, spec.threshold.costs)
    else:
        threshold = (
            f1_threshold(y[-recent:], probabilities[-recent:]) if spec.threshold == "f1" else float(spec.threshold)
        )
    return OperatingPoint(
        calibrator,
        threshold,
        {
            "asked": asked,
            "method": method,
            "tried": tried,
            "rows": len(y),
            "positives": int(y.sum()),
            "threshold_rows": recent if spec.threshold == "f1" else len(y),
            "validation_ece": metrics(y, np.asarray(scores), 0.5)["ece"] if 0 < y.sum() < len(y) else None,
        },
    )


def _tried(y: Values, scores: Values, days: Values) -> list[dict[str, Any]]:
    """For each method: its log loss on blocks later than those it was fitted on, and its gain over the uncalibrated
    scores (``before``) with an interval; empty if no block can be used for fitting."""
    blocks = np.array_split(np.arange(len(y)), _BLOCKS)
    earlier = {number: np.concatenate(blocks[:number]) for number in range(1, _BLOCKS)}
    learnable = [
        number
        for number, rows in earlier.items()
        if len(blocks[number]) and min(int(y[rows].sum()), len(rows) - int(y[rows].sum())) >= MIN_MEASURED_ROWS
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
        gain = paired_gain(y[taken], scores[taken], learned, days[taken], "log_loss")
        losses = [metrics(y[taken], np.asarray(values), 0.5)["log_loss"] for values in (learned, scores[taken])]
        found.append({"method": method, "log_loss": losses[0], "before": losses[1], **asdict(gain)})
    return found
