"""Which rows of a feature view the online store does not hold yet: one per entity, chosen by DuckDB in bounded memory.

An entity's value as known at a moment is its row of the greatest (event_timestamp, known_at) among those with both
times up to the moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.files import replacing
from feature_repo.materialization.views import FRESH, ViewState
from feature_repo.online.layout import ViewLayout
from feature_repo.tables.storage import quoted, scan

if TYPE_CHECKING:
    import duckdb

__all__ = ["GONE", "GROUP", "FeatureError", "write_fresh_rows"]

#: Rows per row group of the file of fresh rows.
GROUP = 100_000
#: Its column that says whether the store's value of the entity was taken back.
GONE = "__gone"
#: Rows that a file can have: names of rows count files by it.
_FILE = 2**40
_AT = "greatest(event_timestamp, known_at)"
#: Orders the rows of one entity: by event_timestamp, then known_at.
_ORDER = "epoch_us(event_timestamp)::HUGEINT * 18446744073709551616 + epoch_us(known_at)"


class FeatureError(ValueError):
    """A view's files lack what its definition promises; one sentence with the feature and where to mend it."""


def write_fresh_rows(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    layout: ViewLayout,
    held: ViewState,
    start: datetime | None,
    until: datetime,
) -> None:
    """Write the rows to bring, in row groups of :data:`GROUP`, to the file ``FRESH`` in the view's ``folder``.

    They are, of every entity with a row known in (``start``, ``until``], its latest row, and what to do about rows that
    were taken back. Columns: :data:`GONE` (the entity's value in the store must go first; alone, without a row, where
    none is left), the join keys, the features, event_timestamp and known_at.

    A row is named by the number of its file and its number within (``__row``), so that only keys and times are
    aggregated. ``visible`` is what was known at ``until``; ``latest`` names the row of each entity to bring.
    """
    paths = [folder / held.files[part] for part in sorted(held.files)]
    keys = ", ".join(map(quoted, layout.join_keys))
    _complete(connection, layout, paths[0])
    connection.execute(f"CREATE VIEW history AS {_numbered(layout, dict(enumerate(paths)))}")
    present = " AND ".join(f"{quoted(key)} IS NOT NULL" for key in layout.join_keys)
    connection.execute(
        f"CREATE VIEW visible AS SELECT *, {_ORDER} AS __nth FROM history WHERE {_AT} <= {_moment(until)} AND {present}"
    )
    # times are compared apart, not as the greater of both, so that row groups without new rows are not read
    new = f"(event_timestamp > {_moment(start)} OR known_at > {_moment(start)})" if start else "true"
    connection.execute(
        f"CREATE TABLE latest AS SELECT {keys}, arg_max(__row, __nth) AS __row, max(__nth) AS __nth, false AS {GONE} "
        f"FROM visible WHERE {new} GROUP BY {keys}"
    )
    if held.online_until:
        _differences(connection, folder, layout, held, datetime.fromisoformat(held.online_until))
    found = connection.execute(f"SELECT DISTINCT __row // {_FILE} FROM latest WHERE __row IS NOT NULL").fetchall()
    needed = {number: paths[number] for (number,) in found} or {0: paths[0]}
    with replacing(folder / FRESH) as temporary:
        connection.execute(
            f"""COPY (
                  SELECT {GONE}, wanted.* EXCLUDE (__row) FROM ({_numbered(layout, needed)}) wanted
                  JOIN (SELECT __row, {GONE} FROM latest WHERE __row IS NOT NULL) found ON wanted.__row = found.__row
                  UNION ALL BY NAME
                  SELECT {GONE}, {keys} FROM latest WHERE __row IS NULL
                ) TO '{temporary}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP})"""
        )


