"""Replay real traffic against the live endpoint: time moves on, features come online, requests arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo import store
from feature_repo.frames import PREDICTION_TIME, requests
from ray_cluster.serving.prediction_log import read_predictions

__all__ = ["ReplayError", "moments", "replay_moment"]

#: How long requests are collected for before they are sent together, after features were brought up to date.
_STRETCH = timedelta(hours=1)


class ReplayError(RuntimeError):
    """The endpoint refused real traffic; one sentence with its answer."""


def moments(start: datetime, end: datetime, hours: Sequence[int]) -> list[datetime]:
    """Moments in [start, end) at the given hours of each day, in UTC."""
    days = range((end - start).days + 1)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    found = [midnight + timedelta(days=day, hours=hour) for day in days for hour in sorted(hours)]
    return [moment for moment in found if start <= moment < end]


def replay_moment(
    settings: Settings, spec: ModelSpec, moment: datetime, send: Callable[[list[dict[str, Any]]], Any]
) -> tuple[int, int]:
    """Bring features online as known at ``moment``, then send what is to be predicted in the hour that follows.

    Events in the prediction log already are not sent again. Returns (rows sent, rows skipped).
    """
    for view in store.VIEWS:
        store.materialize(settings, view, moment)
    due = requests(settings, spec, moment, moment + _STRETCH, moment)
    # a day's slack: predictions are logged under the time they were made for
    logged = read_predictions(settings, spec.name, moment, moment + _STRETCH)
    fresh = due[~due[spec.requests.id].isin(set(logged["id"].dropna()))]
    rows = [
        {
            name: (value.isoformat() if isinstance(value, datetime) else value)
            for name, value in row.items()
            if name != PREDICTION_TIME
        }
        for row in fresh.to_dict("records")
    ]
    for first in range(0, len(rows), spec.serving.max_rows):
        send(rows[first : first + spec.serving.max_rows])
    return len(rows), len(due) - len(rows)
