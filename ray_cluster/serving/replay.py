"""Replay real traffic against the live endpoint: advance the time, materialize features, send requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.definitions import feature_store
from feature_repo.definitions.dependencies import service_views
from feature_repo.frames.request_ids import id_texts
from feature_repo.frames.training_frame import PREDICTION_TIME, requests
from ray_cluster.serving.prediction_log import read_predictions

__all__ = ["ReplayError", "moments", "replay"]

#: Period of requests that are sent together, after features were materialized.
_STRETCH = timedelta(hours=1)


class ReplayError(HeadraceError, RuntimeError):
    """The endpoint refused real traffic; the message has its response."""


def moments(start: datetime, end: datetime, hours: Sequence[int] | None = None) -> list[datetime]:
    """The full hours in [start, end), or only these hours of each day, in UTC."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    days = range((end - midnight).days + 1)
    found = [
        midnight + timedelta(days=day, hours=hour)
        for day in days
        for hour in sorted(range(24) if hours is None else hours)
    ]
    return [moment for moment in found if start <= moment < end]


def replay(
    settings: Settings,
    spec: ModelSpec,
    planned: Sequence[datetime],
    send: Callable[[list[dict[str, Any]]], Any],
    progress: Callable[[str, float], None],
) -> tuple[int, int]:
    """At each time materialize features as known then, and send the requests of the following hour.

    Events that are already in the prediction log are not sent again. Returns (rows sent, rows already in the log).
    """
    if not planned:
        return 0, 0
    end = planned[-1] + _STRETCH
    asked = requests(settings, spec, planned[0], end, end)
    identity = spec.requests.id
    texts = id_texts(asked[identity])
    logged = texts.isin(set(read_predictions(settings, spec.name, planned[0], end)["id"].dropna()))
    if identity not in spec.requests.inputs:
        asked[identity] = texts
    sent = skipped = 0
    views = service_views(settings, spec.feature_service)
    for number, moment in enumerate(planned):
        progress(f"{moment:%d %b %H:%M} UTC", number / len(planned))
        due = asked[PREDICTION_TIME].between(moment, moment + _STRETCH, inclusive="left")
        fresh = asked[due & ~logged]
        skipped += int((due & logged).sum())
        if fresh.empty:
            continue
        for view in views:
            feature_store.materialize(settings, view, moment)
        rows = [
            {
                "as_of" if name == PREDICTION_TIME else str(name): (
                    value.isoformat() if isinstance(value, datetime) else value
                )
                for name, value in row.items()
            }
            for row in fresh.astype(object).where(fresh.notna(), None).to_dict("records")
        ]
        for first in range(0, len(rows), spec.serving.max_rows):
            send(rows[first : first + spec.serving.max_rows])
        sent += len(rows)
    return sent, skipped
