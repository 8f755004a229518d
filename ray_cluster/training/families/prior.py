"""Correct scores for a prior shift: positives had more weight in the fit than in the real rows.

Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, theorem 2; Saerens, Latinne and Decaestecker, Neural
Computation 14, 2002. The correction is exact if the distribution within each class did not change (class weights,
undersampling); for synthetic rows it corrects the share of positives but not their distribution, which calibration may
correct.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from ray_cluster.training.families.fit_steps import Fit, Rows

__all__ = ["PriorCorrected", "PriorCorrectedFit", "corrected", "log_odds", "weight_shift"]


def weight_shift(y: Any, weights: Any | None, before: Any | None = None) -> float:
    """Increase of the log-odds of a positive by row weights, compared with the weights ``before``.

    Args:
        y: labels 0 or 1, shape (rows,).
        weights, before: one weight per row, shape (rows,); None means 1 each.
    """
    return 0.0 if weights is before else log_odds(y, weights) - log_odds(y, before)


def log_odds(y: Any, weights: Any | None = None) -> float:
    """Log of the weight of the positives over that of the negatives.

    >>> round(log_odds([0, 1, 1], [1.0, 0.5, 2.5]), 4)  # log(3)
    1.0986
    """
    negative, positive = np.bincount(np.asarray(y).astype(int), weights, 2)
    return float(np.log(positive / negative))


def corrected(scores: Any, shift: float) -> npt.NDArray[np.float64]:
    """Probabilities in [0, 1] with their log-odds lowered by ``shift``; their order does not change.

    >>> corrected([0.0, 0.5, 1.0], np.log(9)).round(6).tolist()
    [0.0, 0.1, 1.0]
    """
    p, factor = np.asarray(scores, dtype=np.float64), np.exp(-shift)
    return np.asarray(np.minimum(p * factor / (p * factor + (1 - p)), 1.0), dtype=np.float64)


class PriorCorrected(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose probabilities are :func:`corrected` by ``shift``."""

    def __init__(self, classifier: Any = None, shift: float = 0.0) -> None:
        self.classifier = classifier
        self.shift = shift

    def __sklearn_is_fitted__(self) -> bool:
        return self.classifier is not None

    @property
    def classes_(self) -> Any:
        """The classifier's labels."""
        return self.classifier.classes_

    @property
    def feature_importances_(self) -> Any:
        """The classifier's importances, if it has them."""
        return self.classifier.feature_importances_

    def fit(self, x: Any, y: Any) -> PriorCorrected:
        """Fit the classifier again; the shift does not change."""
        self.classifier = self.classifier.fit(x, y)
        return self

    def predict_proba(self, x: Any) -> npt.NDArray[np.float64]:
        """Shape (rows, 2)."""
        positive = corrected(self.classifier.predict_proba(x)[:, 1], self.shift)
        return np.column_stack([1 - positive, positive])

    def predict(self, x: Any) -> Any:
        """Positive if the probability is at least 0.5."""
        return self.classes_[(self.predict_proba(x)[:, 1] >= 0.5).astype(int)]


class PriorCorrectedFit(Fit):
    """A fit in progress whose scores, and those of its classifier, are :func:`corrected` by ``shift``."""

    def __init__(self, fit: Fit, shift: float) -> None:
        self.fit, self.shift = fit, shift

    @property
    def done(self) -> int:  # type: ignore[override]
        return self.fit.done

    def begin(self) -> None:
        """The fit has begun."""

    def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
        self.fit.advance(iterations, stopped)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return corrected(self.fit.predict(x), self.shift)

    def scores(self, validation: Rows) -> np.ndarray:
        return corrected(self.fit.scores(validation), self.shift)

    def checkpoint(self) -> bytes:
        return self.fit.checkpoint()

    @property
    def classifier(self) -> PriorCorrected:
        return PriorCorrected(self.fit.classifier, self.shift)
