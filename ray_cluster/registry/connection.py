"""How the MLflow server of an environment is reached."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from configs.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["KIND", "RegistryError", "connect"]

#: Tag of a run that says how it was made; a run without it is a training.
KIND = "headrace.kind"


class RegistryError(LookupError):
    """A run, version or alias that is not there; one sentence that says what is."""


def connect(settings: Settings) -> MlflowClient:
    """A client of the environment's MLflow server, which ``mlflow`` itself is pointed at too."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    mlflow.set_tracking_uri(settings.url("mlflow"))
    return mlflow.MlflowClient(settings.url("mlflow"))
