"""Online values in one SQLite file: one table per feature view, key → value, many processes read while one writes."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.online.codec import STAMP_BYTES, Features, codec, pack
from feature_repo.online.entity_keys import component, decode_key, encode_key
from feature_repo.online.layout import ViewLayout
from feature_repo.online.values import KNOWN_UNTIL, Found, OnlineError, OnlineValues, moment_bytes, moment_of
from feature_repo.storage.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SqliteValues"]

#: Seconds that a writer waits for another one.
_PATIENCE = 60.0
#: Maximum of keys per statement; SQLite allows 32766 parameters.
_MOST_KEYS = 30_000
#: Names of the tables' own records; no key starts with a null character.
_LAYOUT = b"\0layout:"
_FIRST_KEY = b"\1"


class SqliteValues(OnlineValues):
    """The online store in the SQLite file ``path``. See :class:`feature_repo.online.values.OnlineValues`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def write(self, layout: ViewLayout, rows: pa.Table) -> int:
        """Store rows in one transaction; returns the number of entities that got a value."""
        keys, values = pack(layout, rows)
        if not keys:
            return 0
        table = _table(layout)
        own = codec(layout.features).id
        with self._transaction(layout) as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (_LAYOUT + own, json.dumps(layout.features).encode())
            )
            before = connection.total_changes
            connection.executemany(
                f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value "
                f"WHERE substr(excluded.value, 1, {STAMP_BYTES}) >= substr(value, 1, {STAMP_BYTES})",
                zip(keys, values, strict=True),
            )
            return connection.total_changes - before

    def look_up(self, layouts: Sequence[ViewLayout], keys: Sequence[Sequence[bytes]]) -> Found:
        """Encoded values for each view's encoded keys, and each view's ``known_until``."""
        values: list[list[bytes | None]] = []
        moments: list[datetime | None] = []
        for layout, wanted in zip(layouts, keys, strict=True):
            held: dict[bytes, bytes] = {}
            asked = [KNOWN_UNTIL, *wanted]
            for start in range(0, len(asked), _MOST_KEYS):
                part = asked[start : start + _MOST_KEYS]
                held.update(self._rows(layout, f"WHERE key IN ({', '.join('?' * len(part))})", part))
            values.append([held.get(key) for key in wanted])
            moments.append(moment_of(held.get(KNOWN_UNTIL)))
        return Found(values, moments)

    def written_layouts(self, layout: ViewLayout) -> dict[bytes, Features]:
        """Features of every layout of this view's stored values, by layout id."""
        held = self._rows(layout, "WHERE key > ? AND key < ?", [_LAYOUT, _FIRST_KEY])
        return {
            key[len(_LAYOUT) :]: tuple((name, kind) for name, kind in json.loads(value))
            for key, value in held
            if key.startswith(_LAYOUT)
        }

    def delete(self, layout: ViewLayout, keys: Sequence[tuple[Any, ...]]) -> int:
        """Remove entities; returns the number of removed ones."""
        encoded = [(key,) for values in keys if (key := encode_key(values)) is not None]
        with self._transaction(layout) as connection:
            before = connection.total_changes
            connection.executemany(f"DELETE FROM {_table(layout)} WHERE key = ?", encoded)
            return connection.total_changes - before

    def matching(self, layout: ViewLayout, join_key: str, value: Any) -> list[tuple[Any, ...]]:
        """Keys of all entities whose ``join_key`` has this value; uses the index if it is the view's first join key."""
        place, part = layout.join_keys.index(join_key), component(value)
        if part is None:
            return []
        if len(layout.join_keys) == 1:
            where, bounds = "WHERE key = ?", [part]
        elif place == 0:
            where, bounds = "WHERE key >= ? AND key < ?", [part + b"|", part + b"}"]
        else:
            where, bounds = "WHERE key >= ? AND instr(key, ?)", [_FIRST_KEY, b"|" + part]
        found = [decode_key(key, len(layout.join_keys)) for key, _ in self._rows(layout, where, bounds)]
        return [key for key in found if component(key[place]) == part]

    def count(self, layout: ViewLayout) -> int:
        """Number of the view's entities that have a value."""
        return sum(
            int(number) for (number,) in self._select(layout, "count(*)", "WHERE key >= ? OR key = x''", [_FIRST_KEY])
        )

    def set_known_until(self, layout: ViewLayout, moment: datetime) -> None:
        """Record the as-of time of the view's materialization."""
        with self._transaction(layout) as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO {_table(layout)} VALUES (?, ?)", (KNOWN_UNTIL, moment_bytes(moment))
            )

    def clear(self, layout: ViewLayout) -> int:
        """Remove all data of the view; returns the number of removed entities."""
        number = self.count(layout)
        with self._transaction(layout) as connection:
            connection.execute(f"DROP TABLE {_table(layout)}")
        return number

    def close(self) -> None:
        """Close every thread's connection, together with the object that contains them."""
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        held: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if held is not None:
            return held
        with self._answering():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA cache_size = -65536")  # KiB
        self._local.connection = connection
        return connection

    @contextmanager
    def _transaction(self, layout: ViewLayout) -> Iterator[sqlite3.Connection]:
        """A transaction in which the view's table exists; rolled back if the block fails."""
        connection = self._connection()
        with self._answering():
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {_table(layout)} "
                    "(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
                )
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _rows(self, layout: ViewLayout, where: str, parameters: Sequence[bytes]) -> list[Any]:
        return self._select(layout, "key, value", where, parameters)

    def _select(self, layout: ViewLayout, what: str, where: str, parameters: Sequence[bytes]) -> list[Any]:
        """Rows of the view's table; none if the view was never written."""
        connection = self._connection()
        with self._answering():
            try:
                return connection.execute(f"SELECT {what} FROM {_table(layout)} {where}", parameters).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn SQLite's errors into one sentence."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            remedy = (
                "another process keeps it locked; try again" if "locked" in str(error) else "repair or remove the file"
            )
            raise OnlineError(f"The online store {self.path} failed: {error}; {remedy}.") from error


def _table(layout: ViewLayout) -> str:
    return quoted(f"{layout.project}.{layout.view}")
