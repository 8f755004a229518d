"""Synthetic rows: check that they resemble real rows and do not copy them; write them with these checks."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.storage.files import replacing, write_json
from ray_cluster.training.sampling.copula import GaussianCopula
from ray_cluster.training.sampling.sampled_rows import SamplingError
from ray_cluster.training.sampling.smote import numbers, texts

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "check_rows",
    "closest_records",
    "column_fidelity",
    "duplicates",
    "pair_fidelity",
    "write_synthetic",
]

Floats = npt.NDArray[np.float64]

#: Maximum of synthetic, and of held-back, rows that are compared with the real rows.
MOST_COMPARED = 3000


def check_rows(real: pd.DataFrame, synthetic: pd.DataFrame, held_back: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """All checks, each with a sentence that states the result.

    Args:
        real: the rows that the synthetic ones were made from; synthetic; held_back: real rows of the same kind that
            were not used to make them. All have the same columns, text or float64.

    Returns:
        ``duplicates``: ``{share, verdict}``; ``closest``: ``{synthetic, held_back, ratio, verdict}`` (5th percentiles
        of the distances, and their ratio; None if there are no rows to compare); ``columns``: ``{scores, mean, worst,
        verdict}``; ``pairs``: the same.
    """
    copied = duplicates(real, synthetic)
    share = float(copied.mean()) if len(synthetic) else 0.0
    return {
        "rows": len(synthetic),
        "duplicates": {
            "share": share,
            "verdict": f"{share:.1%} of the synthetic rows are copies of a real one"
            + ("." if share <= 0.01 else "; a model learns no more from a copy than from a higher weight."),
        },
        "closest": _closest(real, synthetic, held_back, seed),
        "columns": _fidelity(column_fidelity(real, synthetic), "column"),
        "pairs": _fidelity(pair_fidelity(real, synthetic), "pair"),
    }


def duplicates(real: pd.DataFrame, synthetic: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which synthetic rows equal a real one in every column (missing equals missing), shape (synthetic rows,)."""
    known = set(pd.util.hash_pandas_object(real, index=False).to_numpy().tolist())
    hashes = pd.util.hash_pandas_object(synthetic, index=False).to_numpy().tolist()
    return np.array([each in known for each in hashes], dtype=np.bool_)


