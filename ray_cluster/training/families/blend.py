"""Several fitted pipelines as one classifier: a weighted sum of their log-odds.

With equal weights it is the logarithmic opinion pool; weights that are fitted on scores of rows that no member has seen
are stacking (D. Wolpert, Stacked generalization, Neural Networks 5, 1992), here not negative, as L. Breiman found that
this is what makes it work (Stacked regressions, Machine Learning 24, 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

__all__ = ["Blend", "blended", "stacked_weights"]

Values = npt.NDArray[np.float64]

#: Scores nearer to 0 or 1 have the log-odds of this distance.
_EDGE = 1e-7


def blended(scores: Sequence[Any], weights: Sequence[float]) -> Values:
    """The probabilities of a blend.

    Args:
        scores: probabilities of each member, shape (rows,) each.
        weights: the intercept, and the weight of each member.

    >>> blended([[0.2, 0.9], [0.8, 0.9]], [0.0, 0.5, 0.5]).round(6).tolist()
    [0.5, 0.9]
    """
    odds = np.column_stack([_log_odds(each) for each in scores])
    found: Values = 1 / (1 + np.exp(-(weights[0] + odds @ np.asarray(weights[1:]))))
    return found


def stacked_weights(y: Any, scores: Sequence[Any]) -> tuple[float, ...]:
    """Intercept and weights of least log loss, the weights not negative.

    Args:
        y: labels 0 or 1, shape (rows,).
        scores: probabilities of each member for rows that it has not seen, shape (rows,) each.
    """
    from scipy.optimize import minimize

    inputs = np.column_stack([np.ones(len(y)), *(_log_odds(each) for each in scores)])
    labels = np.asarray(y, dtype=np.float64)

    def loss(weights: Values) -> tuple[float, Values]:
        odds = inputs @ weights
        slope = inputs.T @ (1 / (1 + np.exp(-odds)) - labels) / len(labels)
        return float(np.mean(np.logaddexp(0, odds) - labels * odds)), slope

    members = len(scores)
    start = np.array([0.0, *[1 / members] * members])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(None, None), *[(0.0, None)] * members])
    return tuple(float(value) for value in found.x)


def _log_odds(scores: Any) -> Values:
    p = np.clip(np.asarray(scores, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))


class Blend(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fitted pipelines whose probabilities are :func:`blended`; each has its own preprocessing."""

    def __init__(self, members: Any = (), weights: Any = (0.0,)) -> None:
        self.members = members
        self.weights = weights

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.members)

    @property
    def classes_(self) -> Any:
        """The members' labels."""
        return self.members[0].classes_

    @property
    def feature_names_in_(self) -> Any:
        """The columns of the frames that it scores."""
        return self.members[0].feature_names_in_

    def fit(self, x: Any, y: Any) -> Blend:
        """Fit each member again; the weights do not change."""
        self.members = [member.fit(x, y) for member in self.members]
        return self

    def predict_proba(self, x: Any) -> Values:
        """Shape (rows, 2)."""
        positive = blended([member.predict_proba(x)[:, 1] for member in self.members], self.weights)
        return np.column_stack([1 - positive, positive])

    def predict(self, x: Any) -> Any:
        """Positive if the probability is at least 0.5."""
        return self.classes_[(self.predict_proba(x)[:, 1] >= 0.5).astype(int)]
