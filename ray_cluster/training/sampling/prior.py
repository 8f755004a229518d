"""Take back out of a score what sampling put in: that positives were more frequent in the fit than they are.

Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, theorem 2; Saerens, Latinne and Decaestecker, Neural
Computation 14, 2002. Exact where the sampler leaves the distribution within each class as it is (class weights,
undersampling); of synthetic rows it corrects the share of positives and not their shape, which calibration may mend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from ray_cluster.training.sampling.sampled_rows import Sampled

__all__ = ["PriorCorrected", "corrected", "prior_shift"]


def prior_shift(sampled: Sampled, y: Any) -> float:
    """By how much sampling raised the log-odds of a positive, against those of the real labels ``y``."""
    real = np.asarray(y) == 1
    positive, negative = sampled.weights[sampled.y == 1].sum(), sampled.weights[sampled.y == 0].sum()
    return float(np.log(positive / negative) - np.log(real.sum() / (~real).sum()))


def corrected(scores: Any, shift: float) -> npt.NDArray[np.float64]:
    """Probabilities in [0, 1] with their log-odds lowered by ``shift``; their order stays.

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
        """Labels, as the classifier knows them."""
        return self.classifier.classes_

    @property
    def feature_importances_(self) -> Any:
        """The classifier's own, where it has them."""
        return self.classifier.feature_importances_

    def fit(self, x: Any, y: Any) -> PriorCorrected:
        """Fit the classifier anew; the shift stays."""
        self.classifier = self.classifier.fit(x, y)
        return self

    def predict_proba(self, x: Any) -> npt.NDArray[np.float64]:
        """Shape (rows, 2)."""
        positive = corrected(self.classifier.predict_proba(x)[:, 1], self.shift)
        return np.column_stack([1 - positive, positive])

    def predict(self, x: Any) -> Any:
        """Positive from 0.5 on."""
        return self.classes_[(self.predict_proba(x)[:, 1] >= 0.5).astype(int)]
