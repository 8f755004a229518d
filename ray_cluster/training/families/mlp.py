"""scikit-learn's multilayer perceptron, an epoch at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray_cluster.training.families.scikit import ScikitFit

__all__ = ["MLPFit"]


class MLPFit(ScikitFit):
    """Epochs of Adam or of gradient descent; each shuffles the rows by the seed and its own number."""

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
