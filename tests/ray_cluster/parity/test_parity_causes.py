"""The cause of a difference, over random histories of one entity, against what was really done to them."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ray_cluster.parity.causes import CAUSES, Difference, Side, cause_of, same, same_but_for_type
from ray_cluster.parity.comparison import GONE, OnDemandView, Sources, compare, summary

START = datetime(2013, 6, 10, tzinfo=UTC)
#: A row: minute of the event, minutes until it was known, value.
Row = tuple[int, int, float]


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def visible(rows: list[Row], minute: int, ttl: int = 0) -> Side:
    """What counts at a minute, by the rule: known by then, of the latest event, the last known of equals."""
    known = [row for row in rows if row[0] + row[1] <= minute]
    if not known:
        return Side({"x": None}, None)
    event, delay, value = max(known)
    expired = bool(ttl) and minute - event > ttl
    return Side({"x": None if expired else value}, at(event), at(event + delay), expired)


minutes = st.integers(0, 40)
histories = st.lists(
    st.tuples(minutes, st.integers(0, 10), st.floats(0.5, 0.9)), max_size=12, unique_by=lambda r: r[:2]
)


def difference(history: list[Row], now: list[Row], until: int, when: int, ttl: int) -> Difference:
    """A store materialized as of ``until`` from ``history`` served at ``when``; offline has ``now`` since."""
    held = visible(history, until)
    minute = int((held.event_time - START).total_seconds() // 60) if held.event_time else 0
    expired = bool(ttl) and held.event_time is not None and when - minute > ttl
    served = Side({"x": None} if expired else held.values, held.event_time, None, expired)
    then = visible(now, until, ttl)
    return Difference(served, visible(now, when, ttl), at(when), then=then, known_until=at(until))


def differs(found: Difference) -> bool:
    return not same(found.served.values["x"], found.offline.values["x"])


@settings(deadline=None)
@given(histories, minutes, minutes, st.sampled_from([0, 3, 15]))
def test_a_store_that_held_what_was_known_is_behind_or_ahead(rows: list[Row], until: int, when: int, ttl: int) -> None:
    found = difference(rows, rows, until, when, ttl)
    if until == when:
        assert not differs(found)
    if differs(found):
        assert cause_of(found)[0] == ("materialization lag" if until < when else "ahead")


@settings(deadline=None)
@given(histories, minutes, st.integers(0, 10), st.floats(0.1, 0.4), minutes)
def test_a_row_that_came_after_it_counts_as_known_is_late_or_a_correction(
    rows: list[Row], event: int, delay: int, value: float, when: int
) -> None:
    """Materialized as of the very moment that was asked for, so that neither lag nor lead can be the cause."""
    assume((event, delay) not in {row[:2] for row in rows})
    found = difference(rows, [*rows, (event, delay, value)], when, when, 0)
    if differs(found):
        corrected = found.served.event_time == at(event)
        assert cause_of(found)[0] == ("corrected row" if corrected else "late row")


@settings(deadline=None)
@given(histories, minutes)
def test_a_row_that_is_gone_was_corrected(rows: list[Row], when: int) -> None:
    known = [row for row in rows if row[0] + row[1] <= when]
    assume(known)
    found = difference(rows, [row for row in rows if row != max(known)], when, when, 0)
    assume(differs(found))  # another row may have the same value
    older = found.offline.event_time is None or found.offline.event_time <= (found.served.event_time or START)
    assert older and cause_of(found)[0] == "corrected row"


@settings(deadline=None)
@given(histories, minutes, st.sampled_from([3, 15]), st.booleans())
def test_expired_on_one_side_only_is_the_ttl(rows: list[Row], when: int, ttl: int, offline: bool) -> None:
    fresh, aged = difference(rows, rows, when, when, 0), difference(rows, rows, when, when, ttl)
    assume(aged.served.expired)
    served, other = (fresh, aged) if offline else (aged, fresh)
    found = Difference(served.served, other.offline, at(when), then=other.then, known_until=at(when))
    assert differs(found) and cause_of(found)[0] == "TTL"


@settings(deadline=None)
@given(
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60) | st.text(max_size=4)
)
def test_a_value_is_the_same_as_itself_and_as_itself_through_json_and_double(value: Any) -> None:
    import json

    assert same(value, value) and same(json.loads(json.dumps(value)), value)
    if isinstance(value, float):
        assert same(struct.unpack("d", struct.pack("d", value))[0], value)
        assert same_but_for_type(str(value), value) and not same(str(value), value)
        assert same_but_for_type(float(int(value)), value, rounded=True)


numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(deadline=None)
@given(numbers, numbers)
def test_different_numbers_are_not_a_difference_of_type(ours: float, theirs: float) -> None:
    (narrow,) = struct.unpack("f", struct.pack("f", theirs))
    assert same_but_for_type(ours, theirs) == (ours in (theirs, narrow))


def line(identity: str, features: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {"prediction_id": identity, "version": 1, "entities": {"k": "a"}, "event_times": {"v": START.isoformat()}}
    kept = {"known_until": {"v": START.isoformat()}, "expired": {}, "view_versions": {"v": "c1"}}
    return {**made, **kept, "as_of": at(0), "served_at": at(1), "features": features, **more}


SOURCES = Sources({"v": ["x", "y"]}, {"v": 0.0}, {"v": "c1"}, {"made": OnDemandView(["double"], ["x"])})
RECORD = {"x": 1.0, "y": "text", "double": 2.0, "v__event_timestamp": START, "v__known_at": START}


def told(*lines: dict[str, Any]) -> dict[str, Any]:
    records = [RECORD] * len(lines)
    rows = compare(lines, records, SOURCES, lambda view, numbers, moments: [RECORD] * len(numbers))
    return summary(lines, rows)


def test_on_demand_features_inherit_the_cause_of_what_they_are_made_from() -> None:
    result = told(line("a", {"x": 3.0, "y": "text", "double": 6.0}), line("b", {"x": 1.0, "y": "text", "double": 6.0}))
    assert {row["view"]: row["causes"] for row in result["views"]} == {
        "v": {"corrected row": 1},
        "made": {"corrected row": 1, "on-demand code": 1},
    }
    assert (result["rows"], result["rows_equal"], result["values"], result["equal"]) == (2, 0, 6, 3)


def test_only_what_the_version_takes_is_compared_and_what_is_served_no_longer_is_told() -> None:
    result = told(line("a", {"x": 1.0, "old": 5.0}))
    assert [(row["feature"], row["view"], row["share"]) for row in result["features"]] == [
        ("old", GONE, 0.0),
        ("x", "v", 1.0),
    ]
    assert result["causes"] == {"feature code": 1}


def test_every_cause_is_explained_by_a_sentence_that_says_what_to_do_or_why() -> None:
    assert all(sentence.endswith(".") and len(sentence) > 40 for sentence in CAUSES.values())


def test_one_fraction_is_a_correction_and_two_are_a_type() -> None:
    served = [line(name, {"x": 1.0, "y": "text"}, event_times={"v": at(n).isoformat()}) for n, name in enumerate("ab")]
    records = [{**RECORD, "x": value, "v__event_timestamp": at(n)} for n, value in enumerate((1.25, 1.5))]
    for count, cause in ((1, "corrected row"), (2, "type")):
        pairs = records[:count]
        rows = compare(
            served[:count], pairs, SOURCES, lambda view, numbers, moments, kept=pairs: [kept[n] for n in numbers]
        )
        assert {row.cause for row in rows if row.cause} == {cause}
