"""Lengths of time in words, for messages and pages."""

from __future__ import annotations

__all__ = ["in_one_unit", "in_words"]

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def in_words(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> in_words(7200), in_words(27060), in_words(266400), in_words(0.4), in_words(-90)
    ('2 h', '7 h 31 min', '3 d 2 h', '0 s', '-1 min 30 s')
    """
    left, sign = round(abs(seconds)), "-" if round(seconds) < 0 else ""
    parts: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append((count, unit))
    shown = [f"{count} {unit}" for count, unit in parts[:2] if count] or ["0 s"]
    return sign + " ".join(shown)


def in_one_unit(seconds: float, exact: bool = False) -> str:
    """A length of time as the settings write it, in its largest unit: to three digits, or exact.

    >>> in_one_unit(172800), in_one_unit(5400), in_one_unit(5400, exact=True), in_one_unit(0.25)
    ('2d', '1.5h', '90m', '0.25s')
    """
    fitting = (each for each in _UNITS if (seconds % each[1] == 0 if exact else seconds >= each[1]))
    unit, size = next(fitting, _UNITS[-1])
    value = seconds / size
    shown = f"{value:g}" if exact else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return shown + unit[0]
