"""The population stability index (PSI) of two samples, counted in the same bins.

The index of two samples of the *same* distribution is not zero: with B bins, n current and m reference rows it is about
(1/n + 1/m) times a chi-squared variable with B - 1 degrees of freedom (B. Yurdakul and J. Naranjo, Statistical
properties of the population stability index, Journal of Risk Model Validation 14(4), 2020). So its expected value
without a shift, (B - 1)(1/n + 1/m), is subtracted. With this correction a bound means the same at 200 rows as at
200,000, provided that each bin is expected to have about five rows of either sample.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "stability_index"]

Floats = npt.NDArray[np.float64]


def stability_index(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[float, float]:
    """Return the population stability index of two vectors of counts: uncorrected, and corrected for sample size.

    Bins that are empty in both samples are left out. A bin that is empty in one sample counts as half a row there, so
    that the index stays finite. The corrected index is at least 0. Both are 0 if either sample has no rows, and both
    are the same if the two samples are swapped.

    Args:
        reference, current: rows per bin, shape (bins,) each.

    >>> raw, corrected = stability_index([500, 500], [60, 40])
    >>> round(raw, 4), round(corrected, 4)
    (0.0405, 0.0295)
    """
    counts = np.array([reference, current], dtype=np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    rows = counts.sum(axis=1)
    if not rows.all():
        return 0.0, 0.0
    shares = np.where(counts > 0, counts, 0.5)
    p, q = shares / shares.sum(axis=1, keepdims=True)
    raw = float(np.sum((q - p) * np.log(q / p)))
    chance = (counts.shape[1] - 1) * float(np.sum(1 / rows))
    return raw, max(0.0, raw - chance)
