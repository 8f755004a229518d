"""The MLflow server of an environment, and one writer to a model's versions and aliases at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
