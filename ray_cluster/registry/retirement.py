"""Retirement: a version that is used no more keeps its evidence, and at most loses its model files."""

from __future__ import annotations

from datetime import UTC, datetime

from configs.settings import Settings
from ray_cluster.registry.aliases import remove
from ray_cluster.registry.connection import connect
from ray_cluster.registry.history import remember
from ray_cluster.registry.versions import VersionFacts, annotate

__all__ = ["delete_files", "retire"]


def retire(settings: Settings, facts: VersionFacts, by: str, reason: str) -> None:
    """Mark a version as retired; what may depend on it :mod:`ray_cluster.promotion.retiring` looks at."""
    remove(settings, facts.model, "challenger", facts.version)
    now = datetime.now(UTC).isoformat()
    tags = {"headrace.retired_reason": reason, "headrace.retired_by": by, "headrace.retired_at": now}
    remember(settings, facts.run_id, "retired", by, reason)
    annotate(settings, facts.model, facts.version, tags)


def delete_files(settings: Settings, facts: VersionFacts) -> None:
    """Remove the model files of a retired version. Its run, with evidence, reference rows and card, stays.

    The version is marked first, so that it is not loaded while they go; again after a kill, what is left goes.
    """
    import mlflow

    connect(settings)
    if "headrace.deleted_at" not in facts.tags:
        remember(settings, facts.run_id, "model files removed", facts.tags.get("headrace.retired_by", ""))
        annotate(settings, facts.model, facts.version, {"headrace.deleted_at": datetime.now(UTC).isoformat()})
    location = mlflow.get_logged_model(facts.logged).artifact_location
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    files = get_artifact_repository(location)
    if files.list_artifacts():  # type: ignore[no-untyped-call]
        files.delete_artifacts()  # type: ignore[no-untyped-call]
