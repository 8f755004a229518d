"""The prior shift of sampling: positives are more frequent in the rows of the fit than in the real rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ray_cluster.training.families.prior import PriorCorrected
from ray_cluster.training.sampling.sampled_rows import Sampled

__all__ = ["PriorCorrected", "prior_shift"]  # bundles of earlier versions name the class by this module


def prior_shift(sampled: Sampled, y: Any) -> float:
    """Increase of the log-odds of a positive by sampling, compared with the real labels ``y``."""
    real = np.asarray(y) == 1
    positive, negative = sampled.weights[sampled.y == 1].sum(), sampled.weights[sampled.y == 0].sum()
    return float(np.log(positive / negative) - np.log(real.sum() / (~real).sum()))
