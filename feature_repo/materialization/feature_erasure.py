"""Erase one entity from the feature views: compute their files again without its rows, and remove its online values."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from configs.settings import Settings
from feature_repo.materialization.backfill import compute
from feature_repo.materialization.online_write import write_online
from feature_repo.materialization.view_files import MissingDataError, ViewState, remember, state, sweep, view_files
from feature_repo.online import open_values
from feature_repo.online.layout import ViewLayout, layouts
from feature_repo.online.values import OnlineValues
from feature_repo.storage.files import locked
from feature_repo.tables.table_erasure import rows_of
from feature_repo.transforms import VIEWS

__all__ = ["ErasedFeatures", "erase_features", "join_keys", "scrub_online"]


@dataclass(frozen=True)
class ErasedFeatures:
    """Data removed from one view: rows of its files, online entities; fingerprints of its files before and after."""

    rows: int
    online: int
    before: str | None
    after: str | None


def join_keys(settings: Settings) -> list[str]:
    """Every join key of every feature view, sorted."""
    return sorted({key for layout in layouts(settings).values() for key in layout.join_keys})


def erase_features(settings: Settings, join_key: str, value: str, dry_run: bool = False) -> dict[str, ErasedFeatures]:
    """Remove the entities whose ``join_key`` is ``value`` from every view; call it after the rows left the tables.

    Every view over a table with such a column is computed again, because values of other entities may depend on the
    rows, and materialized as of the same time as before. Then the entity's own values are removed, and every file that
    contained them, also files that readers of the previous state may still need. With ``dry_run`` only counts.

    Raises:
        OnlineError: the online store does not answer; everything before it is done.
    """
    tables = {name for name, table in settings.tables.items() if join_key in table.columns}
    found = {}
    with closing(open_values(settings)) as values:
        for view, layout in layouts(settings).items():
            own, held = join_key in layout.join_keys, state(settings, view)
            if view not in VIEWS or not (own or tables & set(VIEWS[view].tables)):
                continue
            rows = _rows(settings, view, join_key, value) if own else 0
            before = _fingerprint(held)
            online = len(_online(values, layout, join_key, value)) if own else 0
            if held and not dry_run:
                _again(settings, view, held)  # also updates the online store: the entity has no rows now
            if own and not dry_run and (left := _online(values, layout, join_key, value)):
                values.delete(layout, left)
            found[view] = ErasedFeatures(rows, online, before, _fingerprint(state(settings, view)))
    return found


def scrub_online(settings: Settings) -> str | None:
    """Overwrite deleted values in the pages of the embedded online store; returns the reason of a failure, or None."""
    path = settings.home / "online.db"
    if settings.databases.kind != "embedded" or not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as error:
        return f"online.db could not be compacted ({error}), so bytes of removed values may remain in it"
    return "online.db is being read, so bytes of removed values may remain in its log" if busy else None


def _again(settings: Settings, view: str, held: ViewState) -> None:
    """Compute a view from the current tables, materialize it, and drop the record of all previous files."""
    try:
        compute(settings, view)
        if held.online_until:
            write_online(settings, view, datetime.fromisoformat(held.online_until))
        emptied = False
    except MissingDataError:  # a table of the view has no rows now
        emptied = True
    with locked(settings.home, f"view-{view}"):
        now = state(settings, view)
        assert now is not None
        now = replace(now, previous_files={})
        if emptied:
            now = replace(now, rows=0, files={}, online_files={}, latest_event=None, bringing=None)
        remember(settings, now)
        sweep(settings, now)


def _online(values: OnlineValues, layout: ViewLayout, join_key: str, value: str) -> list[tuple[Any, ...]]:
    """Keys of the entities that have a value, whether ``value`` is text or a whole number in the store."""
    forms: list[str | int] = [value]
    if value.isdecimal() and str(int(value)) == value:
        forms.append(int(value))
    return [key for form in forms for key in values.matching(layout, join_key, form)]


def _rows(settings: Settings, view: str, join_key: str, value: str) -> int:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    total = 0
    for path in view_files(settings.home / "features", view):
        with pq.ParquetFile(path) as file:
            total += pc.sum(rows_of(file.read([join_key])[join_key], value)).as_py() or 0
    return total


def _fingerprint(held: ViewState | None) -> str | None:
    """Fingerprint of the files of a view; their names depend on the inputs of their computation."""
    if held is None:
        return None
    return hashlib.blake2b("\0".join(sorted(held.files.values())).encode(), digest_size=8).hexdigest()
