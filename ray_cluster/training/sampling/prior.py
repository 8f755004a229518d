"""The prior shift of sampling: positives are more frequent in the rows of the fit than in the real rows."""

from __future__ import annotations

from typing import Any

from ray_cluster.training.families.prior import PriorCorrected, log_odds
from ray_cluster.training.sampling.sampled_rows import Sampled

__all__ = ["PriorCorrected", "prior_shift"]  # bundles of earlier versions name the class by this module


def prior_shift(sampled: Sampled, y: Any) -> float:
    """Increase of the log-odds of a positive by sampling, compared with the real labels ``y``."""
    return log_odds(sampled.y, sampled.weights) - log_odds(y)
