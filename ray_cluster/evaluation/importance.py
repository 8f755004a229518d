"""Importance of a model's inputs: permutation importance on held-out rows, and XGBoost's SHAP contributions.

Permutation: L. Breiman, Random Forests, Machine Learning 45, 2001; inputs with the same information share their
importance, so a low value does not mean that an input is useless. Contributions: S. Lundberg et al., From local
explanations to global understanding with explainable AI for trees, Nature Machine Intelligence 2, 2020; they explain
the classifier in log odds, before calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ray_cluster.evaluation.intervals import Ranked

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ROWS", "contributions", "permutation_importance", "shap_importance"]

#: Number of rows for measuring importance, a fifth of them positive if there are enough: sufficient for the order of
#: the inputs, and computed in seconds.
ROWS = 2000
_REPEATS = 3


def permutation_importance(
    score: Callable[[pd.DataFrame], npt.NDArray[Any]],
    frame: pd.DataFrame,
    y: npt.NDArray[Any],
    metric: str,
    rows: int = ROWS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Decrease of ``metric`` when one input is shuffled among the rows, largest first.

    Args:
        score: returns the probability of each row of a frame with the columns of ``frame``.
        frame, y: held-out inputs and labels, shape (rows, inputs) and (rows,).
        metric: ``roc_auc`` or ``average_precision``.
        rows: maximum of rows, drawn with ``seed``. Rare positives are drawn more often than other rows, and the metric
            is then computed for their true share (see :meth:`Ranked.ranking`).

    Returns:
        ``{feature, importance, spread}``: the mean decrease over three shuffles and their standard deviation.
    """
    import pandas as pd

    random = np.random.default_rng(seed)
    labels = np.asarray(y)
    rate = float(labels.mean())
    if rate in (0.0, 1.0):
        return []
    taken = _sample(labels, rows, random)
    frame, labels = frame.iloc[taken].reset_index(drop=True), labels[taken]

    def measured(scores: npt.NDArray[Any]) -> float:
        return Ranked.of(labels, scores, None).ranking(rate=rate)[metric]

    whole = measured(score(frame))
    orders = [random.permutation(len(frame)) for _ in range(_REPEATS)]
    found = []
    for name in frame:
        shuffled = pd.concat([frame] * _REPEATS, ignore_index=True)
        shuffled[name] = pd.concat([frame[name].iloc[order] for order in orders], ignore_index=True)
        drops = [whole - measured(part) for part in np.split(score(shuffled), _REPEATS)]
        found.append({"feature": str(name), "importance": float(np.mean(drops)), "spread": float(np.std(drops))})
    return sorted(found, key=lambda row: -row["importance"])


def _sample(y: npt.NDArray[Any], rows: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions of at most ``rows`` rows in order: a fifth positive, or their actual share if it is larger."""
    if len(y) <= rows:
        return np.arange(len(y))
    positives, negatives = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    wanted = min(len(positives), max(round(rows * len(positives) / len(y)), rows // 5))
    drawn = (random.choice(positives, wanted, replace=False), random.choice(negatives, rows - wanted, replace=False))
    return np.sort(np.concatenate(drawn))


def contributions(classifier: Any, x: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """SHAP values of an XGBoost classifier in log odds, shape (rows, columns + 1), the last column being the base
    value; a row sums to its margin. None for a classifier of another kind."""
    import xgboost

    if not isinstance(classifier, xgboost.XGBClassifier):
        return None
    types = classifier.feature_types
    rows = xgboost.DMatrix(x, nthread=classifier.n_jobs, feature_types=types, enable_categorical=types is not None)
    values: npt.NDArray[np.float64] = classifier.get_booster().predict(rows, pred_contribs=True)
    return values


def shap_importance(
    encode: Any, classifier: Any, frame: pd.DataFrame, rows: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Mean absolute SHAP value per column of ``encode``'s output, largest first: ``{feature, contribution}``; empty for
    a classifier that has none."""
    random = np.random.default_rng(seed)
    taken = np.sort(random.choice(len(frame), min(rows, len(frame)), replace=False))
    values = contributions(classifier, encode.transform(frame.iloc[taken]))
    if values is None:
        return []
    names = [str(name) for name in encode.get_feature_names_out()]
    pairs = sorted(zip(names, np.abs(values[:, :-1]).mean(axis=0), strict=True), key=lambda pair: -pair[1])
    return [{"feature": name, "contribution": float(value)} for name, value in pairs]
