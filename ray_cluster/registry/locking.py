"""One writer to a model's versions and aliases at a time, on every machine that shares the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from configs.settings import Settings
from feature_repo import locks
from ray_cluster.registry.connection import RegistryError

__all__ = ["exclusive"]


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
