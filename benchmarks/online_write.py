"""Rows per second into the online store: Headrace's writes, Feast's stock stores, and each store's own limit.

    python -m benchmarks.online_write [--entities 200000] [--rounds 3] [--redis 127.0.0.1:6379,db=9]

One view of ten float features, every entity once into an empty store, then once more over it. All contenders write in
turn in each round, so that other work on the machine hits all of them; the best round of each counts, and the ratios
are to be trusted. Stock Feast writes a twentieth of the entities, as its speed does not depend on how many there are.
The limits: Redis, `redis-benchmark` (pipelined SET of values as long as Headrace's, one connection, and fifty) and the
same values by redis-py's pipeline without a guard; SQLite, `executemany` of ready keys and values without a guard.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.online_read import clean
from feature_repo.online.codec import pack
from feature_repo.online.layout import ViewLayout
from feature_repo.online.redis_values import RedisValues, redis_address
from feature_repo.online.sqlite_values import SqliteValues

FEATURES = [f"feature_{place}" for place in range(10)]
AT = datetime(2024, 1, 1, tzinfo=UTC)


def rows(entities: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    moments = pa.array([AT + timedelta(seconds=seed)] * entities, pa.timestamp("us", "UTC"))
    columns = {name: random.normal(size=entities) for name in FEATURES}
    keys = [f"customer_{place}" for place in random.permutation(entities)]
    return pa.table({"customer": keys, "event_timestamp": moments, "known_at": moments, **columns})


def stock(online: dict[str, Any], project: str, home: Path, data: pd.DataFrame) -> Callable[[], None]:
    """Writing with one of Feast's own stores, through its own conversion of a table."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.infra.registry.sql import SqlRegistryConfig
    from feast.repo_config import RepoConfig
    from feast.types import Float64

    customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.STRING)
    view = FeatureView(
        name="view",
        entities=[customer],
        schema=[Field(name=name, dtype=Float64) for name in FEATURES],
        source=FileSource(path="x", timestamp_field="event_timestamp", created_timestamp_column="known_at"),
    )
    config = RepoConfig(
        project=project,
        provider="local",
        registry=SqlRegistryConfig(registry_type="sql", path=f"sqlite:///{home / f'{project}.registry.db'}"),
        online_store=online,
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
        repo_path=home,
    )
    store = FeatureStore(config=config)
    store.apply([customer, view])
    return lambda: store.write_to_online_store("view", data)


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def into_redis(entities: int, rounds: int, address: str, home: Path) -> dict[str, list[float]]:
    """Rows per second of each contender, round by round."""
    import redis

    place = redis_address(address)
    client = redis.Redis(place.host, place.port, **place.options)
    namespace = f"benchmark_{uuid.uuid4().hex[:8]}"
    values, layout = RedisValues(address, namespace), view_layout()
    first, second = rows(entities, 0), rows(entities, 1)
    keys, contents = pack(layout, first)
    part = entities // 20
    by_feast = stock({"type": "redis", "connection_string": address}, namespace, home, first.slice(0, part).to_pandas())
    found: dict[str, list[float]] = {}

    def bare() -> None:
        for start in range(0, entities, 10_000):
            pipeline = client.pipeline(transaction=False)
            for key, content in zip(keys[start : start + 10_000], contents[start : start + 10_000], strict=True):
                pipeline.execute_command("SET", f"{namespace}:{key.decode()}", content)
            pipeline.execute()

    try:
        for _ in range(rounds):
            values.clear(layout)
            note(found, "Headrace, empty store", entities / seconds(lambda: values.write(layout, first)))
            note(found, "Headrace, over values", entities / seconds(lambda: values.write(layout, second)))
            memory = values.memory(layout) / entities
            note(found, "Feast, stock", part / seconds(by_feast))
            note(found, "limit: redis-py pipeline of SET", entities / seconds(bare))
            if shutil.which("redis-benchmark"):
                for name, options in (
                    ("1 connection, 1000 at once", "-c 1 -P 1000"),
                    ("50 connections, 16 at once", "-c 50 -P 16"),
                ):
                    note(
                        found,
                        f"limit: redis-benchmark SET, {name}",
                        own_benchmark(place, options, entities, len(contents[0])),
                    )
            values.clear(layout)
            clean(address, namespace)
        print(f"\nmemory in Redis: {memory:.0f} bytes an entity, key {len(keys[0])} and value {len(contents[0])}")
    finally:
        clean(address, namespace)
    return found


