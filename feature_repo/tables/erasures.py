"""Rows of erased entities never enter a table again: every batch of every ingest passes through here."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.files import read_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["erasures", "erasures_fingerprint", "kept"]


def erasures(settings: Settings, table: str) -> dict[str, list[str]]:
    """Column → values of ``home/erasures.json`` that concern ``table``; empty when nothing was ever erased."""
    listed: dict[str, list[Any]] = read_json(settings.home / "erasures.json") or {}
    columns = settings.tables[table].columns
    return {column: sorted(map(str, values)) for column, values in listed.items() if column in columns and values}


def erasures_fingerprint(settings: Settings, table: str) -> str:
    """Identify the erasures that concern ``table``: after another one its rows are looked at again."""
    found = erasures(settings, table)
    return hashlib.blake2b(repr(sorted(found.items())).encode(), digest_size=8).hexdigest() if found else ""


def kept(settings: Settings, table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame`` none of whose values is listed, compared as text (the number 7 and 7.0 are "7")."""
    import pandas as pd

    for column, values in erasures(settings, table).items():
        if column not in frame:
            continue
        held = frame[column]
        if pd.api.types.is_numeric_dtype(held.dtype) and not pd.api.types.is_bool_dtype(held.dtype):
            hit = held.isin(pd.to_numeric(pd.Series(values), errors="coerce").dropna().tolist())
        else:
            hit = held.astype(str).isin(values)
        if hit.any():
            frame = frame[~hit]
    return frame
