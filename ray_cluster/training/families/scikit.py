"""The families of scikit-learn that are fitted by warm start or in one go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ray_cluster.training.families.steps import Fit

__all__ = ["ScikitFit", "WarmStartFit"]


class ScikitFit(Fit):
    """A classifier of scikit-learn's; ``step`` is its parameter that holds the number of iterations, if any."""

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
    """A classifier that goes on from what it has when ``warm_start`` is set and ``step`` is raised."""

    def fixed(self) -> dict[str, Any]:
        return {"random_state": self.seed, "warm_start": True}

    def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
        self.model.set_params(**{self.step: iterations})
        super().advance(iterations, stopped)
