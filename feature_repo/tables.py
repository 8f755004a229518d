"""Checked raw tables as Parquet, one immutable file per day, named by a manifest that is replaced atomically.

``tables/<name>/manifest.json`` lists the files that make up the table now; ``day=<YYYY-MM-DD>/<fingerprint>.parquet``
holds one UTC day. A day whose content did not change keeps its file, so ingesting again writes what is new.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings, Source
from feature_repo import quality
from feature_repo.files import read_json, replacing, write_json
from feature_repo.profile import profile_table
from feature_repo.sources import read, source_fingerprint

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

__all__ = ["Manifest", "connect", "ingest_table", "manifest", "profile", "table_path"]


@dataclass(frozen=True)
class Manifest:
    """What one table holds. ``rows_in == rows_out + quarantined + later`` (``later``: not yet known at ``as_of``)."""

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


def table_path(settings: Settings, table: str) -> Path:
    """Folder of one table."""
    return settings.home / "tables" / table


def manifest(settings: Settings, table: str) -> Manifest | None:
    """The table's manifest, or None before its first ingest."""
    content = read_json(table_path(settings, table) / "manifest.json")
    return Manifest(**content) if content else None


def ingest_table(settings: Settings, table: str, as_of: datetime) -> tuple[Manifest, bool]:
    """Read, check and store one table, at least as known at ``as_of``.

    Returns its manifest and whether anything changed. A table that already holds a later state of the same source
    is left alone: readers filter by known-at time themselves.

    Raises:
        SourceError, TableError: nothing is changed then.
    """
    source = settings.sources[table]
    before = manifest(settings, table)
    seen = _combined(source_fingerprint(table, source))
    if before and seen and before.source_fingerprint == seen and datetime.fromisoformat(before.as_of) >= as_of:
        return before, False
    raw = read(table, source)
    checked = quality.check(raw, quality.schema(table), source.key, table)
    valid, later = checked.valid, 0
    if source.known_at:
        known = valid[source.known_at] <= as_of
        later = int((~known).sum())
        valid = valid[known]
    files = _store(table_path(settings, table), valid, source)
    after = Manifest(
        table=table,
        fingerprint=hashlib.blake2b("".join(sorted(files.values())).encode(), digest_size=8).hexdigest(),
        source_fingerprint=seen,
        as_of=as_of.isoformat(),
        rows_in=len(raw),
        rows_out=len(valid),
        quarantined=len(checked.refused),
        later=later,
        files=files,
        reasons={
            str(reason): int(count) for reason, count in checked.refused["reason"].value_counts().head(20).items()
        },
    )
    _quarantine(settings, table, checked.refused)
    write_json(table_path(settings, table) / "profile.json", profile_table(valid))
    write_json(table_path(settings, table) / "manifest.json", asdict(after))
    _sweep(table_path(settings, table), before, after)
    return after, before is None or before.fingerprint != after.fingerprint


def profile(settings: Settings, table: str) -> list[dict[str, Any]]:
    """What each column of the table held at its last ingest (:func:`feature_repo.profile.profile_table`)."""
    return read_json(table_path(settings, table) / "profile.json") or []


def connect(
    settings: Settings, as_of: datetime | None = None, only: Collection[str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with one view per ingested table (``only``: of these), holding what was known at ``as_of``.

    Without ``as_of`` the views hold everything.
    """
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table, source in settings.sources.items():
        content = manifest(settings, table) if only is None or table in only else None
        if content is None:
            continue
        paths = [str(table_path(settings, table) / file) for file in content.files.values()]
        if not paths:
            continue
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        known = ""
        if as_of and source.known_at:
            known = f" WHERE \"{source.known_at}\" <= TIMESTAMPTZ '{as_of.astimezone(UTC).isoformat()}'"
        connection.execute(
            f'CREATE VIEW "{table}" AS SELECT * FROM read_parquet([{listed}], hive_partitioning=false){known}'
        )
    return connection


def _combined(fingerprint: str | None) -> str | None:
    """A source's fingerprint together with the code that checks it: new rules read the source again."""
    if fingerprint is None:
        return None
    code = inspect.getsource(quality)
    return hashlib.blake2b((fingerprint + code).encode(), digest_size=16).hexdigest()


def _store(folder: Path, frame: pd.DataFrame, source: Source) -> dict[str, str]:
    """Write each day's rows under a name made from their content; return day → file relative to ``folder``."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = frame.sort_values(source.key, kind="stable").reset_index(drop=True)
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    days = frame[source.day].dt.strftime("%Y-%m-%d").to_numpy() if source.day else np.full(len(frame), "all")
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    order = np.argsort(days, kind="stable")
    sorted_days = days[order]
    starts = np.flatnonzero(np.r_[True, sorted_days[1:] != sorted_days[:-1]]) if len(order) else np.array([], int)
    files: dict[str, str] = {}
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        rows = order[start:end]
        fingerprint = hashlib.blake2b(np.sort(hashes[rows]).tobytes(), digest_size=8).hexdigest()
        day = str(sorted_days[start])
        file = f"day={day}/{fingerprint}.parquet" if source.day else f"{fingerprint}.parquet"
        path = folder / file
        if not path.exists():
            with replacing(path) as temporary:
                pq.write_table(arrow.take(rows), temporary, coerce_timestamps="us", compression="zstd")
        files[day] = file
    return files


def _quarantine(settings: Settings, table: str, refused: pd.DataFrame) -> None:
    path = settings.home / "tables" / table / "quarantine.parquet"
    texts = refused.astype({column: str for column in refused.columns if refused[column].dtype == object})
    with replacing(path) as temporary:
        texts.to_parquet(temporary, index=False)


def _sweep(folder: Path, before: Manifest | None, after: Manifest) -> None:
    """Remove files that neither this manifest nor the one before names (a reader may still hold the latter)."""
    keep: set[Any] = {*after.files.values(), *(before.files.values() if before else ()), "quarantine.parquet"}
    for path in folder.rglob("*.parquet"):
        if str(path.relative_to(folder)) not in keep:
            path.unlink(missing_ok=True)
