"""Parity: compare served features with those retrieved offline for the same entities and times, and find causes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from configs import ConfigError, load_model
from configs.model import Parity
from feature_repo.storage.secondary import secondary
from flows.context import begin


@task(task_run_name="parity of {model}")
def compare_one(model: str, as_of: datetime, hours: float | None, rows: int | None) -> dict[str, Any]:
    """Compare, and store the result and its page under parity/."""
    from ray_cluster.parity.check import check_parity

    settings, as_of = begin(as_of)
    spec = load_model(model)
    bound = spec.parity or Parity(minimum=1)  # for its window and rows; the bound is not enforced
    window = timedelta(hours=hours) if hours is not None else bound.window
    result, page = check_parity(settings, spec, as_of, window, rows if rows is not None else bound.rows)
    return {**result, "page": str(page) if page else None}


@flow(name="parity", flow_run_name="parity of {model}")
def parity(
    model: str, as_of: datetime | None = None, hours: float | None = None, rows: int | None = None
) -> dict[str, Any]:
    """Compare ``rows`` predictions logged in ``hours`` before ``as_of``, feature by feature, with offline retrieval.

    Default: the window and rows under ``parity`` in the model's file, else a week and 1,000.
    """
    load_model(model)
    for name, value in (("hours", hours), ("rows", rows)):
        if value is not None and value <= 0:
            raise ConfigError(f"{name} = {value:g}: expected more than 0.")
    _, as_of = begin(as_of)
    found = compare_one(model, as_of, hours, rows)
    name = model.replace("_", "-")
    causes = "\n".join(f"| {cause} | {count:,} |" for cause, count in found["causes"].items()) or "| none | 0 |"
    worst = "\n".join(
        f"| {row['feature']} | {row['view']} | {row['share']:.2%} | {', '.join(row['causes'])} |"
        for row in found["features"][:10]
        if row["share"] < 1
    )
    with secondary("Prefect artifacts of parity"):
        create_markdown_artifact(
            key=f"parity-{name}",
            markdown=f"## {model}: {found['share']:.3%} of {found['values']:,} served values equal the offline ones\n\n"
            f"{found['rows_equal']:,} of {found['rows']:,} predictions are equal in every value.\n\n"
            f"| cause | predictions and views |\n|---|---|\n{causes}\n\n"
            + (f"| feature | view | equal | causes |\n|---|---|---|---|\n{worst}" if worst else ""),
            description=f"Parity as of {as_of:%Y-%m-%d %H:%M} UTC",
        )
        if found["page"]:
            create_link_artifact(key=f"parity-page-{name}", link=f"file://{found['page']}", description="Parity page")
    get_run_logger().info(
        "%.3f %% of %s values of %s predictions are equal; causes: %s; %s",
        100 * found["share"],
        found["values"],
        found["rows"],
        ", ".join(f"{cause} {count}" for cause, count in found["causes"].items()) or "none",
        found["page"] or "no page",
    )
    return found
