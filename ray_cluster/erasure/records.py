"""Remove one entity's rows from the prediction log, the scored batches, the review queues and the label overrides."""

from __future__ import annotations

import csv
import fcntl
import io
import json
from pathlib import Path

from configs.settings import Settings
from feature_repo.storage.files import locked, replacing
from feature_repo.tables.table_erasure import rows_of

__all__ = [
    "erase_predictions",
    "erase_label_overrides",
    "erase_scores",
]


def erase_predictions(settings: Settings, join_key: str, value: str, dry_run: bool = False) -> dict[str, int]:
    """Remove the predictions whose entity field ``join_key`` was ``value``; model → number of predictions.

    A torn line that mentions the value is removed too. No other line is lost: a file is rewritten under a lock that its
    replica acquires for each write (:class:`ray_cluster.serving.prediction_log.PredictionLog`); the replica waits.
    """
    found: dict[str, int] = {}
    for path in sorted((settings.home / "predictions").glob("*/*/*.jsonl")):
        model = path.parent.parent.name
        found[model] = found.get(model, 0) + _erase(path, join_key, value, dry_run)
    for left in (settings.home / "predictions").glob("*/*/.*.tmp"):
        if not dry_run:
            left.unlink(missing_ok=True)  # left by an erasure that was killed; only one runs at a time
    return found


def _erase(path: Path, join_key: str, value: str, dry_run: bool) -> int:
    needle = json.dumps(value, ensure_ascii=False)[1:-1].encode()
    if not any(_is_of(line, needle, join_key, value) for line in path.open("rb")):
        return 0  # read without the lock: rows written meanwhile were requested after the erasure started
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH if dry_run else fcntl.LOCK_EX)
        lines = file.readlines()
        kept = [line for line in lines if not _is_of(line, needle, join_key, value)]
        if not dry_run:
            with replacing(path) as temporary:
                temporary.write_bytes(b"".join(kept))
                temporary.chmod(0o644)
    return len(lines) - len(kept)


def _is_of(line: bytes, needle: bytes, join_key: str, value: str) -> bool:
    if needle not in line:
        return False
    try:
        held = json.loads(line)["entities"].get(join_key)
    except (ValueError, KeyError, TypeError, AttributeError):
        return True
    return held is not None and str(held) == value


def erase_label_overrides(settings: Settings, join_key: str, value: str, dry_run: bool = False) -> dict[str, int]:
    """Remove lines of overlays and queues whose entity ``join_key`` was ``value``; path below home → number of lines.

    The other lines keep their versions. A page of suspects is erased like any other document.
    """
    found: dict[str, int] = {}
    for folder in sorted((settings.home / "labels").glob("*")):
        with locked(settings.home, f"labels-{folder.name}"):
            for name, kept in (("overlay.jsonl", _overlay), ("review.csv", _queue)):
                path = folder / name
                if not path.is_file():
                    continue
                content, number = kept(path, join_key, value)
                if number:
                    found[str(path.relative_to(settings.home))] = number
                if number and not dry_run:
                    with replacing(path) as temporary:
                        temporary.write_text(content, encoding="utf-8", newline="")
    return found


def _overlay(path: Path, join_key: str, value: str) -> tuple[str, int]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if (json.loads(line).get("entities") or {}).get(join_key) != value]
    return "".join(kept), len(lines) - len(kept)


def _queue(path: Path, join_key: str, value: str) -> tuple[str, int]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), list(reader.fieldnames or [])
    kept = [row for row in rows if row.get(join_key) != value]
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(kept)
    return written.getvalue(), len(rows) - len(kept)


def erase_scores(settings: Settings, join_key: str, value: str, dry_run: bool = False) -> dict[str, int]:
    """Remove rows with ``value`` in the column ``join_key``; model → number of rows."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, int] = {}
    for path in sorted((settings.home / "scores").glob("*/*.parquet")):
        with pq.ParquetFile(path) as file:
            if join_key not in file.schema_arrow.names:
                continue
            hits = rows_of(file.read([join_key])[join_key], value)
            number = pc.sum(hits).as_py() or 0
            found[path.parent.name] = found.get(path.parent.name, 0) + number
            if number and not dry_run:
                rows = file.read().filter(pc.invert(hits))
                with replacing(path) as temporary:
                    pq.write_table(rows, temporary)
    return found
