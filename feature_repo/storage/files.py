"""Write files so that a reader, or a run after a kill, sees either the old or the new content."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

__all__ = ["locked", "read_json", "replacing", "write_json", "write_text"]


@contextmanager
def locked(home: Path, name: str) -> Iterator[None]:
    """One process of this machine at a time in the block; the lock is released when its process ends."""
    from filelock import FileLock

    path = home / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; on success it is moved over ``path``, on failure removed.

    Temporary files of killed processes are removed too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        writer = left.name.rsplit(".", 2)[-2]
        if not writer.isdigit() or not psutil.pid_exists(int(writer)):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text atomically, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=1, default=str))


def read_json(path: Path) -> Any:
    """Read JSON, or return None if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
