"""SMOTE and its variants: new positives between real ones; missing values are those of the first parent.

SMOTE and SMOTENC: Chawla et al., JAIR 16, 2002. ADASYN: He, Bai, Garcia and Li, IJCNN 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ray_cluster.training.sampling.imblearn_private import remembering
from ray_cluster.training.sampling.sampled_rows import Sampled, SamplingError, as_they_are, missing_positives, searched

__all__ = [
    "between",
    "neighbours",
    "numbers",
    "places",
    "texts",
    "whole_numbers",
    "smote",
    "smotenc",
    "adasyn",
    "hardest",
]

Floats = npt.NDArray[np.float64]


def numbers(features: pd.DataFrame) -> list[str]:
    """Columns of numbers."""
    return [name for name in features if features[name].dtype != object]


def texts(features: pd.DataFrame) -> list[str]:
    """Columns of text."""
    return [name for name in features if features[name].dtype == object]


def places(features: pd.DataFrame, positives: npt.NDArray[np.bool_]) -> Floats:
    """Coordinates of rows for the search of neighbours, shape (rows, columns of numbers).

    Missing numbers become the column's median, and each column is divided by its standard deviation (both computed on
    the positives, whose neighbours are searched); a column that is missing in all of them is ignored.

    Raises:
        SamplingError: there is no column of numbers.
    """
    values = features[numbers(features)].to_numpy(dtype=np.float64)
    if not values.shape[1]:
        raise SamplingError(
            f"The {features.shape[1]} inputs are texts or categories, and neighbours are searched by numbers; use "
            "copula, undersample or class_weight."
        )
    mine = pd.DataFrame(values[positives])
    middle = mine.median().fillna(0.0).to_numpy()
    spread = mine.fillna(pd.Series(middle)).std(ddof=0).to_numpy()
    filled = np.where(np.isnan(values), middle, values)
    return np.asarray((filled - middle) / np.where(spread > 0, spread, 1.0), dtype=np.float64)


def neighbours(positives: int, sampler: str) -> int:
    """Number of neighbours per positive: 5, as in the paper, or fewer if there are fewer positives.

    Raises:
        SamplingError: there are fewer than two positives.
    """
    if positives < 2:
        raise SamplingError(
            f"{sampler} needs at least 2 positives to make rows between them; the training rows have {positives}. "
            "Ingest more history, or use class_weight."
        )
    return min(5, positives - 1)


def between(
    features: pd.DataFrame, whole: set[str], first: npt.NDArray[Any], second: npt.NDArray[Any], steps: Floats
) -> pd.DataFrame:
    """Points at ``step`` in [0, 1) on the line from each ``first`` row to its ``second``, shape (steps, features).

    If the first parent's number is missing, so is the new one; if only the second's is missing, the new one is the
    first's. The columns of ``whole`` are rounded. Texts are the first parent's.
    """
    made = features.iloc[first].reset_index(drop=True)
    for name in numbers(features):
        a, b = features[name].to_numpy(dtype=np.float64)[first], features[name].to_numpy(dtype=np.float64)[second]
        value = a + steps * (np.where(np.isnan(b), a, b) - a)
        made[name] = np.rint(value) if name in whole else value
    return made


def whole_numbers(features: pd.DataFrame) -> set[str]:
    """Columns with whole numbers only: counts, hours, flags."""
    found = set()
    for name in numbers(features):
        values = features[name].to_numpy(dtype=np.float64)
        known = values[~np.isnan(values)]
        if len(known) and np.array_equal(known, np.rint(known)):
            found.add(name)
    return found


def smote(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Add positives by imbalanced-learn's SMOTE until there are ``ratio`` per negative.

    SMOTE sees the numbers only (standardised, missing ones as the median); :func:`between` defines the values of a new
    row. If there are more than ``MOST_SEARCHED`` positives, parents are drawn.

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
    # it requires two classes, and uses one: pass as many rows of the other, so that none of those are made
    other = np.zeros((len(parents) + made, x.shape[1]))
    sampler.fit_resample(
        np.vstack([other, x]), np.r_[np.zeros(len(other), dtype=int), np.ones(len(parents), dtype=int)]
    )
    first, second = parents[sampler.first_], parents[sampler.second_]
    new = between(rows.features, whole_numbers(rows.features), first, second, sampler.steps_)
    ids = rows.origin["parent"].to_numpy()
    return rows.with_rows(new, "smote", ids[first], ids[second], seed, note)


_NONE = "\x00missing"  # a missing text is a category; no text of a table contains this


def smotenc(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Add positives by imbalanced-learn's SMOTENC until there are ``ratio`` per negative.

    Texts are part of the distance; a new text is the most frequent one among the parent's neighbours. Numbers are as in
    :func:`smote`. With no columns of text it is SMOTE.

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
    # it requires two classes, and uses one: pass as many rows of the other, so that none of those are made
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


def adasyn(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Add positives until there are about ``ratio`` per negative, most near those with many negatives close by.

    These are counted among at most ``MOST_SEARCHED`` positives and as many negatives, both drawn from all: counting
    among all negatives would take minutes. Numbers and texts are as in :func:`ray_cluster.training.sampling.smote`.

    Raises:
        SamplingError: there are fewer than two positives, or none of them has a negative among its neighbours.
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
        note = f"{note} Neighbouring negatives were counted in a sample of {len(others):,}.".strip()
    new = between(rows.features, whole_numbers(rows.features), parents[first], parents[second], steps)
    ids = rows.origin["parent"].to_numpy()
    return rows.with_rows(new, "adasyn", ids[parents[first]], ids[parents[second]], seed, note)


def hardest(
    positives: Floats, negatives: Floats, made: int, k: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Draw parents as ADASYN does: positions of the first and second among ``positives``, and steps; about ``made``.

    imbalanced-learn's ``ADASYN`` draws the same from the same seed, but does not store the parents.

    Raises:
        SamplingError: no positive has a negative among its neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k + 1)
    near = search.fit(np.vstack([negatives, positives])).kneighbors(positives, return_distance=False)[:, 1:]
    hard = (near < len(negatives)).sum(axis=1) / k
    if not hard.sum():
        raise SamplingError(
            "ADASYN found no negative among the neighbours of any positive, so it has no weights; use smote instead."
        )
    counts = np.rint(hard / hard.sum() * made).astype(int)
    if not counts.sum():
        raise SamplingError(
            f"ADASYN would make no row: {made} rows over {len(positives)} positives; use smote, or a higher ratio."
        )
    random = np.random.RandomState(seed)
    mates = search.fit(positives).kneighbors(positives, return_distance=False)[:, 1:]
    first = np.repeat(np.arange(len(positives)), counts)
    second = mates[first, random.choice(k, size=len(first))]
    return first, second, random.uniform(size=(len(first), 1))[:, 0]
