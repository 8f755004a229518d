"""The moments at which traffic is replayed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ray_cluster.serving.replay import moments

START = datetime(2013, 12, 17, tzinfo=UTC)
hours = st.none() | st.lists(st.integers(0, 23), min_size=1, max_size=4, unique=True)


def test_two_hours_a_day() -> None:
    found = moments(START, START + timedelta(days=2), [20, 12])
    assert [f"{moment:%d %H:%M}" for moment in found] == ["17 12:00", "17 20:00", "18 12:00", "18 20:00"]


def test_an_evening_to_the_next_noon_holds_the_next_morning() -> None:
    found = moments(START + timedelta(hours=22), START + timedelta(hours=37), [12])
    assert found == [START + timedelta(hours=36)]


@given(st.integers(0, 60 * 48), st.integers(0, 60 * 100), hours)
def test_moments_are_every_full_hour_asked_for(after: int, length: int, asked: list[int] | None) -> None:
    start = START + timedelta(minutes=after)
    end = start + timedelta(minutes=length)
    every = [START + timedelta(hours=hour) for hour in range(24 * 8)]
    assert moments(start, end, asked) == [m for m in every if start <= m < end and (asked is None or m.hour in asked)]
