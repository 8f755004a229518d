"""The folders and PostgreSQL databases of the servers' state."""

from __future__ import annotations

from typing import get_args, get_type_hints

from configs.settings import Settings
from flows.stack.processes import StackError

__all__ = ["database_names", "prepare"]


def database_names(settings: Settings) -> list[str]:
    """The PostgreSQL databases of an environment."""
    names = get_args(get_type_hints(Settings.database_url)["name"])
    return [f"{settings.databases.prefix}_{name}" for name in names]


def prepare(settings: Settings) -> None:
    """Create the folders under ``home`` and, for PostgreSQL, the databases that are missing.

    Raises:
        StackError: PostgreSQL cannot be reached or refuses; Redis is not checked here.
    """
    for name in ("databases", "features", "mlflow", "evidently", "run", "logs", "locks"):
        (settings.home / name).mkdir(parents=True, exist_ok=True)
    if settings.databases.kind == "postgresql":
        _create_databases(settings)


def _create_databases(settings: Settings) -> None:
    import psycopg
    from psycopg import sql

    assert settings.databases.postgres_url is not None
    url = settings.databases.postgres_url.get_secret_value().rstrip("/")
    try:
        with psycopg.connect(f"{url}/postgres", autocommit=True, connect_timeout=5) as connection:
            present = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for name in database_names(settings):
                if name not in present:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise StackError(
            f"The databases {', '.join(database_names(settings))} cannot be created ({reason}); "
            "check HEADRACE_POSTGRES_URL and that its user may create databases."
        ) from None
