"""The stores that tests of online values run against: SQLite files, and a Redis database other than the first."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feature_repo.online.redis_values import RedisValues, redis_address

#: ``host:port``; tests use its database 9 under names of their own, and clean up.
REDIS = f"{os.environ.get('HEADRACE_TEST_REDIS', '127.0.0.1:6379').split(',')[0]},db=9"


@contextmanager
def redis_values() -> Iterator[RedisValues]:
    """A namespace of its own in Redis; its keys are removed after. Skips without Redis, but fails in CI."""
    import redis

    namespace = f"test_{uuid.uuid4().hex[:12]}"
    address = redis_address(REDIS)
    client = redis.Redis(address.host, address.port, **address.options)
    try:
        client.ping()
    except redis.exceptions.ConnectionError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no Redis at HEADRACE_TEST_REDIS")
    values = RedisValues(REDIS, namespace)
    try:
        yield values
    finally:
        values.close()
        for key in client.scan_iter(match=f"{{{namespace}:*", count=1000):
            client.unlink(key)
        client.close()


def sqlite_path(folder: Path) -> Path:
    return folder / f"{uuid.uuid4().hex[:8]}.db"
