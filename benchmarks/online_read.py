"""Time online reads of the flight models' features: Headrace's reader, Feast's own reader over the same values, Feast's
stock stores with the same values, and by hand: one raw pipeline (or one SELECT per view) and ``struct.unpack``.

    python -m benchmarks.online_read [--rounds 40] [--redis 127.0.0.1:6379,db=9]

Each contender answers the same requests in turn, round by round, so that other work on the machine hits all of them;
trust the ratios. The service without on-demand code is timed apart from that with it.
"""

from __future__ import annotations

import argparse
import sqlite3
import struct
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

CARRIERS, ORIGINS, DESTS, PLANES = 16, 3, 105, 3322
AT = datetime(2013, 7, 1, 12, tzinfo=UTC)
SIZES = (1, 10, 100)


def entities(count: int) -> dict[str, list[str]]:
    names = {"carrier": CARRIERS, "origin": ORIGINS, "dest": DESTS, "tailnum": PLANES}
    return {key: [f"{key[:2].upper()}{place:04}" for place in range(size)] for key, size in names.items()} | {
        "": [""] * count
    }


def view_rows(layout: Any, random: np.random.Generator) -> pd.DataFrame:
    """Values of every entity of a view."""
    known = entities(0)
    index = pd.MultiIndex.from_product([known[key] for key in layout.join_keys], names=layout.join_keys)
    frame = index.to_frame(index=False)
    for name, kind in layout.features:
        frame[name] = (
            random.normal(size=len(frame)) if kind == "number" else random.choice(["AIRBUS", "BOEING"], len(frame))
        )
    event = pd.to_datetime([AT - timedelta(minutes=int(each)) for each in random.integers(1, 60, len(frame))])
    return frame.assign(event_timestamp=event, known_at=event)


def requests(count: int, random: np.random.Generator) -> pd.DataFrame:
    known = entities(0)
    rows = pd.DataFrame(
        {key: random.choice(np.array(known[key], object), count) for key in ("carrier", "origin", "dest")}
    )
    rows["tailnum"] = random.choice(np.array(known["tailnum"], object), count, replace=False)
    departure = pd.Series([pd.Timestamp(AT + timedelta(hours=2))] * count)
    return rows.assign(scheduled_departure=departure, scheduled_arrival=departure + pd.Timedelta("3h"))


def by_hand(
    layouts: list[Any], fetch: Callable[[list[list[bytes]]], list[list[bytes]]]
) -> Callable[[pd.DataFrame], Any]:
    """The least that a reader of these values can do: keys, one look, unpack; no frames, no checks, no expiry."""
    shapes = []
    for layout in layouts:
        numbers = sum(kind == "number" for _, kind in layout.features)
        texts = len(layout.features) - numbers
        shapes.append((struct.Struct(f"<20x{(len(layout.features) + 7) // 8}x{numbers}d{texts}I"), numbers, texts))

    def read(rows: pd.DataFrame) -> Any:
        columns = {name: rows[name].tolist() for name in ("carrier", "origin", "dest", "tailnum")}
        keys = [
            ["|".join(each).encode() for each in zip(*(columns[key] for key in layout.join_keys), strict=True)]
            for layout in layouts
        ]
        out = []
        for (shape, numbers, texts), values in zip(shapes, fetch(keys), strict=True):
            for value in values:
                if value is None:
                    continue
                found = list(shape.unpack_from(value))
                if texts:
                    at = shape.size
                    for place in range(numbers, numbers + texts):
                        length = found[place]
                        found[place] = value[at : at + length].decode()
                        at += length
                out.append((int.from_bytes(value[:8], "big"), found))
        return out

    return read


VIEWS = ["weather", "carrier_stats", "origin_stats", "route_stats", "plane_stats", "plane_attributes"]


def feast_store(project: str, online: dict[str, Any], home: Path) -> Any:
    """A FeatureStore with the flight models' definitions and an online store of its own."""
    from feast import FeatureStore
    from feast.infra.registry.sql import SqlRegistryConfig
    from feast.repo_config import RepoConfig

    from feature_repo import features

    config = RepoConfig(
        project=project,
        provider="local",
        registry=SqlRegistryConfig(
            registry_type="sql", path=f"sqlite:///{home / f'{project}.registry.db'}", cache_ttl_seconds=0
        ),
        online_store=online,
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
        repo_path=home,
    )
    store = FeatureStore(config=config)
    names = ("carrier", "origin", "dest", "plane", *VIEWS, "calendar", "flight_risk", "stored")
    store.apply([getattr(features, name) for name in names])
    return store


def look(values: Any, layouts: list[Any]) -> Callable[[list[list[bytes]]], Any]:
    """One raw pipeline of HMGET, or one SELECT per view, over what ``values`` holds."""
    from feature_repo.online.redis_values import RedisValues

    if isinstance(values, RedisValues):
        import redis

        place = values.address
        client = redis.Redis(place.host, place.port, **place.options)
        names = [values._name(layout) for layout in layouts]

        def fetch(keys: list[list[bytes]]) -> Any:
            pipeline = client.pipeline(transaction=False)
            for name, wanted in zip(names, keys, strict=True):
                pipeline.hmget(name, wanted)
            return pipeline.execute()

        return fetch
    connection = sqlite3.connect(values.path)

    def select(keys: list[list[bytes]]) -> Any:
        out = []
        for layout, wanted in zip(layouts, keys, strict=True):
            marks = ",".join("?" * len(wanted))
            query = f'SELECT key, value FROM "headrace.{layout.view}" WHERE key IN ({marks})'
            rows = dict(connection.execute(query, wanted).fetchall())
            out.append([rows.get(key) for key in wanted])
        return out

    return select


