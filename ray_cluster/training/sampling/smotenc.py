"""SMOTENC: SMOTE for numbers and texts together (Chawla et al., JAIR 16, 2002, section 6.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ray_cluster.training.sampling.between import between, neighbours, places, texts, whole_numbers
from ray_cluster.training.sampling.sampled import Sampled, as_they_are, missing_positives, searched
from ray_cluster.training.sampling.smote import remembering, smote

__all__ = ["smotenc"]

_NONE = "\x00missing"  # a missing text is a value like any other; no text of a table holds this


def smotenc(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Add positives by imbalanced-learn's SMOTENC until there are ``ratio`` per negative.

    Texts count in the distance and are those of most of the parent's neighbours; numbers are as in :func:`smote`.
    Without columns of text it is SMOTE.

    Raises:
        SamplingError: there are fewer than two positives.
    """
    rows = as_they_are(features, y, ids)
    made, note = missing_positives(rows.y, ratio)
    if not made:
        return as_they_are(features, y, ids, note)
    names = texts(features)
    if not names or len(names) == features.shape[1]:
        return smote(features, y, ids, ratio, seed)
    parents = searched(rows.y == 1, np.random.default_rng(seed))
    k = neighbours(len(parents), "SMOTENC")
    x = pd.DataFrame(places(rows.features, rows.y == 1)[parents]).rename(columns=str)
    words = rows.features[names].iloc[parents].fillna(_NONE).reset_index(drop=True).add_prefix("text ")
    x = pd.concat([x, words], axis=1)
    from imblearn.over_sampling import SMOTENC

    sampler = remembering(SMOTENC)(
        categorical_features=list(words.columns),
        k_neighbors=k,
        random_state=seed,
        sampling_strategy={1: len(parents) + made},
    )
    # it insists on two classes, and looks at one: as many rows of the other, so that none of it is made
    other = x.iloc[np.zeros(len(parents) + made, dtype=int)]
    found, _ = sampler.fit_resample(
        pd.concat([other, x], ignore_index=True),
        np.r_[np.zeros(len(other), dtype=int), np.ones(len(parents), dtype=int)],
    )
    first, second = parents[sampler.first_], parents[sampler.second_]
    new = between(rows.features, whole_numbers(rows.features), first, second, sampler.steps_)
    for name in names:
        said = found[f"text {name}"].to_numpy(dtype=object)[-made:]
        new[name] = np.where(said == _NONE, None, said)
    ids = rows.origin["parent"].to_numpy()
    return rows.with_rows(new, "smotenc", ids[first], ids[second], seed, note)
