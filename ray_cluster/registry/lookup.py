"""Find a training run of a model by its version's number, its id, or the beginning of its id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from configs.settings import Settings
from ray_cluster.registry.aliases import champion
from ray_cluster.registry.connection import KIND, RegistryError, connect
from ray_cluster.registry.versions import VersionFacts, versions

__all__ = ["RunFacts", "Subject", "find", "runs_of"]

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
    """The newest runs of a model that came to their end, newest first; of every kind."""
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
    """A version by its number, or a run by its id or the beginning of it; without either, the champion.

    Raises:
        RegistryError: there is no such version or run, it is of another model, or no champion.
    """
    client = connect(settings)
    known = versions(settings, model)
    if which is None:
        present = champion(settings, model)
        if present is None:
            listed = ", ".join(str(each.version) for each in known) or "none"
            raise RegistryError(f"Model '{model}' has no champion; name a version (registered: {listed}) or a run.")
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
                f"'{which}' is the beginning of {len(matching)} runs of model '{model}'; give more of the id: "
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
        raise RegistryError(f"Run {which} is of model '{name}', not of '{model}'; name that model, or another run.")
    raise RegistryError(f"Run {which} of model '{model}' did not come to its end ({other.info.status.lower()}).")


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
