"""Rows drawn from a Gaussian copula of the positives, with numbers, texts and missing values.

Each column has its observed distribution; the dependence between columns is the correlation of their normal
scores (Nelsen, An Introduction to Copulas, 2006, for the construction; Rüschendorf, JSPI 139, 2009, for the
distributional transform that spreads the ties of texts and whole numbers at random).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ray_cluster.training.sampling.sampled_rows import Sampled, SamplingError, as_they_are, missing_positives
from ray_cluster.training.sampling.smote import whole_numbers

__all__ = ["GaussianCopula", "copula"]

Floats = npt.NDArray[np.float64]


def copula(features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int) -> Sampled:
    """Add positives drawn from the copula of the real ones until there are ``ratio`` per negative; no row has parents.

    Raises:
        SamplingError: there are fewer than ten positives.
    """
    rows = as_they_are(features, y, ids)
    made, note = missing_positives(rows.y, ratio)
    if not made:
        return as_they_are(features, y, ids, note)
    fitted = GaussianCopula.fit(rows.features[rows.y == 1], seed)
    return rows.with_rows(fitted.draw(made, seed + 1), "copula", "copula", None, seed, note)


@dataclass(frozen=True)
class GaussianCopula:
    """A fitted copula.

    Attributes:
        known: per column the observed values, sorted (texts by frequency), without missing ones.
        missing: per column the share that is missing.
        gaps: column -> the first column that is missing in the same rows; both share one dimension, and are missing
            together in new rows.
        whole: columns with whole numbers only.
        latent: the dimensions: (column, "value") for each, and (column, "missing") for the first of each such group.
        factor: a matrix whose product with its transpose is the correlation of the dimensions.
    """

    known: dict[str, npt.NDArray[Any]]
    missing: dict[str, float]
    gaps: dict[str, str]
    whole: set[str]
    latent: list[tuple[str, str]]
    factor: Floats

    @classmethod
    def fit(cls, rows: pd.DataFrame, seed: int) -> GaussianCopula:
        """Fit the columns and correlations of ``rows``, shape (rows, columns): text or float64.

        The correlation of two columns is computed over the rows that have both.

        Raises:
            SamplingError: there are fewer than ten rows.
        """
        if len(rows) < 10:
            raise SamplingError(
                f"A copula needs at least 10 positives to fit on; the training rows have {len(rows)}. "
                "Ingest more history, or use class_weight."
            )
        random = np.random.default_rng(seed)
        known: dict[str, npt.NDArray[Any]] = {}
        scores: dict[tuple[str, str], Floats] = {}
        missing: dict[str, float] = {}
        gaps: dict[str, str] = {}
        patterns: dict[bytes, str] = {}
        for name in rows:
            gone = rows[name].isna().to_numpy()
            missing[name] = float(gone.mean())
            values = rows[name].to_numpy()[~gone]
            order = _ranked(values)
            known[name] = values[np.argsort(order, kind="stable")]
            score = np.full(len(rows), np.nan)
            score[~gone] = _normal_scores(order, random)
            scores[name, "value"] = score
            if not 0 < missing[name] < 1:
                continue
            gaps[name] = patterns.setdefault(gone.tobytes(), name)
            if gaps[name] == name:
                scores[name, "missing"] = _normal_scores(gone.astype(np.float64), random)
        found = pd.DataFrame(scores).corr(min_periods=10).fillna(0.0).to_numpy().copy()
        np.fill_diagonal(found, 1.0)
        return cls(known, missing, gaps, whole_numbers(rows), list(scores), _factor(found))

    def draw(self, count: int, seed: int) -> pd.DataFrame:
        """Draw rows, shape (count, columns), with the columns' types: numbers between the smallest and the largest."""
        from scipy.special import ndtr

        random = np.random.default_rng(seed)
        uniform = ndtr(random.standard_normal((count, len(self.latent))) @ self.factor.T)
        place = {dimension: number for number, dimension in enumerate(self.latent)}
        drawn: dict[str, npt.NDArray[Any]] = {}
        for name, known in self.known.items():
            u = uniform[:, place[name, "value"]]
            if not len(known):
                drawn[name] = np.full(count, np.nan if known.dtype != object else None, dtype=known.dtype)
                continue
            if known.dtype == object or name in self.whole:
                values = known[np.minimum((u * len(known)).astype(int), len(known) - 1)]
            else:
                values = np.interp(u, (np.arange(len(known)) + 0.5) / len(known), known)
            if name in self.gaps:
                gone = uniform[:, place[self.gaps[name], "missing"]] >= 1 - self.missing[name]
                values = np.where(gone, None if known.dtype == object else np.nan, values)
            drawn[name] = values
        return pd.DataFrame(drawn)


def _ranked(values: npt.NDArray[Any]) -> Floats:
    """Numbers unchanged; texts as numbers, the most frequent first."""
    if values.dtype != object:
        return np.asarray(values, dtype=np.float64)
    names, codes, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    place = np.empty(len(names))
    place[np.lexsort((names, -counts))] = np.arange(len(names))
    return np.asarray(place[codes], dtype=np.float64)


def _normal_scores(values: Floats, random: np.random.Generator) -> Floats:
    """Normal scores of ranks, ties in a random order."""
    from scipy.special import ndtri

    order = np.lexsort((random.random(len(values)), values))
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    return np.asarray(ndtri((ranks + 0.5) / max(len(values), 1)), dtype=np.float64)


def _factor(correlation: Floats) -> Floats:
    """A square root of a near correlation matrix, by clipping eigenvalues (Rousseeuw and Molenberghs, 1993)."""
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 1e-9, None))
    return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True), dtype=np.float64)
