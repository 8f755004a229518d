"""A training frame that is larger than memory: built on disk, part by part in the order of prediction time.

A part is a window of prediction times with about ``rows`` requests, retrieved like the whole frame, so that the parts
in order are the frame, row for row. After a kill, the next build continues with the missing parts.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frames.expired_values import retrieve_as_served
from feature_repo.frames.fingerprints import FrameDigest
from feature_repo.frames.label_overrides import overlay_version
from feature_repo.frames.training_frame import (
    LABEL_KNOWN_AT,
    PREDICTION_TIME,
    FrameError,
    check_finite,
    inputs_fingerprint,
    labelled_requests,
    request_counts,
    requests,
)
from feature_repo.storage.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    from filelock import BaseFileLock

__all__ = ["FrameParts", "build_parts", "remove_idle_parts", "windows"]

#: Start of the first window, as for the frame in one piece.
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
#: Key of a file's metadata: number of requests of its window that were left out because their label is null.
_UNLABELLED = b"headrace.unlabelled"


@dataclass(frozen=True)
class FrameParts:
    """A training frame as Parquet files in ``folder``, in the order of their rows; none is empty.

    A part has the columns of :class:`~feature_repo.frames.training_frame.TrainingFrame` and ``label_known_at``.
    ``fingerprint`` and ``columns`` are those of the whole frame, ``overlay`` is the version of its label corrections.
    ``unlabelled`` counts the requests that were left out because their label is null.
    """

    folder: Path
    files: tuple[Path, ...]
    row_count: int
    features: list[str]
    fingerprint: str
    columns: dict[str, str]
    overlay: int
    unlabelled: int
    lock: BaseFileLock = field(repr=False, compare=False)

    def read(self, columns: list[str] | None = None, backwards: bool = False) -> Iterator[pd.DataFrame]:
        """The rows of the parts in order (``backwards``: latest first), with the types of the frame in one piece."""
        numbers = _numbers(self.files)
        return (_read(file, columns, numbers) for file in (reversed(self.files) if backwards else self.files))

    def remove(self) -> None:
        """Delete the files, after the fit is recorded."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.release()


def windows(counts: pd.DataFrame, rows: int, end: datetime) -> list[tuple[datetime, datetime]]:
    """Cut time into windows [start, end) with at most ``rows`` requests each, unless a single time has more.

    Args:
        counts: columns ``moment`` (rising) and ``requests``.

    >>> import pandas as pd
    >>> moments = pd.to_datetime(["2013-01-01", "2013-01-02", "2013-01-03"], utc=True)
    >>> found = windows(pd.DataFrame({"moment": moments, "requests": [2, 2, 3]}), 4, datetime(2014, 1, 1, tzinfo=UTC))
    >>> [f"{start:%Y-%m-%d} {end:%Y-%m-%d}" for start, end in found]
    ['1970-01-01 2013-01-03', '2013-01-03 2014-01-01']
    """
    cuts, held = [_FIRST], 0
    for moment, number in zip(counts["moment"], counts["requests"], strict=True):
        if held and held + number > rows:
            cuts.append(moment.to_pydatetime())
            held = 0
        held += int(number)
    return list(zip(cuts, [*cuts[1:], end], strict=True))


def build_parts(settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int | None = None) -> FrameParts:
    """The training frame of ``spec`` as known at ``as_of``, in ``home/fit``; parts of a killed build are reused.

    ``overlay``: the version of the label corrections, the newest by default.

    Waits for another process that builds the same parts. Parts left by other trainings of the model are removed.

    Raises:
        FrameError: no row is labelled by then, or the label does not have both values.
        LabelError: the label SQL returns a value other than true, false, 0, 1 or null.
    """
    overlay = overlay_version(settings, spec.name) if overlay is None else overlay
    folder = settings.home / "fit" / f"{spec.name}-{_key(settings, spec, as_of, overlay)}"
    lock = _lock_of(folder)
    lock.acquire()
    try:
        remove_idle_parts(settings, f"{spec.name}-*", but=folder)
        files = []
        cuts = windows(request_counts(settings, spec, as_of), spec.fit.rows_per_part, as_of)
        for number, (start, end) in enumerate(cuts):
            file = folder / f"{number:05d}.parquet"
            if not file.exists():
                part, unlabelled = _part(settings, spec, as_of, overlay, start, end)
                with replacing(file) as temporary:
                    _write(temporary, part, unlabelled)
            files.append(file)
        return _described(spec, as_of, overlay, folder, files, lock)
    except BaseException:
        lock.release()
        raise


