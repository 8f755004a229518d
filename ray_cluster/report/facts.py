"""What the page shows that is not in the evidence as such: the best baseline, a confusion matrix, slices in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import log1p
from typing import Any

__all__ = [
    "best_baseline",
    "confusion",
    "drift_bars",
    "interval_bars",
    "scored_rows",
    "shares",
    "slice_groups",
]

Facts = Mapping[str, Any]


def scored_rows(evaluation: Facts) -> list[dict[str, Any]]:
    """The model and its baselines with their metrics, the model last: ``{name, roc_auc, average_precision, model}``."""
    rows = [{"name": name, **values, "model": False} for name, values in (evaluation.get("baselines") or {}).items()]
    return [*rows, {"name": "This version", **(evaluation.get("metrics") or {}), "model": True}]


def best_baseline(evaluation: Facts, metric: str) -> tuple[str, float] | None:
    """Name and value of the best baseline in ``metric``."""
    values = {
        name: values[metric]
        for name, values in (evaluation.get("baselines") or {}).items()
        if values.get(metric) is not None
    }
    return max(values.items(), key=lambda item: item[1]) if values else None


def confusion(evaluation: Facts) -> dict[str, int] | None:
    """Counts at the threshold: as kept, or worked out from precision, recall and the held-out counts."""
    if evaluation.get("confusion"):
        return dict(evaluation["confusion"])
    metrics, held_out = evaluation.get("metrics") or {}, (evaluation.get("periods") or {}).get("held_out") or {}
    precision, recall = metrics.get("precision"), metrics.get("recall")
    if recall is None or not precision or not held_out.get("rows"):
        return None
    true = round(recall * held_out["positives"])
    false = round(true / precision) - true
    return {
        "true_positives": true,
        "false_positives": false,
        "false_negatives": held_out["positives"] - true,
        "true_negatives": held_out["rows"] - held_out["positives"] - false,
    }


def slice_groups(evaluation: Facts) -> list[tuple[str, list[Facts]]]:
    """Slices by the column they cut, in the order given; numeric values in order."""
    slices = sorted(evaluation.get("slices") or [], key=lambda part: str(part["slice"]))
    return [(name, sorted(parts, key=_place)) for name, parts in groupby(slices, key=lambda part: str(part["slice"]))]


def drift_bars(measurements: Facts, bound: float) -> dict[str, Any]:
    """Rows for the bars of drift, places in percent, the largest first and those that are not judged last.

    ``bound`` is where the policy's bound lies; of each row ``width`` is the end of its bar and ``natural_at`` where
    its natural variation lies, None where that is not known. The scale is log(1 + PSI / bound): what is small stays in
    proportion, and what is large stays on the page.
    """
    rows = sorted(measurements.get("features") or [], key=lambda row: (bool(row.get("ignored")), -float(row["psi"])))
    end = max([bound * 1.25, *(max(float(row["psi"]), float(row.get("natural") or 0)) for row in rows)])

    def place(value: float | None) -> float | None:
        return None if value is None else 100 * log1p(float(value) / bound) / log1p(end / bound)

    return {
        "bound": place(bound),
        "natural": any(row.get("natural") is not None for row in rows),
        "rows": [{**row, "width": place(row["psi"]), "natural_at": place(row.get("natural"))} for row in rows],
    }


def interval_bars(performance: Facts) -> list[dict[str, Any]]:
    """Live metrics with their interval and the held-out value as places in percent of a common axis each."""
    bars = []
    for name, row in (performance.get("metrics") or {}).items():
        points = [row[key] for key in ("low", "live", "high", "held_out")]
        if any(point is None for point in points):
            continue
        low, high = min(points), max(points)
        pad = (high - low) * 0.15 or 0.01
        span = high - low + 2 * pad
        places = {f"{key}_at": 100 * (row[key] - low + pad) / span for key in ("low", "live", "high", "held_out")}
        bars.append({"name": name, **row, **places})
    return bars


def _place(part: Facts) -> tuple[int, float, str]:
    try:
        return 0, float(part["value"]), ""
    except (TypeError, ValueError):
        return 1, 0.0, str(part["value"])


def shares(parts: Sequence[float]) -> list[float]:
    """Each part as a percentage of their sum."""
    total = sum(parts) or 1.0
    return [100 * part / total for part in parts]
