"""Monitoring: the prediction log against the training reference, a verdict, and an event if the verdict is retrain.

A verdict of fix_data emits no event: a training would learn from the broken feature.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.events import emit_event

from configs import load_model
from feature_repo.storage.secondary import secondary
from flows.context import begin

#: The event that the train schedule's automation waits for.
DRIFT_EVENT = "headrace.drift"


@task(task_run_name="monitor {model}")
def monitor_one(model: str, as_of: datetime) -> dict[str, Any]:
    """Measure and judge; Evidently's pages are stored under monitoring/ and in its workspace."""
    from ray_cluster.monitoring.monitoring_run import watch

    settings, as_of = begin(as_of)
    found, fresh = watch(settings, load_model(model), as_of)
    return {**found, "unchanged": not fresh}


@flow(name="monitor", flow_run_name="monitor {model}")
def monitor(model: str, as_of: datetime | None = None) -> dict[str, Any]:
    """Monitor the champion of ``model`` as of ``as_of``; a verdict of retrain emits an event that starts training."""
    load_model(model)
    _, as_of = begin(as_of)
    found = monitor_one(model, as_of)
    decision = found["decision"]
    with secondary("Prefect artifacts of the verdict"):
        reasons = "\n".join(f"- {reason}" for reason in decision["reasons"])
        name = model.replace("_", "-")
        worst = sorted(found["measurements"]["features"], key=lambda row: -(row["psi"] or 0))[:10]
        table = "\n".join(
            f"| {row['feature']} | {row['psi']:.3f} | {'yes' if row['drifted'] else 'no'} |" for row in worst
        )
        create_markdown_artifact(
            key=f"verdict-{name}",
            markdown=f"## {model} version {found['version']}: {decision['action']}\n{reasons}\n\n"
            f"| feature | PSI | drifted |\n|---|---|---|\n{table}",
            description=f"Verdict as of {as_of:%Y-%m-%d %H:%M} UTC",
        )
        for key in ("html", "performance_html"):
            if found[key]:
                create_link_artifact(
                    key=f"evidently-{name}-{'drift' if key == 'html' else 'performance'}", link=f"file://{found[key]}"
                )
    if decision["action"] == "retrain" and not found["unchanged"]:
        announce_drift(model, as_of, found["version"], decision["reasons"])
    get_run_logger().info("%s: %s", decision["action"], " ".join(decision["reasons"]))
    return found


def announce_drift(model: str, as_of: datetime, version: int, reasons: list[str]) -> None:
    """Emit the event that starts training through the automation of the train schedule."""
    emit_event(
        DRIFT_EVENT,
        resource={"prefect.resource.id": f"headrace.model.{model}", "prefect.resource.name": model},
        payload={"model": model, "as_of": as_of.isoformat(), "version": version, "reasons": reasons},
    )
