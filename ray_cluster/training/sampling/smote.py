"""SMOTE: new positives between a positive and one of its nearest positives (Chawla et al., JAIR 16, 2002)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ray_cluster.training.sampling.between import between, neighbours, places, whole_numbers
from ray_cluster.training.sampling.sampled import Sampled, as_they_are, missing_positives, searched

__all__ = ["remembering", "smote"]


def smote(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Add positives by imbalanced-learn's SMOTE until there are ``ratio`` per negative.

    It sees the numbers only (standardised, the missing ones as the median); what a new row gets is said by
    :func:`between`. Of more than ``MOST_SEARCHED`` positives, parents are drawn.

    Raises:
        SamplingError: there are fewer than two positives.
    """
    rows = as_they_are(features, y, ids)
    made, note = missing_positives(rows.y, ratio)
    if not made:
        return as_they_are(features, y, ids, note)
    parents = searched(rows.y == 1, np.random.default_rng(seed))
    k = neighbours(len(parents), "SMOTE")
    x = places(rows.features, rows.y == 1)[parents]
    from imblearn.over_sampling import SMOTE

    sampler = remembering(SMOTE)(k_neighbors=k, random_state=seed, sampling_strategy={1: len(parents) + made})
    # it insists on two classes, and looks at one: as many rows of the other, so that none of it is made
    other = np.zeros((len(parents) + made, x.shape[1]))
    sampler.fit_resample(
        np.vstack([other, x]), np.r_[np.zeros(len(other), dtype=int), np.ones(len(parents), dtype=int)]
    )
    first, second = parents[sampler.first_], parents[sampler.second_]
    new = between(rows.features, whole_numbers(rows.features), first, second, sampler.steps_)
    ids = rows.origin["parent"].to_numpy()
    return rows.with_rows(new, "smote", ids[first], ids[second], seed, note)


def remembering(kind: type) -> Any:
    """The sampler class, which then keeps the parents of its rows: ``first_`` and ``second_``, and ``steps_``."""

    class Remembering(kind):  # type: ignore[misc]
        def _generate_samples(
            self, x: Any, nn_data: Any, nn_num: Any, rows: Any, cols: Any, steps: Any, *more: Any, **named: Any
        ) -> Any:
            self.first_, self.second_, self.steps_ = rows, nn_num[rows, cols], steps[:, 0]
            return super()._generate_samples(x, nn_data, nn_num, rows, cols, steps, *more, **named)

    Remembering.__name__ = kind.__name__
    return Remembering
