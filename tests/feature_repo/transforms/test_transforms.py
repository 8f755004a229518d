"""Features look back only: cut the raw data at a moment, and every feature up to it is as it was."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from feature_repo.examples import nycflights
from feature_repo.transforms import compute, flights
from feature_repo.transforms.calendar import calendar_features

UNTIL = pd.Timestamp("2013-03-01", tz="UTC")


@pytest.fixture(scope="module")
def raw() -> dict[str, pd.DataFrame]:
    outcomes, weather = nycflights.outcomes(), nycflights.weather()
    return {
        "outcomes": outcomes[outcomes["known_at"] < UNTIL],
        "weather": weather[weather["known_at"] < UNTIL],
        "planes": nycflights.planes(),
    }


def features(raw: dict[str, pd.DataFrame], view: str) -> pd.DataFrame:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, frame in raw.items():
            connection.register(name, pa.Table.from_pandas(frame, preserve_index=False))
        return compute(connection, view)


@pytest.mark.parametrize("moment", ["2013-01-09 14:20", "2013-02-09 03:00", "2013-02-20 22:07"])
@pytest.mark.parametrize("view", list(flights.QUERIES))
def test_truncating_the_raw_data_changes_no_feature_before(raw, view, moment):
    at = pd.Timestamp(moment, tz="UTC")
    cut = {name: frame[frame["known_at"] <= at] if "known_at" in frame else frame for name, frame in raw.items()}
    whole = features(raw, view)
    before = whole[whole["known_at"] <= at].reset_index(drop=True)
    after = features(cut, view)
    assert len(after) == len(before) > 0
    assert after["known_at"].max() <= at
    keys = ["event_timestamp", *[column for column in after if after[column].dtype == object]]
    pd.testing.assert_frame_equal(
        after.sort_values(keys, ignore_index=True), before.sort_values(keys, ignore_index=True), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("view", ["carrier_stats", "origin_stats", "route_stats", "plane_stats"])
def test_windows_equal_a_reference_that_looks_at_every_outcome(raw, view):
    found = features(raw, view)
    keys = {
        "carrier_stats": ["carrier"],
        "origin_stats": ["origin"],
        "route_stats": ["origin", "dest"],
        "plane_stats": ["tailnum"],
    }
    prefix = view.split("_")[0]
    outcomes = raw["outcomes"].assign(
        late=lambda frame: frame["cancelled"] | frame["diverted"] | (frame["arr_delay"] >= 30)
    )
    for _, row in found.sample(25, random_state=3).iterrows():
        mine = outcomes[
            (outcomes[keys[view]] == row[keys[view]]).all(axis=1) & (outcomes["known_at"] <= row["known_at"])
        ]
        for name in [name for name in found if name.startswith(prefix) and name.rsplit("_", 1)[-1][:-1].isdigit()]:
            length = pd.Timedelta(name.rsplit("_", 1)[-1])
            window = mine[mine["known_at"] >= row["known_at"] - length]
            if "_late_rate_" in name:
                expected = window["late"].mean()
            elif "_cancel_rate_" in name:
                expected = window["cancelled"].mean()
            elif "_flights_" in name:
                expected = len(window)
            else:
                column = "dep_delay" if "_dep_delay_" in name else "arr_delay"
                expected = window[column].clip(upper=180).mean()
            assert row[name] == pytest.approx(expected, nan_ok=True), name


def test_calendar_by_new_yorks_clock():
    departure = pd.Series(pd.to_datetime(["2013-07-04 16:30", "2013-01-02 04:59", "2013-11-29 17:00"], utc=True))
    found = calendar_features(
        pd.DataFrame({"scheduled_departure": departure, "scheduled_arrival": departure + pd.Timedelta(minutes=95)})
    )
    assert found["hour_of_day"].tolist() == [12, 23, 12]
    assert found["minute_of_day"].tolist() == [750, 1439, 720]
    assert found["day_of_week"].tolist() == [3, 1, 4]
    assert found["days_to_holiday"].tolist() == [0, 0, 1]
    assert found["scheduled_minutes"].tolist() == [95.0, 95.0, 95.0]


def test_calendar_takes_seconds_as_well_as_times():
    moment = datetime(2013, 7, 4, 16, 30, tzinfo=UTC)
    times = calendar_features(pd.DataFrame({"scheduled_departure": [moment], "scheduled_arrival": [moment]}))
    seconds = calendar_features(
        pd.DataFrame({"scheduled_departure": [moment.timestamp()], "scheduled_arrival": [moment.timestamp()]})
    )
    pd.testing.assert_frame_equal(times, seconds)
