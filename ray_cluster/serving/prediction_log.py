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
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from configs.settings import Settings
from feature_repo.frames.request_ids import id_texts
from feature_repo.storage.document_format import DocumentError, check_format

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "PredictionLine", "PredictionLog", "parse_line", "predictions_folder", "read_predictions"]

logger = logging.getLogger(__name__)

_FORMAT = 1


class PredictionLine(NamedTuple):
    """One line of the log: a tuple, because one is made per response and a frozen dataclass takes three times as long.

    Attributes:
        id: of the request's event, as text.
        as_of, served_at: ISO times in UTC.
        event_times: feature view -> ISO time of its value; None if there was no value.
        score, decision: None if the model abstained.
        known_until: view -> as-of time of the online store's materialization.
        expired: view -> ``age``, ``ttl`` and ``policy``, if a value had expired.
        view_versions: view -> fingerprint of its code. Older lines have None for the last three.
    """

    prediction_id: str
    model: str
    version: int
    id: str | None
    as_of: str
    served_at: str
    entities: dict[str, Any]
    fields: dict[str, Any]
    features: dict[str, Any]
    event_times: dict[str, str | None]
    score: float | None
    decision: bool | None
    threshold: float
    known_until: dict[str, str | None] | None = None
    expired: dict[str, dict[str, Any]] | None = None
    view_versions: dict[str, str | None] | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON form, with ``format``."""
        return dict(zip(_KEYS, (_FORMAT, *self), strict=True))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PredictionLine:
        """Read the JSON form.

        Raises:
            DocumentError: the format is newer than this version of Headrace.
            KeyError: a key is missing.
        """
        check_format(content, _FORMAT, "A line of the prediction log")
        return cls(*_always(content), *[content.get(name) for name in cls._field_defaults])


#: The keys of one line, and the columns of :func:`read_predictions`.
COLUMNS = PredictionLine._fields
_KEYS = ("format", *COLUMNS)
_always = itemgetter(*(name for name in COLUMNS if name not in PredictionLine._field_defaults))
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def parse_line(text: bytes) -> PredictionLine | None:
    """One line of a file of the log; None if it is torn by a kill during the write.

    Raises:
        DocumentError: the format is newer than this version of Headrace.
    """
    try:
        return PredictionLine.from_json(json.loads(text))
    except DocumentError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def predictions_folder(settings: Settings, model: str) -> Path:
    """The folder of one model's predictions."""
    return settings.home / "predictions" / model


class PredictionLog:
    """Append predictions of one replica. Not thread-safe."""

    def __init__(self, folder: Path, replica: str) -> None:
        self._folder = folder
        self._file = f"{replica}.jsonl"
        self._torn: set[Path] = set()

    def append(self, lines: Sequence[PredictionLine]) -> None:
        """Write the lines, those of one UTC day of ``as_of`` at once; on return the operating system has them.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        days: dict[str, list[str]] = {}
        for line in lines:
            days.setdefault(line.as_of[:10], []).append(_encode(line.to_json()))
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
        One row per prediction with the attributes of :class:`PredictionLine` as columns: ``as_of`` and ``served_at``
        are UTC timestamps, ``id`` is text or None (:mod:`feature_repo.frames.request_ids`); ``score`` is NaN if the
        model abstained. ``attrs["torn"]`` counts the lines that could not be read, because of a kill during a
        write; they are skipped.

    Raises:
        DocumentError: a line's format is newer than this version of Headrace.
    """
    import pandas as pd

    rows: list[PredictionLine] = []
    torn = 0
    for path in sorted(predictions_folder(settings, model).glob("*/*.jsonl")):
        if not _overlaps(path.parent.name, start, end):
            continue
        with path.open("rb") as file:
            for text in file:
                if line := parse_line(text):
                    rows.append(line)
                else:
                    torn += bool(text.strip())
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
