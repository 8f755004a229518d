"""Erase the rows of one entity from a raw table, and keep them out of every later ingest."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.storage.files import locked, read_json, replacing, write_json
from feature_repo.storage.sql import quoted
from feature_repo.tables.table_files import Manifest, connect, manifest, table_path, write_days

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "erasures",
    "erasures_fingerprint",
    "kept",
    "ErasedRows",
    "erase_rows",
    "known_values",
    "remember_erasure",
    "rows_of",
]


def erasures(settings: Settings, table: str) -> dict[str, list[str]]:
    """Column → values of ``home/erasures.json`` that apply to ``table``; empty if nothing was ever erased."""
    listed: dict[str, list[Any]] = read_json(settings.home / "erasures.json") or {}
    columns = settings.tables[table].columns
    return {column: sorted(map(str, values)) for column, values in listed.items() if column in columns and values}


def erasures_fingerprint(settings: Settings, table: str) -> str:
    """Fingerprint of the erasures that apply to ``table``: after a new one its rows are checked again."""
    found = erasures(settings, table)
    return hashlib.blake2b(repr(sorted(found.items())).encode(), digest_size=8).hexdigest() if found else ""


def kept(settings: Settings, table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame`` with no listed value, compared as text (the numbers 7 and 7.0 are "7")."""
    import pandas as pd

    for column, values in erasures(settings, table).items():
        if column not in frame:
            continue
        held = frame[column]
        if pd.api.types.is_numeric_dtype(held.dtype) and not pd.api.types.is_bool_dtype(held.dtype):
            hit = held.isin(pd.to_numeric(pd.Series(values), errors="coerce").dropna().tolist())
        else:
            hit = held.astype(str).isin(values)
        if hit.any():
            frame = frame[~hit]
    return frame


@dataclass(frozen=True)
class ErasedRows:
    """Data removed from one table: stored rows, quarantined rows; the table's fingerprint before and after."""

    rows: int = 0
    quarantined: int = 0
    before: str | None = None
    after: str | None = None


def remember_erasure(settings: Settings, column: str, value: str) -> bool:
    """Add a value to ``home/erasures.json``, which every ingest applies; False if it was already listed."""
    path = settings.home / "erasures.json"
    with locked(settings.home, "erasures"):
        listed: dict[str, list[str]] = read_json(path) or {}
        held = listed.setdefault(column, [])
        if value in held:
            return False
        write_json(path, {**listed, column: sorted([*held, value])})
    return True


def known_values(settings: Settings, column: str) -> list[str]:
    """Every value of a column in the raw tables that have it, as text, sorted."""
    found: set[str] = set()
    for table, spec in settings.tables.items():
        content = manifest(settings, table) if column in spec.columns else None
        if content and content.files:
            with connect(settings, only=[table]) as connection:
                rows = connection.execute(
                    f"SELECT DISTINCT {quoted(column)} FROM {quoted(table)} WHERE {quoted(column)} IS NOT NULL"
                ).fetchall()
            found |= {str(value) for (value,) in rows}
    return sorted(found)


def rows_of(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    """Mask of the rows of a column with ``value``, given as text: the number 7 is "7"."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_dictionary(column.type):
        hit = pc.equal(column.cast(pa.string()), value)
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        try:
            number = int(value) if pa.types.is_integer(column.type) else float(value)
            hit = pc.equal(column, pa.scalar(number, column.type))
        except (ValueError, OverflowError, pa.ArrowInvalid):
            hit = pa.chunked_array([pa.repeat(False, len(column))])
    else:
        hit = pa.chunked_array([pa.repeat(False, len(column))])
    return pc.fill_null(hit, False)


def erase_rows(settings: Settings, table: str, column: str, value: str, dry_run: bool = False) -> ErasedRows:
    """Remove every row with ``value`` in ``column`` from a table; with ``dry_run`` only count them.

    Changed days are written to new files and the manifest is replaced last; then the old files are deleted immediately,
    also those that only an earlier manifest named. If it is killed, the next run repeats it.
    """
    folder = table_path(settings, table)
    with locked(settings.home, f"table-{table}"):
        held = manifest(settings, table)
        if held is None:
            return ErasedRows()
        hits = {day: hit for day, file in held.files.items() if (hit := _hit(folder / file, column, value))}
        refused = [folder / "quarantine.parquet", folder / "refused" / "quarantine.parquet"]
        quarantined = {path: hit for path in refused if path.exists() and (hit := _hit(path, column, value))}
        rows, main = sum(hits.values()), quarantined.get(refused[0], 0)
        if dry_run:
            return ErasedRows(rows, sum(quarantined.values()), held.fingerprint, held.fingerprint)
        files = dict(held.files)
        for day in hits:
            left = _without(folder / held.files[day], column, value)
            del files[day]
            if left.num_rows:
                files |= write_days(folder, [(day, left)], by_day=settings.tables[table].day is not None)
        for path in quarantined:
            rest = _without(path, column, value)
            with replacing(path) as temporary:
                _write(rest, temporary)
        after = held
        if hits or main:
            after = _after(held, dict(sorted(files.items())), rows, main, folder / "quarantine.parquet")
            write_json(folder / "manifest.json", asdict(after))
        shutil.rmtree(folder / "staging", ignore_errors=True)
        for path in _unlisted(folder, after):
            if _hit(path, column, value):
                path.unlink()
    return ErasedRows(rows, sum(quarantined.values()), held.fingerprint, after.fingerprint)


def _after(held: Manifest, files: dict[str, str], rows: int, quarantined: int, quarantine: Path) -> Manifest:
    import pyarrow.parquet as pq

    reasons: dict[str, int] = {}
    if quarantine.exists():
        counts: list[Any] = pq.ParquetFile(quarantine).read(["reason"])["reason"].value_counts().to_pylist()
        counts.sort(key=lambda each: (-each["counts"], each["values"]))
        reasons = {each["values"]: each["counts"] for each in counts[:20]}
    names = "\0".join(sorted(files.values()))
    return replace(
        held,
        fingerprint=hashlib.blake2b(names.encode(), digest_size=8).hexdigest(),
        files=files,
        rows_in=held.rows_in - rows - quarantined,
        rows_out=held.rows_out - rows,
        quarantined=held.quarantined - quarantined,
        reasons=reasons,
    )


def _hit(path: Path, column: str, value: str) -> int:
    """Number of rows of a Parquet file with the value."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:
            return 0
        return pc.sum(rows_of(file.read([column])[column], value)).as_py() or 0


def _without(path: Path, column: str, value: str) -> pa.Table:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows = file.read()
    return rows.filter(pc.invert(rows_of(rows[column], value)))


def _write(rows: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(rows, path, compression="zstd")


def _unlisted(folder: Path, after: Manifest) -> Iterator[Path]:
    """Parquet files of a table's folder that its manifest does not name, and files of killed writers."""
    named = {folder / file for file in after.files.values()}
    for path in [*folder.glob("*.parquet"), *folder.glob("day=*/*.parquet")]:
        if path not in named and path.name != "quarantine.parquet":
            yield path
    for path in [*folder.glob(".*.tmp"), *folder.glob("day=*/.*.tmp")]:
        path.unlink(missing_ok=True)  # this process has the lock, so its writer has ended
