"""Shared by all flows: load the settings, resolve the as-of time, and show progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from configs import Settings, load_settings
from feature_repo.storage.secondary import secondary

if TYPE_CHECKING:
    from ray_cluster.training.train import Progress

__all__ = [
    "begin",
    "context",
    "shown",
]


def begin(as_of: datetime | None) -> tuple[Settings, datetime]:
    """Settings of the environment named by HEADRACE_ENV, and ``as_of`` in UTC (default: the settings' now)."""
    settings = load_settings()
    if as_of is None:
        return settings, settings.now()
    return settings, as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)


def context() -> dict[str, str]:
    """Tags that identify a model's flow run, and the trigger of that run."""
    from prefect.context import FlowRunContext
    from prefect.runtime import flow_run

    running = FlowRunContext.get()
    started_by = running.flow_run.created_by if running and running.flow_run else None
    return {
        "headrace.flow_run": str(flow_run.get_id() or "none"),
        "headrace.flow": str(flow_run.get_flow_name() or "none"),
        "headrace.flow_run_url": str(flow_run.get_flow_run_ui_url() or "none"),
        "headrace.started_by": str(started_by.display_value or started_by.type) if started_by else "a person",
    }


@contextmanager
def shown(step: str) -> Iterator[Progress]:
    """Yield a function to call with the current step and the completed share, in [0, 1]."""
    from prefect.artifacts import create_progress_artifact, update_progress_artifact
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    key = step.partition(" ")[0]
    artifact = None
    with secondary("Prefect artifact of the progress"):
        artifact = create_progress_artifact(progress=0.0, key=f"{key}-progress", description=step)
    console = Console(stderr=True)
    columns = (
        TextColumn("  {task.fields[step]:<24}"),
        BarColumn(30),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task("", total=1.0, step=step)

        def progress(doing: str, share: float) -> None:
            bars.update(bar, completed=share, description=doing)
            if artifact is None:
                return
            with secondary("Prefect artifact of the progress"):
                update_progress_artifact(
                    artifact_id=artifact,  # type: ignore[arg-type]  # a flow's task is not asynchronous here
                    progress=round(100 * share, 1),
                    description=f"{step}: {doing}",
                )

        yield progress
        progress("done", 1.0)
