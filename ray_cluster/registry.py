"""The door to MLflow: training runs, model versions, aliases and the evidence kept with them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline

__all__ = [
    "LoadedVersion",
    "RegistryError",
    "TRUSTED",
    "VersionFacts",
    "add_evidence",
    "annotate",
    "champion",
    "evidence",
    "find_run",
    "load_version",
    "log_run",
    "newest_run",
    "promote",
    "reference",
    "register_run",
    "version_features",
    "versions",
]

_KEY = "headrace.training_key"
#: What a bundle may hold beside what skops trusts by itself: the classifiers of the model families, and what
#: cleaning learned (numpy's and pandas' own types are attributes of scikit-learn's imputer).
TRUSTED = [
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "ray_cluster.training.inputs.QuantileClip",
    "ray_cluster.training.inputs.WasMissing",
    "numpy.dtype",
    "pandas._libs.missing.NAType",
]


class RegistryError(LookupError):
    """A run, version or alias that is not there; one sentence that says what is."""


@dataclass(frozen=True)
class VersionFacts:
    """One registered version. ``metrics`` are those of its run on the held-out period."""

    model: str
    version: int
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    created: datetime


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


def _client(settings: Settings) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    mlflow.set_tracking_uri(settings.url("mlflow"))
    return mlflow.MlflowClient(settings.url("mlflow"))


def find_run(settings: Settings, model: str, key: str) -> str | None:
    """Id of the finished training run with this key; runs of the key that were cut off are marked killed."""
    client = _client(settings)
    experiment = client.get_experiment_by_name(model)
    if experiment is None:
        return None
    finished = None
    for run in client.search_runs([experiment.experiment_id], f"tags.`{_KEY}` = '{key}'"):
        if run.info.status == "FINISHED":
            finished = run.info.run_id
        elif run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
    return finished


def log_run(
    settings: Settings,
    model: str,
    key: str,
    pipeline: Pipeline,
    example: pd.DataFrame,
    reference: pd.DataFrame,
    documents: Mapping[str, Any],
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    metadata: Mapping[str, Any],
) -> str:
    """Log one training run whole: the model bundle, its evidence and its reference rows. Returns the run's id.

    The run is marked finished last; a run that was cut off is never taken for a finished one.
    """
    client = _client(settings)
    import mlflow
    from mlflow.models import infer_signature

    mlflow.set_experiment(model)
    with mlflow.start_run(tags={**tags, _KEY: key}) as run:
        mlflow.log_params(dict(params))
        mlflow.log_metrics(dict(metrics))
        mlflow.log_input(
            mlflow.data.from_pandas(  # type: ignore[attr-defined]
                example, name=f"{model}-frame", digest=str(tags["headrace.dataset"])
            ),
            context="training",
        )
        add_evidence(settings, run.info.run_id, documents)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "reference.parquet"
            reference.to_parquet(path, index=False)
            client.log_artifact(run.info.run_id, str(path), "reference")
        mlflow.sklearn.log_model(
            pipeline,
            name="model",
            signature=infer_signature(example, pipeline.predict_proba(example)),
            input_example=example,
            pyfunc_predict_fn="predict_proba",
            serialization_format="skops",
            skops_trusted_types=TRUSTED,
            pip_requirements=[f"{name}=={version}" for name, version in metadata["libraries"].items()],
            metadata=dict(metadata),
        )
    return str(run.info.run_id)


def newest_run(settings: Settings, model: str) -> str | None:
    """Id of the training run of a model that finished last, or None."""
    client = _client(settings)
    experiment = client.get_experiment_by_name(model)
    if experiment is None:
        return None
    found = client.search_runs(
        [experiment.experiment_id],
        "attributes.status = 'FINISHED'",
        order_by=["attributes.end_time DESC"],
        max_results=1,
    )
    return str(found[0].info.run_id) if found else None


def annotate(settings: Settings, model: str, version: int, tags: Mapping[str, str]) -> None:
    """Set tags on a version."""
    client = _client(settings)
    for name, value in tags.items():
        client.set_model_version_tag(model, str(version), name, value)


def add_evidence(settings: Settings, run_id: str, documents: Mapping[str, Any]) -> None:
    """Store JSON documents under ``evidence/`` of a run."""
    client = _client(settings)
    for name, document in documents.items():
        client.log_text(run_id, json.dumps(document, indent=1, default=str), f"evidence/{name}.json")


def evidence(settings: Settings, run_id: str) -> dict[str, Any]:
    """Every evidence document of a run, by name."""
    client = _client(settings)
    with tempfile.TemporaryDirectory() as folder:
        if not client.list_artifacts(run_id, "evidence"):
            return {}
        path = Path(client.download_artifacts(run_id, "evidence", folder))
        return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(path.glob("*.json"))}


def reference(settings: Settings, run_id: str) -> pd.DataFrame:
    """The held-out rows of a run: id, ``prediction_time``, features, ``label`` and ``score``."""
    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        path = _client(settings).download_artifacts(run_id, "reference/reference.parquet", folder)
        return pd.read_parquet(path)


def register_run(settings: Settings, model: str, run_id: str, tags: Mapping[str, str]) -> VersionFacts:
    """The registered version of a run: the one it has already, else a new one."""
    client = _client(settings)
    from mlflow.exceptions import MlflowException

    for known in versions(settings, model):
        if known.run_id == run_id:
            return known
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    outputs = client.get_run(run_id).outputs
    if outputs is None or not outputs.model_outputs:
        raise RegistryError(f"Run {run_id} of model '{model}' logged no model; run `headrace run train` again.")
    logged = outputs.model_outputs[0].model_id
    created = client.create_model_version(model, f"models:/{logged}", run_id, tags=dict(tags), model_id=logged)
    return _facts(client, created)


def promote(settings: Settings, model: str, version: int) -> None:
    """Point the alias ``champion`` at a version; what it pointed at keeps its number."""
    client = _client(settings)
    client.set_registered_model_alias(model, "champion", str(version))
    client.set_model_version_tag(model, str(version), "headrace.promoted_at", datetime.now(UTC).isoformat())


def versions(settings: Settings, model: str) -> list[VersionFacts]:
    """All versions of a model, newest first; empty when it was never registered."""
    client = _client(settings)
    found = client.search_model_versions(f"name='{model}'")
    if not found:
        return []
    aliases: dict[str, list[str]] = {}  # a search for versions leaves them out
    for alias, version in client.get_registered_model(model).aliases.items():
        aliases.setdefault(str(version), []).append(alias)
    facts = [replace(_facts(client, each), aliases=tuple(aliases.get(str(each.version), ()))) for each in found]
    return sorted(facts, key=lambda one: -one.version)


def version_features(settings: Settings, model: str, version: int) -> list[str]:
    """Names of the features that a version takes, read without loading its pipeline."""
    _client(settings)
    import mlflow

    metadata = mlflow.models.get_model_info(f"models:/{model}/{version}").metadata or {}
    return list(metadata["features"])


def champion(settings: Settings, model: str) -> VersionFacts | None:
    """The version with the alias ``champion``, or None."""
    client = _client(settings)
    from mlflow.exceptions import MlflowException

    try:
        return _facts(client, client.get_model_version_by_alias(model, "champion"))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def load_version(settings: Settings, model: str, version: int | None = None) -> LoadedVersion:
    """Load a version's bundle; without a number, the champion.

    Raises:
        RegistryError: there is no such version.
    """
    client = _client(settings)
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
            facts = _facts(client, client.get_model_version(model, str(version)))
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


def _facts(client: MlflowClient, version: Any) -> VersionFacts:
    run = client.get_run(version.run_id)
    return VersionFacts(
        model=version.name,
        version=int(version.version),
        run_id=version.run_id,
        aliases=tuple(version.aliases or ()),
        tags=dict(version.tags or {}),
        metrics=dict(run.data.metrics),
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
    )
