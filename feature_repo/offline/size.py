"""Sizes of memory as people write them."""

from __future__ import annotations

import re

__all__ = ["size"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def size(text: str) -> int:
    """Bytes of a size such as ``500MB``, ``4GB`` or ``1.5 GiB``.

    Raises:
        ValueError: it is no size, or zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if not found or not float(found[1]) or found[2] not in _UNITS:
        raise ValueError(f"'{text}' is no size of memory; expected one such as 500MB, 4GB or 1.5GiB.")
    return int(float(found[1]) * _UNITS[found[2]])
