"""Undersampling: negatives are left out at random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ray_cluster.training.sampling.sampled import Sampled, as_they_are, enough

__all__ = ["undersample"]


def undersample(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Keep every positive, and so many negatives that there are ``ratio`` positives per negative; order is kept.

    The same as imbalanced-learn's ``RandomUnderSampler`` without replacement, of which the drawn rows are.
    """
    from imblearn.under_sampling import RandomUnderSampler

    rows = as_they_are(features, y, ids)
    positives = int(rows.y.sum())
    if positives >= ratio * (len(rows.y) - positives):
        return replace(rows, note=enough(positives, len(rows.y) - positives, ratio))
    sampler = RandomUnderSampler(sampling_strategy=ratio, random_state=seed)
    sampler.fit_resample(np.arange(len(rows.y)).reshape(-1, 1), rows.y)
    kept = np.sort(sampler.sample_indices_)
    return Sampled(
        rows.features.iloc[kept].reset_index(drop=True),
        rows.y[kept],
        rows.weights[kept],
        rows.origin.iloc[kept].reset_index(drop=True),
    )
