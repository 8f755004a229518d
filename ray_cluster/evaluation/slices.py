"""Quality of the scores on parts of the rows, the worst part, and the comparison of two models there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ray_cluster.evaluation.intervals import intervals
from ray_cluster.evaluation.metrics import MIN_CLASS_ROWS, MIN_MEASURED_ROWS, ranking

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["judged_slices", "slice_changes", "slices", "worst_slice"]

Values = np.ndarray[Any, Any]


def slices(
    frame: pd.DataFrame, columns: list[str], y: Values, scores: Values, days: npt.ArrayLike
) -> list[dict[str, Any]]:
    """Ranking metrics per value of each column, for values with enough rows of both outcomes.

    Returns:
        For each ``slice`` (the column) and ``value``: ``rows``, ``positives``, ``roc_auc``, ``average_precision`` and
        ``intervals``: metric -> [low, high], over the days of the slice.
    """
    found: list[dict[str, Any]] = []
    by_day = np.asarray(days)
    for part, rows in _parts(frame, columns, y, MIN_MEASURED_ROWS):
        sure = intervals(y[rows], scores[rows], by_day[rows], ranking_only=True)
        ends = {"intervals": {name: list(ends) for name, ends in sure.items()}}
        found.append({**part, **ranking(y[rows], scores[rows]), **ends})
    return found


def slice_changes(
    frame: pd.DataFrame, columns: list[str], y: Values, challenger: Values, champion: Values
) -> list[dict[str, Any]]:
    """ROC AUC of two models per value of each column, for values with enough rows of each class to be judged.

    Returns:
        For each ``slice`` (the column) and ``value``: ``rows``, ``positives``, and the ROC AUC of ``challenger`` and
        ``champion``. (Average precision depends on the share of positives, which differs between slices.)
    """
    return [
        {
            **part,
            "challenger": ranking(y[rows], challenger[rows])["roc_auc"],
            "champion": ranking(y[rows], champion[rows])["roc_auc"],
        }
        for part, rows in _parts(frame, columns, y, MIN_CLASS_ROWS)
    ]


def judged_slices(parts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The slices with ``MIN_CLASS_ROWS`` rows of each class: a smaller one may be good or bad by chance."""
    return [part for part in parts if min(part["positives"], part["rows"] - part["positives"]) >= MIN_CLASS_ROWS]


def worst_slice(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The judged slice with the lowest ROC AUC; None if none is judged."""
    enough = judged_slices(parts)
    return dict(min(enough, key=lambda part: float(part["roc_auc"]))) if enough else None


def _parts(
    frame: pd.DataFrame, columns: list[str], y: Values, least: int
) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.bool_]]]:
    """Each value of each column with at least ``least`` rows of both classes, and the mask of its rows."""
    for column in columns:
        values = frame[column].astype(str).to_numpy()
        for value in sorted(set(values)):
            rows = values == value
            count, positives = int(rows.sum()), int(y[rows].sum())
            if min(positives, count - positives) >= least:
                yield {"slice": column, "value": value, "rows": count, "positives": positives}, rows
