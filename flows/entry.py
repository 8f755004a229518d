"""What every flow does first: read the settings, and fix the moment it works as of."""

from __future__ import annotations

from datetime import UTC, datetime

from configs import Settings, load_settings

__all__ = ["begin", "context"]


def begin(as_of: datetime | None) -> tuple[Settings, datetime]:
    """Settings of the environment named by HEADRACE_ENV, and ``as_of`` in UTC (default: the settings' now)."""
    settings = load_settings()
    if as_of is None:
        return settings, settings.now()
    return settings, as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)


def context() -> dict[str, str]:
    """Tags that lead from a model back to the flow run that made it, and to what started that."""
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
