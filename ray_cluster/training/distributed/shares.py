"""One worker's share of the rows: arrays in memory, or files that XGBoost reads one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from ray_cluster.training.families.fit_steps import NUMBERS, Columns
from ray_cluster.training.families.xgboost import typed

__all__ = ["ArrayShare", "FileShare", "deal"]

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ArrayShare:
    """Rows in memory: ``x`` float32 of shape (n, d), ``y`` of shape (n,), and a weight per row, if any."""

    x: Values
    y: Values
    weights: Values | None = None

    def matrix(self, max_bin: int, threads: int, columns: Columns = NUMBERS) -> xgboost.DMatrix:
        """The binned rows."""
        return xgboost.QuantileDMatrix(
            self.x, self.y, weight=self.weights, max_bin=max_bin, nthread=threads, **typed(columns)
        )


@dataclass(frozen=True)
class FileShare:
    """Rows in pairs of ``.npy`` files, (x, y) as above.

    ``paged``: bins are also stored on disk, below ``cache``, and read in each round (external memory); otherwise they
    are in memory, one byte per value, a quarter of the memory of the values. ``class_weights`` are the weights of rows
    with label 0 and 1.
    """

    files: tuple[tuple[str, str], ...]
    cache: str
    paged: bool
    class_weights: tuple[float, float] | None = None

    def matrix(self, max_bin: int, threads: int, columns: Columns = NUMBERS) -> xgboost.DMatrix:
        """The binned rows; at most one file's values are in memory at a time."""
        options = {"max_bin": max_bin, "nthread": threads, "enable_categorical": any(columns.categories)}
        if not self.paged:
            return xgboost.QuantileDMatrix(_Files(self, columns), **options)
        Path(self.cache).mkdir(parents=True, exist_ok=True)
        return xgboost.ExtMemQuantileDMatrix(_Files(self, columns, f"{self.cache}/bins"), **options)


class _Files(xgboost.DataIter):  # type: ignore[misc]
    """Pass the pairs of files to XGBoost one by one, in each pass over the data."""

    def __init__(self, share: FileShare, columns: Columns, cache: str | None = None) -> None:
        self._share, self._types, self._at = share, typed(columns).get("feature_types"), 0
        super().__init__(cache_prefix=cache, release_data=True)

    def next(self, input_data: Any) -> bool:
        if self._at == len(self._share.files):
            return False
        x, y = (np.load(file) for file in self._share.files[self._at])
        by_class = self._share.class_weights
        weights = None if by_class is None else np.where(y == 1, by_class[1], by_class[0])
        input_data(data=x, label=y, weight=weights, feature_types=self._types)
        self._at += 1
        return True

    def reset(self) -> None:
        self._at = 0


def deal(rank: int, workers: int, *columns: Values) -> tuple[Values, ...]:
    """Every ``workers``-th row from ``rank`` on, as a copy, so that each worker has rows of all times."""
    return tuple(np.ascontiguousarray(column[rank::workers]) for column in columns)
