"""The age of a row: one function, exact, for every reader of features."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.transforms.age import age_hours

MISSING = np.iinfo(np.int64).min
#: Microseconds of 130 years before and after 1970.
moments = st.one_of(st.just(MISSING), st.integers(-130 * 365 * 86_400_000_000, 130 * 365 * 86_400_000_000))


@given(st.lists(st.tuples(moments, moments), min_size=1))
def test_an_age_is_the_exact_number_of_hours_rounded_once(pairs):
    at, event = (np.array([pair[place] for pair in pairs], np.int64) for place in range(2))
    expected = [
        None if MISSING in pair else max(float(Fraction(pair[0] - pair[1], 3_600_000_000)), 0.0) for pair in pairs
    ]
    found = age_hours(at, event)
    assert [None if np.isnan(hours) else hours for hours in found.tolist()] == expected


@given(st.integers(0, 2**52), st.integers(0, 2**52), st.integers(0, 86_400_000_000))
def test_a_row_ages_as_fast_as_time_passes(event, waited, more):
    """Later is never younger, and an age depends on the difference alone."""
    first, second = age_hours(np.array([event + waited, event + waited + more]), np.array([event, event]))
    assert second >= first
    assert first == age_hours(np.array([waited]), np.array([0]))[0]


def test_nat_of_pandas_is_missing():
    times = pd.to_datetime(["2024-01-01T01:30Z", None]).to_numpy("datetime64[us]").view(np.int64)
    start = pd.to_datetime(["2024-01-01T00:00Z"] * 2).to_numpy("datetime64[us]").view(np.int64)
    assert age_hours(times, start)[0] == 1.5 and np.isnan(age_hours(times, start)[1])
