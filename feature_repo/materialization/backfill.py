"""Compute feature views from the raw tables: month by month, and only the months whose days changed.

The file of a month is named by a fingerprint of the query and of the raw files of its rows. Equal inputs give the same
file, so a month is computed again only if one of these days changed, and the result does not depend on earlier
computations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from configs.settings import Settings
from feature_repo.materialization.view_files import MissingDataError, ViewState, remember, state, sweep, view_folder
from feature_repo.storage.files import locked, replacing
from feature_repo.storage.sql import quoted, text_literal
from feature_repo.tables.table_files import Manifest, manifest, scan, table_path
from feature_repo.transforms import VIEWS, Query, code, sql
from feature_repo.transforms.age import age_feature
from feature_repo.transforms.rolling import TransformError

if TYPE_CHECKING:
    import duckdb

__all__ = ["bounded", "compute"]

#: The name of the only part of a view that is computed as one piece.
_WHOLE = "all"


def compute(settings: Settings, view: str) -> tuple[ViewState, bool]:
    """Compute the changed parts of one view; nothing is done if neither tables nor query changed. Also returns them.

    Month by month, so that memory does not grow with history. After a kill, the next run continues with the next month.

    Raises:
        MissingDataError: a table of the view was never ingested, or is empty.
        TransformError: the query returns a column with the name of the view's age.
    """
    query = VIEWS[view]
    manifests = {table: _held(settings, view, table) for table in query.tables}
    tables = {table: content.fingerprint for table, content in manifests.items()}
    query_code = code(view)
    folder = view_folder(settings, view)
    with locked(settings.home, f"view-{view}"):
        before = state(settings, view)
        parts = _parts(query, manifests, {name for name, table in settings.tables.items() if table.day})
        files = {part: _name(query_code, part, raw) for part, raw in parts.items()}
        if (
            before
            and (before.code, before.tables, before.files) == (query_code, tables, files)
            and all((folder / file).exists() for file in files.values())
        ):
            return before, False
        columns = {table: list(content.files.values())[:1] for table, content in manifests.items()}
        with bounded(settings, view) as connection:
            for part, raw in parts.items():
                if not (folder / files[part]).exists():
                    _write(settings, connection, view, part, raw, columns, folder / files[part])
        rows, latest = _extent([folder / file for _, file in sorted(files.items())])
        after = ViewState(
            **{
                **(vars(before) if before else {"view": view}),
                "rows": rows,
                "code": query_code,
                "tables": tables,
                "latest_event": latest.isoformat() if latest else None,
                "files": files,
                "previous_files": before.files if before else {},
            }
        )
        remember(settings, after)
        sweep(settings, after)
    return after, True


def bounded(settings: Settings, view: str) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that spills to the view's folder above the memory limit of the settings; UTC."""
    import duckdb

    spill = view_folder(settings, view) / ".spill"
    spill.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET memory_limit = ?", [settings.features.memory_limit])
    connection.execute("SET temp_directory = ?", [str(spill)])
    return connection


def _held(settings: Settings, view: str, table: str) -> Manifest:
    content = manifest(settings, table)
    if content is None or not content.files:
        raise MissingDataError(
            f"Feature view '{view}' needs table '{table}', which has no rows yet; run `headrace run ingest`."
        )
    return content


def _parts(query: Query, manifests: Mapping[str, Manifest], dated: set[str]) -> dict[str, dict[str, list[str]]]:
    """Parts of a view → table → the raw files of the part's rows, in the order of their days."""
    days = sorted({day for table in dated & set(query.tables) for day in manifests[table].files})
    if query.lookback is None or not days:
        return {_WHOLE: {table: list(held.files.values()) for table, held in sorted(manifests.items())}}
    parts = {}
    for month in sorted({day[:7] for day in days}):
        start, end = _span(month)
        first, last = (start - query.lookback).date().isoformat(), end.date().isoformat()
        parts[month] = {
            table: [file for day, file in sorted(held.files.items()) if table not in dated or first <= day < last]
            for table, held in sorted(manifests.items())
        }
    return parts


def _span(month: str) -> tuple[datetime, datetime]:
    """Start of a month (``YYYY-MM``), and of the next month."""
    first = date.fromisoformat(f"{month}-01")
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return datetime(first.year, first.month, 1, tzinfo=UTC), datetime(after.year, after.month, 1, tzinfo=UTC)


def _name(code: str, part: str, raw: Mapping[str, list[str]]) -> str:
    """Name of a part's file, from the query and the names of the raw files, which depend on their content."""
    text = "\n".join([code, *(f"{table}/{file}" for table, files in raw.items() for file in files)])
    fingerprint = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{fingerprint}.parquet" if part == _WHOLE else f"month={part}/{fingerprint}.parquet"


def _write(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    view: str,
    part: str,
    raw: Mapping[str, list[str]],
    columns: Mapping[str, list[str]],
    path: Path,
) -> None:
    """Compute one part of a view over its raw files only; ``columns``: files for the columns of absent tables."""
    for table, files in raw.items():
        used = scan(table_path(settings, table) / file for file in files or columns[table])
        nothing = "" if files else "WHERE false"
        connection.execute(f"CREATE OR REPLACE VIEW {quoted(table)} AS SELECT * FROM {used} {nothing}")
    within = ""
    if part != _WHOLE:
        start, end = (text_literal(moment.isoformat(sep=" ")) for moment in _span(part))
        within = f"WHERE event_timestamp >= TIMESTAMPTZ {start} AND event_timestamp < TIMESTAMPTZ {end}"
    names = [name for name, *_ in connection.execute(f"DESCRIBE {sql(view)}").fetchall()]
    if age_feature(view) in names:
        raise TransformError(
            f"The query of view '{view}' returns a column '{age_feature(view)}', the name of the age of its rows, "
            "which is computed when they are read; rename the column in feature_repo/transforms."
        )
    order = ", ".join(map(quoted, ["event_timestamp", *names[: names.index("event_timestamp")]]))
    with replacing(path) as temporary:
        connection.execute(
            f"COPY (SELECT * FROM ({sql(view)}) {within} ORDER BY {order}) "
            f"TO {text_literal(temporary)} (FORMAT parquet, COMPRESSION zstd)"
        )


def _extent(paths: list[Path]) -> tuple[int, datetime | None]:
    """Rows of a view's files, and the latest event_timestamp in them; read from the files' footers."""
    import pyarrow.parquet as pq

    rows, latest = 0, None
    for path in paths:
        content = pq.read_metadata(path)
        rows += content.num_rows
        for group in range(content.num_row_groups):
            for number in range(content.num_columns):
                column = content.row_group(group).column(number)
                if column.path_in_schema == "event_timestamp" and column.statistics and column.statistics.has_min_max:
                    latest = max(filter(None, (latest, column.statistics.max)))
    return rows, latest
