"""Remove a value from documents that mention it (profiles, reports, pages, logs), and search for remaining mentions."""

from __future__ import annotations

import html
import json
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.settings import Settings
from feature_repo.storage.files import replacing
from feature_repo.tables.table_erasure import rows_of

__all__ = [
    "Mention",
    "strike_logs",
    "strike_out",
    "remains",
]

#: Folders under home with documents that no process appends to.
_FOLDERS = ("reports", "parity", "monitoring", "evidently", "tables", "labels")
_INSTEAD = "erased"


class Mention:
    """The ways a document mentions a value: as a whole JSON text, or as the whole text of an element of a page.

    ``words``: also anywhere between characters other than letters, digits and underscores, as in logs; only for values
    that are not common words or numbers, which would match unrelated text.
    """

    def __init__(self, value: str) -> None:
        self.value = value
        quoted = re.escape(json.dumps(value, ensure_ascii=False)[1:-1].encode())
        shown = re.escape(html.escape(value).encode())
        self.exact = re.compile(
            rb'(?<=")'
            + quoted
            + rb'(?=")|(?<=&#34;)'
            + shown
            + rb"(?=&#34;)|(?<=&quot;)"
            + shown
            + rb"(?=&quot;)|(?<=>)\s*"
            + shown
            + rb"\s*(?=<)"
        )
        plain = len(value) < 4 or value.isdecimal() or value.isalpha()
        self.words = None if plain else re.compile(rb"(?<!\w)" + re.escape(value.encode()) + rb"(?!\w)")


def strike_out(settings: Settings, mention: Mention, dry_run: bool = False) -> dict[str, int]:
    """Replace the value in every JSON and HTML document; path below home → mentions."""
    found: dict[str, int] = {}
    for path in _documents(settings.home):
        content = path.read_bytes()
        struck, number = mention.exact.subn(_INSTEAD.encode(), content)
        if mention.words:
            struck, more = mention.words.subn(_INSTEAD.encode(), struck)
            number += more
        if number:
            found[str(path.relative_to(settings.home))] = number
            if not dry_run:
                with replacing(path) as temporary:
                    temporary.write_bytes(struck)
    return found


def strike_logs(settings: Settings, mention: Mention, dry_run: bool = False) -> dict[str, int]:
    """Overwrite the value in place in the logs, which servers continue to append to; path below home → mentions."""
    found: dict[str, int] = {}
    pattern = mention.words or mention.exact
    for path in sorted((settings.home / "logs").rglob("*")):
        if not path.is_file() or not path.stat().st_size:
            continue
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE) as content:
            spans = [match.span() for match in pattern.finditer(content)]
            for start, end in spans if not dry_run else ():
                content[start:end] = b"x" * (end - start)
        if spans:
            found[str(path.relative_to(settings.home))] = len(spans)
    return found


def _documents(home: Path) -> Iterator[Path]:
    for folder in _FOLDERS:
        for path in sorted((home / folder).rglob("*")):
            if path.suffix in (".json", ".html") and path.is_file() and path.name != "manifest.json":
                yield path


def remains(settings: Settings, mention: Mention) -> dict[str, str]:
    """Path below home → what still mentions the value, for every file except ``erasures.json``.

    Parquet files are searched by their columns of text, all others by their bytes. Compressed or otherwise encoded
    values are not found.
    """
    found = {}
    for path in _files(settings.home):
        try:
            reason = _columns(path, mention) if path.suffix == ".parquet" else _bytes(path, mention)
        except (OSError, ValueError):  # removed meanwhile, or not a Parquet file despite its name
            continue
        if reason:
            found[str(path.relative_to(settings.home))] = reason
    return found


def _files(home: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(home):
        for name in names:
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink() and path != home / "erasures.json":
                yield path


def _columns(path: Path, mention: Mention) -> str | None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = [field.name for field in file.schema_arrow if _is_text(field.type)]
        held = [name for name in names if pc.any(rows_of(file.read([name])[name], mention.value)).as_py()]
    return f"rows with the value in column {', '.join(held)}" if held else None


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind))


def _bytes(path: Path, mention: Mention) -> str | None:
    if not path.stat().st_size:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        pattern = mention.words or mention.exact
        if mention.words and ".db" in path.suffix:  # in a database any bytes may precede or follow it
            pattern = re.compile(re.escape(mention.value.encode()))
        number = sum(1 for _ in pattern.finditer(content))
    return f"{number} mentions, not changed" if number else None
