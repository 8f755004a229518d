"""ADASYN: SMOTE with more rows where negatives are near (He, Bai, Garcia and Li, IJCNN 2008)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ray_cluster.training.sampling.between import Floats, between, neighbours, places, whole_numbers
from ray_cluster.training.sampling.sampled import Sampled, SamplingError, as_they_are, missing_positives, searched

__all__ = ["adasyn", "hardest"]


def adasyn(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Add positives until there are about ``ratio`` per negative, most around those with many negatives near.

    How many are near is counted among at most ``MOST_SEARCHED`` positives and as many negatives, both drawn from all:
    with all negatives it would take minutes. Numbers and texts are as in :func:`ray_cluster.training.sampling.smote`.

    Raises:
        SamplingError: there are fewer than two positives, or none of them has a negative near.
    """
    rows = as_they_are(features, y, ids)
    made, note = missing_positives(rows.y, ratio)
    if not made:
        return as_they_are(features, y, ids, note)
    random = np.random.default_rng(seed)
    parents, others = searched(rows.y == 1, random), searched(rows.y == 0, random)
    k = neighbours(len(parents), "ADASYN")
    x = places(rows.features, rows.y == 1)
    first, second, steps = hardest(x[parents], x[others], made, k, seed)
    if len(others) < int(np.sum(rows.y == 0)):
        note = f"{note} Negatives near were counted among {len(others):,} drawn ones.".strip()
    new = between(rows.features, whole_numbers(rows.features), parents[first], parents[second], steps)
    ids = rows.origin["parent"].to_numpy()
    return rows.with_rows(new, "adasyn", ids[parents[first]], ids[parents[second]], seed, note)


def hardest(
    positives: Floats, negatives: Floats, made: int, k: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Draw parents as ADASYN does: places of the first and second among ``positives``, and steps; about ``made``.

    imbalanced-learn's ``ADASYN`` draws the same from the same seed, and keeps no parents.

    Raises:
        SamplingError: no positive has a negative among its neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k + 1)
    near = search.fit(np.vstack([negatives, positives])).kneighbors(positives, return_distance=False)[:, 1:]
    hard = (near < len(negatives)).sum(axis=1) / k
    if not hard.sum():
        raise SamplingError(
            "ADASYN finds no negative near any positive, so there is nothing to weigh by; use smote instead."
        )
    counts = np.rint(hard / hard.sum() * made).astype(int)
    if not counts.sum():
        raise SamplingError(
            f"ADASYN would make no row: {made} spread over {len(positives)} positives; use smote, or a higher ratio."
        )
    random = np.random.RandomState(seed)
    mates = search.fit(positives).kneighbors(positives, return_distance=False)[:, 1:]
    first = np.repeat(np.arange(len(positives)), counts)
    second = mates[first, random.choice(k, size=len(first))]
    return first, second, random.uniform(size=(len(first), 1))[:, 0]
