"""The Feast definitions. Every Feast object lives in this one file, as ``feast apply`` reads it.

Each view's Parquet file is computed by ``feature_repo/transforms.py``; its path is relative to the offline store's
root. ``event_timestamp`` is the time a row describes, ``known_at`` when it became known.
"""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String, UnixTimestamp

carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING, description="Airline")
origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING, description="Airport of departure")
dest = Entity(name="dest", join_keys=["dest"], value_type=ValueType.STRING, description="Airport of arrival")
plane = Entity(name="plane", join_keys=["tailnum"], value_type=ValueType.STRING, description="Plane, by tail number")


def _source(name: str) -> FileSource:
    return FileSource(
        name=name, path=f"{name}.parquet", timestamp_field="event_timestamp", created_timestamp_column="known_at"
    )


def _floats(*names: str) -> list[Field]:
    return [Field(name=name, dtype=Float64) for name in names]


weather = FeatureView(
    name="weather",
    description="Last weather observation at the airport of departure, and the rain of the last hours",
    entities=[origin],
    ttl=timedelta(hours=6),
    schema=_floats(
        "temp",
        "dewp",
        "humid",
        "wind_dir",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
        "precip_6h",
        "pressure_change_3h",
    ),
    source=_source("weather"),
)

carrier_stats = FeatureView(
    name="carrier_stats",
    description="How the airline's flights of the last hours, day and weeks ended",
    entities=[carrier],
    ttl=timedelta(days=2),
    schema=_floats(
        "carrier_late_rate_6h",
        "carrier_late_rate_1d",
        "carrier_late_rate_28d",
        "carrier_cancel_rate_1d",
        "carrier_cancel_rate_28d",
        "carrier_delay_1d",
        "carrier_flights_1d",
    ),
    source=_source("carrier_stats"),
)

origin_stats = FeatureView(
    name="origin_stats",
    description="How the flights out of this airport that ended in the last hours, day and week ended",
    entities=[origin],
    ttl=timedelta(days=2),
    schema=_floats(
        "origin_late_rate_2h",
        "origin_late_rate_6h",
        "origin_late_rate_1d",
        "origin_late_rate_7d",
        "origin_cancel_rate_6h",
        "origin_cancel_rate_1d",
        "origin_delay_2h",
        "origin_delay_6h",
        "origin_dep_delay_2h",
        "origin_flights_2h",
    ),
    source=_source("origin_stats"),
)

route_stats = FeatureView(
    name="route_stats",
    description="How the flights of this route ended in the last day, week and month",
    entities=[origin, dest],
    ttl=timedelta(days=28),
    schema=_floats(
        "route_late_rate_1d",
        "route_late_rate_7d",
        "route_late_rate_28d",
        "route_cancel_rate_7d",
        "route_cancel_rate_28d",
        "route_delay_1d",
        "route_flights_7d",
    ),
    source=_source("route_stats"),
)

plane_stats = FeatureView(
    name="plane_stats",
    description="The plane's previous legs out of New York",
    entities=[plane],
    ttl=timedelta(days=14),
    schema=_floats(
        "plane_last_delay",
        "plane_late_rate_7d",
        "plane_cancel_rate_28d",
        "plane_delay_7d",
        "plane_flights_1d",
        "plane_flights_7d",
    ),
    source=_source("plane_stats"),
)

plane_attributes = FeatureView(
    name="plane_attributes",
    description="What the register says of the plane",
    entities=[plane],
    ttl=timedelta(0),  # never expires
    schema=[
        Field(name="plane_year", dtype=Float64),
        Field(name="plane_seats", dtype=Float64),
        Field(name="plane_engines", dtype=Float64),
        Field(name="plane_manufacturer", dtype=String),
        Field(name="plane_engine", dtype=String),
    ],
    source=_source("plane_attributes"),
)

schedule = RequestSource(
    name="schedule",
    schema=[
        Field(name="scheduled_departure", dtype=UnixTimestamp),
        Field(name="scheduled_arrival", dtype=UnixTimestamp),
    ],
)


@on_demand_feature_view(  # type: ignore[untyped-decorator]
    sources=[schedule],
    schema=[
        Field(name="hour_of_day", dtype=Int64),
        Field(name="minute_of_day", dtype=Int64),
        Field(name="day_of_week", dtype=Int64),
        Field(name="days_to_holiday", dtype=Int64),
        Field(name="scheduled_minutes", dtype=Float64),
    ],
    mode="pandas",
)
def calendar(inputs: pd.DataFrame) -> pd.DataFrame:
    """Calendar and schedule features, from the request alone; days and hours by New York's clock."""
    from feature_repo.transforms import calendar_features

    return calendar_features(inputs)


flight_risk = FeatureService(
    name="flight_risk",
    description="Everything known about a flight two hours before its scheduled departure",
    features=[weather, carrier_stats, origin_stats, route_stats, plane_stats, plane_attributes, calendar],
)
