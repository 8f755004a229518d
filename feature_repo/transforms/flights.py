"""Features of flights: outcomes of recent flights, the weather, the planes."""

from __future__ import annotations

from datetime import timedelta

from feature_repo.transforms.rolling import Query, longest, rolling

__all__ = ["QUERIES"]

#: Outcomes as numbers: late is 30 minutes or more, or cancelled or diverted; delays are capped at three hours.
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

#: Join keys that are features too: feature name → key, per view.
_TEXTS = {
    "carrier_stats": {"airline": "carrier"},
    "origin_stats": {"airport": "origin"},
    "route_stats": {"destination": "dest"},
}

#: Rain is summed in ten-thousandths of an inch, exactly: a sum of doubles depends on the start of DuckDB's window tree.
_WEATHER = """SELECT origin, observed_at AS event_timestamp, known_at,
         temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib,
         (sum(precip::DECIMAL(18, 4)) OVER (PARTITION BY origin ORDER BY epoch_us(observed_at)
           RANGE BETWEEN 18000000000 PRECEDING AND CURRENT ROW))::DOUBLE AS precip_6h,  -- 5 hours and this one
         pressure - first_value(pressure) OVER (PARTITION BY origin ORDER BY epoch_us(observed_at)
           RANGE BETWEEN 10800000000 PRECEDING AND CURRENT ROW) AS pressure_change_3h
       FROM weather"""

_PLANES = """SELECT tailnum, TIMESTAMPTZ '2012-01-01 00:00:00+00' AS event_timestamp,
         TIMESTAMPTZ '2012-01-01 00:00:00+00' AS known_at, year AS plane_year, seats::DOUBLE AS plane_seats,
         engines::DOUBLE AS plane_engines, manufacturer AS plane_manufacturer, engine AS plane_engine
       FROM planes"""

QUERIES: dict[str, Query] = {
    "weather": Query(("weather",), _WEATHER, lookback=timedelta(hours=5)),
    **{
        view: Query(("outcomes",), rolling(_OUTCOMES, keys, features, "flight_id", _TEXTS.get(view)), longest(features))
        for view, (keys, features) in _WINDOWS.items()
    },
    "plane_attributes": Query(("planes",), _PLANES),
}
