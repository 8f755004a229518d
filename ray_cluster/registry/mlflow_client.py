"""The MLflow server of an environment, and one writer to a model's versions and aliases at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from configs.errors import HeadraceError
from configs.settings import Settings
from feature_repo.storage import locks

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "KIND",
    "RegistryError",
    "connect",
    "exclusive",
]

#: Tag of a run that says how it was made; a run without it is a training.
KIND = "headrace.kind"


class RegistryError(HeadraceError, LookupError):
    """A run, version or alias that is not there; one sentence that says what is."""


def connect(settings: Settings) -> MlflowClient:
    """A client of the environment's MLflow server, which ``mlflow`` itself is pointed at too."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    mlflow.set_tracking_uri(settings.url("mlflow"))
    return mlflow.MlflowClient(settings.url("mlflow"))


@contextmanager
def exclusive(settings: Settings, model: str) -> Iterator[None]:
    """Whoever registers, approves, rolls back, retires or moves an alias of a model holds this. Not reentrant.

    Raises:
        RegistryError: the database that keeps the lock does not answer.
    """
    try:
        with locks.exclusive(settings.database_url("mlflow"), settings.home, f"register-{model}"):
            yield
    except locks.LockError as error:
        raise RegistryError(
            f"MLflow's database at {error}; `headrace up` makes it, `headrace doctor` looks why."
        ) from None
