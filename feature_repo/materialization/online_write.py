"""Write feature views to the online store: each entity's value as known at a time, in bounded memory, resumable.

DuckDB selects the rows that are not in the store yet, one per entity.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import HeadraceError
from configs.settings import Settings
from feature_repo.materialization.backfill import bounded, compute
from feature_repo.materialization.view_files import (
    FRESH,
    MissingDataError,
    ViewState,
    remember,
    state,
    sweep,
    view_folder,
)
from feature_repo.online import open_values
from feature_repo.online.layout import ViewLayout, layouts
from feature_repo.online.values import OnlineValues
from feature_repo.storage.files import locked, replacing
from feature_repo.storage.sql import quoted
from feature_repo.tables.table_files import scan

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "GONE",
    "GROUP",
    "FeatureError",
    "write_fresh_rows",
    "OnlineWrite",
    "ViewUpdate",
    "write_online",
    "materialize_view",
]

#: Rows per row group of the file of fresh rows.
GROUP = 100_000
#: Column of that file that marks entities whose value in the store was removed from the view.
GONE = "__gone"
#: Maximum of rows per file, the base for row names.
_FILE = 2**40
_AT = "greatest(event_timestamp, known_at)"
#: Order of the rows of one entity: by event_timestamp, then known_at.
_ORDER = "epoch_us(event_timestamp)::HUGEINT * 18446744073709551616 + epoch_us(known_at)"


class FeatureError(HeadraceError, ValueError):
    """A view's files do not have a key or feature of its definition; the message says where to fix it."""


