"""Correct scores for the sampling prior: positives were more frequent in the fit than in the real rows.

Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, theorem 2; Saerens, Latinne and Decaestecker, Neural
Computation 14, 2002. The correction is exact if the sampler does not change the distribution within each class (class
weights, undersampling); for synthetic rows it corrects the share of positives but not their distribution, which
calibration may correct.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from ray_cluster.training.sampling.sampled_rows import Sampled

__all__ = ["PriorCorrected", "corrected", "prior_shift"]


def prior_shift(sampled: Sampled, y: Any) -> float:
    """Increase of the log-odds of a positive by sampling, compared with the real labels ``y``."""
    real = np.asarray(y) == 1
    positive, negative = sampled.weights[sampled.y == 1].sum(), sampled.weights[sampled.y == 0].sum()
    return float(np.log(positive / negative) - np.log(real.sum() / (~real).sum()))


def corrected(scores: Any, shift: float) -> npt.NDArray[np.float64]:
    """Probabilities in [0, 1] with their log-odds lowered by ``shift``; their order does not change.

    >>> corrected([0.0, 0.5, 1.0], np.log(9)).tolist()
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
