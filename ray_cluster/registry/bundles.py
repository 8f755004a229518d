"""Bundles: a version with everything that is needed to score."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from ray_cluster.registry.aliases import champion
from ray_cluster.registry.connection import RegistryError, connect
from ray_cluster.registry.versions import facts_of, versions

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["LoadedVersion", "load_version"]


@dataclass(frozen=True)
class LoadedVersion:
    """A version ready to score: ``pipeline.predict_proba(frame[features])[:, 1] >= threshold``."""

    model: str
    version: int
    run_id: str
    pipeline: Pipeline
    threshold: float
    features: list[str]
    facts: dict[str, Any] = field(default_factory=dict)


def load_version(settings: Settings, model: str, version: int | None = None) -> LoadedVersion:
    """Load a version's bundle; without a number, the champion.

    Raises:
        RegistryError: there is no such version.
    """
    client = connect(settings)
    import mlflow
    from mlflow.exceptions import MlflowException

    if version is None:
        facts = champion(settings, model)
        if facts is None:
            raise RegistryError(
                f"Model '{model}' has no champion; run `headrace run train` and `headrace run register`."
            )
    else:
        try:
            facts = facts_of(client, client.get_model_version(model, str(version)))
        except MlflowException as error:
            known = [str(found.version) for found in versions(settings, model)] or ["none"]
            raise RegistryError(f"Model '{model}' has no version {version}; registered: {', '.join(known)}.") from error
    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(f"models:/{model}/{facts.version}", dst_path=folder)
        pipeline = mlflow.sklearn.load_model(path)
        metadata = mlflow.models.get_model_info(path).metadata or {}
    return LoadedVersion(
        model=model,
        version=facts.version,
        run_id=facts.run_id,
        pipeline=pipeline,
        threshold=float(metadata["threshold"]),
        features=list(metadata["features"]),
        facts=dict(metadata),
    )
