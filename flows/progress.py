"""Show how far a step is: a bar on a terminal, a progress artifact in the Prefect UI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray_cluster.training.train import Progress

__all__ = ["shown"]


@contextmanager
def shown(step: str) -> Iterator[Progress]:
    """Yield a function that is told what is being done and the share of the whole that is done, in [0, 1]."""
    from prefect.artifacts import create_progress_artifact, update_progress_artifact
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    key = step.partition(" ")[0]
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
            update_progress_artifact(
                artifact_id=artifact,  # type: ignore[arg-type]  # a flow's task is not asynchronous here
                progress=round(100 * share, 1),
                description=f"{step}: {doing}",
            )

        yield progress
        progress("done", 1.0)
