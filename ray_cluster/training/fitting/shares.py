"""One worker's share of the rows: arrays in memory, or files that XGBoost reads one after the other."""

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
    """Rows in memory: ``x`` float32 of shape (n, d), ``y`` of shape (n,)."""

    x: Values
    y: Values

    def matrix(self, max_bin: int, threads: int) -> xgboost.DMatrix:
        """The rows binned."""
        return xgboost.QuantileDMatrix(self.x, self.y, max_bin=max_bin, nthread=threads)


@dataclass(frozen=True)
class FileShare:
    """Rows in pairs of ``.npy`` files, (x, y) as above.

    ``paged``: bins are kept on disk as well, below ``cache``, and read in each round (external memory); else they are
    in memory, a byte a value, which is a quarter of what the values take.
    """

    files: tuple[tuple[str, str], ...]
    cache: str
    paged: bool

    def matrix(self, max_bin: int, threads: int) -> xgboost.DMatrix:
        """The rows binned; at most one file's values are in memory meanwhile."""
        if not self.paged:
            return xgboost.QuantileDMatrix(_Files(self.files), max_bin=max_bin, nthread=threads)
        Path(self.cache).mkdir(parents=True, exist_ok=True)
        return xgboost.ExtMemQuantileDMatrix(_Files(self.files, f"{self.cache}/bins"), max_bin=max_bin, nthread=threads)


class _Files(xgboost.DataIter):  # type: ignore[misc]
    """Gives XGBoost one pair of files after the other, as often as it begins again."""

    def __init__(self, files: tuple[tuple[str, str], ...], cache: str | None = None) -> None:
        self._files, self._at = files, 0
        super().__init__(cache_prefix=cache, release_data=True)

    def next(self, input_data: Any) -> bool:
        if self._at == len(self._files):
            return False
        x, y = self._files[self._at]
        input_data(data=np.load(x), label=np.load(y))
        self._at += 1
        return True

    def reset(self) -> None:
        self._at = 0


def deal(rank: int, workers: int, *columns: Values) -> tuple[Values, ...]:
    """Every ``workers``-th row from ``rank`` on, as copies: each worker has rows of all times."""
    return tuple(np.ascontiguousarray(column[rank::workers]) for column in columns)
