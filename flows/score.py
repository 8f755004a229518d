"""Batch scoring of future events, with Ray Data."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from prefect import flow, get_run_logger, task

from configs import load_model
from flows.context import begin


@task(task_run_name="score {model}")
def score_one(model: str, as_of: datetime, hours: float) -> dict[str, Any]:
    """Score the next ``hours`` hours with the champion."""
    from ray_cluster.serving.batch_scoring import score_batch

    settings, as_of = begin(as_of)
    path, rows, version = score_batch(settings, load_model(model), as_of, timedelta(hours=hours))
    return {"path": str(path), "rows": rows, "version": version}


@flow(name="score", flow_run_name="score {model}")
def score(model: str, as_of: datetime | None = None, hours: float = 24) -> dict[str, Any]:
    """Score the events of the next ``hours`` hours on features as known at ``as_of``; writes Parquet under scores/."""
    load_model(model)
    _, as_of = begin(as_of)
    scored = score_one(model, as_of, hours)
    get_run_logger().info("%s rows scored by version %s: %s", scored["rows"], scored["version"], scored["path"])
    return scored
