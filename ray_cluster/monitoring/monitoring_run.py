"""A monitoring run: predictions of the live version, outcomes known by now, drift, performance, and a verdict."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frames.request_ids import id_texts
from feature_repo.frames.training_frame import labels
from feature_repo.storage.files import read_json, write_json
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster import registry
from ray_cluster.decisions.decision import Decision, monitoring_verdict
from ray_cluster.evaluation.column_profile import MonitoringError
from ray_cluster.monitoring.measurements import (
    expand_features,
    feature_columns,
    known_at,
    measure,
    scored,
    with_outcomes,
)
from ray_cluster.serving.prediction_log import read_predictions
from ray_cluster.serving.rollout import SMOKE_TEST

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MonitoringError",
    "MonitoringResult",
    "monitor",
    "outcomes_of",
    "watch",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonitoringResult:
    """Result of monitoring.

    ``measurements`` is JSON (see :func:`ray_cluster.monitoring.measurements.measure`); ``html`` and
    ``performance_html`` are Evidently's pages, None if there was nothing to show or the page failed, which ``failures``
    then records.
    """

    measurements: Mapping[str, Any]
    decision: Decision
    html: Path | None
    performance_html: Path | None
    failures: list[Failure] = field(default_factory=list)

    @property
    def features(self) -> pd.DataFrame:
        """One row per feature, the most drifted first: ``feature``, ``psi``, ``ks``, ``wasserstein``, shares, flags."""
        return pd.DataFrame(self.measurements["features"]).sort_values("psi", ascending=False, ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object, its keys the names of the attributes."""
        return {
            "measurements": dict(self.measurements),
            "decision": self.decision.to_dict(),
            "html": None if self.html is None else str(self.html),
            "performance_html": None if self.performance_html is None else str(self.performance_html),
            "failures": self.failures,
        }


def monitor(
    settings: Settings,
    spec: ModelSpec,
    predictions: pd.DataFrame,
    outcomes: pd.DataFrame,
    reference: pd.DataFrame,
    as_of: datetime,
) -> MonitoringResult:
    """Judge a period of the prediction log, and write Evidently's reports of it.

    Args:
        settings: reports go to ``home/monitoring/<model>/`` and to the workspace ``home/evidently``.
        predictions: rows of the prediction log of one version: ``as_of``, ``score``, ``id``, ``version``,
            ``threshold`` and ``features``, as a column of dicts or expanded to ``features.*``.
        outcomes: ``id``, ``label`` (0 or 1), and optionally ``known_at``.
        reference: the version's held-out rows: feature columns, ``score``, ``label``, ``prediction_time``.
        as_of: aware time; predictions made and outcomes known later are left out.

    Raises:
        MonitoringError: a column is missing or has values of another type than the reference.
    """
    now = pd.Timestamp(as_of)
    if now.tzinfo is None:
        raise MonitoringError(f"as_of = {as_of.isoformat()} has no time zone; expected an aware time such as UTC.")
    measurements = measure(spec, predictions, outcomes, reference, now)
    decision = monitoring_verdict(measurements, spec.monitoring)
    _log.info("monitoring %s as of %s: %s. %s", spec.name, now, decision.action, " ".join(decision.reasons))
    failures: list[Failure] = []
    html = performance_html = None
    if measurements["rows"] and len(reference):
        folder, stem = settings.home / "monitoring" / spec.name, f"{now.tz_convert('UTC'):%Y-%m-%dT%H%M}"
        seen = scored(known_at(predictions, "as_of", now))
        with secondary("Evidently page of drift", failures):
            from ray_cluster.monitoring.evidently_pages.reports import drift_run, write_html
            from ray_cluster.monitoring.evidently_pages.workspace import add_run

            current = expand_features(seen).assign(score=seen["score"])
            run = drift_run(spec, measurements, current, reference[[*feature_columns(spec, reference), "score"]])
            add_run(settings, spec, run)
            html = write_html(run, folder / f"{stem}.html")
        if (measurements["performance"] or {}).get("metrics"):
            with secondary("Evidently page of performance", failures):
                from ray_cluster.monitoring.evidently_pages.reports import performance_run, write_html
                from ray_cluster.monitoring.evidently_pages.workspace import add_run

                labelled = with_outcomes(seen, outcomes, now)
                threshold = float(seen["threshold"].iloc[-1]) if "threshold" in seen else 0.5
                run = performance_run(spec, measurements, labelled, reference, threshold)
                add_run(settings, spec, run)
                performance_html = write_html(run, folder / f"{stem}-performance.html")
    with secondary("Evidently panels", failures):
        from ray_cluster.monitoring.evidently_pages.panels import add_verdict

        add_verdict(settings, spec, decision)
    return MonitoringResult(measurements, decision, html, performance_html, failures)


def watch(settings: Settings, spec: ModelSpec, as_of: datetime) -> tuple[dict[str, Any], bool]:
    """Monitor the champion over ``spec.monitoring.window`` before ``as_of``.

    If the champion has not served any request yet, the verdict is to wait. Returns the result
    (:meth:`MonitoringResult.to_dict`, with ``version``), and whether it is new: for the same predictions, outcomes and
    policy, the stored result is returned.

    Raises:
        MonitoringError: there is no champion.
    """
    champion = registry.champion(settings, spec.name)
    if champion is None:
        raise MonitoringError(f"Model '{spec.name}' has no champion to monitor; run `headrace run lifecycle` first.")
    predictions = read_predictions(settings, spec.name, as_of - spec.monitoring.window, as_of)
    predictions = predictions[(predictions["version"] == champion.version) & (predictions["id"] != SMOKE_TEST)]
    outcomes = outcomes_of(settings, spec, predictions, as_of)
    digest = hashlib.blake2b(spec.monitoring.model_dump_json().encode(), digest_size=8)
    digest.update("".join(sorted(predictions["prediction_id"])).encode())
    digest.update(outcomes.to_csv(index=False).encode())
    digest.update(f"{champion.version} {as_of.isoformat()}".encode())
    path = settings.home / "monitoring" / spec.name / "latest.json"
    before = read_json(path)
    if before and before["key"] == digest.hexdigest():
        return before, False
    result = monitor(settings, spec, predictions, outcomes, registry.reference(settings, champion.run_id), as_of)
    document = {**result.to_dict(), "version": champion.version, "as_of": as_of.isoformat(), "key": digest.hexdigest()}
    write_json(path, document)
    return document, True


def outcomes_of(settings: Settings, spec: ModelSpec, predictions: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Outcomes known at ``as_of`` of logged predictions: columns ``id`` (text), ``label`` (0 or 1), ``known_at``."""
    outcomes = labels(settings, spec, as_of).rename(columns={spec.requests.id: "id", "label_known_at": "known_at"})
    outcomes["id"] = id_texts(outcomes["id"])
    return outcomes[outcomes["id"].isin(set(predictions["id"].dropna()))]
