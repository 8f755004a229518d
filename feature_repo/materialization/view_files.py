"""The state of each feature view: its record, and the Parquet files that the record names.

``features/<view>.json`` is the record, and names the current files of the view; it is replaced atomically.
``features/<view>/month=<YYYY-MM>/<fingerprint>.parquet`` holds one UTC month of rows by ``event_timestamp``, in the
order of (event_timestamp, join keys); a view that is computed as one piece is one ``<fingerprint>.parquet``
(:mod:`feature_repo.materialization.backfill`).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError
from feature_repo.storage.files import read_json, write_json
from feature_repo.transforms import VIEWS

if TYPE_CHECKING:
    from configs.settings import Settings

__all__ = [
    "FRESH",
    "MissingDataError",
    "ViewState",
    "freshness",
    "remember",
    "state",
    "sweep",
    "view_files",
    "view_folder",
]

#: The file, in the view's folder, of rows that are being materialized (:mod:`.online_write`).
FRESH = ".fresh.parquet"


class MissingDataError(HeadraceError, FileNotFoundError):
    """A required table or view has no rows yet; the message has the command that fills it."""


@dataclass(frozen=True)
class ViewState:
    """The state of one feature view.

    Offline: ``rows`` rows in ``files`` (part, a month or ``all`` → file below the view's folder), computed from
    ``tables`` (name → fingerprint) by ``code``; ``previous_files`` are the files before them. Online: values known at
    ``online_until``, of ``online_files`` by ``online_code``, under ``online_keys``. ``bringing`` is a materialization
    in progress (:mod:`feature_repo.materialization.online_write`).
    """

    view: str
    rows: int
    code: str
    tables: dict[str, str]
    online_code: str | None = None
    online_until: str | None = None
    latest_event: str | None = None
    files: dict[str, str] = field(default_factory=dict, repr=False)
    previous_files: dict[str, str] = field(default_factory=dict, repr=False)
    online_files: dict[str, str] = field(default_factory=dict, repr=False)
    online_keys: list[str] | None = None
    bringing: dict[str, Any] | None = None


def state(settings: Settings, view: str) -> ViewState | None:
    """The state of one view, or None before it was first computed."""
    content = read_json(settings.home / "features" / f"{view}.json")
    return ViewState(**content) if content else None


def remember(settings: Settings, state: ViewState) -> None:
    """Record the state of one view."""
    write_json(settings.home / "features" / f"{state.view}.json", vars(state))


def freshness(settings: Settings) -> list[ViewState]:
    """State of every view that was computed, for ``headrace status``."""
    return [found for view in VIEWS if (found := state(settings, view))]


def view_folder(settings: Settings, view: str) -> Path:
    """Folder of one view's files."""
    return settings.home / "features" / view


def view_files(root: Path, view: str) -> list[Path]:
    """The current Parquet files of a view, oldest month first; ``root`` is the folder of all features.

    A view that was never computed may be one file ``<view>.parquet`` written by hand; if that is missing there are
    none. The files of the previous record are kept until the record changes again, for processes that still read them.
    """
    content = read_json(root / f"{view}.json")
    if content and content.get("files"):
        return [root / view / file for _, file in sorted(content["files"].items())]
    alone = root / f"{view}.parquet"
    return [alone] if alone.exists() else []


def sweep(settings: Settings, state: ViewState) -> None:
    """Remove files of killed runs, and files that the view's ``state`` no longer names; the caller has its lock."""
    folder = view_folder(settings, state.view)
    brought = (state.bringing or {}).get("files", {})
    named = (state.files, state.previous_files, state.online_files, brought)
    keep = {folder / file for files in named for file in files.values()}
    if state.bringing:
        keep.add(folder / FRESH)
    shutil.rmtree(folder / ".spill", ignore_errors=True)
    for path in [*folder.rglob("*.parquet"), *folder.rglob("*.tmp")]:
        if path not in keep:
            path.unlink(missing_ok=True)
    for month in folder.glob("month=*"):
        if not any(month.iterdir()):
            month.rmdir()
