"""Fairness of the decisions between groups: rates per group, and the gaps between them with intervals.

Demographic parity compares selection rates; equal opportunity compares true positive rates, and equalised odds those
and the false positive rates (M. Hardt et al., Equality of opportunity in supervised learning, NeurIPS 2016). A gap is
the largest rate minus the smallest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.evaluation import Fairness
from ray_cluster.evaluation.intervals import day_numbers, measured_intervals
from ray_cluster.evaluation.metrics import MIN_MEASURED_ROWS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fairness"]

Floats = npt.NDArray[np.float64]
_COUNTS = ("rows", "positives", "flagged", "hits", "scores")


def fairness(
    frame: pd.DataFrame,
    rule: Fairness,
    y: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    days: npt.ArrayLike,
) -> list[dict[str, Any]]:
    """Compare the groups of each column of ``rule.groups`` on held-out rows.

    Returns:
        Per column: ``column``; ``groups``: ``{group, rows, positives, selection_rate, tpr, fpr, calibration_gap}``
        (mean score minus share of positives); ``too_small``: groups with a rate of fewer than 20 rows; ``gaps``:
        ``demographic_parity``, ``equal_opportunity`` and ``equalised_odds``, each ``{gap, low, high}`` (95 %; None
        with too few days), left out if fewer than two groups have the rate; ``worst``: the group whose true or false
        positive rate differs most from the rate of all rows; ``bound`` and ``within``: whether no gap is above it (None
        if there is no gap).
    """
    blocks = day_numbers(days)
    flagged = scores >= threshold
    found = []
    for column in rule.groups:
        values = frame[column].astype(str).to_numpy()
        names, codes = np.unique(values, return_inverse=True)
        sums = _sums(blocks, codes, len(names), y, flagged, scores)
        totals = sums.sum(axis=0)
        enough = _enough(totals)
        groups = [
            {
                "group": str(name),
                "rows": int(totals[number, 0]),
                "positives": int(totals[number, 1]),
                **{
                    rate: float(values[number]) if enough[rate][number] else None
                    for rate, values in _rates(totals).items()
                },
            }
            for number, name in enumerate(names)
        ]
        gaps = _with_intervals(sums, enough)
        found.append(
            {
                "column": column,
                "groups": groups,
                "too_small": [str(group["group"]) for group in groups if None in group.values()],
                "gaps": gaps,
                "worst": _worst(groups, _rates(totals.sum(axis=0, keepdims=True))),
                "bound": rule.gap,
                "within": all(gap["gap"] <= rule.gap for gap in gaps.values()) if gaps else None,
            }
        )
    return found


def _sums(blocks: np.ndarray, codes: np.ndarray, groups: int, y: np.ndarray, flagged: Any, scores: Any) -> Floats:
    """The five counts per block and group, shape (blocks, groups, 5)."""
    place, count = blocks * groups + codes, (int(blocks.max()) + 1) * groups
    columns = (np.ones(len(y)), y, flagged, flagged * y, scores)
    summed = [np.bincount(place, np.asarray(column, dtype=np.float64), count) for column in columns]
    found: Floats = np.stack(summed, axis=1).astype(np.float64).reshape(-1, groups, len(_COUNTS))
    return found


def _rates(totals: Floats) -> dict[str, Floats]:
    """Each rate per group from counts of shape (groups, 5); NaN if a group has too few rows for it."""
    rows, positives, flagged, hits, scores = totals.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "selection_rate": flagged / rows,
            "tpr": hits / positives,
            "fpr": (flagged - hits) / (rows - positives),
            "calibration_gap": (scores - positives) / rows,
        }


def _enough(totals: Floats) -> dict[str, np.ndarray]:
    """Mask of the groups that have enough rows for each rate."""
    rows, positives = totals[:, 0] >= MIN_MEASURED_ROWS, totals[:, 1] >= MIN_MEASURED_ROWS
    return {
        "selection_rate": rows,
        "tpr": positives,
        "fpr": totals[:, 0] - totals[:, 1] >= MIN_MEASURED_ROWS,
        "calibration_gap": rows,
    }


def _gaps(totals: Floats, enough: dict[str, np.ndarray]) -> dict[str, float]:
    """Each gap from counts of shape (groups, 5); NaN if there are fewer than two groups to compare."""
    spread = {}
    for name, values in _rates(totals).items():
        known = values[enough[name] & ~np.isnan(values)]
        spread[name] = float(np.ptp(known)) if len(known) > 1 else float("nan")
    return {
        "demographic_parity": spread["selection_rate"],
        "equal_opportunity": spread["tpr"],
        "equalised_odds": float(np.maximum(spread["tpr"], spread["fpr"])),
    }


def _with_intervals(sums: Floats, enough: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    ends = measured_intervals(lambda weights: _gaps(np.tensordot(weights, sums, axes=1), enough), len(sums))
    found: dict[str, dict[str, Any]] = {}
    for name, gap in _gaps(sums.sum(axis=0), enough).items():
        low, high = ends.get(name, (None, None))
        if not np.isnan(gap):
            found[name] = {"gap": gap, "low": None if low is None else max(low, 0.0), "high": high}
    return found


def _worst(groups: list[dict[str, Any]], overall: dict[str, Floats]) -> str | None:
    def distance(group: dict[str, Any]) -> float:
        known = [abs(group[rate] - float(overall[rate][0])) for rate in ("tpr", "fpr") if group[rate] is not None]
        return max(known, default=-1.0)

    return str(max(groups, key=distance)["group"]) if len(groups) > 1 else None
