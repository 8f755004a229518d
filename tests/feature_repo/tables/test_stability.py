"""The population stability index of two vectors of counts."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.tables.stability import stability_index

pairs = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12)


def test_an_empty_bin_counts_as_half_a_row() -> None:
    """Bins empty on both sides are left out; the shares of each side still sum to one."""
    p, q = (100 / 150.5, 50 / 150.5, 0.5 / 150.5), (80 / 100.5, 0.5 / 100.5, 20 / 100.5)
    raw = sum((b - a) * log(b / a) for a, b in zip(p, q, strict=True))
    found = stability_index([100, 50, 0, 0], [80, 0, 0, 20])
    assert found == pytest.approx((raw, raw - 2 * (1 / 150 + 1 / 100)), rel=1e-12)


@settings(deadline=None)
@given(pairs)
def test_the_index_is_never_negative_and_the_same_for_swapped_samples(counts: list[tuple[int, int]]) -> None:
    a, b = zip(*counts, strict=True)
    raw, corrected = stability_index(a, b)
    assert np.isfinite(raw) and 0 <= corrected <= max(raw, 0)
    assert raw >= -1e-12
    assert stability_index(b, a) == pytest.approx((raw, corrected), abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=12), st.integers(1, 9))
def test_the_index_of_equal_shares_is_zero(counts: list[int], factor: int) -> None:
    found = stability_index(counts, factor * np.array(counts))
    assert found == (pytest.approx(0, abs=1e-12), 0)


@settings(deadline=None)
@given(st.lists(st.integers(20, 500), min_size=1, max_size=6), st.lists(st.integers(20, 500), min_size=1, max_size=6))
def test_the_index_of_disjoint_samples_is_large(a: list[int], b: list[int]) -> None:
    assert stability_index([*a, *(0 for _ in b)], [*(0 for _ in a), *b])[1] > 2


def test_a_sample_without_rows_has_no_index() -> None:
    assert stability_index([0, 0], [3, 4]) == stability_index([3, 4], [0, 0]) == stability_index([], []) == (0, 0)