def own_benchmark(place: Any, options: str, entities: int, size: int) -> float:
    """What redis-benchmark itself reaches, on keys of its own that are removed after."""
    command = f"redis-benchmark -h {place.host} -p {place.port} --dbnum {place.options.get('db', 0)} {options} "
    command += f"-n {entities} -r {entities} -d {size} -q SET benchmark_own:__rand_int__ __data__"
    # redis-benchmark fills __data__ in its own tests only, so the value is given
    words = command.replace("__data__", "x" * size).split()
    if place.options.get("password"):
        words[1:1] = ["-a", str(place.options["password"])]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    finally:
        clean_own(place)
    return float(re.findall(r"([\d.]+) requests per second", said)[-1])


def clean_own(place: Any) -> None:
    import redis

    client = redis.Redis(place.host, place.port, **place.options)
    batch = []
    for key in client.scan_iter(match="benchmark_own:*", count=10_000):
        batch.append(key)
        if len(batch) == 10_000:
            client.unlink(*batch)
            batch.clear()
    if batch:
        client.unlink(*batch)


def into_sqlite(entities: int, rounds: int, home: Path) -> dict[str, list[float]]:
    """Rows per second of each contender, round by round."""
    layout = view_layout()
    first, second = rows(entities, 0), rows(entities, 1)
    keys, contents = pack(layout, first)
    part = entities // 20
    found: dict[str, list[float]] = {}
    for round_ in range(rounds):
        values = SqliteValues(home / f"ours{round_}.db")
        for name, data in (("Headrace, empty store", first), ("Headrace, over values", second)):
            note(found, name, entities / seconds(partial(values.write, layout, data)))
        values.close()
        project = f"stock{round_}"
        online = {"type": "sqlite", "path": str(home / f"{project}.db")}
        by_feast = stock(online, project, home, first.slice(0, part).to_pandas())
        note(found, "Feast, stock", part / seconds(by_feast))
        connection = sqlite3.connect(home / f"bare{round_}.db", isolation_level=None)
        for pragma in ("page_size = 8192", "journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE t (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")

        def bare(connection: sqlite3.Connection = connection) -> None:
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO t VALUES (?, ?)", zip(keys, contents, strict=True))
            connection.execute("COMMIT")

        note(found, "limit: executemany of ready values", entities / seconds(bare))
        connection.close()
    return found


def view_layout() -> ViewLayout:
    return ViewLayout("benchmark", "view", ("customer",), tuple((name, "number") for name in FEATURES), 0.0)


def note(found: dict[str, list[float]], name: str, speed: float) -> None:
    found.setdefault(name, []).append(speed)


def main() -> None:
    """Measure and print one table per store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--redis", default="127.0.0.1:6379,db=9")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        tables = {
            "Redis": into_redis(arguments.entities, arguments.rounds, arguments.redis, Path(folder)),
            "SQLite": into_sqlite(arguments.entities, arguments.rounds, Path(folder)),
        }
    for store, found in tables.items():
        best = {name: max(speeds) for name, speeds in found.items()}
        limit = max(speed for name, speed in best.items() if name.startswith("limit"))
        print(f"\n{store}, {arguments.entities:,} entities of 10 features, best of {arguments.rounds} rounds")
        print("| | rows/s | times stock Feast | share of the limit |\n|---|---|---|---|")
        for name, speed in best.items():
            print(f"| {name} | {speed:,.0f} | {speed / best['Feast, stock']:.1f} | {speed / limit:.2f} |")


if __name__ == "__main__":
    main()
