"""A feature view as a query, and the query of windows that end at each time when a row became known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from configs.errors import HeadraceError

__all__ = ["TransformError", "Query", "longest", "rolling"]


class TransformError(HeadraceError, ValueError):
    """A feature cannot be computed from its inputs; the message is one sentence."""


class Query(NamedTuple):
    """The query of one feature view: ``sql`` over the raw ``tables``, by name.

    It returns the join keys, ``event_timestamp`` (the time a row describes), ``known_at`` (when it became known) and
    the features, in this order. A row depends only on data known at its own ``known_at``.

    ``lookback`` says how far back a row looks: it may use only source rows whose table's ``day`` column is in
    [event_timestamp - lookback, event_timestamp], and its event_timestamp is in a month in which some table has a day.
    The view is then computed month by month, and again only for the months whose days changed. Tables without a ``day``
    are always read completely. None: a row may use all source rows, so the view is always computed as one piece.

    The same source rows must give the same values in any order: sum fractions as DECIMAL, not as
    DOUBLE.
    """

    tables: tuple[str, ...]
    sql: str
    lookback: timedelta | None = None


def longest(features: Mapping[str, tuple[str, str]]) -> timedelta:
    """The longest window of ``features`` (as in :func:`rolling`), the ``lookback`` of its rows.

    >>> longest({"late_1d": ("avg(late)", "1 DAY"), "late_6h": ("avg(late)", "6 HOURS")})
    datetime.timedelta(days=1)
    """
    return max(_length(length) for _, length in features.values())


def rolling(
    source: str, keys: str, features: Mapping[str, tuple[str, str]], tie: str, texts: Mapping[str, str] | None = None
) -> str:
    """SQL for one row per entity and time at which a row of ``source`` became known.

    Args:
        source: table or subquery with the join keys and ``known_at``.
        keys: the join keys, separated by commas; rows without the first are left out.
        features: name → (aggregate, length of the window that ends at that time, such as ``7 DAYS``).
        tie: column that orders rows known at the same time; they give one row.
        texts: name → join key: the key itself as a feature, before the others, for models that split by it.

    Raises:
        ValueError: a length that is not a number of seconds, minutes, hours, days or weeks.
    """
    lengths = sorted({length for _, length in features.values()})
    names = {length: f"w{number}" for number, length in enumerate(lengths)}
    values = ", ".join(f"({what} OVER {names[length]})::DOUBLE AS {name}" for name, (what, length) in features.items())
    windows = ", ".join(  # microseconds as integers: on times with a zone the same frames take twice as long
        f"{names[length]} AS (PARTITION BY {keys} ORDER BY epoch_us(known_at) "
        f"RANGE BETWEEN {_length(length) // timedelta(microseconds=1)} PRECEDING AND CURRENT ROW)"
        for length in lengths
    )
    first_key = keys.split(",", maxsplit=1)[0]
    also = [f"{key} AS {name}" for name, key in (texts or {}).items()]
    return f"""SELECT {keys}, event_timestamp, known_at, {", ".join([*also, *features])} FROM (
          SELECT {keys}, known_at AS event_timestamp, known_at, {values},
                 row_number() OVER (PARTITION BY {keys}, known_at ORDER BY {tie}) AS nth
          FROM {source} WHERE {first_key} IS NOT NULL WINDOW {windows}
        ) WHERE nth = 1"""


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+) (SECOND|MINUTE|HOUR|DAY|WEEK)S?", text.upper())
    if not found:
        raise TransformError(
            f"A window of length '{text}' cannot be read; write a whole number and SECONDS, MINUTES, HOURS, DAYS or "
            "WEEKS, such as '7 DAYS'."
        )
    return timedelta(**{f"{found[2].lower()}s": int(found[1])})