def _differences(
    connection: duckdb.DuckDBPyConnection, folder: Path, layout: ViewLayout, held: ViewState, last: datetime
) -> None:
    """Bring into ``latest`` what changed in months that were computed again since the store was filled as of ``last``.

    ``late``: rows that were not there, or had another value, though they say they were known at ``last``.
    ``taken``: rows that were there and are no more. A month at a time, so that memory does not grow with history.
    """
    changed = sorted({part for part, _ in held.files.items() ^ held.online_files.items()})
    if not changed:
        return
    keys = ", ".join(map(quoted, layout.join_keys))
    at = f"{keys}, event_timestamp, known_at"
    value = f"hash({', '.join(map(quoted, layout.names))})"
    known = f"{_AT} <= {_moment(last)}"
    connection.execute(f"CREATE TABLE late AS SELECT {keys}, __row, __nth FROM visible LIMIT 0")
    connection.execute(f"CREATE TABLE taken AS SELECT {keys}, __nth FROM visible LIMIT 0")
    parts = sorted(held.files)
    for part in changed:
        before, now = "(SELECT * FROM visible LIMIT 0)", "(SELECT * FROM visible LIMIT 0)"
        if part in held.online_files and (folder / held.online_files[part]).exists():
            before = f"(SELECT *, {_ORDER} AS __nth FROM {scan([folder / held.online_files[part]])} WHERE {known})"
        if part in held.files:
            number = parts.index(part)
            now = f"(SELECT * FROM visible WHERE __row >= {number * _FILE} AND __row < {(number + 1) * _FILE})"
        connection.execute(
            f"INSERT INTO taken SELECT {keys}, max(__nth) FROM {before} ANTI JOIN {now} USING ({at}) GROUP BY {keys}"
        )
        if held.online_code == held.code:  # else everything is brought anyway
            connection.execute(
                f"""INSERT INTO late
                    SELECT {keys}, __row, __nth FROM (SELECT *, {value} AS __value FROM {now} WHERE {known})
                    ANTI JOIN (SELECT *, {value} AS __value FROM {before}) USING ({at}, __value)"""
            )
    # of whom a row was taken that is newer than all that are left, the store holds what must go
    connection.execute(
        f"""CREATE TABLE gone AS
            SELECT {keys}, left_.__row, left_.__nth, true AS {GONE}
            FROM (SELECT {keys}, max(__nth) AS __nth FROM taken GROUP BY {keys}) taken_
            LEFT JOIN (SELECT {keys}, arg_max(__row, __nth) AS __row, max(__nth) AS __nth
                       FROM visible SEMI JOIN taken USING ({keys}) GROUP BY {keys}) left_ USING ({keys})
            WHERE left_.__nth IS NULL OR left_.__nth < taken_.__nth"""
    )
    connection.execute(
        f"""CREATE OR REPLACE TABLE latest AS
            SELECT {keys}, arg_max(__row, __nth) AS __row, max(__nth) AS __nth, false AS {GONE}
            FROM (SELECT {keys}, __row, __nth FROM latest UNION ALL SELECT {keys}, __row, __nth FROM late)
            ANTI JOIN gone USING ({keys}) GROUP BY {keys}
            UNION ALL SELECT {keys}, __row, __nth, {GONE} FROM gone"""
    )


def _complete(connection: duckdb.DuckDBPyConnection, layout: ViewLayout, path: Path) -> None:
    """Whether the view's files have every join key and feature of its definition."""
    found = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {scan([path])}").fetchall()]
    for kind, names in (("join key", layout.join_keys), ("feature", layout.names)):
        for name in names:
            if name not in found:
                raise FeatureError(
                    f"Feature view '{layout.view}' has the {kind} '{name}' in feature_repo/features.py, but its query "
                    f"in feature_repo/transforms gives only {', '.join(found)}; add it to the query or take it out."
                )


def _numbered(layout: ViewLayout, paths: Mapping[int, Path]) -> str:
    """Query for the rows of files, with their names; ``paths`` is by the number that each file has in them."""
    columns = ", ".join([*map(quoted, [*layout.join_keys, *layout.names]), "event_timestamp", "known_at"])
    number = f"{list(paths)}[file_index::BIGINT + 1]"
    return f"SELECT {columns}, {number}::BIGINT * {_FILE} + file_row_number AS __row FROM {scan(paths.values())}"


def _moment(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat(sep=' ')}'"
