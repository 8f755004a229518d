"""The MLflow server of an environment, and one writer to a model's versions and aliases at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError
from configs.settings import Settings
from feature_repo.storage import locks
from ray_cluster.registry.mlflow_plugins import skip_feast

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "KIND",
    "RegistryError",
    "connect",
    "exclusive",
    "no_run",
    "run_files",
]

#: Tag of a run with its kind; a run without it is a training.
KIND = "headrace.kind"


class RegistryError(HeadraceError, LookupError):
    """A run, version or alias does not exist; the message says which ones exist."""


def connect(settings: Settings) -> MlflowClient:
    """A client of the environment's MLflow server; also sets the tracking address of ``mlflow``."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    skip_feast()
    mlflow.set_tracking_uri(settings.url("mlflow"))
    return mlflow.MlflowClient(settings.url("mlflow"))


def run_files(settings: Settings, run_id: str) -> Any:
    """The store of a run's files, MLflow's ``ArtifactRepository``, whose methods have no types. The client's own calls
    look up the run and its logged models for each listing and each download.

    Raises:
        RegistryError: there is no such run.
    """
    client = connect(settings)
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        return get_artifact_repository(client.get_run(run_id).info.artifact_uri)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise no_run(run_id) from error


def no_run(run_id: str) -> RegistryError:
    """The error about a run that does not exist."""
    return RegistryError(
        f"There is no training run '{run_id}'; MLflow lists them in the experiment, and `headrace run train` creates "
        "one."
    )


@contextmanager
def exclusive(settings: Settings, model: str) -> Iterator[None]:
    """Lock for registering, approving, rolling back, retiring or moving an alias of a model. Not reentrant.

    Raises:
        RegistryError: the database of the lock does not answer.
    """
    try:
        with locks.exclusive(settings.database_url("mlflow"), settings.home, f"register-{model}"):
            yield
    except locks.LockError as error:
        raise RegistryError(
            f"MLflow's database at {error}; `headrace up` creates it, `headrace doctor` finds the cause."
        ) from None