def contenders(home: Path, address: str, kind: str, namespace: str) -> dict[str, Callable[[pd.DataFrame], Any]]:
    """Functions that answer the same requests; all hold the same values."""
    from feast import FeatureService

    from configs.settings import load_settings
    from feature_repo import features
    from feature_repo.online.layout import layouts
    from feature_repo.online.reader import OnlineReader
    from feature_repo.online.redis_values import RedisValues
    from feature_repo.online.sqlite_values import SqliteValues

    settings = load_settings("local", {"HEADRACE_HOME": str(home)})
    features.stored = FeatureService(  # type: ignore[attr-defined]
        name="stored", features=[getattr(features, view) for view in VIEWS]
    )
    held = [layouts(settings)[view] for view in VIEWS]
    random = np.random.default_rng(0)
    data = [view_rows(layout, random) for layout in held]
    values: Any = RedisValues(address, namespace) if kind == "redis" else SqliteValues(home / "online.db")
    for layout, rows in zip(held, data, strict=True):
        values.write(layout, pa.Table.from_pandas(rows, preserve_index=False))
        values.set_known_until(layout, AT)
    plugin = "feature_repo.online.feast_online_stores."
    if kind == "redis":
        ours = {"type": f"{plugin}RedisOnlineStore", "connection_string": address, "namespace": namespace}
        stock = {"type": "redis", "connection_string": address}
    else:
        ours = {"type": f"{plugin}SqliteOnlineStore", "path": str(home / "online.db")}
        stock = {"type": "sqlite", "path": str(home / "stock.db")}
    stores = {
        "Feast, Headrace's store": feast_store("headrace", ours, home),
        "Feast, stock store": feast_store(namespace, stock, home),
    }
    for view, rows in zip(VIEWS, data, strict=True):
        stores["Feast, stock store"].write_to_online_store(view, rows)
    found = {"stored: by hand": by_hand(held, look(values, held))}
    as_of = pd.Series([pd.Timestamp(AT)] * max(SIZES))
    for service in ("stored", "flight_risk"):
        reader = OnlineReader(settings, service, values)
        found[f"{service}: OnlineReader"] = lambda rows, reader=reader: reader.read(rows, as_of.iloc[: len(rows)])
        for name, store in stores.items():
            cached = store.get_feature_service(service)
            columns = [*reader.entities, *reader.request_fields]

            def read(rows: pd.DataFrame, store: Any = store, cached: Any = cached, columns: Any = columns) -> Any:
                return store.get_online_features(cached, rows[columns].to_dict("records")).to_dict()

            found[f"{service}: {name}"] = read
    asked = requests(10, random)
    assert len(found["stored: by hand"](asked)) == 60, "not every value is there"
    assert found["stored: OnlineReader"](asked).features.notna().all(axis=None), "not every value is there"
    return found


def measure(found: dict[str, Callable[[pd.DataFrame], Any]], rounds: int) -> dict[tuple[str, int], np.ndarray]:
    """Seconds of each call, by contender and size."""
    random = np.random.default_rng(1)
    taken: dict[tuple[str, int], list[float]] = {}
    for round_ in range(rounds + 1):
        for size in SIZES:
            asked = [requests(size, random) for _ in range(10)]
            for name, read in found.items():
                for rows in asked:
                    started = time.perf_counter()
                    read(rows)
                    if round_:  # the first warms up
                        taken.setdefault((name, size), []).append(time.perf_counter() - started)
    return {key: np.array(seconds) for key, seconds in taken.items()}


def main() -> None:
    """Measure and print one table per store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of 10 calls of each contender")
    parser.add_argument("--redis", default="127.0.0.1:6379,db=9")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for kind in ("redis", "sqlite"):
        namespace = f"benchmark_{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                taken = measure(contenders(Path(folder), arguments.redis, kind, namespace), arguments.rounds)
            finally:
                if kind == "redis":
                    clean(arguments.redis, namespace)
        print(f"\n{kind}: milliseconds, p50 (p99), and p50 as a multiple of reading by hand")
        print("| | " + " | ".join(f"{size} entit{'y' if size == 1 else 'ies'}" for size in SIZES) + " |")
        print("|---|" + "---|" * len(SIZES))
        for name in dict.fromkeys(name for name, _ in taken):
            cells = []
            for size in SIZES:
                seconds, hand = taken[name, size], taken["stored: by hand", size]
                p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
                cells.append(f"{p50:.2f} ({p99:.2f}) {p50 / (np.median(hand) * 1000):.1f}x")
            print(f"| {name} | " + " | ".join(cells) + " |")


def clean(address: str, namespace: str) -> None:
    import redis

    from feature_repo.online.redis_values import redis_address

    place = redis_address(address)
    client = redis.Redis(place.host, place.port, **place.options)
    for key in client.scan_iter(match=f"*{namespace}*", count=5000):
        client.unlink(key)


if __name__ == "__main__":
    main()
