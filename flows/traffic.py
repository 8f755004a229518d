"""Traffic: the events of the following weeks, sent to the live endpoint at their simulated time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import get_run_logger, task

from configs import load_model
from flows.context import begin, shown


@task(task_run_name="traffic for {model}")
def send_traffic(model: str, start: datetime, end: datetime, hours: list[int] | None = None) -> dict[str, Any]:
    """Replay [start, end), or only these hours of each day, in UTC; events that were already sent are left out."""
    import httpx

    from ray_cluster.serving.replay import ReplayError, moments, replay

    settings, _ = begin(start)
    spec = load_model(model)
    url = f"{settings.url('serve')}/models/{model}/predict"
    with httpx.Client(timeout=60, trust_env=False) as client, shown(f"traffic {model}") as progress:

        def send(rows: list[dict[str, Any]]) -> None:
            answer = client.post(url, json={"instances": rows})
            if answer.status_code != 200:
                raise ReplayError(f"{url} answered {answer.status_code} to real traffic: {answer.text[:300]}")

        planned = moments(start, end, hours)
        sent, skipped = replay(settings, spec, planned, send, progress)
    get_run_logger().info("%s requests sent, %s were in the prediction log before", sent, skipped)
    return {"sent": sent, "skipped": skipped}
