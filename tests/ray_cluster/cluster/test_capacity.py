"""CPUs beside Serve's: never more than are free where that is possible, and never less than half."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_cluster.cluster.capacity import cpus_each


@pytest.mark.parametrize(
    ("free", "cpus", "workers", "expected"),
    [
        ([2.0], 1.0, 2, 1.0),
        ([1.5], 1.0, 2, 0.75),  # a laptop with two endpoints
        ([0.5], 1.0, 1, 0.5),
        ([1.7], 2.0, 1, 1.7),
        ([3.9, 1.0], 2.0, 2, 1.95),
        ([3.9, 3.9], 2.0, 2, 2.0),
        ([0.0], 1.0, 2, 0.5),  # others are at work
        ([], 1.0, 1, 0.5),
    ],
)
def test_as_much_as_there_is(free: list[float], cpus: float, workers: int, expected: float) -> None:
    assert cpus_each(free, cpus, workers) == pytest.approx(expected)


@given(
    free=st.lists(st.floats(0, 16), max_size=4),
    cpus=st.floats(0.1, 8),
    workers=st.integers(1, 6),
)
def test_between_half_and_all_and_side_by_side_where_that_can_be(free: list[float], cpus: float, workers: int) -> None:
    each = cpus_each(free, cpus, workers)

    def hold(wanted: float) -> bool:
        return sum(int(room / wanted + 1e-9) for room in free) >= workers

    assert cpus / 2 - 1e-4 <= each <= cpus
    assert hold(each) or not hold(cpus / 2)
    assert each > cpus - 1e-3 or not hold(cpus)
