"""Rows between two real ones, as SMOTE and its kin make them; missing values stay as they are in the first parent."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ray_cluster.training.sampling.sampled import SamplingError

__all__ = ["between", "neighbours", "numbers", "places", "texts", "whole_numbers"]

Floats = npt.NDArray[np.float64]


def numbers(features: pd.DataFrame) -> list[str]:
    """Columns of numbers."""
    return [name for name in features if features[name].dtype != object]


def texts(features: pd.DataFrame) -> list[str]:
    """Columns of text."""
    return [name for name in features if features[name].dtype == object]


def places(features: pd.DataFrame, positives: npt.NDArray[np.bool_]) -> Floats:
    """Where rows lie for the search of neighbours, shape (rows, columns of numbers).

    Missing numbers are the column's median, and each column is divided by its standard deviation (both of the
    positives, which are what neighbours are sought among); a column that is missing in all of them counts for nothing.
    """
    values = features[numbers(features)].to_numpy(dtype=np.float64)
    mine = pd.DataFrame(values[positives])
    middle = mine.median().fillna(0.0).to_numpy()
    spread = mine.fillna(pd.Series(middle)).std(ddof=0).to_numpy()
    filled = np.where(np.isnan(values), middle, values)
    return np.asarray((filled - middle) / np.where(spread > 0, spread, 1.0), dtype=np.float64)


def neighbours(positives: int, sampler: str) -> int:
    """How many neighbours each positive has: 5, as in the paper, or fewer where there are fewer positives.

    Raises:
        SamplingError: there are fewer than two positives.
    """
    if positives < 2:
        raise SamplingError(
            f"{sampler} needs at least 2 positives to make rows between; the training rows have {positives}. "
            "Ingest more history, or use class_weight."
        )
    return min(5, positives - 1)


def between(
    features: pd.DataFrame, whole: set[str], first: npt.NDArray[Any], second: npt.NDArray[Any], steps: Floats
) -> pd.DataFrame:
    """Rows a ``step`` in [0, 1) of the way from each ``first`` row to its ``second``, shape (steps, features).

    Where the first parent's number is missing, so is the new one; where only the second's is, it is the first's. The
    columns of ``whole`` are rounded. Texts are the first parent's.
    """
    made = features.iloc[first].reset_index(drop=True)
    for name in numbers(features):
        a, b = features[name].to_numpy(dtype=np.float64)[first], features[name].to_numpy(dtype=np.float64)[second]
        value = a + steps * (np.where(np.isnan(b), a, b) - a)
        made[name] = np.rint(value) if name in whole else value
    return made


def whole_numbers(features: pd.DataFrame) -> set[str]:
    """Columns of which every number is whole: counts, hours, flags."""
    found = set()
    for name in numbers(features):
        values = features[name].to_numpy(dtype=np.float64)
        known = values[~np.isnan(values)]
        if len(known) and np.array_equal(known, np.rint(known)):
            found.add(name)
    return found
