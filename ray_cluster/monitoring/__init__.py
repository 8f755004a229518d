"""Watch the prediction log: drift, performance once outcomes arrive, a verdict, and Evidently's reports to look at."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster.decisions import Decision, monitoring_verdict
from ray_cluster.monitoring.measuring import expand_features, feature_columns, known_at, measure, scored, with_outcomes
from ray_cluster.monitoring.profile import MonitoringError

__all__ = ["MonitoringError", "MonitoringResult", "monitor"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonitoringResult:
    """What monitoring found.

    ``measurements`` is JSON (see :func:`ray_cluster.monitoring.measuring.measure`); ``html`` and
    ``performance_html`` are Evidently's pages, None where there was nothing to show.
    """

    measurements: Mapping[str, Any]
    decision: Decision
    html: Path | None
    performance_html: Path | None

    @property
    def features(self) -> pd.DataFrame:
        """One row per feature, the most drifted first: ``feature``, ``psi``, ``ks``, ``wasserstein``, shares, flags."""
        return pd.DataFrame(self.measurements["features"]).sort_values("psi", ascending=False, ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object: ``measurements``, ``decision``, ``html``, ``performance_html``."""
        return {
            "measurements": dict(self.measurements),
            "decision": self.decision.to_dict(),
            "html": None if self.html is None else str(self.html),
            "performance_html": None if self.performance_html is None else str(self.performance_html),
        }


def monitor(
    settings: Settings,
    spec: ModelSpec,
    predictions: pd.DataFrame,
    outcomes: pd.DataFrame,
    reference: pd.DataFrame,
    as_of: datetime,
) -> MonitoringResult:
    """Judge a stretch of the prediction log, and write Evidently's reports of it.

    Args:
        settings: reports go to ``home/monitoring/<model>/`` and to the workspace ``home/evidently``.
        predictions: rows of the prediction log of one version: ``as_of``, ``score``, ``id``, ``version``,
            ``threshold`` and ``features``, as a column of dicts or expanded to ``features.*``.
        outcomes: ``id``, ``label`` (0 or 1), and optionally ``known_at``.
        reference: the version's held-out rows: feature columns, ``score``, ``label``, ``prediction_time``.
        as_of: aware time; predictions made and outcomes known later are left out.

    Raises:
        MonitoringError: a column is missing or holds values of another type than the reference.
    """
    now = pd.Timestamp(as_of)
    if now.tzinfo is None:
        raise MonitoringError(f"as_of = {as_of.isoformat()} has no time zone; expected an aware time such as UTC.")
    measurements = measure(spec, predictions, outcomes, reference, now)
    decision = monitoring_verdict(measurements, spec.monitoring)
    _log.info("monitoring %s as of %s: %s. %s", spec.name, now, decision.action, " ".join(decision.reasons))
    html = performance_html = None
    if measurements["rows"] and len(reference):
        from ray_cluster.monitoring.evidently_report import add_to_workspace, drift_run, performance_run, write_html

        folder, stem = settings.home / "monitoring" / spec.name, f"{now.tz_convert('UTC'):%Y-%m-%dT%H%M}"
        seen = scored(known_at(predictions, "as_of", now))
        current = expand_features(seen).assign(score=seen["score"])
        run = drift_run(spec, measurements, current, reference[[*feature_columns(spec, reference), "score"]])
        add_to_workspace(settings, spec, run)
        html = write_html(run, folder / f"{stem}.html")
        if (measurements["performance"] or {}).get("live") is not None:
            labelled = with_outcomes(seen, outcomes, now)
            threshold = float(seen["threshold"].iloc[-1]) if "threshold" in seen else 0.5
            run = performance_run(spec, measurements, labelled, reference, threshold)
            add_to_workspace(settings, spec, run)
            performance_html = write_html(run, folder / f"{stem}-performance.html")
    return MonitoringResult(measurements, decision, html, performance_html)
