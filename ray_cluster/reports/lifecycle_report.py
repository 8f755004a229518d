"""Gather the evidence of one lifecycle run, and write its page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frames.training_frame import requests
from feature_repo.storage.files import replacing
from feature_repo.tables import manifest
from feature_repo.tables.table_profile import held_profile
from ray_cluster import registry
from ray_cluster.reports.lifecycle_content import ReportContent
from ray_cluster.reports.page import write_report

__all__ = ["curl_line", "write_lifecycle_report"]


def curl_line(settings: Settings, spec: ModelSpec, as_of: datetime) -> str:
    """A command that queries the live endpoint about a real event due at ``as_of``; it can be run unchanged."""
    url = f"{settings.url('serve')}/models/{spec.name}/predict"
    due = requests(settings, spec, as_of, as_of + timedelta(days=1), as_of)
    if due.empty:
        due = requests(settings, spec, as_of - timedelta(days=30), as_of, as_of)
    if due.empty:
        return f"curl {settings.url('serve')}/models/{spec.name}/"
    row = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in due.iloc[len(due) // 2].to_dict().items()
        if name in spec.requests.inputs
    }
    return f"curl -s {url} -H 'content-type: application/json' -d '{json.dumps(row)}'"


def write_lifecycle_report(
    settings: Settings,
    spec: ModelSpec,
    as_of: datetime,
    steps: Sequence[Mapping[str, Any]],
    version: int,
    run_id: str,
    monitoring: Mapping[str, Any],
) -> Path:
    """Write ``reports/<model>-v<version>-<as_of>.html``, and the same page as ``reports/latest.html``."""
    documents = registry.evidence(settings, run_id)
    tables = [(name, held) for name in settings.tables if (held := manifest(settings, name))]
    dataset = documents.get("dataset", {})
    serve, mlflow = settings.url("serve"), settings.url("mlflow")
    content = ReportContent(
        title=f"{spec.name}: version {version}",
        model=spec.name,
        description=spec.description,
        version=version,
        run_id=run_id,
        as_of=as_of.isoformat(),
        steps=steps,
        ingest=[
            {
                "table": name,
                "rows_in": held.rows_in,
                "rows_out": held.rows_out,
                "quarantined": held.quarantined,
                "later": held.later,
                "fingerprint": held.fingerprint,
                "profiled": profile.get("rows"),
                "columns": profile.get("columns", []),
            }
            for name, held in tables
            for profile in [held_profile(settings, name) or {}]
        ],
        evaluation=documents.get("evaluation"),
        trials=documents.get("trials", []),
        sampling=documents.get("sampling"),
        dataset=dataset,
        decision=documents.get("decision"),
        failures=[
            *(failure for _, held in tables for failure in held.failures),
            *documents.get("failures", []),
            *monitoring.get("failures", []),
        ],
        monitoring=monitoring,
        endpoint={"url": f"{serve}/models/{spec.name}/predict", "curl": curl_line(settings, spec, as_of)},
        links={
            "Prefect: runs, schedules, automations": settings.url("prefect"),
            "MLflow: this model's versions": f"{mlflow}/#/models/{spec.name}",
            "Evidently: drift over time": settings.url("evidently"),
            "Ray dashboard": settings.url("ray_dashboard"),
            "Endpoint documentation": f"{serve}/models/{spec.name}/docs",
        },
        versions=dataset.get("libraries", {}),
    )
    folder = settings.home / "reports"
    path = write_report(folder / f"{spec.name}-v{version}-{as_of:%Y%m%dT%H%MZ}.html", content)
    with replacing(folder / "latest.html") as temporary:
        shutil.copyfile(path, temporary)
    return path
