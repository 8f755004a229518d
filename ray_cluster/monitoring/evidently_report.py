"""Evidently's report of a stretch of the prediction log: one HTML file, and a run in the workspace its UI shows.

It is for looking at; what is decided comes from the profiles. Evidently's cost is per column (about 0.2 s each for
drift and summary) more than per row, so rows are sampled and the summary keeps to the columns that moved most.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from configs.model import ModelSpec
from configs.settings import Settings

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

__all__ = ["MAX_ROWS", "SUMMARY_COLUMNS", "add_to_workspace", "drift_report", "write_html"]

MAX_ROWS = 20_000
SUMMARY_COLUMNS = 15
_RUNS = uuid.UUID("6f6b4f4e-5d0e-4b5e-9f43-2a0b7d1f6f10")


def drift_report(
    spec: ModelSpec,
    measurements: Mapping[str, Any],
    current: pd.DataFrame,
    reference: pd.DataFrame,
    as_of: pd.Timestamp,
    labelled: pd.DataFrame | None = None,
) -> Snapshot:
    """Run Evidently on at most ``MAX_ROWS`` rows of each side.

    Args:
        measurements: as :func:`ray_cluster.monitoring.measuring.measure` gives them; say which columns there are,
            which are numeric, and which moved most.
        current, reference: feature columns and ``score``.
        labelled: ``score``, ``label`` and ``decision`` of the predictions whose outcomes have arrived; adds the
            classification section when both classes are there. Then ``reference`` needs ``label`` too.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")  # read when Evidently is imported: it calls home without it
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    rows = [row for row in [*measurements["features"], measurements["prediction"]] if _filled(row)]
    numeric = [row["feature"] for row in rows if row["kind"] == "numeric"]
    categorical = [row["feature"] for row in rows if row["kind"] == "categorical"]
    moved = [row["feature"] for row in sorted(rows, key=lambda row: -row["psi"])][:SUMMARY_COLUMNS]
    metrics: list[Any] = [
        DataDriftPreset(
            columns=[*numeric, *categorical],
            method="psi",
            threshold=spec.monitoring.feature_psi,
            drift_share=spec.monitoring.drifted_share,
        ),
        DataSummaryPreset(columns=moved),
    ]
    sides = [_typed(side, numeric, categorical) for side in (current, reference)]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    run = Report(metrics).run(
        *(Dataset.from_pandas(side, data_definition=definition) for side in sides),
        timestamp=as_of.tz_convert(UTC).tz_localize(None).to_pydatetime(),
        name=f"{spec.name} {as_of:%Y-%m-%d %H:%M} UTC",
        metadata={"as_of": as_of.isoformat(), "rows": str(measurements["rows"])},
    )
    return run
