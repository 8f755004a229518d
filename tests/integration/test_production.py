"""The production profile: PostgreSQL for every server's state and Feast's registry, Redis for online features."""

from __future__ import annotations

import os
import uuid

import psycopg
import pytest
from redis import Redis

from feature_repo.online.reader import OnlineReader
from feature_repo.online.redis_values import redis_address
from feature_repo.transforms import VIEWS
from flows.stack.processes import processes_of
from ray_cluster import registry
from tests.integration.conftest import PERIOD, stack

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

POSTGRES = os.environ.get("HEADRACE_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432")
REDIS = os.environ.get("HEADRACE_TEST_REDIS", "127.0.0.1:6379")


def test_the_lifecycle_on_postgresql_and_redis(tmp_path):
    try:
        psycopg.connect(f"{POSTGRES}/postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no PostgreSQL at HEADRACE_TEST_POSTGRES")
    prefix = f"headrace_test_{uuid.uuid4().hex[:8]}"
    found = stack(
        tmp_path / "home",
        "production",
        HEADRACE_POSTGRES_URL=POSTGRES,
        HEADRACE_REDIS=REDIS,
        HEADRACE_DATABASE_PREFIX=prefix,
    )
    try:
        up = found("up", timeout=400)
        assert up.returncode == 0, up.stderr[-3000:]
        again = found("up")
        assert again.returncode == 0, again.stderr[-3000:]
        with psycopg.connect(f"{POSTGRES}/postgres") as connection:
            names = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        assert {f"{prefix}_{name}" for name in ("prefect", "mlflow", "feast")} <= names
        done = found.run("lifecycle", "--model", "flight_delay", *PERIOD)
        assert done["version"] == done["champion"] == 1
        assert registry.champion(found.settings, "flight_delay").version == 1
        assert OnlineReader(found.settings, "flight_risk").features
        with psycopg.connect(f"{POSTGRES}/{prefix}_feast") as connection:
            assert connection.execute("SELECT count(*) FROM feature_views").fetchone()[0] == len(VIEWS)
        down = found("down")
        assert down.returncode == 0 and processes_of(found.settings) == [], down.stderr[-3000:]
    finally:
        found("down")
        at = redis_address(REDIS)
        with Redis(at.host, at.port, **at.options) as client:
            for key in client.scan_iter(f"{{{prefix}:*"):
                client.delete(key)
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            for name in ("prefect", "mlflow", "feast"):
                connection.execute(f'DROP DATABASE IF EXISTS "{prefix}_{name}" WITH (FORCE)')
