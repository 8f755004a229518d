"""Materialization from Parquet to the online store: rows per second, and peak memory as the window grows.

    python -m benchmarks.materialization [--entities 200000] [--rounds 3] [--redis 127.0.0.1:6379,db=9] [--part all]

Speed: one view of ten float features, every entity's latest of four rows into an empty store. Headrace's
`write_online`, Feast's stock `materialize` (on its default offline store and its own SQLite and Redis stores, a
twentieth of the entities, as its speed does not depend on how many there are), and the store's own bulk limit on the
same values take turns in each round; the best round of each counts, and the ratios are to be trusted.

Memory: the peak resident size of a process of its own. `compute`: a view with windows of up to 28 days over 1, 4 and
16 months of outcomes. `bring online`, and stock Feast beside it: 1, 4 and 16 rows of each entity.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs import load_settings
from configs.settings import Settings
from feature_repo.materialization.view_files import ViewState, remember
from feature_repo.online.layout import ViewLayout, layouts
from feature_repo.storage.files import write_json

#: A view of ten float features by one text key; here of as many "airports" as there are entities.
VIEW = "origin_stats"
UNTIL = datetime(2014, 6, 1, tzinfo=UTC)
MULTIPLES = (1, 4, 16)


def home_of(folder: Path, redis: str | None = None) -> Settings:
    """Settings of a home in ``folder``, with values in SQLite or in Redis."""
    variables = {"HEADRACE_HOME": str(folder)}
    if redis:
        variables |= {
            "HEADRACE_REDIS": redis,
            "HEADRACE_POSTGRES_URL": "postgresql://unused@127.0.0.1:5432",
            "HEADRACE_DATABASE_PREFIX": f"benchmark_{uuid.uuid4().hex[:8]}",
        }
    return load_settings("production" if redis else "local", variables)


def history(settings: Settings, entities: int, rows_each: int) -> Path:
    """Write a view's files as if computed, a quarter of a year of rows at most per file; also one file of them all."""
    import duckdb

    layout = layouts(settings)[VIEW]
    folder = settings.home / "features" / VIEW
    folder.mkdir(parents=True, exist_ok=True)
    features = ", ".join(f"random() AS {name}" for name in layout.names)
    files: dict[str, str] = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for number in range(rows_each):
            part = f"2013-{number % 12 + 1:02d}" if number < 12 else f"2014-{number - 11:02d}"
            moment = f"TIMESTAMPTZ '{part}-01 00:00:00+00' + to_microseconds(i * 1000)"
            files[part] = f"month={part}/made.parquet"
            (folder / f"month={part}").mkdir(exist_ok=True)
            connection.execute(
                f"COPY (SELECT 'E' || lpad(i::VARCHAR, 9, '0') AS origin, {moment} AS event_timestamp, "
                f"{moment} AS known_at, {features} FROM range({entities}) t(i)) "
                f"TO '{folder / files[part]}' (FORMAT parquet, COMPRESSION zstd)"
            )
        whole = settings.home / "whole.parquet"
        listed = ", ".join(f"'{folder / file}'" for file in files.values())
        connection.execute(
            f"COPY (FROM read_parquet([{listed}], hive_partitioning=false)) TO '{whole}' (FORMAT parquet)"
        )
    remember(settings, ViewState(VIEW, entities * rows_each, "made", {}, files=files))
    return whole


def stock(whole: Path, online: dict[str, Any], home: Path, project: str, layout: ViewLayout) -> Callable[[], None]:
    """Stock Feast's materialize of the same rows, on its default offline store."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.infra.registry.sql import SqlRegistryConfig
    from feast.repo_config import RepoConfig
    from feast.types import Float64

    origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
    view = FeatureView(
        name="view",
        entities=[origin],
        schema=[Field(name=name, dtype=Float64) for name in layout.names],
        source=FileSource(
            path=str(whole), timestamp_field="event_timestamp", created_timestamp_column="known_at", name="source"
        ),
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
    store.apply([origin, view])

    def run() -> None:
        from contextlib import redirect_stderr, redirect_stdout
        from io import StringIO

        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            store.materialize(datetime(2012, 1, 1, tzinfo=UTC), UNTIL, feature_views=["view"])

    return run


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ours(settings: Settings) -> bool:
    from feature_repo.materialization.online_write import write_online

    return write_online(settings, VIEW, UNTIL)


def speed(entities: int, rounds: int, folder: Path, redis: str | None) -> dict[str, list[float]]:
    """Rows per second into SQLite, or into Redis at ``redis``, of each contender, round by round."""
    from benchmarks.online_read import clean
    from benchmarks.online_write import own_benchmark
    from feature_repo.online import open_values
    from feature_repo.online.codec import pack
    from feature_repo.online.redis_values import redis_address

    settings, few = home_of(folder / "all", redis), home_of(folder / "few", redis)
    history(settings, entities, 4)
    whole = history(few, entities // 20, 4)
    layout = layouts(settings)[VIEW]
    import pyarrow.parquet as pq

    latest = settings.home / "features" / VIEW / "month=2013-04" / "made.parquet"
    keys, contents = pack(layout, pq.ParquetFile(latest).read())
    found: dict[str, list[float]] = {name: [] for name in ("Headrace", "Feast, stock", "limit of the store")}
    made = ViewState(
        VIEW, 0, "made", {}, files={f"2013-{n:02d}": f"month=2013-{n:02d}/made.parquet" for n in (1, 2, 3, 4)}
    )

    def bare_sqlite(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in ("page_size = 8192", "journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("CREATE TABLE t (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO t VALUES (?, ?)", zip(keys, contents, strict=True))
            connection.execute("COMMIT")

    for number in range(rounds):
        remember(settings, made)
        project = f"{settings.databases.prefix}{number}"
        try:
            with closing(open_values(settings)) as values:
                values.clear(layout)
                found["Headrace"].append(entities / seconds(lambda: ours(settings)))
                assert values.count(layout) == entities
                values.clear(layout)
            online = (
                {"type": "redis", "connection_string": redis}
                if redis
                else {"type": "sqlite", "path": str(folder / f"{project}.db")}
            )
            by_feast = stock(whole, online, few.home, project, layout)
            found["Feast, stock"].append(entities // 20 / seconds(by_feast))
            if redis is None:
                path = folder / f"bare{number}.db"
                found["limit of the store"].append(entities / seconds(lambda path=path: bare_sqlite(path)))  # type: ignore[misc]
            else:
                place = redis_address(redis)
                found["limit of the store"].append(own_benchmark(place, "-c 1 -P 1000", entities, len(contents[0])))
        finally:
            if redis:
                clean(redis, settings.databases.prefix)
    return found


def outcomes(settings: Settings, months: int, rows_a_month: int) -> None:
    """Write the raw table ``outcomes`` as ingest would, ``months`` long."""
    import duckdb

    from feature_repo.tables.table_files import Manifest, table_path

    folder = table_path(settings, "outcomes")
    files: dict[str, str] = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for day in range(months * 30):
            name = str(datetime.fromtimestamp(1_356_998_400 + day * 86_400, UTC).date())
            files[name] = f"day={name}/made.parquet"
            (folder / f"day={name}").mkdir(parents=True)
            connection.execute(
                f"""COPY (SELECT '{day}-' || i AS flight_id, 'C' || i % 20 AS carrier, 'E' || i % 3 AS origin,
                    'D' || i % 100 AS dest, 'N' || hash(i, {day}) % 4000 AS tailnum,
                    (hash(i) % 200)::DOUBLE AS dep_delay, (hash(i) % 180)::DOUBLE AS arr_delay,
                    false AS cancelled, false AS diverted,
                    TIMESTAMPTZ '{name} 00:00:00+00' + to_microseconds(i * {86_400_000_000 * 30 // rows_a_month})
                    AS known_at FROM range({rows_a_month // 30}) t(i))
                    TO '{folder / files[name]}' (FORMAT parquet, COMPRESSION zstd)"""
            )
    number = months * 30 * (rows_a_month // 30)
    content = Manifest("outcomes", "made", None, UNTIL.isoformat(), number, number, 0, 0, files)
    write_json(folder / "manifest.json", asdict(content))


def child(what: str, home: Path, whole: str) -> None:
    """Do one thing in this process and print its peak resident size in MB."""
    settings = home_of(home)
    layout = layouts(settings)[VIEW]
    if what == "compute":
        from feature_repo.materialization.backfill import compute

        compute(settings, "plane_stats")
    elif what == "bring online":
        assert ours(settings)
    elif what == "stock":
        online = {"type": "sqlite", "path": str(home / "stock.db")}
        stock(Path(whole), online, home, "stock", layout)()
    else:  # what the imports of the first two take
        import duckdb
        import pandas
        import pyarrow.parquet

        import feature_repo.materialization.backfill
        import feature_repo.materialization.online_write

        assert all(
            (
                duckdb,
                pandas,
                pyarrow.parquet,
                feature_repo.materialization.backfill,
                feature_repo.materialization.online_write,
            )
        )
    # not getrusage's, which counts the parent's memory from before the program was loaded
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps(int(status["VmHWM"].split()[0]) / 1024))


def peak(what: str, home: Path, whole: str = "") -> float:
    """Peak resident size in MB of a process that does ``what`` in ``home``."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.materialization",
        "--child",
        what,
        "--home",
        str(home),
        "--whole",
        whole,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "FEAST_USAGE": "false"}
    )
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def memory(entities: int, folder: Path) -> dict[str, list[float]]:
    """Peak memory in MB of each job at each multiple of the window."""
    names = ("imports alone", "compute", "bring online", "Feast, stock materialize")
    found: dict[str, list[float]] = {name: [] for name in names}
    for multiple in MULTIPLES:
        home = folder / f"compute{multiple}"
        layouts(home_of(home))  # imports Feast, which the jobs then need not
        found["imports alone"].append(peak("imports", home))
        outcomes(home_of(home), multiple, entities)
        found["compute"].append(peak("compute", home))
        shutil.rmtree(home)
        home = folder / f"online{multiple}"
        whole = history(home_of(home), entities, multiple)
        found["bring online"].append(peak("bring online", home))
        shutil.rmtree(home)
        home = folder / f"stock{multiple}"
        whole = history(home_of(home), entities // 10, multiple)
        found["Feast, stock materialize"].append(peak("stock", home, str(whole)))
        shutil.rmtree(home)
    return found


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--redis", default="127.0.0.1:6379,db=9")
    parser.add_argument("--part", choices=["all", "speed", "memory"], default="all")
    for hidden in ("--child", "--home", "--whole"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.child:
        child(arguments.child, Path(arguments.home), arguments.whole)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.part != "memory":
            for store, address in (("SQLite", None), ("Redis", arguments.redis)):
                found = speed(arguments.entities, arguments.rounds, folder / store, address)
                best = {who: max(speeds) for who, speeds in found.items()}
                print(f"\n{store}: the latest of 4 rows of {arguments.entities:,} entities, best of {arguments.rounds}")
                print("| | rows/s | times stock Feast | share of the limit |\n|---|---|---|---|")
                for who, value in best.items():
                    print(
                        f"| {who} | {value:,.0f} | {value / best['Feast, stock']:.1f} "
                        f"| {value / best['limit of the store']:.2f} |"
                    )
        if arguments.part != "speed":
            print(
                f"\nPeak memory in MB; {arguments.entities:,} rows a month, or entities (stock Feast: a tenth of them)"
            )
            print("| | " + " | ".join(f"{multiple}x" for multiple in MULTIPLES) + " |\n|---|---|---|---|")
            for who, sizes in memory(arguments.entities, folder).items():
                print(f"| {who} | " + " | ".join(f"{size:,.0f}" for size in sizes) + " |")


if __name__ == "__main__":
    main()
