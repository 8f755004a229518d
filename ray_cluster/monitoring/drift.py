"""Drift of a current column against a profile: PSI, Kolmogorov-Smirnov and Wasserstein distance.

The population stability index (PSI) of two samples of the *same* distribution is not zero: with B bins, n current and
m reference rows it is about (1/n + 1/m) times a chi-squared variable with B - 1 degrees of freedom (B. Yurdakul and
J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation 14(4), 2020).
So its expected value without any shift, (B - 1)(1/n + 1/m), is taken off, and bins are merged until each is expected
to hold five current rows. With that the usual bound of 0.25 means the same at 200 rows as at 200,000.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ray_cluster.monitoring.profile import ColumnProfile, numbers, words

__all__ = ["Drift", "column_drift", "kolmogorov_smirnov", "stability_index", "wasserstein"]

#: Fewest rows a bin should be expected to hold for the chi-squared approximation (W. G. Cochran, 1954).
MIN_EXPECTED = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """How far one current column is from its reference.

    ``psi`` is the corrected index (never below 0), ``psi_raw`` the textbook one over the same bins, with missing
    values as a bin of their own. ``ks`` (0 to 1) and ``wasserstein`` (in standard deviations of the reference)
    compare the values that are present; None for a categorical column and where either side has none.
    ``unseen_share`` is the share of current rows whose category, or a value beyond the range of the reference,
    the reference never held.
    """

    feature: str
    kind: Literal["numeric", "categorical"]
    rows: int
    psi: float
    psi_raw: float
    ks: float | None
    wasserstein: float | None
    null_share: float
    reference_null_share: float
    unseen_share: float

    def to_dict(self) -> dict[str, Any]:
        """Return the measurements as a JSON object."""
        return asdict(self)


def column_drift(feature: str, reference: ColumnProfile, current: pd.Series[Any]) -> Drift:
    """Measure one current column against the profile of its reference.

    Raises:
        MonitoringError: the reference is numeric and a current value is not a number.
    """
    n, m = len(current), reference.rows
    ks = distance = None
    if reference.kind == "numeric":
        values = np.sort(numbers(current, feature))
        quantiles = np.array(reference.quantiles)
        nulls = n - len(values)
        edges = np.array(reference.edges)
        expected = np.array(reference.counts or [0], dtype=np.float64)
        found = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(expected)).astype(np.float64)
        expected, found = _merge_neighbours(expected, found, n / max(m, 1))
        unseen = 0
        if len(values) and len(quantiles):
            ks, distance = kolmogorov_smirnov(quantiles, values), wasserstein(quantiles, values, reference.std)
    else:
        texts = words(current)
        nulls = n - len(texts)
        expected, found, unseen = _category_counts(reference, texts, n)
    raw, psi = stability_index(np.append(expected, reference.nulls), np.append(found, nulls))
    return Drift(
        feature=feature,
        kind=reference.kind,
        rows=n,
        psi=psi,
        psi_raw=raw,
        ks=ks,
        wasserstein=distance,
        null_share=nulls / max(n, 1),
        reference_null_share=reference.nulls / max(m, 1),
        unseen_share=unseen / max(n, 1),
    )


def stability_index(reference: Floats, current: Floats) -> tuple[float, float]:
    """Return the population stability index of two vectors of bin counts: as in the textbooks, and corrected.

    Bins empty on both sides are left out; one empty on one side counts as half a row, so that it stays finite.
    The corrected one has the expected value without shift taken off and is at least 0. Without rows both are 0.

    >>> raw, corrected = stability_index(np.array([500.0, 500.0]), np.array([60.0, 40.0]))
    >>> round(raw, 4), round(corrected, 4)
    (0.0405, 0.0295)
    """
    n, m = current.sum(), reference.sum()
    filled = (reference + current) > 0
    if not n or not m:
        return 0.0, 0.0
    p, q = (np.where(counts[filled] > 0, counts[filled], 0.5) for counts in (reference, current))
    p, q = p / p.sum(), q / q.sum()
    raw = float(np.sum((q - p) * np.log(q / p)))
    return raw, max(0.0, raw - (int(filled.sum()) - 1) * (1 / float(n) + 1 / float(m)))


def kolmogorov_smirnov(reference: Floats, current: Floats) -> float:
    """Return the largest distance between the two empirical distribution functions, 0 to 1; both inputs sorted."""
    points = np.concatenate([reference, current])
    below_reference = np.searchsorted(reference, points, side="right") / len(reference)
    below_current = np.searchsorted(current, points, side="right") / len(current)
    return float(np.max(np.abs(below_reference - below_current)))


def wasserstein(reference: Floats, current: Floats, std: float) -> float:
    """Return the area between the two empirical distribution functions, in units of ``std``; both inputs sorted.

    A constant reference has no unit: then the distance is in the column's own.
    """
    points = np.sort(np.concatenate([reference, current]))
    below_reference = np.searchsorted(reference, points[:-1], side="right") / len(reference)
    below_current = np.searchsorted(current, points[:-1], side="right") / len(current)
    area = float(np.sum(np.abs(below_reference - below_current) * np.diff(points)))
    return area / std if std > 0 else area


def _merge_neighbours(expected: Floats, found: Floats, scale: float) -> tuple[Floats, Floats]:
    """Join adjacent bins until each is expected to hold MIN_EXPECTED current rows. A bin that is empty in the
    reference stays alone: there a single row is news."""
    merged: list[list[float]] = []
    for e, f in zip(expected, found, strict=True):
        if merged and 0 < merged[-1][0] * scale < MIN_EXPECTED and e > 0:
            merged[-1][0] += e
            merged[-1][1] += f
        else:
            merged.append([e, f])
    if len(merged) > 1 and 0 < merged[-1][0] * scale < MIN_EXPECTED and merged[-2][0] > 0:
        e, f = merged.pop()
        merged[-1][0] += e
        merged[-1][1] += f
    return np.array([e for e, _ in merged]), np.array([f for _, f in merged])


def _category_counts(reference: ColumnProfile, current: pd.Series[Any], n: int) -> tuple[Floats, Floats, int]:
    """Counts per category, the rare and the unseen ones together in the last bin; and the rows of unseen ones."""
    known = reference.categories or {}
    counts = current.value_counts()
    common = [c for c, count in known.items() if count * n / reference.rows >= MIN_EXPECTED]
    expected = np.array([float(known[c]) for c in common])
    found = np.array([float(counts.get(c, 0)) for c in common])
    rare = sum(known.values()) - expected.sum()
    unseen = int(sum(count for category, count in counts.items() if category not in known))
    return np.append(expected, rare), np.append(found, len(current) - found.sum()), unseen
