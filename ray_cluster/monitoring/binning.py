"""Bins for counting a column and its reference, merged to fit the smaller of the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.tables.stability import Floats
from ray_cluster.evaluation.column_profile import ColumnProfile, aligned_numbers

__all__ = ["MIN_EXPECTED", "Bins", "Flags", "Floats", "Integers", "pool_rare"]

#: Minimum of expected rows per bin for the chi-squared approximation (W. G. Cochran, 1954).
MIN_EXPECTED = 5
#: The bin of the missing values.
MISSING = 0

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Bins:
    """The bins of one column, numbered from 0, the bin of missing values.

    ``expected`` counts the reference's rows, shape (size,). Numeric: ``groups[i]`` is the bin of the values in
    ``(edges[i-1], edges[i]]``. Categorical: ``categories`` has the bin of each value in the reference; every other
    value gets its own bin, numbered from ``size``. :meth:`comparable` pools the rare ones.
    """

    expected: Floats
    edges: Floats
    groups: Integers
    categories: Mapping[str, int] | None

    @property
    def size(self) -> int:
        """Number of bins of the reference."""
        return len(self.expected)

    @classmethod
    def of(cls, reference: ColumnProfile, rows: int) -> Bins:
        """Bins of a profile. Numeric bins are merged until five or more of ``rows`` rows like the reference are
        expected in each."""
        none = np.empty(0)
        if reference.kind == "numeric":
            counts = np.array(reference.counts or [0], dtype=np.float64)
            groups = 1 + _merge_neighbours(counts, rows / max(reference.rows, 1))
            expected = np.bincount(groups, weights=counts).astype(np.float64)
            expected[MISSING] = reference.nulls
            return cls(expected, np.array(reference.edges), groups, None)
        known = reference.categories or {}
        expected = np.array([reference.nulls, *known.values()], dtype=np.float64)
        return cls(expected, none, none.astype(np.int64), {value: number for number, value in enumerate(known, 1)})

    def codes(self, column: pd.Series[Any], name: str = "") -> Integers:
        """The bin of each row, shape (rows,).

        Raises:
            MonitoringError: the reference is numeric and a value is not a number.
        """
        if self.categories is None:
            values = aligned_numbers(column, name)
            found: Integers = self.groups[np.searchsorted(self.edges, values, side="left")]
            found[np.isnan(values)] = MISSING
            return found
        places, values = pd.factorize(column)  # a missing value has the code -1
        known = dict(self.categories)
        bins = np.array([MISSING, *(known.setdefault(str(value), len(known) + 1) for value in values)])
        coded: Integers = bins[places + 1]
        return coded

    def count(self, codes: Integers) -> Floats:
        """Rows per bin, shape (size,), or longer if there are values that are not in the reference."""
        return np.bincount(codes, minlength=self.size).astype(np.float64)

    def brief(self, codes: Integers, days: Integers, length: float) -> Flags:
        """The bins whose reference rows all lie within fewer than ``length`` days, shape (size,): values that come and
        go, of which a period of that length has others."""
        first = np.full(self.size, np.iinfo(np.int64).max)
        last = np.full(self.size, -1)
        np.minimum.at(first, codes, days)
        np.maximum.at(last, codes, days)
        found: Flags = (last >= 0) & (last - first < length)
        return found

    def comparable(self, reference: Floats, current: Floats, brief: Flags | None = None) -> tuple[Floats, Floats]:
        """Counts of both samples in bins that are large enough to compare; rare categories are pooled."""
        return (reference, current) if self.categories is None else pool_rare(reference, current, brief)

    def pooled(self, codes: Integers, current: Floats, brief: Flags | None = None) -> Integers:
        """The bin of each reference row after :meth:`comparable`, shape (rows,)."""
        if self.categories is None:
            return codes
        reference = self.count(codes)
        own = _large_enough(_padded(reference, len(current)), current)[: self.size]
        place = np.cumsum(own) - 1
        rare = own.sum() + (reference == 1 if brief is None else brief)
        pooled: Integers = np.where(own, place, rare)[codes].astype(np.int64)
        return pooled


def pool_rare(reference: Floats, current: Floats, brief: Flags | None = None) -> tuple[Floats, Floats]:
    """Pool rare categories: rows per category of two samples -> rows per bin of both.

    A category keeps its own bin if both samples are expected to have ``MIN_EXPECTED`` rows of it, given its share of
    the two together. That choice is the same if the samples are swapped, and does not depend on how the rows of a
    category divide between them. The missing values always keep their bin. Two more bins follow:

    - *other known*: rare categories that are in the reference;
    - *unseen*: rare categories that are not. Some are expected even if nothing has changed: the next row has an unseen
      value with a probability of about the share of the reference's rows whose value occurs once (I. J. Good, The
      population frequencies of species and the estimation of population parameters, Biometrika 40, 1953). Those rows of
      the reference, or all of values that are ``brief``, are counted here instead of in *other known*.

    Args:
        reference, current: rows per category, the missing values first. ``current`` may be longer: the entries after
            the end of ``reference`` are categories that are not in the reference.
        brief: reference categories of which a later period is expected to have others (:meth:`Bins.brief`); by default
            those with one row.

    >>> pool_rare(np.array([0.0, 60, 2, 1, 1]), np.array([0.0, 30, 1, 0, 0, 20, 1]))
    (array([ 0., 60.,  0.,  2.,  2.]), array([ 0., 30., 20.,  1.,  1.]))
    """
    brief = reference == 1 if brief is None else brief
    reference = _padded(reference, len(current))
    brief = _padded(brief, len(current)) > 0
    own = _large_enough(reference, current)
    known, unseen = ~own & (reference > 0), ~own & (reference == 0)
    once = reference[known & brief].sum()
    expected = np.array([*reference[own], reference[known].sum() - once, once], dtype=np.float64)
    found = np.array([*current[own], current[known].sum(), current[unseen].sum()], dtype=np.float64)
    return expected, found


def _large_enough(reference: Floats, current: Floats) -> Flags:
    """Categories that both samples are expected to have ``MIN_EXPECTED`` rows of; and the missing values."""
    m, n = reference.sum(), current.sum()
    own: Flags = (reference + current) * min(n, m) >= MIN_EXPECTED * (n + m)
    own[MISSING] = True
    return own


def _padded(counts: npt.NDArray[Any], size: int) -> Floats:
    return np.concatenate([counts, np.zeros(size - len(counts))])


def _merge_neighbours(counts: Floats, scale: float) -> Integers:
    """The merged bin of each bin: adjacent bins are joined until MIN_EXPECTED current rows are expected in each. A bin
    that is empty in the reference is not merged: a single row in it is informative."""
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
