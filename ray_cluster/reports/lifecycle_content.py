"""The content of a lifecycle report: the stored JSON values, and values that the page derives from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import log1p
from typing import Any

from ray_cluster.registry.evidence import Dataset, Evaluation, SamplingResult
from ray_cluster.reports.formats import words

__all__ = [
    "ReportContent",
    "best_baseline",
    "confusion",
    "drift_bars",
    "interval_bars",
    "scored_rows",
    "shares",
    "slice_groups",
    "contender_bars",
    "sampling_facts",
]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class ReportContent:
    """The evidence behind one page. Every part except ``title`` and ``model`` may be missing; the page then says so.

    Attributes:
        version, run_id, as_of: the registered version, its run, and its as-of time.
        steps: ``{name, seconds, note}`` in order.
        ingest: per table ``{table, rows_in, rows_out, quarantined, later, fingerprint, profiled, columns}``, columns
            as :func:`feature_repo.tables.table_profile.profile_table` returns them, of ``profiled`` rows.
        evaluation, trials, sampling, dataset, decision: as stored with the run; ``evaluation.curves`` may have
            ``scores`` (``{edges, positives, negatives}``: counts of held-out rows per bin of the score).
        monitoring: ``MonitoringResult.to_dict()``.
        failures: ``{what, why}`` of secondary work that failed and is therefore missing.
        endpoint: ``{url, curl}``. links: name -> address, for the part "What to click next".
        metric: the metric of tuning and of the gate.
        versions: library -> version, for the provenance.
    """

    title: str
    model: str
    description: str = ""
    version: int | None = None
    run_id: str | None = None
    as_of: str | None = None
    steps: Sequence[Facts] = ()
    ingest: Sequence[Facts] = ()
    evaluation: Evaluation | None = None
    trials: Sequence[Facts] = ()
    sampling: SamplingResult | None = None
    dataset: Dataset | None = None
    decision: Facts | None = None
    monitoring: Facts | None = None
    failures: Sequence[Mapping[str, str]] = ()
    endpoint: Facts | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    metric: str = "average_precision"
    versions: Mapping[str, str] = field(default_factory=dict)


def scored_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The model and its baselines with their metrics, the model last: ``{name, roc_auc, average_precision, model}``."""
    rows = [{"name": name, **values, "model": False} for name, values in evaluation.baselines.items()]
    return [*rows, {"name": "This version", **evaluation.metrics, "model": True}]


def best_baseline(evaluation: Evaluation, metric: str) -> tuple[str, float] | None:
    """Name and value of the best baseline in ``metric``."""
    values = {name: values[metric] for name, values in evaluation.baselines.items() if values.get(metric) is not None}
    return max(values.items(), key=lambda item: item[1]) if values else None


def confusion(evaluation: Evaluation) -> dict[str, int] | None:
    """Counts at the threshold, computed from precision, recall and the held-out counts."""
    metrics, held_out = evaluation.metrics, evaluation.periods.get("held_out") or {}
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


def slice_groups(evaluation: Evaluation) -> list[tuple[str, list[Facts]]]:
    """Slices by their column, in the order given; numeric values in order."""
    slices = sorted(evaluation.slices or [], key=lambda part: str(part["slice"]))
    return [(name, sorted(parts, key=_place)) for name, parts in groupby(slices, key=lambda part: str(part["slice"]))]


def drift_bars(measurements: Facts, bound: float) -> dict[str, Any]:
    """Rows for the bars of drift, positions in percent, the largest first and those that are not judged last.

    ``bound`` is the position of the policy's bound; for each row, ``width`` is the end of its bar and ``natural_at``
    the position of its natural variation, None if that is unknown. The scale is log(1 + PSI / bound): small values stay
    proportional, and large values stay on the page.
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
    """Live metrics with their interval, if there is one, and the held-out value as positions in percent of one common
    axis each."""
    bars = []
    for name, row in (performance.get("metrics") or {}).items():
        points = {key: row[key] for key in ("low", "live", "high", "held_out") if row[key] is not None}
        low, high = min(points.values()), max(points.values())
        pad = (high - low) * 0.15 or 0.01
        span = high - low + 2 * pad
        places = {f"{key}_at": 100 * (value - low + pad) / span for key, value in points.items()}
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


def contender_bars(sampling: SamplingResult) -> list[dict[str, Any]]:
    """The contenders with the gains' intervals as positions in percent of one axis: ``low_at``, ``gain_at``,
    ``high_at`` and ``zero_at``; those that were not compared (``none``, ``threshold``, or with an error) have no
    positions."""
    rows = sampling.contenders
    compared = [row for row in rows if row.get("low") is not None and row["contender"] not in ("none", "threshold")]
    ends = [0.0, *(float(row[key]) for row in compared for key in ("low", "high"))]
    low, high = min(ends), max(ends)
    pad = (high - low) * 0.08 or 0.01
    span = high - low + 2 * pad

    def place(value: float) -> float:
        return 100 * (float(value) - low + pad) / span

    return [
        {**row, **({f"{key}_at": place(row[key]) for key in ("low", "gain", "high")} if row in compared else {})}
        | {"zero_at": place(0.0), "later": (row.get("held_out") or {}).get(sampling.decision["evidence"]["metric"])}
        for row in rows
    ]


def sampling_facts(sampling: SamplingResult | None) -> dict[str, Any]:
    """Data of the section about rare positives: ``bars``, ``decision``, ``kept``, ``metric`` in words, ``checked``."""
    if sampling is None:
        return {}
    decision = sampling.decision
    return {
        "bars": contender_bars(sampling),
        "decision": decision,
        "kept": sampling.kept,
        "metric": words(decision["evidence"]["metric"]),
        "checked": [row for row in sampling.contenders if row.get("checks")],
    }
