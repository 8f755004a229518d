"""The bins in which a current column and its reference are counted: merged for as many rows as the current has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ray_cluster.monitoring.profile import ColumnProfile, aligned_numbers

__all__ = ["MIN_EXPECTED", "Bins", "Floats", "Integers"]

#: Fewest rows a bin should be expected to hold for the chi-squared approximation (W. G. Cochran, 1954).
MIN_EXPECTED = 5

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """Bins 0 to ``size`` - 1 of one column; the last holds the missing values.

    ``expected`` counts the reference's rows, shape (size,). Numeric: ``groups[i]`` is the bin of the values in
    ``(edges[i-1], edges[i]]``. Categorical: ``categories`` gives the bin of each common one; rare and unseen ones
    share the last but one.
    """

    expected: Floats
    edges: Floats
    groups: Integers
    categories: Mapping[str, int] | None

    @property
    def size(self) -> int:
        """How many bins there are."""
        return len(self.expected)

    @classmethod
    def of(cls, reference: ColumnProfile, rows: int) -> Bins:
        """Bins of a profile such that ``rows`` rows like the reference would put five or more into each."""
        scale = rows / max(reference.rows, 1)
        none = np.empty(0)
        if reference.kind == "numeric":
            counts = np.array(reference.counts or [0], dtype=np.float64)
            groups = _merge_neighbours(counts, scale)
            expected = np.append(np.bincount(groups, weights=counts), reference.nulls)
            return cls(expected, np.array(reference.edges), groups, None)
        known = reference.categories or {}
        common = [category for category, count in known.items() if count * scale >= MIN_EXPECTED]
        held = [float(known[category]) for category in common]
        expected = np.array([*held, sum(known.values()) - sum(held), float(reference.nulls)])
        return cls(expected, none, none.astype(np.int64), {category: place for place, category in enumerate(common)})

    def codes(self, column: pd.Series[Any], name: str = "") -> Integers:
        """The bin of each row, shape (rows,).

        Raises:
            MonitoringError: the reference is numeric and a value is not a number.
        """
        if self.categories is None:
            values = aligned_numbers(column, name)
            found: Integers = self.groups[np.searchsorted(self.edges, values, side="left")]
            found[np.isnan(values)] = self.size - 1
            return found
        places, texts = pd.factorize(column)  # a missing value has the place -1
        bins = np.array([*(self.categories.get(str(text), self.size - 2) for text in texts), self.size - 1])
        coded: Integers = bins[places]
        return coded

    def count(self, codes: Integers) -> Floats:
        """Rows per bin, shape (size,)."""
        return np.bincount(codes, minlength=self.size).astype(np.float64)


def _merge_neighbours(counts: Floats, scale: float) -> Integers:
    """The merged bin of each bin: adjacent ones are joined until MIN_EXPECTED current rows are expected in each.
    A bin that is empty in the reference stays alone: there a single row is news."""
    groups: list[int] = []
    held: list[float] = []
    for count in counts:
        if held and 0 < held[-1] * scale < MIN_EXPECTED and count > 0:
            held[-1] += count
        else:
            held.append(count)
        groups.append(len(held) - 1)
    merged = np.array(groups, dtype=np.int64)
    if len(held) > 1 and 0 < held[-1] * scale < MIN_EXPECTED and held[-2] > 0:
        merged[merged == len(held) - 1] -= 1
    return merged
