"""The query of windows over events that arrive late and may be corrected later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from feature_repo.transforms.rolling import longest

__all__ = ["corrected"]


def corrected(source: str, identity: str, keys: str, happened: str, features: Mapping[str, tuple[str, str]]) -> str:
    """SQL for one row per entity and time at which any row of it became known, with the values known at that time.

    An event counts in a window of length L that ends at a time less than L after the event; so a late event counts only
    in the windows that still include it. Of several rows of one event the latest known by then counts, so a correction
    replaces the corrected row from the time when it is known.

    A row uses only source rows that became known within the longest window before it.

    Args:
        source: table or subquery with ``keys``, ``identity``, ``happened`` and ``known_at`` (never before it happened).
        identity: column that names an event; its rows differ in ``known_at``.
        keys: the join keys, separated by commas; a correction keeps them.
        happened: column with the time of the event.
        features: name → (expression, length of its window, such as ``7 DAYS``); in the expression ``{}`` follows each
            aggregate, as in ``sum(cents){} / 100``. Whole numbers give exactly the same result in any order.
    """
    names = [key.strip() for key in keys.split(",")]
    of_moment = ", ".join(f"m.{name}" for name in names)
    same = " AND ".join(f"m.{name} = v.{name}" for name in names)
    values = ", ".join(
        f"({what.replace('{}', _within(_micros({name: (what, window)})))})::DOUBLE AS {name}"
        for name, (what, window) in features.items()
    )
    span = _micros(features)
    # An event within the longest window is in the time's own span of that length or in the previous one: joining on the
    # span too keeps the number of pairs proportional to the rows, for any length of the history. Times are compared as
    # integers, because DuckDB subtracts an interval by the calendar, which is ten times slower.
    return f"""WITH versions AS (
          SELECT * EXCLUDE known_at, epoch_us({happened}) AS happened, epoch_us(known_at) AS moment, known_at,
                 epoch_us(lead(known_at) OVER (PARTITION BY {identity} ORDER BY known_at)) AS replaced
          FROM {source}
        ), spread AS (
          SELECT *, happened // {span} + unnest([0, 1]) AS span FROM versions
        ), moments AS (
          SELECT DISTINCT {keys}, known_at, moment, moment // {span} AS span FROM versions
        )
        SELECT {of_moment}, m.known_at AS event_timestamp, m.known_at AS known_at, {values}
        FROM moments m LEFT JOIN spread v
          ON {same} AND m.span = v.span AND v.happened > m.moment - {span}
          AND v.moment <= m.moment AND coalesce(v.replaced > m.moment, true)
        GROUP BY {of_moment}, m.known_at"""


def _within(micros: int) -> str:
    return f" FILTER (WHERE v.happened > m.moment - {micros})"


def _micros(features: Mapping[str, tuple[str, str]]) -> int:
    """The longest window of ``features`` in microseconds."""
    return longest(features) // timedelta(microseconds=1)
