"""Take one entity's rows out of the review queues and the label overlays."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from configs.settings import Settings
from feature_repo.files import locked, replacing

__all__ = ["erase_relabels"]


def erase_relabels(settings: Settings, join_key: str, value: str, dry_run: bool = False) -> dict[str, int]:
    """Remove lines of overlays and queues of which the entity ``join_key`` was ``value``; path below home → lines.

    The other lines keep their versions. A page of suspects is a document, and struck out as those are.
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
