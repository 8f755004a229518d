"""Registered versions: the facts of each, and how a run becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from ray_cluster.registry.connection import RegistryError, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "VersionFacts",
    "annotate",
    "describe",
    "facts_of",
    "register_run",
    "version",
    "version_features",
    "versions",
]


@dataclass(frozen=True)
class VersionFacts:
    """One registered version. ``metrics`` are those of its run on the held-out period.

    ``logged`` is the id of the logged model that keeps its files; ``description`` the Markdown of its page in MLflow.
    """

    model: str
    version: int
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    created: datetime
    logged: str = ""
    description: str = ""

    @property
    def promoted_at(self) -> datetime | None:
        """When it last became champion, or None."""
        return _moment(self.tags.get("headrace.promoted_at"))

    @property
    def retired_at(self) -> datetime | None:
        """When it was retired, or None."""
        return _moment(self.tags.get("headrace.retired_at"))


def register_run(settings: Settings, model: str, run_id: str, tags: Mapping[str, str]) -> VersionFacts:
    """The registered version of a run: the one it has already, else a new one.

    Raises:
        RegistryError: the run was cut off, or logged no model.
    """
    client = connect(settings)
    from mlflow.exceptions import MlflowException

    for known in versions(settings, model):
        if known.run_id == run_id:
            return known
    run = client.get_run(run_id)
    outputs = run.outputs
    if run.info.status != "FINISHED" or outputs is None or not outputs.model_outputs:
        raise RegistryError(
            f"Run {run_id} of model '{model}' is not whole (status {run.info.status.lower()}"
            f"{'' if outputs and outputs.model_outputs else ', no model logged'}), so it cannot be registered; run "
            "`headrace run train` again."
        )
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    logged = outputs.model_outputs[0].model_id
    created = client.create_model_version(model, f"models:/{logged}", run_id, tags=dict(tags), model_id=logged)
    return facts_of(client, created)


def annotate(settings: Settings, model: str, version: int, tags: Mapping[str, str]) -> None:
    """Set tags on a version."""
    client = connect(settings)
    for name, value in tags.items():
        client.set_model_version_tag(model, str(version), name, value[:5000])  # the most that MLflow keeps


def describe(settings: Settings, model: str, version: int, description: str) -> None:
    """Set the Markdown that MLflow shows on the version's page."""
    connect(settings).update_model_version(model, str(version), description)


def version(settings: Settings, model: str, number: int) -> VersionFacts:
    """One version.

    Raises:
        RegistryError: there is none of that number; the sentence names those that there are.
    """
    client = connect(settings)
    from mlflow.exceptions import MlflowException

    try:
        return facts_of(client, client.get_model_version(model, str(number)))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        known = [str(found.version) for found in versions(settings, model)] or ["none"]
        raise RegistryError(f"Model '{model}' has no version {number}; registered: {', '.join(known)}.") from error


def versions(settings: Settings, model: str) -> list[VersionFacts]:
    """All versions of a model, newest first; empty when it was never registered."""
    client = connect(settings)
    found = client.search_model_versions(f"name='{model}'")
    if not found:
        return []
    aliases: dict[str, list[str]] = {}  # a search for versions leaves them out
    for alias, number in client.get_registered_model(model).aliases.items():
        aliases.setdefault(str(number), []).append(alias)
    facts = [replace(facts_of(client, each), aliases=tuple(aliases.get(str(each.version), ()))) for each in found]
    return sorted(facts, key=lambda one: -one.version)


def version_features(settings: Settings, model: str, version: int) -> list[str]:
    """Names of the features that a version takes, read without loading its pipeline."""
    connect(settings)
    import mlflow

    metadata = mlflow.models.get_model_info(f"models:/{model}/{version}").metadata or {}
    return list(metadata["features"])


def facts_of(client: MlflowClient, version: Any) -> VersionFacts:
    """The facts of a version as MLflow returns it."""
    run = client.get_run(version.run_id)
    return VersionFacts(
        model=version.name,
        version=int(version.version),
        run_id=version.run_id,
        aliases=tuple(version.aliases or ()),
        tags=dict(version.tags or {}),
        metrics=dict(run.data.metrics),
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        logged=str(version.source or "").removeprefix("models:/"),
        description=str(version.description or ""),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
