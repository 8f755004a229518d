"""The whole lifecycle: tables, features, training, registration, live endpoint, traffic, monitoring, one report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact

from configs import load_model
from feature_repo.definitions.dependencies import model_tables, service_views
from feature_repo.storage.secondary import secondary
from flows import stack
from flows.context import begin
from flows.deploy import deploy
from flows.ingest import ingest
from flows.materialize import materialize
from flows.monitor import monitor
from flows.register import register
from flows.traffic import send_traffic
from flows.train import train


@task(task_run_name="report on {model}")
def write_report(
    model: str, as_of: datetime, steps: list[dict[str, Any]], version: int, run_id: str, monitoring: dict[str, Any]
) -> str | None:
    """Write the run's page; returns its path, None if it failed."""
    settings, as_of = begin(as_of)
    path = None
    with secondary("lifecycle report"):
        from ray_cluster.reports.lifecycle_report import write_lifecycle_report

        path = str(write_lifecycle_report(settings, load_model(model), as_of, steps, version, run_id, monitoring))
        create_link_artifact(
            key=f"report-{model.replace('_', '-')}", link=f"file://{path}", description="Lifecycle report"
        )
    return path


@flow(name="lifecycle", flow_run_name="lifecycle of {model}")
def lifecycle(
    model: str, as_of: datetime | None = None, until: datetime | None = None, hours: list[int] | None = None
) -> dict[str, Any]:
    """Train ``model`` as of ``as_of``, deploy it, replay the traffic until ``until`` (default: two weeks), monitor.

    ``hours``: of the day, in UTC; only the traffic of these hours is sent (default: all).
    A step with an existing result is skipped, so a repeated call is fast and changes nothing.
    """
    settings, as_of = begin(as_of)
    until = begin(until)[1] if until else as_of + timedelta(days=14)
    steps: list[dict[str, Any]] = []

    @contextmanager
    def step(name: str) -> Iterator[dict[str, Any]]:
        entry: dict[str, Any] = {"name": name, "note": ""}
        started = monotonic()
        yield entry
        entry["seconds"] = round(monotonic() - started, 1)
        steps.append(entry)

    spec = load_model(model)
    with step("ingest") as entry:
        tables = ingest(tables=model_tables(settings, spec, references=True), as_of=until)
        changed = sum(row["changed"] for row in tables)
        entry["note"] = f"{changed} of {len(tables)} tables changed"
    with step("materialize") as entry:
        views = materialize(as_of=as_of, views=service_views(settings, spec.feature_service))
        entry["note"] = f"{sum(view['computed'] for view in views.values())} of {len(views)} views computed"
    with step("train") as entry:
        stack.wait(settings, ["ray", "mlflow"])  # the demo starts while these are still starting
        trained = train(model, as_of=as_of)
        entry["note"] = "trained before" if trained["unchanged"] else "trained"
    with step("register") as entry:
        registered = register(model, as_of=as_of, run_id=trained["run_id"])
        entry["note"] = f"version {registered['version']}: {registered['decision']['action']}"
    with step("deploy") as entry:
        deployed = deploy(model, as_of=as_of)
        entry["note"] = f"version {deployed['version']} {deployed['action']}"
    with step("traffic") as entry:
        traffic = send_traffic(model, as_of, until, hours)
        entry["note"] = f"{traffic['sent']} requests sent, {traffic['skipped']} sent before"
    with step("monitor") as entry:
        monitored = monitor(model, as_of=until)
        entry["note"] = f"{monitored['decision']['action']}{' (unchanged)' if monitored['unchanged'] else ''}"
    with step("report") as entry:
        path = write_report(model, as_of, steps, registered["version"], trained["run_id"], monitored)
        entry["note"] = "written" if path else "failed, see the log"
    return {
        "model": model,
        "version": registered["version"],
        "champion": registered["champion"],
        "url": deployed["url"],
        "report": path,
        "verdict": monitored["decision"]["action"],
        "steps": steps,
    }
