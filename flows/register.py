"""Registration: a training run becomes a model version, and champion if the gate and, if required, a person agrees."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from configs import load_model
from feature_repo.storage.secondary import secondary
from flows.approval import release, wait_for_approval
from flows.context import begin, context


@task(task_run_name="register {model}")
def register_one(model: str, run_id: str | None, tags: dict[str, str]) -> dict[str, Any]:
    """Register a run (default: the newest) and decide about it."""
    from ray_cluster.promotion.registration import latest_run
    from ray_cluster.promotion.registration import register as register_run

    settings, _ = begin(None)
    waits = tags["headrace.flow_run"]
    done = register_run(settings, load_model(model), run_id or latest_run(settings, model), tags, waits)
    return {
        "version": done.version,
        "run_id": done.run_id,
        "champion": done.champion,
        "decision": done.decision.to_dict(),
        "approval": done.approval,
        "waited": done.waited,
        "unchanged": done.unchanged,
    }


@flow(name="register", flow_run_name="register {model}")
def register(model: str, as_of: datetime | None = None, run_id: str | None = None) -> dict[str, Any]:
    """Register a training run of ``model``; it becomes champion only if it beats the current one on the same rows.

    If the environment requires approval, the run waits in Prefect until a person answers.
    """
    load_model(model)
    settings, _ = begin(as_of)
    done = register_one(model, run_id, context())
    with secondary("Prefect artifact of the decision"):
        create_markdown_artifact(key=f"decision-{model.replace('_', '-')}", markdown=decision_page(model, done))
    if done["approval"] == "waiting":
        if done["waited"]:
            release(done["waited"], "another run continues to wait")
        done |= wait_for_approval(settings, model, done["version"], decision_page(model, done))
        done["unchanged"] &= done["approval"] == "waiting"
    get_run_logger().info(
        "version %s: %s%s; champion is %s%s",
        done["version"],
        done["decision"]["action"],
        f", {done['approval']}" if done["approval"] else "",
        done["champion"],
        " (unchanged)" if done["unchanged"] else "",
    )
    return {name: value for name, value in done.items() if name != "waited"}


def decision_page(model: str, done: dict[str, Any]) -> str:
    """The decision as Markdown: its reasons, and every gate with its measured value."""
    decision = done["decision"]
    reasons = "\n".join(f"- {reason}" for reason in decision["reasons"])
    marks = {True: "passed", False: "**not passed**", None: "not judged"}
    gates = "\n".join(
        f"| {gate['gate']} | {_short(gate['measured'])} | {_short(gate['bound'])} | {marks[gate['passed']]} |"
        for gate in decision["gates"]
    )
    return (
        f"## {model} version {done['version']}: {decision['action']}\n{reasons}\n\n"
        f"| gate | measured | bound | |\n|---|---:|---:|---|\n{gates}\n\nChampion: {done['champion'] or 'none'}"
    )


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