def write_fresh_rows(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    layout: ViewLayout,
    held: ViewState,
    start: datetime | None,
    until: datetime,
) -> None:
    """Write the rows to materialize, in row groups of :data:`GROUP`, to the file ``FRESH`` in the view's ``folder``.

    For every entity with a row known in (``start``, ``until``] this is its latest row; for entities whose row was
    removed from the view it is the update of the store. Columns: :data:`GONE` (the entity's value must be deleted from
    the store first; if no row is left, the record has only keys), the join keys, the features, event_timestamp and
    known_at.

    A row's name (``__row``) is the number of its file and its number within the file, so that only keys and times are
    aggregated. ``visible`` has the rows known at ``until``; ``latest`` has the row name per entity.
    """
    paths = [folder / held.files[part] for part in sorted(held.files)]
    keys = ", ".join(map(quoted, layout.join_keys))
    _complete(connection, layout, paths[0])
    connection.execute(f"CREATE VIEW history AS {_numbered(layout, dict(enumerate(paths)))}")
    present = " AND ".join(f"{quoted(key)} IS NOT NULL" for key in layout.join_keys)
    connection.execute(
        f"CREATE VIEW visible AS SELECT *, {_ORDER} AS __nth FROM history WHERE {_AT} <= {_moment(until)} AND {present}"
    )
    # times are compared separately, not as their maximum, so that row groups without new rows are skipped
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
    """Add to ``latest`` the changes in months that were computed again since the store was filled as of ``last``.

    ``late``: rows that did not exist or had another value then, although their known-at time is not after ``last``.
    ``taken``: rows that existed then and were removed. Works month by month, so that memory does not grow with history.
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
        if held.online_code == held.code:  # otherwise all rows are written anyway
            connection.execute(
                f"""INSERT INTO late
                    SELECT {keys}, __row, __nth FROM (SELECT *, {value} AS __value FROM {now} WHERE {known})
                    ANTI JOIN (SELECT *, {value} AS __value FROM {before}) USING ({at}, __value)"""
            )
    # entities whose removed row is newer than all remaining rows: the store has a value that must be deleted
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
                    f"in feature_repo/transforms returns only {', '.join(found)}; add it to the query or remove it."
                )


def _numbered(layout: ViewLayout, paths: Mapping[int, Path]) -> str:
    """Query for the rows of files, with their names; ``paths`` maps the number of each file to its path."""
    columns = ", ".join([*map(quoted, [*layout.join_keys, *layout.names]), "event_timestamp", "known_at"])
    number = f"{list(paths)}[file_index::BIGINT + 1]"
    return f"SELECT {columns}, {number}::BIGINT * {_FILE} + file_row_number AS __row FROM {scan(paths.values())}"


def _moment(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat(sep=' ')}'"


#: The earliest time; the store's ``known_until`` while it is filled for the first time.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ViewUpdate:
    """Result for one view: its number of rows, whether rows were computed, whether online values were written."""

    rows: int
    computed: bool
    materialized: bool


@dataclass(frozen=True)
class OnlineWrite:
    """A materialization in progress: the content of ``files`` (by ``code``) as known at ``until``.

    ``done`` row groups of the fresh rows are written; ``base`` is the store's previous ``known_until``.
    """

    until: str
    code: str
    files: dict[str, str]
    base: str
    done: int = 0


def materialize_view(settings: Settings, view: str, as_of: datetime, since: datetime | None = None) -> ViewUpdate:
    """Compute one view and materialize it; see :func:`.computing.compute` and :func:`write_online`."""
    held, computed = compute(settings, view)
    return ViewUpdate(held.rows, computed, write_online(settings, view, as_of, since))


def write_online(settings: Settings, view: str, as_of: datetime, since: datetime | None = None) -> bool:
    """Write one view's values, as known at ``as_of``, to the online store; False if the store already has them.

    A store whose values are known as of a later time is not reverted; if the view changed, the new values are written
    as known at that later time. All values are written if the query of the view changed, or if the store lost values:
    it records the time up to which it was filled.

    Args:
        since: also write again everything that became known at or after it, for a store that lost values.

    Raises:
        MissingDataError: the view was never computed.
        FeatureError: a join key or feature is missing in the view's files.
        OnlineError: the store does not answer, or a value does not fit.
    """
    layout = layouts(settings)[view]
    with locked(settings.home, f"view-{view}"), closing(open_values(settings)) as values:
        held = state(settings, view)
        if held is None or not held.files:
            raise MissingDataError(f"Feature view '{view}' was never computed; run `headrace run materialize`.")
        if held.online_keys and held.online_keys != list(layout.join_keys):
            values.clear(layout)  # requests no longer use the old keys, and no other step would remove their values
        mark = values.known_until([layout])[view]
        finished = False
        if held.bringing:
            left = OnlineWrite(**held.bringing)
            kept = mark is not None and mark >= datetime.fromisoformat(left.base)
            if kept and _fits(view_folder(settings, view) / FRESH, layout):
                held = _write(settings, layout, values, held, left)
                mark, finished = datetime.fromisoformat(left.until), True
            else:
                held = replace(held, bringing=None)
                remember(settings, held)  # the file it names is written again
        lost = bool(held.online_until) and (mark is None or mark < datetime.fromisoformat(held.online_until or ""))
        if lost:
            held = replace(held, online_code=None, online_until=None, online_files={})
        last = datetime.fromisoformat(held.online_until) if held.online_until else None
        same = held.online_code == held.code and held.online_files == held.files
        if last and same and since is None and last >= as_of:
            return finished
        until = max(as_of, last or _EPOCH, mark or _EPOCH)
        start = last if last and held.online_code == held.code else None
        if start and since:
            start = min(start, since - timedelta(microseconds=1))
        with bounded(settings, view) as connection:
            write_fresh_rows(connection, view_folder(settings, view), layout, held, start, until)
        if mark is None:
            values.set_known_until(layout, _EPOCH)
        bringing = OnlineWrite(until.isoformat(), held.code, held.files, (mark or _EPOCH).isoformat())
        held = replace(held, bringing=asdict(bringing))
        remember(settings, held)
        _write(settings, layout, values, held, bringing)
    return True


def _fits(path: Path, layout: ViewLayout) -> bool:
    """Whether the fresh rows of a killed run exist and match the current definition of the view."""
    import pyarrow.parquet as pq

    return path.exists() and {*layout.join_keys, *layout.names} <= set(pq.read_schema(path).names)


def _write(
    settings: Settings, layout: ViewLayout, values: OnlineValues, held: ViewState, bringing: OnlineWrite
) -> ViewState:
    """Write the rest of ``bringing``, record each row group, and finally the new state of the store."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = view_folder(settings, layout.view) / FRESH
    with pq.ParquetFile(path) as spool:
        for number in range(bringing.done, spool.num_row_groups):
            rows = spool.read_row_group(number)
            if pc.any(rows[GONE]).as_py():
                keys = rows.filter(rows[GONE]).select(list(layout.join_keys)).to_pylist()
                values.delete(layout, [tuple(key.values()) for key in keys])
            if (there := rows.filter(pc.is_valid(rows["event_timestamp"]))).num_rows:
                values.write(layout, there.drop_columns([GONE]))
            remember(settings, replace(held, bringing=asdict(replace(bringing, done=number + 1))))
    values.set_known_until(layout, datetime.fromisoformat(bringing.until))
    held = replace(
        held,
        online_code=bringing.code,
        online_until=bringing.until,
        online_files=bringing.files,
        online_keys=list(layout.join_keys),
        bringing=None,
    )
    remember(settings, held)
    sweep(settings, held)
    return held
