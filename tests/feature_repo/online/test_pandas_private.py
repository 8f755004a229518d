"""Frames put together from blocks are the frames that pandas makes of the same columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.online.pandas_private import frame_of

NAT = np.iinfo(np.int64).min


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 4), kinds=st.lists(st.sampled_from(["number", "text", "ns", "us", "flag"]), max_size=7))
def test_equals_a_frame_made_column_by_column(rows, kinds):
    index = pd.RangeIndex(3, 3 + rows)
    columns = pd.Index([f"c{place}" for place in range(len(kinds))])
    random = np.random.default_rng(len(kinds))
    made = {
        "number": random.normal(size=(rows, len(kinds))),
        "text": np.where(random.random((rows, len(kinds))) < 0.5, "x", None).astype(object),
        "ns": np.full((rows, len(kinds)), 10**18),
        "us": np.where(random.random((rows, len(kinds))) < 0.5, NAT, 10**15),
        "flag": random.random((rows, len(kinds))) < 0.5,
    }
    places = {kind: [place for place, each in enumerate(kinds) if each == kind] for kind in made}
    blocks = [
        (values[:, places[kind]], places[kind], kind if kind in ("ns", "us") else None) for kind, values in made.items()
    ]
    expected = {}
    for place, kind in enumerate(kinds):
        values = made[kind][:, place]
        times = pd.DatetimeIndex(values.view(f"M8[{kind}]")).tz_localize("UTC") if kind in ("ns", "us") else None
        expected[f"c{place}"] = values if times is None else times
    found = frame_of(columns, index, blocks)
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected, index=index, columns=columns))


def test_it_can_be_used_like_any_other_frame():
    frame = frame_of(
        pd.Index(["a", "t", "b", "when"]),
        pd.RangeIndex(2),
        [
            (np.array([[1.0, 2.0], [3.0, 4.0]]), [0, 2], None),
            (np.array([["x"], [None]], object), [1], None),
            (np.array([[0], [NAT]]), [3], "ns"),
        ],
    )
    assert frame["b"].tolist() == [2.0, 4.0]
    assert frame[["when", "a"]].iloc[0].tolist() == [pd.Timestamp(0, tz="UTC"), 1.0]
    frame.loc[[True, False], "a"] = 9.0
    frame["new"] = frame["a"] + frame["b"]
    assert frame.to_dict("records")[0] == {"a": 9.0, "t": "x", "b": 2.0, "when": pd.Timestamp(0, tz="UTC"), "new": 11.0}
    assert pd.concat([frame, frame]).shape == (4, 5)
    assert frame.isna().sum().to_dict() == {"a": 0, "t": 1, "b": 0, "when": 1, "new": 0}
    with pytest.raises(KeyError):
        frame["none"]
