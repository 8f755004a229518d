"""The log of all predictions: JSON lines under ``predictions/<model>/<UTC day of as_of>/<replica>.jsonl``.

Each file has one writer, which appends whole requests with a single ``write``, so a killed replica tears at most the
last line of its own file. A file is rewritten only to erase an entity (:mod:`ray_cluster.erasure.erasure`).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.frames.request_ids import id_texts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "PredictionLog", "predictions_folder", "read_predictions"]

logger = logging.getLogger(__name__)

#: The keys of one line, and the columns of :func:`read_predictions`.
COLUMNS = (
    "prediction_id",
    "model",
    "version",
    "id",
    "as_of",
    "served_at",
    "entities",
    "fields",
    "features",
    "event_times",
    "score",
    "decision",
    "threshold",
    "known_until",
    "expired",
    "view_versions",
)
#: Keys that older lines do not have; they are read as null.
_LATER = {"known_until", "expired", "view_versions"}


def predictions_folder(settings: Settings, model: str) -> Path:
    """The folder of one model's predictions."""
    return settings.home / "predictions" / model


class PredictionLog:
    """Append predictions of one replica. Not thread-safe."""

    def __init__(self, folder: Path, replica: str) -> None:
        self._folder = folder
        self._file = f"{replica}.jsonl"
        self._torn: set[Path] = set()

    def append(self, lines: Sequence[dict[str, Any]]) -> None:
        """Write the lines, those of one day at once; on return they are passed to the operating system.

        Each line has the keys in :data:`COLUMNS`; ``as_of`` is an ISO time in UTC, whose day selects the file.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        days: dict[str, list[str]] = {}
        for line in lines:
            text = json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            days.setdefault(line["as_of"][:10], []).append(text)
        for day, texts in days.items():
            self._write(self._folder / day / self._file, ("\n".join(texts) + "\n").encode())

    def _write(self, path: Path, content: bytes) -> None:
        descriptor = _opened(path)
        if path in self._torn:  # an earlier write was interrupted: end its line, so that only that line is lost
            content = b"\n" + content
        try:
            written = 0
            while written < len(content):
                self._torn.add(path)
                written += os.write(descriptor, content[written:])
            self._torn.discard(path)
        finally:
            os.close(descriptor)


def _opened(path: Path) -> int:
    """Open the file to append to, under a shared lock that is released when the file is closed.

    A process that removes lines holds the lock exclusively and replaces the file; then the new file is opened.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def read_predictions(
    settings: Settings, model: str, start: datetime | None = None, end: datetime | None = None
) -> pd.DataFrame:
    """Predictions of ``model`` with ``as_of`` in [start, end), sorted by ``as_of``.

    Returns:
        One row per prediction with the columns :data:`COLUMNS`: ``as_of`` and ``served_at`` are UTC timestamps,
        ``id`` is text or None (:mod:`feature_repo.frames.request_ids`),
        ``entities``, ``fields``, ``features``, ``event_times``, ``known_until`` (view -> as-of time of the online
        store's materialization), ``expired`` (view -> age, TTL and policy, if a value had expired) and
        ``view_versions`` (view -> fingerprint of its code) are dicts; ``score`` is NaN and ``decision`` None if the
        model abstained. ``attrs["torn"]`` counts the lines that could not be read, because of a kill during a
        write; they are skipped.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    torn = 0
    for path in sorted(predictions_folder(settings, model).glob("*/*.jsonl")):
        if not _overlaps(path.parent.name, start, end):
            continue
        with path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    rows.append({name: row.get(name) if name in _LATER else row[name] for name in COLUMNS})
                except (ValueError, KeyError, TypeError):
                    torn += bool(line.strip())
    if torn:
        logger.warning("%s lines of the prediction log of %s are torn and were skipped", torn, model)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ("as_of", "served_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    frame["id"] = id_texts(frame["id"])
    frame["score"] = frame["score"].astype("float64")
    within = pd.Series(True, index=frame.index)
    if start is not None:
        within &= frame["as_of"] >= start
    if end is not None:
        within &= frame["as_of"] < end
    frame = frame[within].sort_values(["as_of", "prediction_id"], ignore_index=True)
    frame.attrs["torn"] = torn
    return frame


def _overlaps(folder: str, start: datetime | None, end: datetime | None) -> bool:
    """Whether the UTC day a folder is named after touches [start, end)."""
    try:
        day = datetime.combine(date.fromisoformat(folder), datetime.min.time(), UTC)
    except ValueError:
        return False
    return (start is None or day + timedelta(days=1) > start) and (end is None or day < end)
