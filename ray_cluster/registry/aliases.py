"""Aliases: the names by which one version of a model is found."""

from __future__ import annotations

from datetime import UTC, datetime

from configs.settings import Settings
from ray_cluster.registry.connection import connect
from ray_cluster.registry.versions import VersionFacts, facts_of

__all__ = ["champion", "promote"]


def champion(settings: Settings, model: str) -> VersionFacts | None:
    """The version with the alias ``champion``, or None."""
    client = connect(settings)
    from mlflow.exceptions import MlflowException

    try:
        return facts_of(client, client.get_model_version_by_alias(model, "champion"))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def promote(settings: Settings, model: str, version: int) -> None:
    """Point the alias ``champion`` at a version; what it pointed at keeps its number."""
    client = connect(settings)
    client.set_registered_model_alias(model, "champion", str(version))
    client.set_model_version_tag(model, str(version), "headrace.promoted_at", datetime.now(UTC).isoformat())
