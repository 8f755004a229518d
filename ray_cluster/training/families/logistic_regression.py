"""Logistic regression: fitted in one go, on one-hot and standardised inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray_cluster.training.families.scikit import ScikitFit

__all__ = ["LogisticRegressionFit"]


class LogisticRegressionFit(ScikitFit):
    """One step; a fit that has not converged after ``max_iter`` is taken as it is."""

    encoding = "one_hot"

    @classmethod
    def estimator(cls) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression

    def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().advance(iterations, stopped)
