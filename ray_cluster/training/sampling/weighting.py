"""Class weights: every positive counts for several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ray_cluster.training.sampling.sampled import Sampled, as_they_are, enough

__all__ = ["class_weight"]


def class_weight(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Weigh positives so that their weights sum to ``ratio`` times the number of negatives; no row comes or goes."""
    rows = as_they_are(features, y, ids)
    positives = int(rows.y.sum())
    weight = ratio * (len(rows.y) - positives) / positives
    if weight <= 1:
        return replace(rows, note=enough(positives, len(rows.y) - positives, ratio))
    return replace(rows, weights=np.where(rows.y == 1, weight, 1.0))
