"""The workspace that Evidently's UI shows: a project per model, and a run for each report of a monitoring."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.storage.files import locked

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.sdk.models import ProjectModel
    from evidently.ui.storage.local.base import LocalState

__all__ = ["add_run", "model_project", "run_labels", "without_telemetry"]

_RUNS = uuid.UUID("6f6b4f4e-5d0e-4b5e-9f43-2a0b7d1f6f10")


def add_run(settings: Settings, spec: ModelSpec, run: Snapshot) -> str:
    """Add a run to the model's project and return the project's id.

    A second run of the same name replaces the first: monitoring the same period twice leaves one run.
    """
    with model_project(settings, spec) as (workspace, project):
        workspace.write_snapshot(project.id, uuid.uuid5(_RUNS, str(run.get_name())), run.to_snapshot_model())
    return str(project.id)


@contextmanager
def model_project(settings: Settings, spec: ModelSpec) -> Iterator[tuple[LocalState, ProjectModel]]:
    """Open the workspace under ``home/evidently`` and the model's project, which is created if it is missing.

    No other process of Headrace writes the workspace meanwhile. The workspace is opened as files: Evidently's class
    ``Workspace`` reads every run of every project first, 0.2 s or more each.
    """
    without_telemetry()
    from evidently.sdk.models import ProjectModel
    from evidently.ui.storage.local.base import LocalState

    folder = settings.home / "evidently"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(settings.home, "evidently"):
        workspace = LocalState(str(folder))
        found = [
            project for each in workspace.list_projects() if (project := workspace.read_project(each)).name == spec.name
        ]
        project = found[0] if found else ProjectModel(name=spec.name, description=spec.description)
        yield workspace, project if found else workspace.write_project(project)


def run_labels(spec: ModelSpec, part: str, measurements: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``timestamp``, ``name``, ``metadata`` and ``tags`` of the run ``part`` of a monitoring.

    The timestamp, on the axis of the panels, is the time as of which the model was monitored: naive, in UTC.
    """
    as_of = pd.Timestamp(measurements["as_of"]).tz_convert("UTC")
    return {
        "timestamp": as_of.tz_localize(None).to_pydatetime(),
        "name": f"{spec.name} {part} {as_of:%Y-%m-%d %H:%M}",
        "metadata": {"as_of": measurements["as_of"], "rows": str(measurements["rows"])},
        "tags": [part],
    }


def without_telemetry() -> None:
    """Stop Evidently from sending usage data; it reads this when it is imported."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
