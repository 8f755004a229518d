"""scikit-learn's random forest: its iterations are trees (Breiman, "Random Forests", Machine Learning 45, 2001)."""

from __future__ import annotations

from typing import Any

from ray_cluster.training.families.scikit import WarmStartFit

__all__ = ["RandomForestFit"]


class RandomForestFit(WarmStartFit):
    """Trees; those that are there already are kept."""

    step = "n_estimators"

    @classmethod
    def estimator(cls) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier

    def fixed(self) -> dict[str, Any]:
        return {**super().fixed(), "n_jobs": self.threads}
