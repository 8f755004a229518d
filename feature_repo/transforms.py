"""Compute every feature view's rows from the raw tables: windows that look back only, in SQL on DuckDB.

A row's value uses nothing that was known after the row's own ``known_at``; so cutting the raw tables at a moment
leaves every row up to that moment as it was (tests/feature_repo/test_transforms.py holds it to that).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import duckdb

__all__ = ["VIEWS", "calendar_features", "compute", "sql"]

#: An outcome in numbers: late is 30 minutes or more, or cancelled or diverted; delays are capped at three hours.
_OUTCOMES = """(
  SELECT *, (cancelled OR diverted OR arr_delay >= 30)::DOUBLE AS is_late, cancelled::DOUBLE AS is_cancelled,
         CASE WHEN arr_delay > 180 THEN 180 ELSE arr_delay END AS delay,  -- least() would take 180 for a missing one
         CASE WHEN dep_delay > 180 THEN 180 ELSE dep_delay END AS departure_delay
  FROM outcomes
)"""

#: Feature name → aggregate and window, per view over outcomes.
_WINDOWS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "carrier_stats": (
        "carrier",
        {
            "carrier_late_rate_6h": ("avg(is_late)", "6 HOURS"),
            "carrier_late_rate_1d": ("avg(is_late)", "1 DAY"),
            "carrier_late_rate_28d": ("avg(is_late)", "28 DAYS"),
            "carrier_cancel_rate_1d": ("avg(is_cancelled)", "1 DAY"),
            "carrier_cancel_rate_28d": ("avg(is_cancelled)", "28 DAYS"),
            "carrier_delay_1d": ("avg(delay)", "1 DAY"),
            "carrier_flights_1d": ("count(*)", "1 DAY"),
        },
    ),
    "origin_stats": (
        "origin",
        {
            "origin_late_rate_2h": ("avg(is_late)", "2 HOURS"),
            "origin_late_rate_6h": ("avg(is_late)", "6 HOURS"),
            "origin_late_rate_1d": ("avg(is_late)", "1 DAY"),
            "origin_late_rate_7d": ("avg(is_late)", "7 DAYS"),
            "origin_cancel_rate_6h": ("avg(is_cancelled)", "6 HOURS"),
            "origin_cancel_rate_1d": ("avg(is_cancelled)", "1 DAY"),
            "origin_delay_2h": ("avg(delay)", "2 HOURS"),
            "origin_delay_6h": ("avg(delay)", "6 HOURS"),
            "origin_dep_delay_2h": ("avg(departure_delay)", "2 HOURS"),
            "origin_flights_2h": ("count(*)", "2 HOURS"),
        },
    ),
    "route_stats": (
        "origin, dest",
        {
            "route_late_rate_1d": ("avg(is_late)", "1 DAY"),
            "route_late_rate_7d": ("avg(is_late)", "7 DAYS"),
            "route_late_rate_28d": ("avg(is_late)", "28 DAYS"),
            "route_cancel_rate_7d": ("avg(is_cancelled)", "7 DAYS"),
            "route_cancel_rate_28d": ("avg(is_cancelled)", "28 DAYS"),
            "route_delay_1d": ("avg(delay)", "1 DAY"),
            "route_flights_7d": ("count(*)", "7 DAYS"),
        },
    ),
    "plane_stats": (
        "tailnum",
        {
            "plane_last_delay": ("avg(delay)", "0 HOURS"),
            "plane_late_rate_7d": ("avg(is_late)", "7 DAYS"),
            "plane_cancel_rate_28d": ("avg(is_cancelled)", "28 DAYS"),
            "plane_delay_7d": ("avg(delay)", "7 DAYS"),
            "plane_flights_1d": ("count(*)", "1 DAY"),
            "plane_flights_7d": ("count(*)", "7 DAYS"),
        },
    ),
}


def _rolling(view: str) -> str:
    """One row per entity and moment at which an outcome became known, over the windows that end there."""
    keys, features = _WINDOWS[view]
    lengths = sorted({length for _, length in features.values()})
    names = {length: f"w{number}" for number, length in enumerate(lengths)}
    values = ", ".join(f"({what} OVER {names[length]})::DOUBLE AS {name}" for name, (what, length) in features.items())
    windows = ", ".join(
        f"{names[length]} AS (PARTITION BY {keys} ORDER BY known_at "
        f"RANGE BETWEEN INTERVAL {length} PRECEDING AND CURRENT ROW)"
        for length in lengths
    )
    first_key = keys.split(",")[0]
    return f"""SELECT {keys}, event_timestamp, known_at, {", ".join(features)} FROM (
          SELECT {keys}, known_at AS event_timestamp, known_at, {values},
                 row_number() OVER (PARTITION BY {keys}, known_at ORDER BY flight_id) AS nth
          FROM {_OUTCOMES} WHERE {first_key} IS NOT NULL WINDOW {windows}
        ) WHERE nth = 1 ORDER BY event_timestamp, {keys}"""


_WEATHER = """SELECT origin, observed_at AS event_timestamp, known_at,
         temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib,
         sum(precip) OVER hours AS precip_6h,
         pressure - first_value(pressure) OVER (PARTITION BY origin ORDER BY observed_at
           RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW) AS pressure_change_3h
       FROM weather
       WINDOW hours AS (PARTITION BY origin ORDER BY observed_at
         RANGE BETWEEN INTERVAL 5 HOURS PRECEDING AND CURRENT ROW)
       ORDER BY event_timestamp, origin"""

_PLANES = """SELECT tailnum, TIMESTAMPTZ '2012-01-01 00:00:00+00' AS event_timestamp,
         TIMESTAMPTZ '2012-01-01 00:00:00+00' AS known_at, year AS plane_year, seats::DOUBLE AS plane_seats,
         engines::DOUBLE AS plane_engines, manufacturer AS plane_manufacturer, engine AS plane_engine
       FROM planes ORDER BY tailnum"""

#: Feature view → the raw tables it is computed from.
VIEWS: dict[str, tuple[str, ...]] = {
    "weather": ("weather",),
    "carrier_stats": ("outcomes",),
    "origin_stats": ("outcomes",),
    "route_stats": ("outcomes",),
    "plane_stats": ("outcomes",),
    "plane_attributes": ("planes",),
}


def sql(view: str) -> str:
    """The query that computes one feature view over the views of :func:`feature_repo.tables.connect`."""
    return _rolling(view) if view in _WINDOWS else {"weather": _WEATHER, "plane_attributes": _PLANES}[view]


def compute(connection: duckdb.DuckDBPyConnection, view: str) -> pd.DataFrame:
    """All rows of one feature view, as a frame (tests and notebooks; the store writes Parquet directly)."""
    return connection.execute(sql(view)).df()


def calendar_features(inputs: pd.DataFrame) -> pd.DataFrame:
    """Calendar and schedule features of requests.

    ``inputs``: ``scheduled_departure`` and ``scheduled_arrival``, times or seconds since 1970 (UTC).
    Returns integers but for ``scheduled_minutes``; ``days_to_holiday`` to the nearest US federal one, at most 10.
    """
    import numpy as np
    from pandas.tseries.holiday import USFederalHolidayCalendar

    departure = _times(inputs["scheduled_departure"])
    arrival = _times(inputs["scheduled_arrival"])
    local = departure.dt.tz_convert("America/New_York")
    day = local.dt.tz_localize(None).dt.normalize()
    reach = pd.Timedelta(days=11)
    holidays = USFederalHolidayCalendar().holidays(day.min() - reach, day.max() + reach).to_numpy()
    distance = np.full(len(day), 10)
    if len(holidays) and len(day):
        days, holiday_days = day.to_numpy().astype("datetime64[D]"), holidays.astype("datetime64[D]")
        after = np.clip(np.searchsorted(holiday_days, days), 0, len(holiday_days) - 1)
        before = np.clip(after - 1, 0, None)
        gaps = [np.abs((days - holiday_days[index]).astype(int)) for index in (before, after)]
        distance = np.minimum(np.minimum(*gaps), 10)
    return pd.DataFrame(
        {
            "hour_of_day": local.dt.hour.astype("int64"),
            "minute_of_day": (local.dt.hour * 60 + local.dt.minute).astype("int64"),
            "day_of_week": local.dt.dayofweek.astype("int64"),
            "days_to_holiday": pd.Series(distance, index=inputs.index).astype("int64"),
            "scheduled_minutes": (arrival - departure).dt.total_seconds() / 60,
        },
        index=inputs.index,
    )


def _times(values: pd.Series) -> pd.Series:
    return pd.to_datetime(values, utc=True, unit="s" if pd.api.types.is_numeric_dtype(values) else None)
