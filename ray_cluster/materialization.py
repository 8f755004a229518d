"""Compute feature views and bring them online on the Ray cluster: one task per view, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from configs.settings import Settings
from feature_repo.materialization.bringing import Brought, materialize_view
from feature_repo.online.layout import layouts
from ray_cluster.cluster import wait
from ray_cluster.room import share

__all__ = ["materialize_views"]


def materialize_views(
    settings: Settings, views: Sequence[str], as_of: datetime, since: datetime | None = None
) -> dict[str, Brought]:
    """As :func:`feature_repo.materialization.bringing.materialize_view` for each view; the caller is connected to Ray.

    A view that fails does not stop the others; then the first one's error is raised, as it would be here. A worker
    that dies is replaced, and goes on where it was.

    Raises:
        MissingDataError, FeatureError, OnlineError: as there.
    """
    import ray
    from ray.exceptions import RayTaskError

    layouts(settings)  # asks Feast when features.py changed: once here rather than in every worker
    task: Any = ray.remote(num_cpus=share(1))(materialize_view)
    try:
        found = wait([task.remote(settings, view, as_of, since) for view in views])
    except RayTaskError as error:
        raise error.cause from None
    return dict(zip(views, found, strict=True))
