"""Serve every flow to the Prefect UI with its schedule, and retrain on drift. ``python -m flows.schedules``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from configs import Settings, load_settings
from flows.parameters import FLOWS, checked

__all__ = ["main", "schedules"]


def schedules(settings: Settings) -> list[Any]:
    """One Prefect deployment per flow, named ``headrace``: with its cron from the settings, one run at a time.

    ``train`` is also started by the event that ``monitor`` emits when its verdict is to retrain.
    """
    from importlib import import_module

    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.events import DeploymentEventTrigger
    from prefect.schedules import Schedule

    from flows.monitor import DRIFT_EVENT

    def jinja(template: str) -> dict[str, str]:
        return {"__prefect_kind": "jinja", "template": template}

    retrain = DeploymentEventTrigger(
        name="retrain on drift",
        expect={DRIFT_EVENT},
        match={"prefect.resource.id": "headrace.model.*"},
        threshold=1,
        within=timedelta(0),
        parameters={
            "model": jinja("{{ event.payload.model }}"),
            "as_of": jinja("{{ event.payload.as_of }}"),
            "promote": True,
        },
    )
    for name in settings.schedules:
        checked(name)
    queue, drop = ConcurrencyLimitStrategy.ENQUEUE, ConcurrencyLimitStrategy.CANCEL_NEW
    found = []
    for name in FLOWS:
        planned = settings.schedules.get(name)
        crons: list[Any] = []
        if planned:
            crons = [Schedule(cron=planned.cron, timezone="UTC", active=planned.active, parameters=planned.parameters)]
        found.append(
            getattr(import_module(f"flows.{name}"), name).to_deployment(
                name="headrace",
                schedules=crons,
                triggers=[retrain] if name == "train" else None,
                # a second run of the same flow would have nothing to do; a second training has its own as-of time
                concurrency_limit=ConcurrencyLimitConfig(
                    limit=1, collision_strategy=queue if name == "train" else drop
                ),
                parameters=dict(planned.parameters) if planned else {},
            )
        )
    return found


def main() -> None:
    """Serve until SIGTERM; at most two runs at once, the limit of the embedded database."""
    import os

    settings = load_settings()
    os.environ.update(settings.variables())
    from prefect import serve

    limit = 2 if settings.databases.kind == "embedded" else 10
    serve(*schedules(settings), pause_on_shutdown=False, print_starting_message=False, limit=limit)


if __name__ == "__main__":
    main()
