"""The families of scikit-learn: fitted by warm start (gradient boosting, forest, perceptron) or in one step (logistic).

Random forest: Breiman, "Random Forests", Machine Learning 45, 2001; its iterations are trees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ray_cluster.training.families.fit_steps import Fit

__all__ = [
    "ScikitFit",
    "WarmStartFit",
    "HistGradientBoostingFit",
    "RandomForestFit",
    "MLPFit",
    "LogisticRegressionFit",
]


class ScikitFit(Fit):
    """A classifier of scikit-learn's; ``step`` is the name of its parameter for the number of iterations, if any."""

    step: ClassVar[str] = ""

    @classmethod
    def estimator(cls) -> Any:
        """The class."""
        raise NotImplementedError

    def fixed(self) -> dict[str, Any]:
        """Parameters that the family sets itself."""
        return {"random_state": self.seed}

    def begin(self) -> None:
        self.model = self.estimator()(**{**self.params, **self.fixed()})

    def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
        self.model.fit(self.rows.x, self.rows.y, sample_weight=self.rows.weights)
        self.done = iterations

    @classmethod
    def known(cls) -> set[str] | None:
        return set(cls.estimator()().get_params())


class WarmStartFit(ScikitFit):
    """A classifier that continues its fit when ``warm_start`` is set and ``step`` is increased."""

    def fixed(self) -> dict[str, Any]:
        return {"random_state": self.seed, "warm_start": True}

    def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
        self.model.set_params(**{self.step: iterations})
        super().advance(iterations, stopped)


class HistGradientBoostingFit(WarmStartFit):
    """Its iterations are boosting rounds; it bins the rows again at each step.

    It has a bin for each category, so a column with more categories than ``max_bins`` is split like a number."""

    encoding = "categories"
    step = "max_iter"
    boosts = True

    @classmethod
    def estimator(cls) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier

    def fixed(self) -> dict[str, Any]:
        columns, bins = self.rows.columns, int(self.params.get("max_bins") or 255)
        fixed = {**super().fixed(), "early_stopping": False}
        if any(categories := [0 < size <= bins for size in columns.categories]):
            fixed["categorical_features"] = categories
        if any(columns.directions):
            fixed["monotonic_cst"] = list(columns.directions)
        return fixed


class RandomForestFit(WarmStartFit):
    """Its iterations are trees; existing trees do not change."""

    step = "n_estimators"

    @classmethod
    def estimator(cls) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier

    def fixed(self) -> dict[str, Any]:
        return {**super().fixed(), "n_jobs": self.threads}


class MLPFit(ScikitFit):
    """Its iterations are epochs of Adam or SGD; each shuffles the rows by the seed and the epoch's number."""

    encoding = "one_hot"

    @classmethod
    def estimator(cls) -> Any:
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier

    def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
        while self.done < iterations and not stopped():
            self.model.set_params(random_state=self.seed + self.done)
            self.model.partial_fit(self.rows.x, self.rows.y, classes=[0, 1], sample_weight=self.rows.weights)
            self.done += 1


class LogisticRegressionFit(ScikitFit):
    """One step; a fit that has not converged after ``max_iter`` is accepted."""

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