def remove_idle_parts(settings: Settings, pattern: str = "*", but: Path | None = None) -> None:
    """Remove parts of killed or abandoned trainings, except the folder ``but`` and those that are being built."""
    from filelock import Timeout

    for folder in (settings.home / "fit").glob(pattern):
        lock = _lock_of(folder)
        if folder == but or lock.is_locked:  # by this process
            continue
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            continue


def _part(
    settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int, start: datetime, end: datetime
) -> tuple[pd.DataFrame, int]:
    """Labelled requests of one window with their features (without columns if there are none), and the number of
    requests that were left out because their label is null."""
    import pandas as pd

    asked = requests(settings, spec, start, end, as_of)
    labelled, unlabelled = labelled_requests(settings, spec, asked, as_of, overlay)
    if labelled.empty:
        return pd.DataFrame(), unlabelled
    rows = retrieve_as_served(settings, spec, labelled, PREDICTION_TIME).rows
    check_finite(settings, spec, rows.drop(columns=labelled.columns), rows[spec.requests.id])
    return rows, unlabelled


def _write(path: Path, part: pd.DataFrame, unlabelled: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(part, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), _UNLABELLED: str(unlabelled).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")


def _described(
    spec: ModelSpec, as_of: datetime, overlay: int, folder: Path, files: list[Path], lock: BaseFileLock
) -> FrameParts:
    import pyarrow.parquet as pq

    described = {file: pq.read_metadata(file) for file in files}
    kept = tuple(file for file, each in described.items() if each.num_rows)
    unlabelled = sum(int(each.metadata[_UNLABELLED]) for each in described.values())
    digest, outcomes, numbers = FrameDigest(), set(), _numbers(kept)
    others = {spec.requests.id, *spec.requests.entities, *spec.requests.fields}
    others |= {PREDICTION_TIME, "label", LABEL_KNOWN_AT}
    features: list[str] = []
    row_count = 0
    for file in kept:
        rows = _read(file, None, numbers)
        digest.update(rows.drop(columns=LABEL_KNOWN_AT))
        outcomes |= set(rows["label"].unique())
        features = [name for name in rows.columns if name not in others]
        row_count += len(rows)
    if len(outcomes) < 2:
        raise FrameError.unlabelled(spec, row_count, as_of)
    return FrameParts(
        folder, kept, row_count, features, digest.fingerprint(), digest.columns(), overlay, unlabelled, lock
    )


def _read(file: Path, columns: list[str] | None, numbers: set[str]) -> pd.DataFrame:
    import pandas as pd

    rows = pd.read_parquet(file, columns=columns)
    empty = [name for name in rows if name in numbers and rows[name].dtype == object]
    return rows.astype(dict.fromkeys(empty, "float64"))


def _numbers(files: tuple[Path, ...]) -> set[str]:
    """Columns that are numbers in some parts and have no value in others, where their type is ambiguous."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: dict[str, set[Any]] = {}
    for file in files:
        for column in pq.read_schema(file):
            types.setdefault(column.name, set()).add(column.type)
    return {
        name
        for name, found in types.items()
        if pa.null() in found and any(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in found)
    }


def _key(settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int) -> str:
    """Fingerprint of everything that determines the parts."""
    what = (inputs_fingerprint(settings, spec, overlay), as_of.isoformat(), spec.requests, spec.label, spec.expired,
            spec.feature_service, spec.fit.rows_per_part)  # fmt: skip
    return hashlib.blake2b(repr(what).encode(), digest_size=8).hexdigest()


def _lock_of(folder: Path) -> BaseFileLock:
    """The lock of the process that builds a folder; it is released when that process ends."""
    from filelock import FileLock

    path = folder.parents[1] / "locks" / f"fit-{folder.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, is_singleton=True)
