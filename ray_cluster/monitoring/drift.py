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
import pandas as pd

from ray_cluster.monitoring.binning import Bins, Floats
from ray_cluster.monitoring.profile import ColumnProfile, numbers, words

__all__ = ["Drift", "column_drift", "kolmogorov_smirnov", "stability_index", "stability_indices", "wasserstein"]


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


def column_drift(feature: str, reference: ColumnProfile, current: pd.Series[Any], bins: Bins | None = None) -> Drift:
    """Measure one current column against the profile of its reference.

    Args:
        bins: those of the reference for as many rows as ``current`` has, where they are at hand.

    Raises:
        MonitoringError: the reference is numeric and a current value is not a number.
    """
    n, m = len(current), reference.rows
    bins = bins or Bins.of(reference, n)
    found = bins.count(bins.codes(current, feature))
    ks = distance = None
    unseen = 0
    if reference.kind == "numeric":
        values, quantiles = np.sort(numbers(current, feature)), np.array(reference.quantiles)
        if len(values) and len(quantiles):
            ks, distance = kolmogorov_smirnov(quantiles, values), wasserstein(quantiles, values, reference.std)
    else:
        counts = words(current).value_counts()
        unseen = sum(int(count) for category, count in counts.items() if category not in (reference.categories or {}))
    raw, psi = stability_index(bins.expected, found)
    return Drift(
        feature=feature,
        kind=reference.kind,
        rows=n,
        psi=psi,
        psi_raw=raw,
        ks=ks,
        wasserstein=distance,
        null_share=float(found[-1]) / max(n, 1),
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
    raw, corrected = stability_indices(reference[np.newaxis], current[np.newaxis])
    return float(raw[0]), float(corrected[0])


def stability_indices(reference: Floats, current: Floats) -> tuple[Floats, Floats]:
    """As :func:`stability_index`, row by row: counts of shape (pairs, bins), indices of shape (pairs,)."""
    n, m = current.sum(axis=1), reference.sum(axis=1)
    filled = (reference + current) > 0
    p, q = (np.where(filled, np.where(counts > 0, counts, 0.5), 0.0) for counts in (reference, current))
    p, q = (shares / np.maximum(shares.sum(axis=1, keepdims=True), 0.5) for shares in (p, q))
    known = (n > 0) & (m > 0)
    raw = np.where(known, np.sum((q - p) * np.log(np.where(filled, q, 1) / np.where(filled, p, 1)), axis=1), 0.0)
    chance = (filled.sum(axis=1) - 1) * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1))
    return raw, np.where(known, np.maximum(0.0, raw - chance), 0.0)


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
