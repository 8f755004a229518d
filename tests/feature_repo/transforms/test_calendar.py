"""Calendar features against a slow reading of their definition."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.tseries.holiday import USFederalHolidayCalendar

from feature_repo.transforms.calendar import calendar_features

NEW_YORK = ZoneInfo("America/New_York")
HOLIDAYS = [day.date() for day in USFederalHolidayCalendar().holidays("1960-01-01", "2045-12-31")]
SECONDS = st.integers(-200_000_000, 2_100_000_000) | st.integers(1_388_000_000, 1_389_000_000)


def reference(departure: int, arrival: int) -> dict:
    local = pd.Timestamp(departure, unit="s", tz="UTC").to_pydatetime().astimezone(NEW_YORK)
    return {
        "hour_of_day": local.hour,
        "minute_of_day": local.hour * 60 + local.minute,
        "day_of_week": local.weekday(),
        "days_to_holiday": min(10, *(abs((day - local.date()).days) for day in HOLIDAYS)),
        "scheduled_minutes": (arrival - departure) / 60,
    }


@settings(max_examples=80, deadline=None)
@given(
    times=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=5),
    form=st.sampled_from(["s", "utc", "zone", "object"]),
)
def test_equals_the_definition(times, form):
    frame = pd.DataFrame(times, columns=["scheduled_departure", "scheduled_arrival"], index=range(7, 7 + len(times)))
    if form != "s":
        frame = frame.apply(lambda column: pd.to_datetime(column, unit="s", utc=True))
    if form == "zone":
        frame["scheduled_departure"] = frame["scheduled_departure"].dt.tz_convert("Asia/Tokyo")
    if form == "object":
        frame = frame.astype(object)
    found = calendar_features(frame)
    assert found.to_dict("records") == [reference(*each) for each in times]
    assert list(found.dtypes.astype(str)) == ["int64"] * 4 + ["float64"]
    assert found.index.equals(frame.index)


def test_no_rows_and_no_arrival():
    empty = pd.DataFrame(
        {name: pd.Series([], dtype="datetime64[ns, UTC]") for name in ("scheduled_departure", "scheduled_arrival")}
    )
    assert calendar_features(empty).shape == (0, 5)
    departure = pd.to_datetime(["2013-07-04T12:30Z", "2013-07-05T12:30Z"])
    frame = pd.DataFrame({"scheduled_departure": departure, "scheduled_arrival": [departure[0], pd.NaT]})
    assert calendar_features(frame)["scheduled_minutes"].isna().tolist() == [False, True]
    frame["scheduled_departure"] = [pd.NaT, departure[0]]
    with pytest.raises(ValueError, match="scheduled_departure is missing in 1 of 2 requests"):
        calendar_features(frame)
