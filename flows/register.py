"""Registration: a training run becomes a model version, and champion if the gate lets it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from configs import load_model
from flows.entry import begin, context


@task(task_run_name="register {model}")
def register_one(model: str, run_id: str | None, tags: dict[str, str]) -> dict[str, Any]:
    """Register a run (default: the newest) and decide about it."""
    from ray_cluster.promotion import latest_run
    from ray_cluster.promotion import register as register_run

    settings, _ = begin(None)
    done = register_run(settings, load_model(model), run_id or latest_run(settings, model), tags)
    return {
        "version": done.version,
        "run_id": done.run_id,
        "champion": done.champion,
        "decision": done.decision.to_dict(),
        "unchanged": done.unchanged,
    }


@flow(name="register", flow_run_name="register {model}")
def register(model: str, as_of: datetime | None = None, run_id: str | None = None) -> dict[str, Any]:
    """Register a training run of ``model``; it becomes champion only if it beats the present one on the same rows."""
    load_model(model)
    begin(as_of)
    done = register_one(model, run_id, context())
    reasons = "\n".join(f"- {reason}" for reason in done["decision"]["reasons"])
    create_markdown_artifact(
        key=f"decision-{model.replace('_', '-')}",
        markdown=f"## {model} version {done['version']}: {done['decision']['action']}\n{reasons}\n\n"
        f"Champion: {done['champion']}",
    )
    get_run_logger().info(
        "version %s: %s; champion is %s%s",
        done["version"],
        done["decision"]["action"],
        done["champion"],
        " (unchanged)" if done["unchanged"] else "",
    )
    return done
