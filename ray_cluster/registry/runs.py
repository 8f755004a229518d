"""Training runs: log them with their evidence, and find them by version number, run id, or its first characters."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster.registry.bundles import check_types, write_bundle
from ray_cluster.registry.evidence import Evidence
from ray_cluster.registry.http_reads import MissingError, files
from ray_cluster.registry.mlflow_client import KIND, RegistryError, connect, no_run, run_files
from ray_cluster.registry.versions import VersionFacts, champion, versions

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = [
    "add_evidence",
    "add_texts",
    "evidence",
    "find_run",
    "log_run",
    "newest_run",
    "reference",
    "RunFacts",
    "Subject",
    "find",
    "runs_of",
]

_KEY = "headrace.training_key"


def find_run(settings: Settings, model: str, key: str) -> str | None:
    """Id of the finished training run with this key; interrupted runs of the key are marked killed."""
    client = connect(settings)
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
    evidence: Evidence,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    metadata: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
) -> str:
    """Log one complete training run: the model bundle, its evidence and its reference rows. Returns the run's id.

    ``files``: path below the run -> text, stored next to the evidence.
    The run is marked finished last, so that an interrupted run never counts as finished.
    """
    trusted = check_types(settings, model, pipeline)
    profiles: dict[str, Any] = {}
    failures: list[Failure] = [*evidence.failures]
    with secondary("profile of the held-out rows", failures):
        from ray_cluster.evaluation.column_profile import profile

        columns = [name for name in (*metadata["features"], "score") if name in reference]
        profiles = {name: column.to_dict() for name, column in profile(reference[columns]).items()}
    documents = replace(evidence, failures=failures).to_json()
    client = connect(settings)
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
        add_texts(settings, run.info.run_id, files or {})
        with tempfile.TemporaryDirectory() as folder:
            parquet = Path(folder) / "reference.parquet"
            reference.to_parquet(parquet, index=False)
            client.log_artifact(run.info.run_id, str(parquet), "reference")
            bundled = write_bundle(Path(folder), pipeline, example, profiles, documents, metadata)
            mlflow.sklearn.log_model(
                pipeline,
                name="model",
                signature=infer_signature(example, pipeline.predict_proba(example)),
                pyfunc_predict_fn="predict_proba",
                serialization_format="skops",
                skops_trusted_types=trusted,
                pip_requirements=[f"{name}=={version}" for name, version in metadata["libraries"].items()],
                metadata=dict(metadata),
                extra_files=bundled,
            )
    return str(run.info.run_id)


def newest_run(settings: Settings, model: str) -> str | None:
    """Id of the last finished training run of a model, or None; notebook runs are not trainings."""
    client = connect(settings)
    experiment = client.get_experiment_by_name(model)
    if experiment is None:
        return None
    found = client.search_runs(
        [experiment.experiment_id],
        "attributes.status = 'FINISHED'",
        order_by=["attributes.end_time DESC"],
        max_results=1000,
    )
    trained = (run for run in found if KIND not in run.data.tags)
    return next((str(run.info.run_id) for run in trained), None)


def add_evidence(settings: Settings, run_id: str, documents: Mapping[str, Any]) -> None:
    """Store JSON documents under ``evidence/`` of a run."""
    client = connect(settings)
    for name, document in documents.items():
        client.log_text(run_id, json.dumps(document, indent=1, default=str), f"evidence/{name}.json")


def add_texts(settings: Settings, run_id: str, texts: Mapping[str, str]) -> None:
    """Store texts with a run: path below the run -> text."""
    client = connect(settings)
    for path, text in texts.items():
        client.log_text(run_id, text, path)


def evidence(settings: Settings, run_id: str) -> Evidence:
    """Every evidence document of a run.

    Raises:
        RegistryError: there is no such run.
        DocumentError: a document is of a newer format.
    """
    try:
        found = files(settings, run_id, "evidence")
    except MissingError as error:
        raise no_run(run_id) from error
    documents = {name.removesuffix(".json"): json.loads(text) for name, text in found.items() if name.endswith(".json")}
    return Evidence.from_json(documents, f"run {run_id}")


def reference(settings: Settings, run_id: str) -> pd.DataFrame:
    """The held-out rows of a run: id, ``prediction_time``, features, ``label`` and ``score``."""
    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        path = run_files(settings, run_id).download_artifacts("reference/reference.parquet", folder)
        return pd.read_parquet(path)


_SHORTEST = 6


@dataclass(frozen=True)
class RunFacts:
    """One run of a model. ``kind``: training or notebook."""

    run_id: str
    name: str
    status: str
    kind: str
    started: datetime
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


@dataclass(frozen=True)
class Subject:
    """A run, and the version registered from it, if there is one."""

    model: str
    run: RunFacts
    version: VersionFacts | None

    @property
    def title(self) -> str:
        """``version 3``, or ``run 1a2b3c4d5e6f``."""
        return f"version {self.version.version}" if self.version else f"run {self.run.run_id[:12]}"


def runs_of(settings: Settings, model: str, limit: int = 200) -> list[RunFacts]:
    """The newest finished runs of a model of every kind, newest first."""
    client = connect(settings)
    experiment = client.get_experiment_by_name(model)
    if experiment is None:
        return []
    found = client.search_runs(
        [experiment.experiment_id],
        "attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=limit,
    )
    return [_facts(run) for run in found]


def find(settings: Settings, model: str, which: str | None = None) -> Subject:
    """A version by its number, or a run by its id or its first characters; by default, the champion.

    Raises:
        RegistryError: there is no such version or run, it is of another model, or no champion.
    """
    client = connect(settings)
    known = versions(settings, model)
    if which is None:
        present = champion(settings, model)
        if present is None:
            listed = ", ".join(str(each.version) for each in known) or "none"
            raise RegistryError(f"Model '{model}' has no champion; give a version (registered: {listed}) or a run.")
        which = str(present.version)
    if which.isdecimal() and len(which) < _SHORTEST:
        version = next((each for each in known if each.version == int(which)), None)
        if version is None:
            listed = ", ".join(str(each.version) for each in known) or "none"
            raise RegistryError(f"Model '{model}' has no version {which}; registered: {listed}.")
        return Subject(model, _facts(client.get_run(version.run_id)), version)
    run = _run(settings, model, which)
    return Subject(model, run, next((each for each in known if each.run_id == run.run_id), None))


def _run(settings: Settings, model: str, which: str) -> RunFacts:
    from mlflow.exceptions import MlflowException

    client = connect(settings)
    if len(which) >= _SHORTEST:
        matching = [run for run in runs_of(settings, model, 1000) if run.run_id.startswith(which)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise RegistryError(
                f"'{which}' matches {len(matching)} runs of model '{model}'; give more characters of the id: "
                f"{', '.join(run.run_id for run in matching[:5])}."
            )
    try:
        other = client.get_run(which)
        name = client.get_experiment(other.info.experiment_id).name
    except MlflowException:
        recent = ", ".join(run.run_id[:12] for run in runs_of(settings, model, 5)) or "none"
        raise RegistryError(
            f"Model '{model}' has no version or run '{which}'; expected a version's number, or a run's id (the newest: "
            f"{recent})."
        ) from None
    if name != model:
        raise RegistryError(f"Run {which} is of model '{name}', not of '{model}'; give that model, or another run.")
    raise RegistryError(f"Run {which} of model '{model}' did not finish ({other.info.status.lower()}).")


def _facts(run: Any) -> RunFacts:
    return RunFacts(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name or ""),
        status=str(run.info.status),
        kind=str(run.data.tags.get(KIND, "training")),
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )
