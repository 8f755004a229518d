"""PostgreSQL as a source, on the real server: types, streaming, the cursor, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.settings import Settings, load_settings
from configs.table import Table
from feature_repo import tables
from feature_repo.storage.files import read_json, write_json
from feature_repo.tables import ingest
from feature_repo.tables.quality import TableError
from feature_repo.tables.sources import SourceError, batches

SERVER = os.environ.get("HEADRACE_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432")
END = datetime(2014, 1, 1, tzinfo=UTC)
T0 = datetime(2013, 5, 1, tzinfo=UTC)
#: Cursor kind → its declared type, its column's type, and what a step becomes there.
CURSORS: dict[str, tuple[str, str, Any]] = {
    "integer": ("integer", "int", lambda step: step),
    "time": ("time", "timestamptz", lambda step: T0 + timedelta(hours=step)),
    "zoneless": ("time", "timestamp", lambda step: (T0 + timedelta(hours=step)).replace(tzinfo=None)),
    "text": ("string", "text", lambda step: "aBbÄz"[step % 5] * (step // 5 + 1)),
    "numeric": ("number", "numeric(20,9)", lambda step: step / 7),
}


@pytest.fixture(scope="module")
def database() -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database of its own."""
    try:
        server = psycopg.connect(f"{SERVER}/postgres", connect_timeout=5, autocommit=True)
    except psycopg.OperationalError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no PostgreSQL at HEADRACE_TEST_POSTGRES")
    name = f"headrace_test_{uuid.uuid4().hex[:8]}"
    server.execute(f'CREATE DATABASE "{name}"')
    before = os.environ.get("SHOP_URL")
    os.environ["SHOP_URL"] = f"{SERVER.replace('postgresql://', 'postgresql+psycopg://')}/{name}"
    try:
        # nothing is prepared, as the same statement means another table in each example
        with psycopg.connect(f"{SERVER}/{name}", autocommit=True, prepare_threshold=None) as connection:
            yield connection
    finally:
        os.environ.pop("SHOP_URL") if before is None else os.environ.update(SHOP_URL=before)
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        server.close()


def shop(home: Path, kind: str = "integer", **changes: Any) -> Settings:
    """Settings with one table, ``sales``, read by the cursor ``moved``."""
    content: dict[str, Any] = {
        "source": {
            "kind": "sql",
            "location": "SELECT id, moved, amount, sold_at, known_at FROM sales",
            "url_env": "SHOP_URL",
            "cursor": "moved",
            "batch_rows": 3,
        },
        "key": ["id"],
        "day": "sold_at",
        "known_at": "known_at",
        "columns": {
            "id": {"type": "integer"},
            "moved": {"type": CURSORS[kind][0]},
            "amount": {"type": "number", "low": 0, "nullable": True},
            "sold_at": {"type": "time"},
            "known_at": {"type": "time"},
        },
        "gates": {"quarantined": 1, "rows": 0},
    }
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(content.get(key), dict) else value
    loaded = load_settings("local", {"HEADRACE_HOME": str(home)})
    return loaded.model_copy(update={"tables": {"sales": Table.model_validate(content)}})


def create(database: psycopg.Connection[Any], kind: str = "integer") -> None:
    database.execute("DROP TABLE IF EXISTS sales")
    database.execute(
        f"CREATE TABLE sales (id int, moved {CURSORS[kind][1]}, amount float8, "
        "sold_at timestamptz, known_at timestamptz)"
    )


def put(database: psycopg.Connection[Any], *rows: tuple[Any, ...]) -> None:
    with database.cursor() as cursor:
        cursor.executemany("INSERT INTO sales VALUES (%s, %s, %s, %s, %s)", rows)


def sale(number: int, moved: Any, amount: float | None = 1.0, day: int = 0, known: int = 0) -> tuple[Any, ...]:
    return number, moved, amount, T0 + timedelta(days=day), T0 + timedelta(days=known)


def stored(settings: Settings) -> pd.DataFrame:
    if not tables.manifest(settings, "sales").files:
        return pd.DataFrame()
    with tables.connect(settings) as connection:
        return connection.execute("SELECT * FROM sales ORDER BY ALL").df()


def refused(settings: Settings) -> pd.DataFrame:
    frame = pd.read_parquet(tables.table_path(settings, "sales") / "quarantine.parquet")
    return frame.sort_values(list(frame)).reset_index(drop=True)


moments = st.integers(0, 12)
inserted = st.tuples(
    st.just("insert"),
    st.integers(1, 6),
    moments,
    st.sampled_from([None, 1.0, 2.0, -1.0]),
    st.integers(0, 3),
    st.integers(0, 9),
)
ingested = st.tuples(st.just("ingest"), st.integers(0, 10))


@pytest.mark.timeout(900)
@settings(max_examples=20, deadline=None)
@given(
    steps=st.lists(st.one_of(inserted, inserted, inserted, ingested), max_size=18),
    batch_rows=st.integers(1, 5),
    kind=st.sampled_from(sorted(CURSORS)),
    updates=st.booleans(),
    known_in_key=st.booleans(),
)
def test_any_sequence_of_inserts_and_ingests_ends_as_one_whole_ingest(
    database, tmp_path_factory, steps, batch_rows, kind, updates, known_in_key
):
    """Cursor values only grow between ingests, with ties at the mark; null cursors, invalid rows, rows known later."""
    folder = tmp_path_factory.mktemp("steps")
    changes = {"source": {"batch_rows": batch_rows}, "key": ["id", "known_at"] if known_in_key else ["id"]}
    here, whole = shop(folder / "one", kind, **changes), shop(folder / "whole", kind, **changes)
    create(database, kind)
    value = CURSORS[kind][2]
    # a text cursor grows by bytes, so its steps are put in that order
    scale = sorted((value(step) for step in range(40)), key=lambda each: each.encode() if kind == "text" else each)
    reached = 0
    as_of = T0
    for step in steps:
        if step[0] == "ingest":
            as_of = max(as_of, T0 + timedelta(days=step[1]))
            tables.ingest_table(here, "sales", as_of)
            continue
        _, number, further, amount, day, known = step
        reached = min(reached + (further if further < 3 else 0), 39)
        if updates and not known_in_key:
            database.execute("DELETE FROM sales WHERE id = %s", [number])
        moved = None if further == 12 and not updates else scale[reached]
        put(database, sale(number, moved, amount, day, known))
    found, _ = tables.ingest_table(here, "sales", as_of)
    expected, _ = tables.ingest_table(whole, "sales", as_of)
    assert found.files == expected.files and found.fingerprint == expected.fingerprint
    pd.testing.assert_frame_equal(stored(here), stored(whole))
    pd.testing.assert_frame_equal(refused(here), refused(whole))
    assert found.rows_in == found.rows_out + found.quarantined + found.later
    assert (found.rows_in, found.quarantined, found.later, found.mark) == (
        expected.rows_in,
        expected.quarantined,
        expected.later,
        expected.mark,
    )


def test_only_rows_from_the_mark_on_are_asked_for(database, tmp_path):
    here = shop(tmp_path)
    create(database)
    put(database, *(sale(number, number) for number in range(10)))
    first, _ = tables.ingest_table(here, "sales", END)
    assert (first.read, first.rows_in, first.mark) == (10, 10, 9)
    put(database, sale(10, 9, day=1), sale(11, 10, day=1), sale(3, 11, amount=7.0))
    second, changed = tables.ingest_table(here, "sales", END)
    assert changed and (second.read, second.rows_in, second.rows_out, second.mark) == (4, 12, 12, 11)
    assert stored(here).set_index("id").loc[3, "amount"] == 7.0
    third, changed = tables.ingest_table(here, "sales", END)
    assert not changed and (third.read, third.rows_in) == (1, 12) and third.files == second.files


def test_an_update_moves_a_row_between_days_and_in_and_out_of_quarantine(database, tmp_path):
    here = shop(tmp_path)
    create(database)
    put(database, sale(1, 1, day=0), sale(2, 2, day=1), sale(3, 3, day=2))
    before, _ = tables.ingest_table(here, "sales", END)
    for amount, day, counts in ((1.0, 2, (3, 0)), (-1.0, 2, (2, 1)), (2.0, 0, (3, 0))):
        mark = tables.manifest(here, "sales").mark
        database.execute("DELETE FROM sales WHERE id = 1")
        put(database, sale(1, mark + 1, amount, day))
        found, _ = tables.ingest_table(here, "sales", END)
        assert (found.rows_out, found.quarantined) == counts
        assert found.files["2013-05-02"] == before.files["2013-05-02"]  # a day that nothing touched
    assert [str(each.date()) for each in stored(here)["sold_at"]] == ["2013-05-01", "2013-05-02", "2013-05-03"]


def test_rows_committed_late_are_read_within_the_overlap(database, tmp_path):
    for overlap, expected in ((0, 3), (5, 4)):
        here = shop(tmp_path / str(overlap), source={"overlap": overlap})
        create(database)
        put(database, sale(1, 1), sale(2, 10))
        tables.ingest_table(here, "sales", END)
        put(database, sale(3, 7), sale(4, 11))  # a transaction that took its number earlier and ended later
        assert tables.ingest_table(here, "sales", END)[0].rows_out == expected


def test_rows_not_yet_known_come_when_they_are(database, tmp_path):
    here = shop(tmp_path)
    create(database)
    put(database, sale(1, 1), sale(2, 2, known=5), sale(3, 3))
    found, _ = tables.ingest_table(here, "sales", T0 + timedelta(days=1))
    assert (found.rows_in, found.rows_out, found.later, found.mark) == (3, 2, 1, 2)
    found, _ = tables.ingest_table(here, "sales", T0 + timedelta(days=6))
    assert (found.rows_in, found.rows_out, found.later, found.read, found.mark) == (3, 3, 0, 2, 3)
    found, _ = tables.ingest_table(here, "sales", T0)  # an earlier moment takes nothing away
    assert found.rows_out == 3


def test_another_query_or_other_rules_start_anew(database, tmp_path):
    here = shop(tmp_path)
    create(database)
    put(database, *(sale(number, number, amount=float(number)) for number in range(6)))
    assert tables.ingest_table(here, "sales", END)[0].read == 6
    gates = shop(tmp_path, gates={"rows": 1}, source={"batch_rows": 2})
    assert tables.ingest_table(gates, "sales", END)[0].read == 1  # these decide nothing about a row
    narrower = shop(
        tmp_path, source={"location": "SELECT id, moved, amount, sold_at, known_at FROM sales WHERE id > 2"}
    )
    found, _ = tables.ingest_table(narrower, "sales", END)
    assert (found.read, found.rows_out) == (3, 3)
    stricter = shop(tmp_path, rows={"small": "amount < 4"})
    found, _ = tables.ingest_table(stricter, "sales", END)
    assert (found.read, found.rows_out, found.quarantined) == (6, 4, 2)


def test_gates_look_at_what_was_read_now(database, tmp_path):
    here = shop(tmp_path, source={"batch_rows": 50}, gates={"quarantined": 0.1, "row_change": 0.5})
    create(database)
    put(database, *(sale(number, number) for number in range(300)))
    before, _ = tables.ingest_table(here, "sales", END)
    put(database, *(sale(1000 + number, 300 + number, amount=-1.0) for number in range(12)))
    with pytest.raises(TableError, match=r"gate 'quarantined': 12 of 13 rows .* expected at most 10.00%"):
        tables.ingest_table(here, "sales", END)
    assert tables.manifest(here, "sales") == before
    database.execute("DELETE FROM sales WHERE id > 1004")
    assert tables.ingest_table(here, "sales", END)[0].quarantined == 5  # of so few rows five may be
    put(database, *(sale(2000 + number, 400 + number) for number in range(200)))
    with pytest.raises(TableError, match=r"gate 'row_change': the source has 505 rows, \+65.57%"):
        tables.ingest_table(here, "sales", END)


def test_erased_entities_go_from_what_is_held_and_never_return(database, tmp_path):
    here = shop(tmp_path)
    create(database)
    put(database, sale(1, 1), sale(2, 2, amount=-1.0), sale(3, 3), sale(4, 4))
    tables.ingest_table(here, "sales", END)
    write_json(here.home / "erasures.json", {"id": ["1", "2", "4"]})
    found, _ = tables.ingest_table(here, "sales", END)
    assert (found.rows_in, found.rows_out, found.quarantined, found.erased) == (1, 1, 0, 1)  # 4 was read again
    put(database, sale(1, 9))
    assert tables.ingest_table(here, "sales", END)[0].rows_out == 1 and stored(here)["id"].tolist() == [3]


def test_types_are_brought_over(database, tmp_path):
    columns = {
        "id": {"type": "integer"},
        "price": {"type": "number"},
        "big": {"type": "integer", "nullable": True},
        "exact": {"type": "string"},
        "on_day": {"type": "time"},
        "local": {"type": "time"},
        "moment": {"type": "time", "nullable": True},
        "yes": {"type": "boolean", "nullable": True},
        "name": {"type": "string", "nullable": True},
        "what": {"type": "string"},
        "more": {"type": "string"},
    }
    query = """SELECT id, 1.25::numeric(10,2) AS price, CASE WHEN id = 1 THEN 9007199254740993 END AS big,
        12345678901234567890.5::numeric AS exact, DATE '2013-05-01' AS on_day,
        TIMESTAMP '2013-05-01 12:00' AS local,
        CASE id WHEN 1 THEN TIMESTAMPTZ '2013-05-01 12:00+02' WHEN 2 THEN 'infinity' END AS moment,
        CASE WHEN id = 1 THEN true END AS yes, CASE WHEN id = 1 THEN '50% ''off''' ELSE '' END AS name,
        '{"a": 1}'::jsonb AS what, ARRAY[1, 2] AS more
        FROM generate_series(1, 3) AS id -- the last line is a comment"""
    here = shop(tmp_path, columns=columns, source={"location": query, "cursor": None}, day="on_day", known_at=None)
    spec = here.tables["sales"].model_copy(update={"columns": {k: here.tables["sales"].columns[k] for k in columns}})
    here = here.model_copy(update={"tables": {"sales": spec}})
    found, _ = tables.ingest_table(here, "sales", END)
    assert (found.rows_out, found.quarantined) == (3, 0), found.reasons
    with tables.connect(here) as connection:
        rows = connection.execute("SELECT * FROM sales ORDER BY id").fetchall()
    may = datetime(2013, 5, 1, tzinfo=UTC)
    first = (1, 1.25, 9007199254740993, "12345678901234567890.5", may, may + timedelta(hours=12))
    assert rows[0] == (*first, may + timedelta(hours=10), True, "50% 'off'", '{"a": 1}', "{1,2}")
    assert rows[1][6:9] == (None, None, "") and rows[2][2] is None


def test_rows_come_in_batches_and_an_empty_result_has_columns(database, tmp_path):
    create(database)
    spec = shop(tmp_path).tables["sales"]
    assert [list(frame) for frame in batches("sales", spec)] == [list(spec.columns)]
    found, _ = tables.ingest_table(shop(tmp_path), "sales", END)
    assert (found.rows_in, found.mark) == (0, None)
    put(database, *(sale(number, 10 - number) for number in range(10)))
    assert [frame["moved"].tolist() for frame in batches("sales", spec)] == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"location": "SELECT * FROM no_such_table_here"},
            'relation "no_such_table_here" does not exist; correct source.location in',
        ),
        ({"location": "SELECT id FROM"}, "syntax error"),
        ({"location": "SELECT id FROM sales"}, "the query has no column 'moved', its source.cursor; it has id"),
        ({"location": "DELETE FROM sales RETURNING *"}, "syntax error"),
        ({"url_env": "NO_SUCH_URL"}, "set the environment variable NO_SUCH_URL"),
        ({"url_env": "WRONG_URL"}, "WRONG_URL is not a URL"),
        ({"url_env": "SQLITE_URL"}, "source.cursor needs PostgreSQL; SQLITE_URL names sqlite"),
        (
            {"url_env": "DEAD_URL"},
            r"PostgreSQL \(127.0.0.1, x\) says: .*; correct the server, or DEAD_URL",
        ),
    ],
)
def test_what_cannot_be_read_says_so(database, tmp_path, monkeypatch, changes, message):
    create(database)
    monkeypatch.setenv("WRONG_URL", "no url")
    monkeypatch.setenv("SQLITE_URL", "sqlite:///x.db")
    monkeypatch.setenv("DEAD_URL", "postgresql://root@127.0.0.1:1/x")
    here = shop(tmp_path, source=changes)
    with pytest.raises(SourceError, match=message) as error:
        tables.ingest_table(here, "sales", END)
    assert "\n" not in str(error.value) and not (tables.table_path(here, "sales") / "manifest.json").exists()


def test_another_database_is_read_whole(database, tmp_path, monkeypatch):
    import sqlite3

    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, moved INTEGER, amount REAL, sold_at TEXT, known_at TEXT)")
        rows = [(number, number, 1.0, "2013-05-01", "2013-05-01T01:00:00Z") for number in range(7)]
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?)", rows)
    monkeypatch.setenv("LITE_URL", f"sqlite:///{path}")
    here = shop(tmp_path, source={"url_env": "LITE_URL", "cursor": None})
    assert tables.ingest_table(here, "sales", END)[0].rows_out == 7


CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tests.feature_repo.tables.test_query import shop
from feature_repo import tables
tables.ingest_table(shop(Path(sys.argv[1]), source={"batch_rows": 400}), "sales", datetime(2014, 1, 1, tzinfo=UTC))
"""


def content(settings: Settings) -> dict[str, Any]:
    folder = tables.table_path(settings, "sales")
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}
    return {
        "files": files,
        "manifest": read_json(folder / "manifest.json"),
        "profile": read_json(folder / "profile.json"),
    }


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_killed_ingest_run_again_ends_as_an_undisturbed_one(database, tmp_path):
    create(database)
    random = Random(7)
    put(database, *(sale(n, n // 3, random.choice([1.0, 2.0, -1.0]), n % 20, n % 9) for n in range(6000)))
    undisturbed = shop(tmp_path / "undisturbed", source={"batch_rows": 400})
    tables.ingest_table(undisturbed, "sales", END)
    expected = content(undisturbed)
    killed = shop(tmp_path / "killed", source={"batch_rows": 400})
    manifest = tables.table_path(killed, "sales") / "manifest.json"
    resumed = 0
    staging = tables.table_path(killed, "sales") / "staging"
    for number in range(10):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "killed")])
        await_records = random.choice([0, 1, 3, 8, 14, 15]) if number else 4
        until = time.monotonic() + 60
        while child.poll() is None and len(list(staging.glob("*.record.json"))) < await_records:
            assert time.monotonic() < until
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.3))
        resumed += len(list(staging.glob("*.record.json"))) > 1
        child.send_signal(signal.SIGKILL)
        child.wait()
        if manifest.exists():  # complete, or not there
            assert read_json(manifest)["files"] == expected["manifest"]["files"]
    tables.ingest_table(killed, "sales", END)
    found = content(killed)
    assert resumed and found["files"].keys() == expected["files"].keys()
    assert found["manifest"]["files"] == expected["manifest"]["files"]
    assert found["profile"] == expected["profile"]
    pd.testing.assert_frame_equal(refused(killed), refused(undisturbed))
    assert not list(tables.table_path(killed, "sales").rglob("*.tmp"))


def test_a_resumed_ingest_reads_on_from_what_is_complete(database, tmp_path, monkeypatch):
    create(database)
    put(database, *(sale(n, n // 2, day=n % 3) for n in range(40)))
    here, other = (shop(tmp_path / name, source={"batch_rows": 5}) for name in ("here", "other"))

    def dies(name: str, table: Table, since: Any) -> Iterator[pd.DataFrame]:
        for number, frame in enumerate(batches(name, table, since)):
            if number == 5:
                raise KeyboardInterrupt
            yield frame

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ingest, "batches", dies)
        tables.ingest_table(here, "sales", END)
    asked = []

    def watched(name: str, table: Table, since: Any) -> Iterator[pd.DataFrame]:
        asked.append(since)
        return batches(name, table, since)

    monkeypatch.setattr(ingest, "batches", watched)
    found, _ = tables.ingest_table(here, "sales", END)
    # batches end at 5, 10, 15, 20 | 25: the last is read again, and a batch that ends within a tie is not the end
    assert [(since.value, since.inclusive) for since in asked] == [(9, False)]
    assert found.files == tables.ingest_table(other, "sales", END)[0].files and found.read == 40
