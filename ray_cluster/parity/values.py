"""Whether a served value and a re-retrieved one are equal, and whether they differ in type alone."""

from __future__ import annotations

from typing import Any

__all__ = ["same", "same_but_for_type"]

#: Texts that an empty value turns into where a store keeps it as text.
_EMPTY = {"", "nan", "none", "null", "nat", "<na>"}


def same(served: Any, offline: Any) -> bool:
    """Exact equality of two JSON values: texts letter for letter, numbers as numbers, null only with null.

    There is no tolerance: a float64 goes through the online store, JSON and Parquet without losing a bit.

    >>> same(15.0, 15), same(None, None), same("7", 7), same(0.1 + 0.2, 0.3)
    (True, True, False, False)
    """
    if served is None or offline is None:
        return served is None and offline is None
    if isinstance(served, str) != isinstance(offline, str):
        return False
    return bool(served == offline)


def same_but_for_type(served: Any, offline: Any, rounded: bool = False) -> bool:
    """Whether two values that are not the same would be, had they been kept in one type.

    A number as text; an empty value as text; an integer too large for float64; single precision; and, where
    ``rounded`` says that the feature is served in whole numbers, a fraction cut off or rounded.

    >>> same_but_for_type("7.5", 7.5), same_but_for_type("nan", None), same_but_for_type(7.0, 7.6, rounded=True)
    (True, True, True)
    >>> same_but_for_type(7.0, 7.6), same_but_for_type(2.0**53, 2**53 + 1), same_but_for_type("LGA", "JFK")
    (False, True, False)
    """
    if served is None or offline is None:
        other = offline if served is None else served
        return isinstance(other, str) and other.strip().lower() in _EMPTY
    if isinstance(served, str) and isinstance(offline, str):
        return False
    try:
        ours, theirs = float(served), float(offline)
    except (ValueError, OverflowError):
        return False
    return ours == theirs or _narrow(theirs) == ours or (rounded and ours in (float(int(theirs)), float(round(theirs))))


def _narrow(value: float) -> float:
    """A number as single precision keeps it."""
    import numpy as np

    with np.errstate(over="ignore"):
        return float(np.float32(value))
