"""Formats of values on the page: the filters of the templates."""

from __future__ import annotations

import json
from datetime import datetime
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "FILTERS",
    "address",
    "amount",
    "days",
    "duration",
    "metric",
    "moment",
    "percent",
    "point",
    "pretty",
    "short",
    "words",
]

NOTHING = "-"

_WORDS = {
    "average_precision": "Average precision",
    "roc_auc": "ROC AUC",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "ece": "Calibration error (ECE)",
    "calibration_gap": "Calibration gap",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
}


def amount(value: Any) -> str:
    """A number with thousands separators and four significant digits; text unchanged.

    >>> amount(336776), amount(0.123456), amount(None)
    ('336,776', '0.1235', '-')
    """
    if isinstance(value, bool) or value is None:
        return NOTHING if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not isfinite(value):
            return NOTHING
        return f"{value:,.0f}" if abs(value) >= 10_000 or value.is_integer() else f"{value:,.4g}"
    return str(value)


def metric(value: Any, digits: int = 3) -> str:
    """A metric with three decimals.

    >>> metric(0.41277)
    '0.413'
    """
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) and isfinite(value) else NOTHING


def percent(value: Any) -> str:
    """A share as a percentage; small ones have a decimal.

    >>> percent(0.236), percent(0.0042), percent(0.00001), percent(0.0)
    ('24%', '0.4%', '<0.1%', '0%')
    """
    if not isinstance(value, (int, float)) or not isfinite(value):
        return NOTHING
    if 0 < value < 0.0005:
        return "<0.1%"
    if value in (0, 1):
        return f"{value:.0%}"
    return f"{value:.1%}" if abs(value) < 0.1 or abs(value) > 0.99 else f"{value:.0%}"


def duration(seconds: Any) -> str:
    """A length of time.

    >>> duration(0.25), duration(12.34), duration(125)
    ('250 ms', '12.3 s', '2 min 05 s')
    """
    if not isinstance(seconds, (int, float)) or not isfinite(seconds):
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def days(number: Any) -> str:
    """A whole number of days, in weeks if it is a multiple of seven.

    >>> days(1), days(7), days(10), days(14)
    ('1 day', '1 week', '10 days', '2 weeks')
    """
    if not isinstance(number, int):
        return NOTHING
    count, unit = (number // 7, "week") if number and number % 7 == 0 else (number, "day")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def moment(value: Any) -> str:
    """An ISO time in minutes; other values are unchanged.

    >>> moment("2013-12-17T00:00:00+00:00")
    '2013-12-17 00:00 UTC'
    """
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return NOTHING if value is None else str(value)
    zone = "" if time.tzinfo is None else (" UTC" if not time.utcoffset() else f" {time:%z}")
    return f"{time:%Y-%m-%d %H:%M}{zone}"


def point(value: Any) -> str:
    """A position on an axis: a number, or a time as ISO text.

    >>> point(1234.5), point("2013-12-17T00:00:00+00:00")
    ('1,234', '2013-12-17 00:00 UTC')
    """
    return moment(value) if isinstance(value, str) else amount(value)


def short(value: Any, length: int = 12) -> str:
    """The start of a fingerprint or run id."""
    return NOTHING if value is None else str(value)[:length]


def words(name: Any) -> str:
    """The name of a metric or column in words."""
    return _WORDS.get(str(name), str(name))


def address(url: Any) -> str:
    """A link's address, or an empty string if its scheme is not http, https or file.

    >>> address("javascript:alert(1)"), address("http://127.0.0.1:4200")
    ('', 'http://127.0.0.1:4200')
    """
    return str(url) if urlsplit(str(url)).scheme in ("http", "https", "file") else ""


def pretty(value: Any) -> str:
    """A JSON value on several lines."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


FILTERS = {
    f.__name__: f for f in (amount, metric, percent, days, duration, moment, point, short, words, address, pretty)
}
