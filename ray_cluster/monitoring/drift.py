"""Drift of a current column against a profile: PSI, Kolmogorov-Smirnov and Wasserstein distance.

The population stability index (PSI) is corrected for sample size (:mod:`feature_repo.tables.stability`), over bins
that are merged until each is expected to have five rows (:mod:`ray_cluster.monitoring.binning`). With this correction
the usual bound of 0.25 means the same at 200 rows as at 200,000.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.tables.stability import stability_index
from ray_cluster.evaluation.column_profile import ColumnProfile, numbers
from ray_cluster.monitoring.binning import MISSING, Bins, Flags

__all__ = ["Drift", "column_drift"]


@dataclass(frozen=True)
class Drift:
    """Distance of one current column from its reference.

    ``psi`` is the corrected index (never below 0), ``psi_raw`` the uncorrected one over the same bins, with missing
    values as a separate bin. ``ks`` (0 to 1) and ``wasserstein`` (in standard deviations of the reference) compare the
    values that are present; None for a categorical column, or if either side has no value. ``unseen_share`` is the
    share of current rows with a category that is not in the reference; 0 for numbers.
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


def column_drift(
    feature: str,
    reference: ColumnProfile,
    current: pd.Series[Any],
    bins: Bins | None = None,
    brief: Flags | None = None,
) -> Drift:
    """Measure one current column against the profile of its reference.

    Args:
        bins: the reference's bins for the number of rows of ``current``, if already computed.
        brief: categories that come and go (:meth:`ray_cluster.monitoring.binning.Bins.brief`).

    Raises:
        MonitoringError: the reference is numeric and a current value is not a number.
    """
    n = len(current)
    bins = bins or Bins.of(reference, n)
    found = bins.count(bins.codes(current, feature))
    raw, psi = stability_index(*bins.comparable(bins.expected, found, brief))
    ks, distance = _distances(reference, numbers(current, feature)) if reference.kind == "numeric" else (None, None)
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


def _distances(reference: ColumnProfile, values: npt.NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The Kolmogorov-Smirnov statistic and the Wasserstein distance, in standard deviations of the reference; None if
    either side has no value. A constant reference has no unit: then the distance is in the column's unit."""
    from scipy.stats import ks_2samp, wasserstein_distance

    if not len(values) or not reference.quantiles:
        return None, None
    ks = ks_2samp(reference.quantiles, values, method="asymp").statistic  # the p-value is not used: use the fast one
    return float(ks), float(wasserstein_distance(reference.quantiles, values)) / (reference.std or 1.0)
