"""Names and texts in SQL statements."""

from __future__ import annotations

__all__ = ["quoted", "text_literal"]


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(value: object) -> str:
    """A value's text as an SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"
