"""Profiles as they are kept beside their tables: of the last ingest, and of the one before it that was different."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.files import read_json
from feature_repo.tables.storage import table_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["held_profile", "previous_profile", "profile_frame"]


def held_profile(settings: Settings, table: str) -> dict[str, Any] | None:
    """The profile of the last ingest, or None before it (:func:`feature_repo.tables.profile.profile_table`)."""
    return _read(settings, table, "profile.json")


def previous_profile(settings: Settings, table: str) -> dict[str, Any] | None:
    """The profile of the table before its content last changed; None if it never did."""
    return _read(settings, table, "profile.previous.json")


def profile_frame(settings: Settings, table: str) -> pd.DataFrame:
    """The profile of the last ingest with a row per column, for a notebook; empty before it.

    Columns: dtype, kind, nulls, distinct, minimum, maximum, mean, std, the quantiles (q1 … q99), zeros, negative,
    outliers, most_frequent, flags; NaN where a figure is not for that kind of column.
    """
    import pandas as pd

    rows = {}
    for column in (held_profile(settings, table) or {"columns": []})["columns"]:
        outliers = column.get("outliers")
        rows[column["name"]] = {
            **{key: column.get(key) for key in ("dtype", "kind", "nulls", "distinct", "minimum", "maximum")},
            **{key: column.get(key) for key in ("mean", "std")},
            **{f"q{share}": value for share, value in column.get("quantiles", {}).items()},
            **{key: column.get(key) for key in ("zeros", "negative")},
            "outliers": outliers["below"] + outliers["above"] if outliers else None,
            "most_frequent": column["top"][0][0] if column.get("top") else None,
            "flags": ", ".join(column["flags"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("column")


def _read(settings: Settings, table: str, file: str) -> dict[str, Any] | None:
    content = read_json(table_path(settings, table) / file)
    return content if isinstance(content, dict) else None
