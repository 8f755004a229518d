"""Evidently's reports of a period of the prediction log, as runs and as HTML files.

They are for viewing only; decisions use the profiles. Evidently's cost is per column (0.1 s or more each, for drift and
again for the summary) rather than per row, so rows are sampled and the summary has only the columns that changed most.
Performance is a separate run, because its rows are those with an outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from configs.model import ModelSpec
from feature_repo.storage.files import write_text
from ray_cluster.monitoring.evidently_pages.workspace import run_labels, without_telemetry

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

__all__ = ["MAX_ROWS", "SUMMARY_COLUMNS", "drift_run", "performance_run", "write_html"]

MAX_ROWS = 20_000
SUMMARY_COLUMNS = 15


def drift_run(
    spec: ModelSpec, measurements: Mapping[str, Any], current: pd.DataFrame, reference: pd.DataFrame
) -> Snapshot:
    """Run Evidently's drift report, and the data summary of the ``SUMMARY_COLUMNS`` columns that changed most.

    Args:
        measurements: as returned by :func:`ray_cluster.monitoring.measurements.measure`: the columns, which of them are
            numeric, and how far each moved. Columns with no value on either side are left out.
        current, reference: feature columns and ``score``, one row or more; ``MAX_ROWS`` of each are used.
    """
    without_telemetry()
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    rows = [
        row
        for row in [*measurements["features"], measurements["prediction"]]
        if row["null_share"] < 1 and row["reference_null_share"] < 1
    ]
    numeric = [row["feature"] for row in rows if row["kind"] == "numeric"]
    categorical = [row["feature"] for row in rows if row["kind"] == "categorical"]
    moved = [row["feature"] for row in sorted(rows, key=lambda row: -float(row["psi"]))]
    limits = {measurements["prediction"]["feature"]: spec.monitoring.prediction_psi}
    bounds = {
        row["feature"]: max(limits.get(row["feature"], spec.monitoring.feature_psi), row["natural"] or 0.0)
        for row in rows
    }
    metrics: list[Any] = [
        DataDriftPreset(
            columns=[*numeric, *categorical],
            method="psi",
            threshold=spec.monitoring.feature_psi,
            per_column_threshold=bounds,
            drift_share=spec.monitoring.drifted_share,
        ),
        DataSummaryPreset(columns=moved[:SUMMARY_COLUMNS]),
    ]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    sides = (
        Dataset.from_pandas(_typed(side, numeric, categorical), data_definition=definition)
        for side in (current, reference)
    )
    return Report(metrics).run(*sides, **run_labels(spec, "drift", measurements))


def performance_run(
    spec: ModelSpec, measurements: Mapping[str, Any], labelled: pd.DataFrame, reference: pd.DataFrame, threshold: float
) -> Snapshot:
    """Run Evidently's classification report on predictions with known outcomes, and on the held-out rows.

    Args:
        labelled, reference: ``score`` and ``label``, with both classes in each.
        threshold: scores at or above it count as predicted positives.
    """
    without_telemetry()
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.presets import ClassificationPreset

    definition = DataDefinition(
        numerical_columns=["score"],
        categorical_columns=["label", "predicted"],
        classification=[BinaryClassification(target="label", prediction_labels="predicted", prediction_probas="score")],
    )
    sides = []
    for side in (labelled, reference):
        rows = _sample(side[["score", "label"]].dropna())
        rows = rows.assign(label=rows["label"].astype(int), predicted=(rows["score"] >= threshold).astype(int))
        sides.append(Dataset.from_pandas(rows, data_definition=definition))
    return Report([ClassificationPreset()]).run(*sides, **run_labels(spec, "performance", measurements))


def write_html(run: Snapshot, path: Path) -> Path:
    """Render one run as a self-contained page at ``path``; a reader sees the old page or the whole new one."""
    write_text(path, run.get_html_str(as_iframe=False))
    return path


def _sample(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sample(MAX_ROWS, random_state=0) if len(rows) > MAX_ROWS else rows


def _typed(side: pd.DataFrame, numeric: list[str], categorical: list[str]) -> pd.DataFrame:
    """One sampled side with plain float and text columns, on which Evidently's type checks agree."""
    rows = _sample(side)
    columns: dict[str, Any] = {name: pd.to_numeric(rows[name]).astype("float64") for name in numeric}
    for name in categorical:
        columns[name] = rows[name].astype(str).where(rows[name].notna(), None).astype(object)
    return pd.DataFrame(columns).reset_index(drop=True)
