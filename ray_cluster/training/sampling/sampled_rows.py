"""The result of a sampler: rows to fit on and the origin of each; undersampling and class weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from configs.errors import HeadraceError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "MOST_NEW",
    "MOST_SEARCHED",
    "Sampled",
    "SamplingError",
    "as_they_are",
    "missing_positives",
    "searched",
    "undersample",
    "class_weight",
]

#: Maximum of new rows, for any ratio; and maximum of positives, or negatives, in a search for neighbours.
#: ADASYN and SMOTENC took 21 s and 26 s on 300,000 rows by 20 without such bounds (imbalanced-learn 0.14).
MOST_NEW = 50_000
MOST_SEARCHED = 20_000

REAL = "real"


class SamplingError(HeadraceError, ValueError):
    """A sampler cannot work on the given rows; the message is one sentence."""


@dataclass(frozen=True)
class Sampled:
    """Rows to fit on.

    Attributes:
        features: the columns of the real rows, in their types, shape (rows, features).
        y: labels 0 or 1, shape (rows,).
        weights: of each row in the fit, shape (rows,), float64.
        origin: per row ``sampler`` ("real" if the row was observed), ``parent`` (its id if it is real, else the id of
            the row it was made from, or "copula"), ``neighbour`` (the second parent's id, else None), ``seed``.
        note: what the sampler did not do and why, a sentence; empty if it did everything that was requested.
    """

    features: pd.DataFrame
    y: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    origin: pd.DataFrame
    note: str = ""

    @property
    def synthetic(self) -> npt.NDArray[np.bool_]:
        """Mask of the synthetic rows."""
        return np.asarray(self.origin["sampler"] != REAL, dtype=np.bool_)

    @property
    def fit_weights(self) -> npt.NDArray[np.float64] | None:
        """The weights for a fit; None if all are 1, for families that accept no weights."""
        return self.weights if (self.weights != 1).any() else None

    def with_rows(
        self, features: pd.DataFrame, sampler: str, parents: Any, neighbours: Any, seed: int, note: str
    ) -> Sampled:
        """These rows and, after them, positives made by ``sampler``."""
        made = len(features)
        origin = pd.DataFrame(
            {"sampler": sampler, "parent": parents, "neighbour": neighbours, "seed": seed}, index=range(made)
        )
        return Sampled(
            pd.concat([self.features, features.astype(self.features.dtypes.to_dict())], ignore_index=True),
            np.concatenate([self.y, np.ones(made, dtype=np.int64)]),
            np.concatenate([self.weights, np.ones(made)]),
            pd.concat([self.origin, origin.astype(self.origin.dtypes.to_dict())], ignore_index=True),
            note,
        )


def as_they_are(features: pd.DataFrame, y: Any, ids: Any, note: str = "") -> Sampled:
    """The real rows, each with weight 1."""
    origin = pd.DataFrame(
        {"sampler": REAL, "parent": np.asarray(ids).astype(str).astype(object), "neighbour": None, "seed": -1}
    ).astype({"sampler": object, "neighbour": object, "seed": np.int64})
    labels = np.asarray(y).astype(np.int64)
    return Sampled(features.reset_index(drop=True), labels, np.ones(len(labels)), origin, note)


def missing_positives(y: Any, ratio: float) -> tuple[int, str]:
    """Number of positives to add so that there are ``ratio`` per negative, at most ``MOST_NEW``; and why not more."""
    positives = int(np.sum(np.asarray(y) == 1))
    negatives = len(y) - positives
    wanted = int(ratio * negatives) - positives
    if wanted <= 0:
        return 0, enough(positives, negatives, ratio)
    if wanted > MOST_NEW:
        return MOST_NEW, f"{MOST_NEW:,} of {wanted:,} rows were made: this is the maximum for any ratio."
    return wanted, ""


def enough(positives: int, negatives: int, ratio: float) -> str:
    """Note that the ratio is already reached."""
    return f"Nothing to do: there are {positives / negatives:.3f} positives per negative, and the ratio is {ratio:g}."


def searched(which: npt.NDArray[np.bool_], random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions of at most ``MOST_SEARCHED`` rows of the mask, in order; drawn at random if there are more."""
    places = np.flatnonzero(which)
    if len(places) > MOST_SEARCHED:
        places = np.sort(random.choice(places, MOST_SEARCHED, replace=False))
    return places


def undersample(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Keep every positive, and draw negatives so that there are ``ratio`` positives per negative; the order is kept.

    It draws the same rows as imbalanced-learn's ``RandomUnderSampler`` without replacement.
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


def class_weight(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Weight positives so that their weights sum to ``ratio`` times the number of negatives; the rows do not change."""
    rows = as_they_are(features, y, ids)
    positives = int(rows.y.sum())
    weight = ratio * (len(rows.y) - positives) / positives
    if weight <= 1:
        return replace(rows, note=enough(positives, len(rows.y) - positives, ratio))
    return replace(rows, weights=np.where(rows.y == 1, weight, 1.0))
