"""Look through every file under home for what is left of a value."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.settings import Settings
from feature_repo.tables.erasing import rows_of
from ray_cluster.forgetting.documents import Mention

__all__ = ["remains"]


def remains(settings: Settings, mention: Mention) -> dict[str, str]:
    """Path below home → what mentions the value there, of every file but ``erasures.json``.

    Parquet files by their columns of text, all others by their bytes. Not found is what is
    compressed or encoded otherwise.
    """
    found = {}
    for path in _files(settings.home):
        try:
            reason = _columns(path, mention) if path.suffix == ".parquet" else _bytes(path, mention)
        except (OSError, ValueError):  # gone meanwhile, or no Parquet file whatever its name says
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
        if mention.words and ".db" in path.suffix:  # a database puts any bytes beside it
            pattern = re.compile(re.escape(mention.value.encode()))
        number = sum(1 for _ in pattern.finditer(content))
    return f"{number} mentions, left as they are" if number else None
