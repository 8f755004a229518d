"""The bundled data in UTC, and nothing in a schedule that only the outcome could tell."""

from __future__ import annotations

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from feature_repo.examples import nycflights


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    return nycflights.flights()


@pytest.fixture(scope="module")
def outcomes() -> pd.DataFrame:
    return nycflights.outcomes()


def test_every_row_of_the_package_is_there_once(flights, outcomes):
    assert len(flights) == len(outcomes) == 336_776
    assert flights["flight_id"].is_unique and outcomes["flight_id"].is_unique


def test_local_times_become_utc(flights):
    # the file's first row: UA 1545, EWR 05:15 -> IAH 08:19 Central, 1 January
    first = flights.iloc[0]
    assert first["scheduled_departure"] == pd.Timestamp("2013-01-01 10:15", tz="UTC")
    assert first["scheduled_arrival"] == pd.Timestamp("2013-01-01 14:19", tz="UTC")
    summer = flights[flights["flight_id"].str.contains("20130701")].iloc[0]
    assert summer["scheduled_departure"].tz_convert("America/New_York").utcoffset() == pd.Timedelta(hours=-4)


def test_schedules_take_a_plausible_time(flights):
    minutes = (flights["scheduled_arrival"] - flights["scheduled_departure"]).dt.total_seconds() / 60
    assert minutes.min() >= 40 and minutes.max() <= 720
    # the westward flight to Honolulu is the longest, whatever its clocks say
    assert set(flights.loc[minutes > 600, "dest"]) == {"HNL"}


def test_outcomes_are_known_when_they_happened(flights, outcomes):
    both = flights.merge(outcomes, on="flight_id", suffixes=("", "_outcome"))
    arrived = both[~both["cancelled"] & ~both["diverted"]]
    expected = arrived["scheduled_arrival"] + pd.to_timedelta(arrived["arr_delay"], unit="min")
    assert (arrived["known_at_outcome"] == expected).all()
    cancelled = both[both["cancelled"]]
    assert (cancelled["known_at_outcome"] - cancelled["scheduled_departure"] == pd.Timedelta(hours=6)).all()
    prediction = both["scheduled_departure"] - pd.Timedelta(hours=2)
    assert (both["known_at_outcome"] > prediction).all()


def test_the_tail_number_does_not_tell_a_cancellation(flights, outcomes):
    """The file lacks it only for cancelled flights; every flight has a plausible one here."""
    assert flights["tailnum"].notna().all()
    both = flights.merge(outcomes[["flight_id", "cancelled"]], on="flight_id")
    assumed = both[both["tailnum_assumed"]]
    assert len(assumed) == 2512 and assumed["cancelled"].all()
    # the assumed plane flies for the same carrier from the same airport (or from another, if it has no flight there),
    # and no other such flight is nearer in the schedule
    recorded = flights[~flights["tailnum_assumed"]]
    for _, row in assumed.sample(40, random_state=1).iterrows():
        like = recorded[(recorded["carrier"] == row["carrier"]) & (recorded["origin"] == row["origin"])]
        away = (like["scheduled_departure"] - row["scheduled_departure"]).abs()
        assert row["tailnum"] in set(like.loc[away == away.min(), "tailnum"])


def test_no_feature_of_the_plane_tells_that_it_was_filled_in(flights, outcomes):
    """How long ago the plane landed, of filled flights and of recorded ones of the same airline and airport.

    A plane that flew the route a day before, which landed about 19 hours ago, would be told by it: the area under the
    second curve would be 0.83.
    """
    landed = outcomes.dropna(subset=["tailnum"])[["tailnum", "known_at"]].sort_values("known_at")
    prediction = (flights["scheduled_departure"] - pd.Timedelta(hours=2)).astype(landed["known_at"].dtype)
    asked = flights.assign(known_at=prediction).sort_values("known_at")
    found = pd.merge_asof(asked, landed.assign(event=landed["known_at"]), on="known_at", by="tailnum")
    hours = ((found["known_at"] - found["event"]).dt.total_seconds() / 3600).fillna(1e4)
    for told in (hours, -(hours - 19).abs()):
        assert 0.45 < roc_auc_score(found["tailnum_assumed"], told) < 0.55
