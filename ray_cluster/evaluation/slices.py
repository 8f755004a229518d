"""How good the scores are on parts of the rows, each with its interval, and where they are worst."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ray_cluster.evaluation.bootstrap import intervals
from ray_cluster.evaluation.metrics import ranking

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["slices", "worst_slice"]

#: Below this many rows of either outcome a slice's ranking metrics say nothing and are left out.
_ENOUGH = 20
#: A slice is called the worst only with as many rows of each class: a small one is bad or good by chance.
MIN_CLASS_ROWS = 30
_RESAMPLES = 200


def slices(
    frame: pd.DataFrame, columns: list[str], y: np.ndarray, scores: np.ndarray, days: npt.ArrayLike | None = None
) -> list[dict[str, Any]]:
    """Ranking metrics per value of each column, for values with enough rows of both outcomes.

    Returns:
        For each ``slice`` (the column) and ``value``: ``rows``, ``positives``, ``roc_auc``, ``average_precision`` and
        ``intervals``: metric -> [low, high], from days drawn within the slice.
    """
    found: list[dict[str, Any]] = []
    by_day = None if days is None else np.asarray(days)
    for column in columns:
        values = frame[column].astype(str).to_numpy()
        for value in sorted(set(values)):
            rows = values == value
            positives = int(y[rows].sum())
            if min(positives, int(rows.sum()) - positives) < _ENOUGH:
                continue
            sure = intervals(
                y[rows], scores[rows], None if by_day is None else by_day[rows], count=_RESAMPLES, ranking_only=True
            )
            found.append(
                {
                    "slice": column,
                    "value": value,
                    "rows": int(rows.sum()),
                    "positives": positives,
                    **ranking(y[rows], scores[rows]),
                    "intervals": {name: list(ends) for name, ends in sure.items()},
                }
            )
    return found


def worst_slice(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The slice with the lowest ROC AUC among those with 30 rows of each class (average precision follows the share of
    positives, which differs between slices for good reasons); None where none has as many."""
    judged = [part for part in parts if min(part["positives"], part["rows"] - part["positives"]) >= MIN_CLASS_ROWS]
    return dict(min(judged, key=lambda part: float(part["roc_auc"]))) if judged else None
