"""The same steps on both profiles: SQLite for everything, and PostgreSQL with Redis; no server of Headrace's own.

Apply, compute, materialize, retrieve as of the past and read online, on a quarter of five airlines' real flights. The
answers of both profiles are also the same, value for value.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pytest
import redis

from configs import load_model
from configs.settings import Settings
from feature_repo.definitions import feature_store
from feature_repo.definitions.load import registered
from feature_repo.materialization.online_write import materialize_view
from feature_repo.online import open_values
from feature_repo.online.layout import layouts
from feature_repo.online.reader import OnlineReader
from feature_repo.online.redis_values import redis_address
from tests.feature_repo.raw_tables import put, raw, small_settings

POSTGRES = os.environ.get("HEADRACE_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432")
REDIS = f"{os.environ.get('HEADRACE_TEST_REDIS', '127.0.0.1:6379').split(',')[0]},db=5"
AT = datetime(2013, 3, 20, 12, tzinfo=UTC)
VIEWS = ["weather", "carrier_stats", "origin_stats", "route_stats", "plane_stats", "plane_attributes"]


@dataclass
class World:
    """A home whose views hold what was known at :data:`AT`, and requests of the hours after."""

    settings: Settings
    requests: pd.DataFrame


def asked() -> pd.DataFrame:
    """Real combinations of entities, one never seen, one without a plane."""
    rows = raw()["outcomes"].iloc[::97][["carrier", "origin", "dest", "tailnum"]].reset_index(drop=True).astype(object)
    rows.loc[0, "tailnum"] = None
    rows.loc[1, ["carrier", "tailnum"]] = ["ZZ", "N0NONE"]
    departure = pd.Timestamp(AT) + pd.to_timedelta(rows.index * 7, unit="min") + timedelta(hours=2)
    return rows.assign(
        scheduled_departure=departure, scheduled_arrival=departure + timedelta(hours=3), at=pd.Timestamp(AT)
    )


def made(home, **variables: str) -> World:
    settings = small_settings(home, **variables)
    assert feature_store.apply(settings) and not feature_store.apply(settings)
    put(settings, raw())
    for view in VIEWS:
        assert materialize_view(settings, view, AT - timedelta(days=3)).computed
        done = materialize_view(settings, view, AT)  # a second time, incrementally
        assert not done.computed and done.materialized
        assert not materialize_view(settings, view, AT).materialized
    return World(settings, asked())


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return made(tmp_path_factory.mktemp("embedded") / "home")


@pytest.fixture(scope="module")
def production(tmp_path_factory):
    prefix = f"headrace_test_{uuid.uuid4().hex[:8]}"
    address = redis_address(REDIS)
    client = redis.Redis(address.host, address.port, **address.options)
    try:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=5) as connection:
            connection.execute(f'CREATE DATABASE "{prefix}_feast"')
        client.ping()
    except (psycopg.OperationalError, redis.exceptions.ConnectionError):
        if os.environ.get("CI"):
            raise
        pytest.skip("no PostgreSQL at HEADRACE_TEST_POSTGRES, or no Redis at HEADRACE_TEST_REDIS")
    try:
        yield made(
            tmp_path_factory.mktemp("production") / "home",
            environment="production",
            HEADRACE_POSTGRES_URL=POSTGRES,
            HEADRACE_REDIS=REDIS,
            HEADRACE_DATABASE_PREFIX=prefix,
        )
    finally:
        for key in client.scan_iter(f"*{prefix}*"):
            client.delete(key)
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{prefix}_feast" WITH (FORCE)')


@pytest.fixture(params=["embedded", "production"])
def world(request) -> World:
    return request.getfixturevalue(request.param)


def retrieved(world: World) -> pd.DataFrame:
    return feature_store.retrieve(world.settings, "flight_risk", world.requests, at="at")


def read(world: World) -> pd.DataFrame:
    reader = OnlineReader(world.settings, "flight_risk")
    rows = world.requests[[*reader.entities, *reader.request_fields]]
    return reader.read(rows, world.requests["at"]).features


def test_the_registry_holds_what_is_written(world):
    held = registered(feature_store.open_store(world.settings))
    spec = load_model("flight_delay")
    assert set(VIEWS) <= set(held.views) and spec.feature_service in held.services
    assert held.views["route_stats"].keys == (("origin", "String"), ("dest", "String"))


def test_read_online_is_what_is_retrieved_as_of_then(world):
    offline, online = retrieved(world), read(world)
    assert len(offline) == len(online) == len(world.requests)
    assert online.notna().any().all()
    for name in online:
        left, right = offline[name], online[name]
        same = (left.isna() & right.isna()) | (left.astype(object) == right.astype(object))
        assert same.all(), (name, left[~same].tolist(), right[~same].tolist())


def test_each_view_knows_how_far_it_was_brought(world):
    held = [layout for name, layout in layouts(world.settings).items() if name in VIEWS]
    store_of = open_values(world.settings)
    assert store_of.known_until(held) == dict.fromkeys(VIEWS, AT)
    assert all(store_of.count(layout) for layout in held)


def test_feast_itself_reads_the_same(world):
    opened = feature_store.open_store(world.settings)
    rows = world.requests.head(5)[["carrier", "origin", "dest", "scheduled_departure", "scheduled_arrival"]]
    rows = rows.assign(tailnum=world.requests["tailnum"].dropna().iloc[3]).astype(object)
    answer = opened.get_online_features(opened.get_feature_service("flight_risk"), rows.to_dict("records")).to_df()
    mine = OnlineReader(world.settings, "flight_risk").read(rows, pd.Series([pd.Timestamp(AT)] * 5)).features
    for name in ("temp", "carrier_late_rate_28d", "plane_seats", "plane_manufacturer", "scheduled_minutes"):
        pd.testing.assert_series_equal(answer[name], mine[name], check_dtype=False)
        assert mine[name].notna().any()


def test_both_profiles_give_the_same(embedded, production):
    pd.testing.assert_frame_equal(retrieved(embedded), retrieved(production))
    pd.testing.assert_frame_equal(read(embedded), read(production))