def closest_records(real: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    """Distance of each of ``rows`` to the nearest real row, shape (rows,).

    Euclidean over numbers in standard deviations of the real rows (missing as the median, with an indicator column) and
    texts (1 if they differ).
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=1).fit(_coordinates(real, real))
    return np.asarray(search.kneighbors(_coordinates(real, rows))[0][:, 0], dtype=np.float64)


def column_fidelity(real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    """Similarity of each column's distribution, in [0, 1].

    Numbers: 1 minus the Kolmogorov-Smirnov statistic of the known values. Texts: 1 minus the total variation distance.
    For a column with missing values, this is multiplied by 1 minus the difference of their shares.
    """
    from scipy.stats import ks_2samp

    found = {}
    for name in real:
        a, b = real[name].dropna(), synthetic[name].dropna()
        alike = 1 - abs(real[name].isna().mean() - synthetic[name].isna().mean())
        if len(a) and len(b):
            if real[name].dtype == object:
                alike *= 1 - _total_variation(a.value_counts(normalize=True), b.value_counts(normalize=True))
            else:
                alike *= 1 - ks_2samp(a, b).statistic
        found[str(name)] = float(alike)
    return found


def pair_fidelity(real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    """Similarity of the relation of each two columns, in [0, 1]; pairs of a number and a text are not measured.

    Numbers: 1 minus half the difference of their rank correlations over rows that have both; pairs with no correlation
    in either (a constant column) are left out. Texts: 1 minus the total variation distance of their joint distribution.
    """
    found = {}
    of_numbers = numbers(real)
    a, b = (frame[of_numbers].rank().corr(min_periods=10) for frame in (real, synthetic))
    for first, second in combinations(of_numbers, 2):
        difference = a.loc[first, second] - b.loc[first, second]
        if not np.isnan(difference):
            found[f"{first} and {second}"] = float(1 - abs(difference) / 2)
    for first, second in combinations(texts(real), 2):
        joint = [
            frame[[first, second]].fillna("").value_counts(normalize=True, dropna=False) for frame in (real, synthetic)
        ]
        found[f"{first} and {second}"] = float(1 - _total_variation(*joint))
    return found


def _closest(real: pd.DataFrame, synthetic: pd.DataFrame, held_back: pd.DataFrame, seed: int) -> dict[str, Any]:
    if min(len(real), len(synthetic), len(held_back)) < 20:
        return {
            "synthetic": None,
            "held_back": None,
            "ratio": None,
            "verdict": f"Closeness is not measured: {len(held_back)} real rows were held back, and 20 are needed.",
        }
    mine, theirs = (
        float(np.quantile(closest_records(real, frame.sample(min(len(frame), MOST_COMPARED), random_state=seed)), 0.05))
        for frame in (synthetic, held_back)
    )
    ratio = mine / theirs if theirs > 0 else None
    if ratio is None:
        verdict = "The real rows contain duplicates, so closeness cannot be measured."
    elif ratio >= 0.9:
        verdict = f"The closest synthetic rows are no closer to a real one than real rows are (ratio {ratio:.2f})."
    else:
        verdict = f"The closest synthetic rows are closer to a real one than real rows are (ratio {ratio:.2f})."
    return {"synthetic": mine, "held_back": theirs, "ratio": ratio, "verdict": verdict}


def _fidelity(scores: dict[str, float], kind: str) -> dict[str, Any]:
    if not scores:
        return {"scores": {}, "mean": None, "worst": None, "verdict": f"There are no {kind}s to compare."}
    worst, mean = min(scores, key=lambda name: scores[name]), float(np.mean(list(scores.values())))
    like = "alike" if mean >= 0.9 else "roughly alike" if mean >= 0.75 else "unlike"
    verdict = f"The {kind}s are {like}: {mean:.2f} of 1 on average, the worst {worst} with {scores[worst]:.2f}."
    return {"scores": scores, "mean": mean, "worst": worst, "verdict": verdict}


def _total_variation(a: pd.Series, b: pd.Series) -> float:
    return float(a.sub(b, fill_value=0).abs().sum() / 2)


def _coordinates(real: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    parts = []
    for name in numbers(real):
        known = real[name]
        middle, spread = known.median(), known.std(ddof=0)
        middle, spread = (0.0 if np.isnan(middle) else middle), (spread if spread > 0 else 1.0)
        parts.append(((rows[name].fillna(middle) - middle) / spread).to_numpy(dtype=np.float64)[:, None])
        if known.isna().any():
            parts.append(rows[name].isna().to_numpy(dtype=np.float64)[:, None])
    for name in texts(real):
        values = real[name].fillna("").unique()
        parts.append((rows[name].fillna("").to_numpy()[:, None] == values[None, :]) / np.sqrt(2))
    return np.hstack(parts) if parts else np.zeros((len(rows), 1))


def write_synthetic(path: Path, features: pd.DataFrame, y: Any, rows: int, seed: int = 0) -> dict[str, Any]:
    """Write a synthetic sample of a training frame to ``path`` (Parquet), and its checks to ``path`` with ``.json``.

    Positives and negatives are drawn from one Gaussian copula each, in the same proportion as in the real rows. A
    random third of the real rows is held back from the copulas; the checks compare distances with it. The file has the
    features, ``label``, and ``origin`` (sampler and seed); no value in it was observed, and no row has a parent.

    Args:
        features: model inputs, text or float64, shape (n, columns): ``TrainingData.features`` of the training rows.
        y: labels 0 or 1, shape (n,).
        rows: how many to write.

    Returns:
        The checks (:func:`ray_cluster.training.sampling.synthetic_rows.check_rows`), with the path.

    Raises:
        SamplingError: fewer than one row is requested, or a class has fewer than fifteen.
    """
    import pandas as pd

    labels = np.asarray(y).astype(np.int64)
    fewest = min(int((labels == label).sum()) for label in (0, 1))
    if rows < 1 or fewest < 15:
        raise SamplingError(
            f"A synthetic sample of {rows} rows cannot be drawn from {len(labels)} rows with {fewest} of the rarer "
            "label; request at least 1 row, from rows with at least 15 of each label."
        )
    random = np.random.default_rng(seed)
    positives = round(rows * float(labels.mean()))
    known = np.zeros(len(labels), dtype=bool)
    parts = []
    for label, count in ((0, rows - positives), (1, positives)):
        mine = random.permutation(np.flatnonzero(labels == label))
        learned = np.sort(mine[: len(mine) * 2 // 3])
        known[learned] = True
        drawn = GaussianCopula.fit(features.iloc[learned], seed).draw(count, seed + 1 + label)
        parts.append(drawn.assign(label=label))
    made = pd.concat(parts, ignore_index=True).sample(frac=1, random_state=seed).reset_index(drop=True)
    checks = check_rows(features[known], made[list(features)], features[~known], seed)
    with replacing(path) as temporary:
        made.assign(origin=f"copula, seed {seed}").to_parquet(temporary, index=False)
    document = {"file": str(path), "rows": rows, "seed": seed, **checks}
    write_json(path.with_suffix(".json"), document)
    return document
