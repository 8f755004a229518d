"""Synthetic rows as such: written to a file with where each came from, and with the checks of them beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.files import replacing, write_json
from ray_cluster.training.sampling.checks import check_rows
from ray_cluster.training.sampling.copula import GaussianCopula
from ray_cluster.training.sampling.sampled import SamplingError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_synthetic"]


def write_synthetic(path: Path, features: pd.DataFrame, y: Any, rows: int, seed: int = 0) -> dict[str, Any]:
    """Write a synthetic sample of a training frame to ``path`` (Parquet), and its checks to ``path`` with ``.json``.

    Positives and negatives are drawn from a Gaussian copula each, with the share of the real rows. A random third of
    these is held back from the copulas, and is what the checks compare distances with. The file has the features,
    ``label``, and ``origin`` (sampler and seed); nothing in it was observed, and no row has a parent.

    Args:
        features: model inputs, text or float64, shape (n, columns): ``TrainingData.features`` of the training rows.
        y: labels 0 or 1, shape (n,).
        rows: how many to write.

    Returns:
        The checks (:func:`ray_cluster.training.sampling.checks.check_rows`), with the path.

    Raises:
        SamplingError: fewer than one row is asked for, or a class has fewer than fifteen.
    """
    import pandas as pd

    labels = np.asarray(y).astype(np.int64)
    fewest = min(int((labels == label).sum()) for label in (0, 1))
    if rows < 1 or fewest < 15:
        raise SamplingError(
            f"A synthetic sample of {rows} rows cannot be drawn from {len(labels)} rows with {fewest} of the rarer "
            "label; ask for at least 1 row, from rows with at least 15 of each label."
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
