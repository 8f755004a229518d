"""Feature values for the endpoint: one row per entity, the latest known."""

from __future__ import annotations

from configs.settings import Settings
from feature_repo.online.values import OnlineError, OnlineValues

__all__ = ["OnlineError", "OnlineValues", "open_values"]


def open_values(settings: Settings) -> OnlineValues:
    """The environment's online store: the file ``home/online.db`` (embedded), or Redis (production).

    Raises:
        OnlineError: HEADRACE_REDIS cannot be understood.
    """
    if settings.databases.kind == "embedded":
        from feature_repo.online.sqlite_values import SqliteValues

        return SqliteValues(settings.home / "online.db")
    from feature_repo.online.redis_values import RedisValues

    assert settings.databases.redis is not None
    return RedisValues(settings.databases.redis.get_secret_value(), namespace=settings.databases.prefix)
