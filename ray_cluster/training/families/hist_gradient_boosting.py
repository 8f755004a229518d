"""scikit-learn's histogram gradient boosting, continued by warm start."""

from __future__ import annotations

from typing import Any

from ray_cluster.training.families.scikit import WarmStartFit

__all__ = ["HistGradientBoostingFit"]


class HistGradientBoostingFit(WarmStartFit):
    """Boosting rounds; it bins the rows anew at each step."""

    step = "max_iter"

    @classmethod
    def estimator(cls) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier

    def fixed(self) -> dict[str, Any]:
        return {**super().fixed(), "early_stopping": False}
