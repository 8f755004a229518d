"""Training: point-in-time frame, search on Ray, final fit, evaluation, MLflow run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, get_run_logger, task

from configs import load_model
from flows.context import begin, context, shown


@task(task_run_name="train {model}")
def train_one(model: str, as_of: datetime, tags: dict[str, str]) -> dict[str, Any]:
    """Train on the Ray cluster; an identical training is not repeated."""
    from ray_cluster.training.train import train_model

    settings, as_of = begin(as_of)
    with shown(f"train {model}") as progress:
        return dict(train_model(settings, load_model(model), as_of, tags, progress))


@flow(name="train", flow_run_name="train {model}")
def train(model: str, as_of: datetime | None = None, promote: bool = False) -> dict[str, Any]:
    """Train ``model`` on the data known at ``as_of``; with ``promote`` also register it, and deploy it if it passes."""
    load_model(model)
    _, as_of = begin(as_of)
    trained = train_one(model, as_of, context())
    if trained["unchanged"]:
        get_run_logger().info("an identical training exists: run %s", trained["run_id"])
    else:
        get_run_logger().info(
            "run %s: held-out ROC AUC %.4f, PR AUC %.4f",
            trained["run_id"],
            trained["roc_auc"],
            trained["average_precision"],
        )
        if trained["unlabelled"]:
            get_run_logger().info("%s rows were left out, because their label is null", f"{trained['unlabelled']:,}")
    if promote:
        from flows.deploy import deploy
        from flows.register import register

        registered = register(model, as_of=as_of, run_id=trained["run_id"])
        if registered["champion"] == registered["version"]:
            deploy(model, as_of=as_of)
    return trained
