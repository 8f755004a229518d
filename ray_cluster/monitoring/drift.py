"""Drift of a current column against a profile: PSI, Kolmogorov-Smirnov and Wasserstein distance.

The population stability index (PSI) is corrected for sample size (:mod:`feature_repo.tables.stability`), over bins
that are merged until each is expected to hold five rows (:mod:`ray_cluster.monitoring.binning`). With that the usual
bound of 0.25 means the same at 200 rows as at 200,000.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from feature_repo.tables.stability import Floats, stability_index
from ray_cluster.monitoring.binning import MISSING, Bins
from ray_cluster.monitoring.profile import ColumnProfile, numbers

__all__ = ["Drift", "column_drift", "kolmogorov_smirnov", "wasserstein"]


@dataclass(frozen=True)
class Drift:
    """How far one current column is from its reference.

    ``psi`` is the corrected index (never below 0), ``psi_raw`` the textbook one over the same bins, with missing
    values as a bin of their own. ``ks`` (0 to 1) and ``wasserstein`` (in standard deviations of the reference)
    compare the values that are present; None for a categorical column and where either side has none.
    ``unseen_share`` is the share of current rows with a category that the reference never held; 0 for numbers.
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
    n = len(current)
    bins = bins or Bins.of(reference, n)
    found = bins.count(bins.codes(current, feature))
    raw, psi = stability_index(*bins.comparable(bins.expected, found))
    ks = distance = None
    if reference.kind == "numeric":
        values, quantiles = np.sort(numbers(current, feature)), np.array(reference.quantiles)
        if len(values) and len(quantiles):
            ks, distance = kolmogorov_smirnov(quantiles, values), wasserstein(quantiles, values, reference.std)
    return Drift(
        feature=feature,
        kind=reference.kind,
        rows=n,
        psi=psi,
        psi_raw=raw,
        ks=ks,
        wasserstein=distance,
        null_share=float(found[MISSING]) / max(n, 1),
        reference_null_share=reference.nulls / max(reference.rows, 1),
        unseen_share=float(found[bins.size :].sum()) / max(n, 1),
    )


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
