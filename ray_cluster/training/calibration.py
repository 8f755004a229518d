"""Calibration: scores become probabilities by a rising function, learned on validation scores and kept in the bundle.

Sigmoid: J. Platt, Probabilistic outputs for support vector machines, 1999, here on the log odds of the score, so that
leaving it as it is is one of its members. Isotonic: B. Zadrozny and C. Elkan, KDD 2002. scikit-learn's
``CalibratedClassifierCV`` fits its classifier and calibrator in one go and cannot take scores that earlier folds gave.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

__all__ = ["Calibrated", "Calibrator", "Isotonic", "Sigmoid", "calibrated", "fit_calibrator"]

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
#: Scores are kept this far from 0 and 1 before their log odds are taken.
_EPSILON = 1e-12


class Sigmoid(BaseEstimator):  # type: ignore[misc]
    """``1 / (1 + exp(-(slope · log odds of the score + intercept)))`` with ``slope`` not below zero."""

    def __init__(self, slope: float = 1.0, intercept: float = 0.0) -> None:
        self.slope = slope
        self.intercept = intercept

    def __call__(self, scores: Values) -> Floats:
        """Probabilities of scores in [0, 1], shape (rows,)."""
        found: Floats = 1 / (1 + np.exp(-(self.slope * _log_odds(scores) + self.intercept)))
        return found


class Isotonic(BaseEstimator):  # type: ignore[misc]
    """Rising and linear between ``knots`` (scores), where it is ``values``; level beyond them."""

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
        """Fit the classifier anew; the calibrator stays, for it must learn from other rows."""
        self.classifier.fit(x, y)
        return self

    def predict_proba(self, x: Any) -> Floats:
        """Calibrated probabilities of the two classes, shape (rows, 2)."""
        positive = self.calibrator(self.classifier.predict_proba(x)[:, 1])
        return np.column_stack([1 - positive, positive])

    def predict(self, x: Any) -> Values:
        """The likelier class, shape (rows,)."""
        found: Values = self.classes_[(self.predict_proba(x)[:, 1] > 0.5).astype(int)]
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return self.classifier is not None and self.calibrator is not None


def fit_calibrator(method: str, y: Values, scores: Values) -> Calibrator:
    """Learn a calibrator (``sigmoid`` or ``isotonic``) from labels 0 or 1 and scores in [0, 1], shape (rows,)."""
    scores = np.asarray(scores, dtype=np.float64)
    return _fit_isotonic(y, scores) if method == "isotonic" else _fit_sigmoid(y, scores)


def calibrated(pipeline: Pipeline, calibrator: Calibrator | None) -> Pipeline:
    """The pipeline with its classifier's probabilities calibrated; without a calibrator, itself."""
    if calibrator is None:
        return pipeline
    *steps, (name, classifier) = pipeline.steps
    return Pipeline([*steps, (name, Calibrated(classifier, calibrator))])


def _fit_sigmoid(y: Values, scores: Floats) -> Sigmoid:
    """Logistic regression on log odds, towards Platt's targets, which keep it finite where scores part the classes."""
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
    if slope <= 0:  # scores that say the opposite: a falling function would turn the ranking round
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
