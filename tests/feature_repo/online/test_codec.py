"""Encoded values: decoding gives back what was encoded, byte for byte as a plain reference writes it."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.online.codec import STAMP_BYTES, codec, decode, layout_id, pack
from feature_repo.online.entity_keys import KeyValueError, arrow_keys, component, decode_key, encode_key
from feature_repo.online.layout import ViewLayout
from feature_repo.online.values import OnlineError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us", "UTC")
TYPES = {"number": pa.float64(), "integer": pa.int64(), "string": pa.string(), "boolean": pa.bool_(), "time": MOMENT}
MOMENTS = st.integers(-9_000_000_000_000_000, 9_000_000_000_000_000).map(lambda us: EPOCH + timedelta(microseconds=us))
VALUES = {
    "number": st.floats(width=64),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(max_size=12),
    "boolean": st.booleans(),
    "time": MOMENTS,
}


def layout(features, keys=("key",)) -> ViewLayout:
    return ViewLayout("p", "v", tuple(keys), tuple(features), 0.0)


def reference(features, event: int, known: int, values: dict) -> bytes:
    """The format, written out with struct, one value after the other."""
    out = struct.pack(">QQ", event + 2**63, known + 2**63) + codec(tuple(features)).id
    nulls = 0
    for place, (name, _) in enumerate(features):
        nulls |= (values[name] is None) << place
    out += nulls.to_bytes((len(features) + 7) // 8, "little")
    parts = {"<d": b"", "<q": b"", "<B": b"", "<I": b""}
    texts = b""
    for name, kind in features:
        value = values[name]
        if kind == "number":
            parts["<d"] += struct.pack("<d", math.nan if value is None else value)
        elif kind == "string":
            text = (value or "").encode()
            parts["<I"] += struct.pack("<I", len(text))
            texts += text
        elif kind == "boolean":
            parts["<B"] += struct.pack("<B", bool(value))
        else:
            whole = (value - EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else (value or 0)
            parts["<q"] += struct.pack("<q", whole)
    return out + b"".join(parts.values()) + texts


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=11))
    features = [(f"f{place}", kind) for place, kind in enumerate(kinds)]
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {"event_timestamp": MOMENTS, "known_at": MOMENTS}
                | {name: st.none() | VALUES[kind] for name, kind in features}
            ),
            max_size=7,
        )
    )
    return features, rows


def as_table(features, rows) -> pa.Table:
    columns = {name: pa.array([row[name] for row in rows], TYPES[kind]) for name, kind in features}
    times = {name: pa.array([row[name] for row in rows], MOMENT) for name in ("event_timestamp", "known_at")}
    keys = pa.array([f"k{place:03}" for place in range(len(rows))], pa.string())
    return pa.table({"key": keys, **times, **columns})


def same(left, right) -> bool:
    """Equal, NaN counting as equal to NaN."""
    return left == right or (isinstance(left, float) and isinstance(right, float) and left != left and right != right)


@settings(max_examples=150, deadline=None)
@given(tables())
def test_decode_gives_back_what_encode_was_given(drawn):
    features, rows = drawn
    table = as_table(features, rows)
    keys, values = pack(layout(features), table)
    assert keys == [f"k{place:03}".encode() for place in range(len(rows))]
    us = timedelta(microseconds=1)
    for value, row in zip(values, rows, strict=True):
        expected = reference(features, (row["event_timestamp"] - EPOCH) // us, (row["known_at"] - EPOCH) // us, row)
        if not any(isinstance(each, float) and math.isnan(each) for each in row.values()):  # NaN has many patterns
            assert value == expected
    back = decode(layout(features), values)
    assert back.column_names == ["event_timestamp", "known_at", *(name for name, _ in features)]
    assert [back[name].type for name, _ in features] == [TYPES[kind] for _, kind in features]
    for found, row in zip(back.to_pylist(), rows, strict=True):
        assert all(same(found[name], row[name]) for name in found), (found, row)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(MOMENTS, MOMENTS), min_size=2, max_size=6))
def test_headers_sort_as_the_times_do(stamps):
    rows = [{"event_timestamp": event, "known_at": known, "f0": 1.0} for event, known in stamps]
    _, values = pack(layout([("f0", "number")]), as_table([("f0", "number")], rows))
    assert sorted(stamps) == [
        stamps[place] for place in sorted(range(len(stamps)), key=lambda i: values[i][:STAMP_BYTES])
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_one_value_per_entity_the_latest_of_equal_ones_the_last(drawn):
    rows = [
        {"event_timestamp": EPOCH + timedelta(event), "known_at": EPOCH + timedelta(known), "f0": float(place)}
        for place, (_, event, known) in enumerate(drawn)
    ]
    table = as_table([("f0", "number")], rows).set_column(0, "key", pa.array([key for key, _, _ in drawn], pa.string()))
    keys, values = pack(layout([("f0", "number")]), table)
    expected = {
        key: max((event, known, place) for place, (each, event, known) in enumerate(drawn) if each == key)[2]
        for key, _, _ in drawn
    }
    found = decode(layout([("f0", "number")]), values)["f0"].to_pylist()
    assert dict(zip((key.decode() for key in keys), found, strict=True)) == expected
    assert keys == sorted(keys)


def test_values_of_another_layout_give_what_both_have():
    old, new = [("a", "number"), ("b", "string"), ("c", "number")], [("c", "integer"), ("b", "string"), ("d", "number")]
    row = {"event_timestamp": EPOCH, "known_at": EPOCH, "a": 1.0, "b": "text", "c": 2.0}
    _, values = pack(layout(old), as_table(old, [row]))
    assert layout_id(values[0]) == codec(tuple(old)).id
    written = {codec(tuple(old)).id: tuple(old)}
    known = decode(layout(new), [None, values[0]], written).to_pylist()
    assert known[0] == {"event_timestamp": None, "known_at": None, "c": None, "b": None, "d": None}
    assert known[1] == {"event_timestamp": EPOCH, "known_at": EPOCH, "c": None, "b": "text", "d": None}
    assert decode(layout(new), values).to_pylist()[0]["event_timestamp"] is None


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("integer", pa.array([3.0, math.nan, None]), [3, None, None]),
        ("integer", pa.array([2**53 + 1, None]), [2**53 + 1, None]),
        ("integer", pa.array([7], pa.uint8()), [7]),
        ("number", pa.array([1, 2], pa.int32()), [1.0, 2.0]),
        ("number", pa.array([True, False]), [1.0, 0.0]),
        ("number", pa.array([Decimal("1.25")]), [1.25]),
        ("string", pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        ("string", pa.array(["a"], pa.large_string()), ["a"]),
        ("time", pa.array([1_500], pa.timestamp("ns", "America/New_York")), [EPOCH + timedelta(microseconds=1)]),
        ("time", pa.array([5], pa.timestamp("s")), [EPOCH + timedelta(seconds=5)]),
        ("boolean", pa.nulls(2), [None, None]),
    ],
)
def test_types_that_fit(kind, given, expected):
    moments = pa.array([EPOCH] * len(given), MOMENT)
    keys = pa.array([str(place) for place in range(len(given))])
    table = pa.table({"key": keys, "event_timestamp": moments, "known_at": moments, "f": given})
    _, values = pack(layout([("f", kind)]), table)
    assert decode(layout([("f", kind)]), values)["f"].to_pylist() == expected


MOMENT_OF_ONE = pa.array([EPOCH], MOMENT)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"f": pa.array([1.5])}, "column 'f' is declared as integer, but Float value 1.500000 was truncated"),
        ({"f": pa.array(["1"])}, "column 'f' is declared as integer, but it is of type string"),
        ({"f": pa.array([2**63], pa.uint64())}, "column 'f' is declared as integer, but Integer value"),
        ({}, "column 'f' is missing from its rows, which have key, event_timestamp, known_at"),
        ({"event_timestamp": pa.array([None], MOMENT)}, "1 of 1 rows have no event_timestamp"),
        ({"event_timestamp": pa.array([2**62], MOMENT)}, "event_timestamp has a time outside the years 1677 to 2262"),
        ({"event_timestamp": pa.array([1])}, "column 'event_timestamp' is declared as time, but it is of type int64"),
        ({"key": pa.array([1.5])}, "Join key 'key' has numbers with a fraction"),
        ({"key": pa.array([EPOCH], MOMENT)}, "Join key 'key' has the type timestamp[us, tz=UTC]"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(columns, said):
    if columns and "f" not in columns:
        columns["f"] = pa.array([1])
    table = pa.table({"key": pa.array(["a"]), "event_timestamp": MOMENT_OF_ONE, "known_at": MOMENT_OF_ONE, **columns})
    with pytest.raises(OnlineError, match="View 'v' cannot be materialized") as refused:
        pack(layout([("f", "integer")]), table)
    assert said in str(refused.value)


def test_a_whole_number_above_two_to_the_53_is_no_number():
    table = pa.table({"key": ["a"], "event_timestamp": MOMENT_OF_ONE, "known_at": MOMENT_OF_ONE, "f": [2**53 + 1]})
    with pytest.raises(OnlineError, match="column 'f' is declared as number"):
        pack(layout([("f", "number")]), table)


def test_a_damaged_value_is_named():
    features = (("f", "number"),)
    _, values = pack(layout(features), as_table(features, [{"event_timestamp": EPOCH, "known_at": EPOCH, "f": 1.0}]))
    with pytest.raises(OnlineError, match="not 29 bytes long"):
        decode(layout(features), [values[0][:-1]])


texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["%", "|", "#1", "%7C", "\0", "", "#", "a|b"]
)


@given(st.lists(texts | st.integers(-(2**63), 2**63 - 1), max_size=3))
def test_keys_can_be_taken_apart(values):
    assert list(decode_key(encode_key(values), len(values))) == values
    assert not encode_key(values).startswith(b"\0")


@given(st.lists(st.tuples(texts | st.none(), st.integers(-(2**63), 2**63 - 1) | st.none()), max_size=8))
def test_keys_of_a_table_are_those_of_its_rows(rows):
    columns = [
        ("a", pa.array([row[0] for row in rows], pa.string())),
        ("b", pa.array([row[1] for row in rows], pa.int64())),
    ]
    assert arrow_keys(columns, len(rows)).to_pylist() == [encode_key(row) for row in rows]


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, pd.NaT, np.float64("nan")])
def test_missing_join_keys(missing):
    assert component(missing) is None


@pytest.mark.parametrize(
    ("value", "key"), [(np.int32(5), b"#5"), (5.0, b"#5"), (np.str_("a"), b"a"), ("\ud800", b"\xed\xa0\x80")]
)
def test_join_keys_as_they_come(value, key):
    assert component(value) == key


@pytest.mark.parametrize("value", [1.5, True, b"a", [1], EPOCH])
def test_what_is_no_join_key(value):
    with pytest.raises(KeyValueError, match="use text or a whole number"):
        component(value)
