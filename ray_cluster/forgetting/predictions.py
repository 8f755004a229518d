"""Take one entity's lines out of the prediction log while replicas go on writing to it."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from configs.settings import Settings
from feature_repo.files import replacing

__all__ = ["erase_predictions"]


def erase_predictions(settings: Settings, join_key: str, value: str, dry_run: bool = False) -> dict[str, int]:
    """Remove the predictions of which an entity field ``join_key`` was ``value``; model → how many there were.

    A torn line that mentions the value goes too. No other line is lost: a file is rewritten under a lock that its
    replica takes for each write (:class:`ray_cluster.serving.prediction_log.PredictionLog`), which waits meanwhile.
    """
    found: dict[str, int] = {}
    for path in sorted((settings.home / "predictions").glob("*/*/*.jsonl")):
        model = path.parent.parent.name
        found[model] = found.get(model, 0) + _erase(path, join_key, value, dry_run)
    for left in (settings.home / "predictions").glob("*/*/.*.tmp"):
        if not dry_run:
            left.unlink(missing_ok=True)  # of one that was killed; only one runs at a time
    return found


def _erase(path: Path, join_key: str, value: str, dry_run: bool) -> int:
    needle = json.dumps(value, ensure_ascii=False)[1:-1].encode()
    if not any(_is_of(line, needle, join_key, value) for line in path.open("rb")):
        return 0  # looked at without the lock: what is written meanwhile was asked for after the forgetting began
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
