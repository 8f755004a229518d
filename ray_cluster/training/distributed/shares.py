"""One worker's share of the rows: arrays in memory, or files that XGBoost reads one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

__all__ = ["ArrayShare", "FileShare", "deal"]

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ArrayShare:
    """Rows in memory: ``x`` float32 of shape (n, d), ``y`` of shape (n,), and a weight per row, if any."""

    x: Values
    y: Values
    weights: Values | None = None

    def matrix(self, max_bin: int, threads: int) -> xgboost.DMatrix:
        """The binned rows."""
        return xgboost.QuantileDMatrix(self.x, self.y, weight=self.weights, max_bin=max_bin, nthread=threads)


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

    def matrix(self, max_bin: int, threads: int) -> xgboost.DMatrix:
        """The binned rows; at most one file's values are in memory at a time."""
        if not self.paged:
            return xgboost.QuantileDMatrix(_Files(self), max_bin=max_bin, nthread=threads)
        Path(self.cache).mkdir(parents=True, exist_ok=True)
        return xgboost.ExtMemQuantileDMatrix(_Files(self, f"{self.cache}/bins"), max_bin=max_bin, nthread=threads)


class _Files(xgboost.DataIter):  # type: ignore[misc]
    """Pass the pairs of files to XGBoost one by one, in each pass over the data."""

    def __init__(self, share: FileShare, cache: str | None = None) -> None:
        self._share, self._at = share, 0
        super().__init__(cache_prefix=cache, release_data=True)

    def next(self, input_data: Any) -> bool:
        if self._at == len(self._share.files):
            return False
        x, y = (np.load(file) for file in self._share.files[self._at])
        weights = self._share.class_weights
        input_data(data=x, label=y, weight=None if weights is None else np.where(y == 1, weights[1], weights[0]))
        self._at += 1
        return True

    def reset(self) -> None:
        self._at = 0


def deal(rank: int, workers: int, *columns: Values) -> tuple[Values, ...]:
    """Every ``workers``-th row from ``rank`` on, as a copy, so that each worker has rows of all times."""
    return tuple(np.ascontiguousarray(column[rank::workers]) for column in columns)
