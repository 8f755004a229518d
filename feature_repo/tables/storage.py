"""Checked raw tables as Parquet, one immutable file per day, named by a manifest that is replaced atomically.

``tables/<name>/manifest.json`` lists the files that make up the table now; ``day=<YYYY-MM-DD>/<fingerprint>.parquet``
holds one UTC day. A day whose content did not change keeps its file, so ingesting again writes what is new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.files import read_json

if TYPE_CHECKING:
    import duckdb

__all__ = ["Manifest", "connect", "manifest", "profile", "quoted", "scan", "table_path"]


@dataclass(frozen=True)
class Manifest:
    """What one table holds, and how it came to it.

    ``rows_in == rows_out + quarantined + later``, always: every row of the source that counts is stored, quarantined
    or ``later``, not yet known at ``as_of``. For a source with a cursor these are not the rows of the last read but of
    all reads since the first (or since its query or columns changed), each row once however often it was read; a row
    that a newer one of its key took the place of no longer counts, so ``rows_in`` is what a whole read would find.

    Beside them stand the rows that do not count: ``replaced`` (by a newer row of their key read by the same ingest)
    and ``erased`` (of entities in ``home/erasures.json``). They, ``read`` and ``cleaned`` are of the last ingest alone.
    """

    table: str
    fingerprint: str
    source_fingerprint: str | None
    as_of: str
    rows_in: int
    rows_out: int
    quarantined: int
    later: int
    files: dict[str, str] = field(repr=False)
    reasons: dict[str, int] = field(default_factory=dict)
    #: Rows read from the source, those that do not count included.
    read: int = 0
    erased: int = 0
    replaced: int = 0
    #: Rule of ``cleaning`` → how many values it changed (``dedupe``: rows it quarantined).
    cleaned: dict[str, int] = field(default_factory=dict)
    #: Column of ``references`` → how many stored rows have a value there that finds no row.
    unmatched: dict[str, int] = field(default_factory=dict)
    #: The cursor value from which the next ingest reads, and what that value belongs to: the query and the rules.
    mark: str | int | float | None = None
    rules: str | None = None


def table_path(settings: Settings, table: str) -> Path:
    """Folder of one table."""
    return settings.home / "tables" / table


def manifest(settings: Settings, table: str) -> Manifest | None:
    """The table's manifest, or None before its first ingest."""
    content = read_json(table_path(settings, table) / "manifest.json")
    return Manifest(**content) if content else None


def profile(settings: Settings, table: str) -> list[dict[str, Any]]:
    """What each column of the table held at its last ingest (:func:`feature_repo.tables.profile.profile_table`)."""
    content = read_json(table_path(settings, table) / "profile.json")
    return content["columns"] if isinstance(content, dict) else []


def connect(
    settings: Settings, as_of: datetime | None = None, only: Collection[str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with one view per ingested table (``only``: of these), holding what was known at ``as_of``.

    Without ``as_of`` the views hold everything.
    """
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table, spec in settings.tables.items():
        content = manifest(settings, table) if only is None or table in only else None
        if content is None:
            continue
        paths = [table_path(settings, table) / file for file in content.files.values()]
        if not paths:
            continue
        known = ""
        if as_of and spec.known_at:
            known = f" WHERE \"{spec.known_at}\" <= TIMESTAMPTZ '{as_of.astimezone(UTC).isoformat()}'"
        connection.execute(f"CREATE VIEW {quoted(table)} AS SELECT * FROM {scan(paths)}{known}")
    return connection


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def scan(paths: Iterable[Path]) -> str:
    """What DuckDB selects from to read these Parquet files."""
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{listed}], hive_partitioning=false)"
