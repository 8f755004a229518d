"""Merge the checked batches of an ingest with the table's previous rows; of several rows of a key, one is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from configs.table import Table
from feature_repo.storage.sql import quoted, text_literal
from feature_repo.tables.staging import ORDER, Mark, Staging, rows_schema
from feature_repo.tables.table_erasure import erasures
from feature_repo.tables.table_files import Manifest, manifest, scan, table_path

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "SQL_TYPES",
    "deduplicate",
    "literal",
    "parsed",
    "supersede",
    "Merging",
    "merging",
]

#: Declared type → DuckDB's.
SQL_TYPES = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMPTZ",
}
_PLACE = quoted(ORDER)
_LEFT = f"{_PLACE} NOT IN (SELECT place FROM lost)"


def deduplicate(spec: Table) -> list[str]:
    """Keep one of the valid rows that share the key, then of those that share a unique value, as the table declares."""
    rule = spec.cleaning.dedupe or "first"
    order = {"first": _PLACE, "last": f"{_PLACE} DESC"}.get(rule, f"{quoted(rule)} DESC NULLS LAST, {_PLACE}")
    statements = []
    unique = [[name] for name, column in spec.columns.items() if column.unique and spec.key != [name]]
    for columns in [spec.key, *unique]:
        names = _listed(columns)
        reason = f"duplicate {'key' if columns == spec.key else 'value'} ({', '.join(columns)})"
        statements += [
            f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {names} FROM known "
            f"WHERE {_LEFT} AND {quoted(columns[0])} IS NOT NULL GROUP BY ALL HAVING count(*) > 1",
            f"INSERT INTO lost SELECT place, {text_literal(reason)} FROM (SELECT "
            f"{_PLACE} AS place, row_number() OVER (PARTITION BY {names} ORDER BY {order}) AS number "
            f"FROM known SEMI JOIN repeated USING ({names}) WHERE {_LEFT}) WHERE number > 1",
        ]
    return statements


def supersede(spec: Table) -> list[str]:
    """With a cursor: of all rows of a key, valid or refused, keep the newest; of equally new ones the greatest.

    The view ``versions`` has all rows with a key and a cursor.
    """
    columns, key = _listed(spec.columns), _listed(spec.key)
    cursor = str(spec.source.cursor)
    read = ", ".join(f"{parsed(spec, name)} AS {quoted(name)}" for name in spec.columns)
    complete = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in [*spec.key, cursor])
    content = ", ".join(f"{quoted(name)} DESC NULLS LAST" for name in spec.columns)
    return [
        f"CREATE TEMP VIEW versions AS SELECT {columns}, {_PLACE}, false AS bad FROM known UNION ALL SELECT * FROM "
        f"(SELECT {read}, {_PLACE}, true AS bad FROM refused AS q) WHERE {complete}",
        f"CREATE TEMP TABLE repeated AS SELECT {key} FROM versions GROUP BY ALL HAVING count(*) > 1",
        f"INSERT INTO lost SELECT place, '' FROM (SELECT {_PLACE} AS place, row_number() OVER (PARTITION BY "
        f"{key} ORDER BY {quoted(cursor)} DESC, bad, {content}) AS number "
        f"FROM versions SEMI JOIN repeated USING ({key})) WHERE number > 1",
    ]


def parsed(spec: Table, name: str) -> str:
    """A column of refused rows ``q``, all text, in its declared type; null if it cannot be converted."""
    return f"TRY_CAST(q.{quoted(name)} AS {SQL_TYPES[spec.columns[name].type]})"


def literal(value: str | int | float, kind: str) -> str:
    """A value of a declared type as an SQL literal."""
    return f"CAST({text_literal(value)} AS {SQL_TYPES[kind]})"


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(quoted, columns))


#: Memory limit of DuckDB for sorting and comparing batches; above it DuckDB uses the disk.
MEMORY_LIMIT = "512MB"


@contextmanager
def merging(
    settings: Settings, table: str, staging: Staging, held: Manifest | None, until: datetime
) -> Iterator[Merging]:
    """Compare the staged rows with each other, and with those of ``held``, the content that the ingest extends, if any.

    Rows with a known-at time after ``until`` are not stored yet.
    """
    import duckdb

    spill = staging.folder / "spill"
    with duckdb.connect(
        config={"memory_limit": MEMORY_LIMIT, "threads": 2, "temp_directory": str(spill)}
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        yield Merging(connection, settings, table, staging, held, until)


class Merging:
    """The table's new content; all methods only read, none changes files."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        settings: Settings,
        table: str,
        staging: Staging,
        held: Manifest | None,
        until: datetime,
    ) -> None:
        self.settings, self.table, self.spec = settings, table, settings.tables[table]
        self._connection, self._held = connection, held
        self._folder = table_path(settings, table)
        self._columns = ", ".join(map(quoted, self.spec.columns))
        self._key = ", ".join(map(quoted, self.spec.key))
        self._day = f"strftime({quoted(self.spec.day)}, '%Y-%m-%d')" if self.spec.day else "'all'"
        self._order = f"{self._day}, {self._key}" if self.spec.day else self._key
        known = (
            f"{quoted(self.spec.known_at)} <= {literal(until.isoformat(), 'time')}" if self.spec.known_at else "true"
        )
        self._view("staged", self._staged(staging.files("valid")))
        self._view("known", f"SELECT * FROM staged WHERE {known}")
        self._view("refused", self._refused(staging.files("refused")))
        self._run("CREATE TEMP TABLE lost (place BIGINT, reason VARCHAR)")
        for statement in supersede(self.spec) if self.spec.source.cursor else deduplicate(self.spec):
            self._run(statement)
        self._lost = self._one("SELECT count(*) FROM lost")
        gone = f"WHERE {quoted(ORDER)} NOT IN (SELECT place FROM lost)" if self._lost else ""
        self._view("fresh", f"SELECT {self._columns} FROM known {gone}")
        self.later: int = self._one(f"SELECT count(*) FROM staged WHERE NOT ({known})")
        self.least_later = self._mark_of(f"SELECT min({self._cursor}) FROM staged WHERE NOT ({known})")
        self._take_over()
        self._view("quarantine", self._quarantine())

    @property
    def _cursor(self) -> str:
        return quoted(self.spec.source.cursor) if self.spec.source.cursor else "NULL"

    @property
    def replaced(self) -> int:
        """Number of rows of this read that were replaced by a newer row of their key in the same read."""
        return self._lost if self.spec.source.cursor else 0

    @property
    def duplicates(self) -> int:
        """Rows quarantined because another row with their key, or their unique value, is kept."""
        return 0 if self.spec.source.cursor else self._lost

    def rows(self) -> int:
        """Number of rows of the new table."""
        return int(self._one("SELECT count(*) FROM untouched")) + int(self._one("SELECT count(*) FROM changed"))

    def quarantined(self) -> int:
        """Number of rows of the new quarantine."""
        return int(self._one("SELECT count(*) FROM quarantine"))

    def reasons(self, most: int = 20) -> dict[str, int]:
        """The most frequent reasons in the quarantine, with their numbers of rows."""
        found = self._run(
            f"SELECT reason, count(*) FROM quarantine GROUP BY reason ORDER BY count(*) DESC, reason LIMIT {most}"
        ).fetchall()
        return {str(reason): int(count) for reason, count in found}

    def latest(self, column: str, until: datetime) -> datetime | None:
        """The greatest time in ``column`` up to ``until`` among the rows of the new table."""
        name = quoted(column)
        found = self._one(f"SELECT max({name}) FROM whole WHERE {name} <= {literal(until.isoformat(), 'time')}")
        return found.astimezone(UTC) if found else None

    def unmatched(self, column: str, target: str) -> tuple[int, int]:
        """Rows whose value in ``column`` is not in ``target`` (``table.column``), and rows that have a value at all.

        Raises:
            LookupError: the table of ``target`` was never ingested.
        """
        other, _, key = target.partition(".")
        if other == self.table:
            values = f"SELECT {quoted(key)} AS value FROM whole"
        else:
            content = manifest(self.settings, other)
            if content is None:
                raise LookupError(other)
            paths = [table_path(self.settings, other) / file for file in content.files.values()]
            values = (
                f"SELECT {quoted(key)} AS value FROM {scan(paths)}" if paths else "SELECT NULL AS value WHERE false"
            )
        name = quoted(column)
        # each distinct value is compared once, as text, so that an id that one table has as a number still matches
        found = self._run(
            f"WITH here AS (SELECT CAST({name} AS VARCHAR) AS value, count(*) AS rows FROM whole "
            f"WHERE {name} IS NOT NULL GROUP BY ALL), there AS (SELECT DISTINCT CAST(value AS VARCHAR) AS value "
            f"FROM ({values})) SELECT coalesce(sum(rows) FILTER (there.value IS NULL), 0), coalesce(sum(rows), 0) "
            "FROM here LEFT JOIN there USING (value)"
        ).fetchall()[0]
        return int(found[0]), int(found[1])

    def kept_files(self) -> dict[str, str]:
        """Day → file of the unchanged days."""
        days = {str(day) for (day,) in self._run("SELECT day FROM touched").fetchall()}
        return {day: file for day, file in (self._held.files if self._held else {}).items() if day not in days}

    def changed_days(self) -> Iterator[tuple[str, pa.Table]]:
        """Each changed day with all its rows, typed and sorted by key; days ascending."""
        import pyarrow as pa

        schema = rows_schema(self.spec)
        query = f"SELECT {self._columns}, {self._day} AS __day FROM changed ORDER BY {self._order}"
        reader = self._connection.sql(query).to_arrow_reader(50_000)
        day, parts = "", list[pa.Table]()
        for batch in reader:
            rows = pa.Table.from_batches([batch])
            days = rows.column("__day").to_numpy()
            rows = rows.drop_columns("__day").cast(schema)
            start = 0
            while start < len(days):
                end = start + int((days[start:] <= days[start]).sum())  # they ascend
                if days[start] != day and parts:
                    yield day, pa.concat_tables(parts)
                    parts = []
                day = str(days[start])
                parts.append(rows.slice(start, end - start))
                start = end
        if parts:
            yield day, pa.concat_tables(parts)

    def write_quarantine(self, path: Path) -> None:
        """Write the quarantine as Parquet: every declared column as text, and ``reason``."""
        self._run(
            f"COPY (SELECT {self._columns}, reason FROM quarantine ORDER BY place) TO {text_literal(path)} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )

    def sample(self, rows: int) -> pd.DataFrame:
        """About ``rows`` of the table's rows, chosen by a hash of their key; all if there are no more."""
        import pandas as pd
        import pyarrow as pa

        total = self.rows()
        share = f"WHERE hash({self._key}) % {10**6} < {rows * 10**6 // total}" if total > rows else ""
        found = self._connection.sql(
            f"SELECT {self._columns} FROM whole {share} ORDER BY {self._order}"
        ).to_arrow_table()
        keep = {pa.int64(): pd.Int64Dtype()}.get
        frame = found.cast(rows_schema(self.spec)).to_pandas(types_mapper=keep)
        sure = {
            name: "int64" for name, each in self.spec.columns.items() if each.type == "integer" and not each.nullable
        }
        return frame.astype(sure)

    def _staged(self, files: Collection[Path]) -> str:
        if files:
            return f"SELECT * FROM {scan(files)}"
        typed = ", ".join(
            f"CAST(NULL AS {SQL_TYPES[each.type]}) AS {quoted(name)}" for name, each in self.spec.columns.items()
        )
        return f"SELECT {typed}, CAST(NULL AS BIGINT) AS {quoted(ORDER)} WHERE false"

    def _refused(self, files: Collection[Path]) -> str:
        if files:
            return f"SELECT * FROM {scan(files)}"
        typed = ", ".join(f"CAST(NULL AS VARCHAR) AS {quoted(name)}" for name in [*self.spec.columns, "reason"])
        return f"SELECT {typed}, CAST(NULL AS BIGINT) AS {quoted(ORDER)} WHERE false"

    def _take_over(self) -> None:
        """Views ``whole`` (all rows of the new table), ``changed`` (rows of changed days) and ``untouched``."""
        paths = {day: self._folder / file for day, file in (self._held.files if self._held else {}).items()}
        if not self._held or not paths:
            self._run(f"CREATE TEMP TABLE touched AS SELECT DISTINCT {self._day} AS day FROM fresh")
            self._view("untouched", "SELECT * FROM fresh WHERE false")
            self._view("changed", "SELECT * FROM fresh")
            self._view("whole", "SELECT * FROM fresh")
            return
        self._view("held", f"SELECT {self._columns} FROM {scan(paths.values())}")
        goes = self._goes(self._held, typed=True)
        self._run(f"CREATE TEMP TABLE incoming AS SELECT DISTINCT {self._key} FROM versions")
        self._run(
            f"CREATE TEMP TABLE touched AS SELECT DISTINCT {self._day} AS day FROM fresh "
            f"UNION SELECT DISTINCT {self._day} FROM held WHERE {goes} "
            f"UNION SELECT DISTINCT {self._day} FROM held SEMI JOIN incoming USING ({self._key})"
        )
        touched = {str(day) for (day,) in self._run("SELECT day FROM touched").fetchall()}
        same = [path for day, path in paths.items() if day not in touched]
        other = [path for day, path in paths.items() if day in touched]
        none = "SELECT * FROM fresh WHERE false"
        self._view("untouched", f"SELECT {self._columns} FROM {scan(same)}" if same else none)
        stays = f"SELECT {self._columns} FROM {scan(other)} ANTI JOIN incoming USING ({self._key}) WHERE NOT ({goes})"
        self._view("changed", f"SELECT * FROM fresh UNION ALL {stays}" if other else "SELECT * FROM fresh")
        self._view("whole", "SELECT * FROM untouched UNION ALL SELECT * FROM changed")

    def _quarantine(self) -> str:
        """Refused rows, duplicates, and the rows in quarantine from before the mark."""
        texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" for name in self.spec.columns)
        place = f"{quoted(ORDER)} AS place"
        if not self.spec.source.cursor:
            repeated = f"SELECT {texts}, lost.reason, place FROM known JOIN lost ON {quoted(ORDER)} = place"
            return f"SELECT {self._columns}, reason, {place} FROM refused UNION ALL {repeated}"
        counts = f"{quoted(ORDER)} NOT IN (SELECT place FROM lost)"
        fresh = f"SELECT {self._columns}, reason, {place} FROM refused WHERE {counts}"
        path = self._folder / "quarantine.parquet"
        if not self._held or not path.exists():
            return fresh
        if not self._held.files:
            self._run(f"CREATE TEMP TABLE incoming AS SELECT DISTINCT {self._key} FROM versions")
        numbered = f"(SELECT *, row_number() OVER () AS place FROM {scan([path])})"
        match = " AND ".join(f"incoming.{quoted(name)} = {parsed(self.spec, name)}" for name in self.spec.key)
        goes = self._goes(self._held, typed=False)
        stays = (
            f"SELECT {self._columns}, reason, place - {1 << 62} AS place FROM {numbered} AS q "
            f"WHERE NOT coalesce({goes}, true) AND NOT EXISTS (SELECT 1 FROM incoming WHERE {match})"
        )
        return f"{fresh} UNION ALL {stays}"

    def _goes(self, held: Manifest, typed: bool) -> str:
        """Condition for removing a previous row: it is read again now, or its entity was erased since."""
        cursor = str(self.spec.source.cursor)
        value = quoted(cursor) if typed else parsed(self.spec, cursor)
        conditions = (
            [f"{value} >= {literal(held.mark, self.spec.columns[cursor].type)}"] if held.mark is not None else []
        )
        for column, values in erasures(self.settings, self.table).items():
            listed = ", ".join(map(text_literal, values))
            text = f"regexp_replace(CAST({quoted(column)} AS VARCHAR), '\\.0$', '')"
            numeric = self.spec.columns[column].type == "number"
            conditions.append(
                f"coalesce({text if numeric else f'CAST({quoted(column)} AS VARCHAR)'} IN ({listed}), false)"
            )
        return " OR ".join(conditions) or "false"

    def _mark_of(self, query: str) -> Mark | None:
        found = self._one(query)
        if isinstance(found, datetime):
            return found.astimezone(UTC).isoformat(timespec="microseconds")
        return found  # type: ignore[no-any-return]

    def _view(self, name: str, query: str) -> None:
        self._run(f"CREATE TEMP VIEW {name} AS {query}")

    def _run(self, query: str) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(query)

    def _one(self, query: str) -> Any:
        return self._run(query).fetchall()[0][0]
