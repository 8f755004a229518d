"""Apply a sampler by its name."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ray_cluster.training.sampling.adasyn import adasyn
from ray_cluster.training.sampling.copula import copula
from ray_cluster.training.sampling.sampled import Sampled, as_they_are
from ray_cluster.training.sampling.smote import smote
from ray_cluster.training.sampling.smotenc import smotenc
from ray_cluster.training.sampling.thinning import undersample
from ray_cluster.training.sampling.weighting import class_weight

__all__ = ["resample"]

_SAMPLERS = {
    "class_weight": class_weight,
    "undersample": undersample,
    "smote": smote,
    "smotenc": smotenc,
    "adasyn": adasyn,
    "copula": copula,
}


def resample(method: str, features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """What to fit on in place of some training rows; the same arguments give the same rows, to the bit.

    Args:
        method: "none", "threshold" (the rows as they are) or a sampler of :mod:`configs.sampling`.
        features, y, ids: training rows only: model inputs (text or float64), labels 0 or 1, and what names each row.
        ratio: positives per negative afterwards; where there are as many already, nothing is done.

    Raises:
        SamplingError: the sampler cannot work on these rows.
    """
    if method in ("none", "threshold"):
        return as_they_are(features, y, ids)
    return _SAMPLERS[method](features, y, ids, ratio, seed)
