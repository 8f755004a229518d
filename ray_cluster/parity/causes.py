"""Compare a served value with the retrieved one, and find the cause of a difference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from configs.durations import in_words

__all__ = [
    "same",
    "same_but_for_type",
    "CAUSES",
    "Difference",
    "Side",
    "cause_of",
]

#: Texts that represent an empty value if a store converts it to text.
_EMPTY = {"", "nan", "none", "null", "nat", "<na>"}


def same(served: Any, offline: Any) -> bool:
    """Exact equality of two JSON values: texts letter for letter, numbers as numbers, null only with null.

    There is no tolerance: a float64 passes through the online store, JSON and Parquet unchanged.

    >>> same(15.0, 15), same(None, None), same("7", 7), same(0.1 + 0.2, 0.3)
    (True, True, False, False)
    """
    if served is None or offline is None:
        return served is None and offline is None
    if isinstance(served, str) != isinstance(offline, str):
        return False
    return bool(served == offline)


def same_but_for_type(served: Any, offline: Any, rounded: bool = False) -> bool:
    """Whether two different values are equal after conversion to one type.

    The rules cover a number as text; an empty value as text; an integer too large for float64; single precision; and,
    if ``rounded`` says that the feature is served in whole numbers, a truncated or rounded fraction.

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
    """A number in single precision."""
    import numpy as np

    with np.errstate(over="ignore"):
        return float(np.float32(value))


Cause = tuple[str, str] | None

#: Cause -> its meaning and how to fix it, as a sentence.
CAUSES: Mapping[str, str] = {
    "materialization lag": "A newer row was known at the time of the request, but the view had been materialized as of "
    "an earlier time; materialize more often.",
    "never materialized": "The view had never been materialized; run `headrace run materialize`.",
    "ahead": "The online store contained data that were not known yet at the request's as_of: the view had been "
    "materialized as of a later time; send requests with no as_of, or with one after the last materialization.",
    "late row": "The known-at time of the row is before the materialization of the view, but the row arrived after it; "
    "correct known_at in the table's file.",
    "corrected row": "The served row has other values now, or was removed, although its known-at time is before the "
    "materialization: the table was corrected or ingested again with an unchanged known-at time.",
    "TTL": "The value had expired on one side only: the view's TTL was changed, or one side did not enforce it.",
    "type": "The values differ only in type: text and number, a truncated fraction, single precision, or an empty "
    "value stored as text; give the feature one type in feature_repo/features.py and materialize it again.",
    "on-demand code": "The same request gives another value now: the code of the on-demand view changed since, or its "
    "result depends on more than the request.",
    "feature code": "The view's code changed since the value was served; new requests get values of the new code.",
    "other": "None of the known causes explains the difference.",
}


@dataclass(frozen=True)
class Side:
    """One view's values for one row on one side; null if ``expired``. If there is no row, the times are None."""

    values: Mapping[str, Any]
    event_time: datetime | None
    known_at: datetime | None = None
    expired: bool = False


@dataclass(frozen=True)
class Difference:
    """The facts about one row and view with different values.

    Args:
        served, offline: at the request's ``as_of``.
        then: offline as known at ``known_until``; None if that is unknown.
        known_until: the as-of time of the view's materialization; None if it was never materialized or this is unknown.
        logged: whether the log has ``known_until``.
        code_changed: the view's code was different when it was served.
        rounded: features that are served in whole numbers only, while offline they have fractions.
        on_demand: the values are computed from the request alone.
    """

    served: Side
    offline: Side
    as_of: datetime
    then: Side | None = None
    known_until: datetime | None = None
    logged: bool = True
    code_changed: bool = False
    rounded: Collection[str] = ()
    on_demand: bool = False


def cause_of(found: Difference) -> tuple[str, str]:
    """The cause, one of :data:`CAUSES`, and its evidence in a sentence: the first rule that applies."""
    return next(answer for rule in _RULES if (answer := rule(found)) is not None)


def _by_type(found: Difference) -> Cause:
    return ("type", _types(found)) if _all_same_but_for_type(found) else None


def _by_request(found: Difference) -> Cause:
    return ("on-demand code", "The logged request gives another value now.") if found.on_demand else None


def _by_absence(found: Difference) -> Cause:
    if found.logged and found.known_until is None and found.served.event_time is None:
        return "never materialized", "The online store had no materialization time for the view."
    return None


def _by_expiry(found: Difference) -> Cause:
    served, offline = found.served, found.offline
    if served.event_time == offline.event_time and served.expired != offline.expired:
        return "TTL", _expiry(found)
    return None


def _by_moment(found: Difference) -> Cause:
    """The store had exactly the values known at its materialization: it was behind ``as_of``, or ahead of it."""
    if found.known_until is None or found.then is None or not _matches(found.served, found.then):
        return None
    distance = (found.as_of - found.known_until).total_seconds()
    if distance <= 0:
        return "ahead", f"Materialized as of {_at(found.known_until)}, {in_words(-distance)} after as_of."
    newest = max(time for time in (found.offline.event_time, found.offline.known_at, found.known_until) if time)
    return "materialization lag", (
        f"Materialized as of {_at(found.known_until)}, {in_words(distance)} before as_of; the offline row was "
        f"known at {_at(newest)}."
    )


def _by_code(found: Difference) -> Cause:
    sentence = "The code of the view has changed since the served value was computed."
    return ("feature code", sentence) if found.code_changed else None


def _by_future(found: Difference) -> Cause:
    seen = found.served.event_time
    return ("ahead", f"The served row is of {_at(seen)}, after as_of.") if seen and seen > found.as_of else None


def _by_log(found: Difference) -> Cause:
    sentence = "The log has no materialization time of the view for this prediction."
    return None if found.logged else ("other", sentence)


def _by_rows(found: Difference) -> Cause:
    """The rows with an earlier known-at time are not the rows that existed at the materialization."""
    served, offline = found.served.event_time, found.offline.event_time
    if offline and (served is None or offline > served):
        return "late row", (
            f"The row of {_at(offline)} has the known-at time {_at(found.offline.known_at)}, but was not online "
            f"although the view was materialized as of {_at(found.known_until)}."
        )
    if served and served == offline:
        return "corrected row", f"The row of {_at(served)} has other values now."
    if served:
        return "corrected row", f"The served row, of {_at(served)}, no longer exists."
    return "other", "Neither side has a row, but the values differ."


_RULES = (_by_type, _by_request, _by_absence, _by_expiry, _by_moment, _by_code, _by_future, _by_log, _by_rows)


def _matches(served: Side, then: Side) -> bool:
    """Whether the served values are those of the row then; if either had expired, only the rows are compared."""
    if served.event_time != then.event_time:
        return False
    return (
        served.expired or then.expired or all(same(value, then.values[name]) for name, value in served.values.items())
    )


def _all_same_but_for_type(found: Difference) -> bool:
    served, offline = found.served, found.offline
    return served.event_time == offline.event_time and all(
        same(value, offline.values[name]) or same_but_for_type(value, offline.values[name], name in found.rounded)
        for name, value in served.values.items()
    )


def _types(found: Difference) -> str:
    name, value = next(
        (name, value) for name, value in found.served.values.items() if not same(value, found.offline.values[name])
    )
    return f"{name} was served as {value!r} and is {found.offline.values[name]!r} offline."


def _expiry(found: Difference) -> str:
    assert found.served.event_time is not None
    age = in_words((found.as_of - found.served.event_time).total_seconds())
    sides = ("served", "offline") if found.served.expired else ("offline", "served")
    return f"At the age of {age} the value had expired {sides[0]}, but not {sides[1]}."


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown time"
