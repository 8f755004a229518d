"""The format version of a JSON document, which is its key ``format``; a document without the key has format 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.errors import HeadraceError

__all__ = ["DocumentError", "check_format"]


class DocumentError(HeadraceError, ValueError):
    """A JSON document that this version of Headrace cannot read; one sentence."""


def check_format(content: Mapping[str, Any], newest: int, what: str) -> None:
    """Raise a DocumentError unless the format of a document is one of 1 to ``newest``; ``what`` names the document."""
    found = content.get("format", 1)
    if found not in range(1, newest + 1):
        raise DocumentError(
            f"{what} has format {found!r}, and this version of Headrace reads up to format {newest}; update Headrace."
        )
