"""The Feast definitions. All Feast objects are in this file, because ``feast apply`` reads it.

Each view's Parquet files are computed by ``feature_repo/transforms``; a source's path is the view's path below the
offline store's root. ``event_timestamp`` is the time a row describes, ``known_at`` the time when it became known.
"""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String, UnixTimestamp

from feature_repo.transforms.age import age

carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING, description="Airline")
origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING, description="Airport of departure")
dest = Entity(name="dest", join_keys=["dest"], value_type=ValueType.STRING, description="Airport of arrival")
plane = Entity(name="plane", join_keys=["tailnum"], value_type=ValueType.STRING, description="Plane, by tail number")


def _source(name: str) -> FileSource:
    return FileSource(name=name, path=name, timestamp_field="event_timestamp", created_timestamp_column="known_at")


def _floats(*names: str) -> list[Field]:
    return [Field(name=name, dtype=Float64) for name in names]


weather = FeatureView(
    name="weather",
    description="Last weather observation at the airport of departure, and the rain of the hours before it",
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
    description="Outcomes of the airline's flights in the hours, day and weeks before its last known event",
    entities=[carrier],
    ttl=timedelta(days=2),
    schema=[
        Field(name="airline", dtype=String),
        *_floats(
            "carrier_late_rate_6h",
            "carrier_late_rate_1d",
            "carrier_late_rate_28d",
            "carrier_cancel_rate_1d",
            "carrier_cancel_rate_28d",
            "carrier_delay_1d",
            "carrier_flights_1d",
        ),
        age("carrier_stats"),
    ],
    source=_source("carrier_stats"),
)

origin_stats = FeatureView(
    name="origin_stats",
    description="Outcomes of the flights from this airport in the hours, day and week before its last known event",
    entities=[origin],
    ttl=timedelta(days=2),
    schema=[
        Field(name="airport", dtype=String),
        *_floats(
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
        age("origin_stats"),
    ],
    source=_source("origin_stats"),
)

route_stats = FeatureView(
    name="route_stats",
    description="Outcomes of the flights of this route in the day, week and month before its last known event",
    entities=[origin, dest],
    ttl=timedelta(days=28),
    schema=[
        Field(name="destination", dtype=String),
        *_floats(
            "route_late_rate_1d",
            "route_late_rate_7d",
            "route_late_rate_28d",
            "route_cancel_rate_7d",
            "route_cancel_rate_28d",
            "route_delay_1d",
            "route_flights_7d",
        ),
        age("route_stats"),
    ],
    source=_source("route_stats"),
)

plane_stats = FeatureView(
    name="plane_stats",
    description="The plane's legs out of New York in the day and weeks before its last known event",
    entities=[plane],
    ttl=timedelta(days=14),
    schema=[
        *_floats(
            "plane_last_delay",
            "plane_late_rate_7d",
            "plane_cancel_rate_28d",
            "plane_delay_7d",
            "plane_flights_1d",
            "plane_flights_7d",
        ),
        age("plane_stats"),
    ],
    source=_source("plane_stats"),
)

plane_attributes = FeatureView(
    name="plane_attributes",
    description="Attributes of the plane in the register",
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
    """Calendar and schedule features, from the request alone; days and hours in New York's time zone."""
    from feature_repo.transforms.calendar import calendar_features

    return calendar_features(inputs)


flight_risk = FeatureService(
    name="flight_risk",
    description="Everything known about a flight two hours before its scheduled departure",
    features=[weather, carrier_stats, origin_stats, route_stats, plane_stats, plane_attributes, calendar],
)

# The simulated card payments (feature_repo/examples/card_payments.py)
card = Entity(name="card", join_keys=["card_id"], value_type=ValueType.STRING, description="Simulated card")
merchant = Entity(name="merchant", join_keys=["merchant_id"], value_type=ValueType.STRING, description="Simulated shop")
country = Entity(name="country", join_keys=["country"], value_type=ValueType.STRING, description="Where a card is used")

card_velocity = FeatureView(
    name="card_velocity",
    description="Purchases of the card in the hour before its last one; expired if there were none",
    entities=[card],
    ttl=timedelta(hours=1),
    schema=_floats("card_count_1h", "card_sum_1h", "card_max_1h", "card_merchants_1h", "card_countries_1h"),
    source=_source("card_velocity"),
)

card_spending = FeatureView(
    name="card_spending",
    description="Purchases of the card in the day and week before its last one",
    entities=[card],
    ttl=timedelta(days=7),
    schema=_floats(
        "card_count_1d",
        "card_sum_1d",
        "card_max_1d",
        "card_count_7d",
        "card_sum_7d",
        "card_mean_7d",
        "card_max_7d",
    ),
    source=_source("card_spending"),
)

card_habits = FeatureView(
    name="card_habits",
    description="Usual spending of the card's owner, in the four weeks before the last purchase",
    entities=[card],
    ttl=timedelta(days=28),
    schema=_floats("card_count_28d", "card_mean_28d", "card_spread_28d", "card_max_28d", "card_countries_28d"),
    source=_source("card_habits"),
)

card_country = FeatureView(
    name="card_country",
    description="Uses of the card in this country in the four weeks before the last one; expired if there were none",
    entities=[card, country],
    ttl=timedelta(days=28),
    schema=_floats("card_country_count_28d"),
    source=_source("card_country"),
)

merchant_risk = FeatureView(
    name="merchant_risk",
    description="Share of fraud among the merchant's payments as of its last known outcome, smoothed",
    entities=[merchant],
    ttl=timedelta(days=90),
    schema=_floats("merchant_fraud_rate_28d", "merchant_fraud_rate_90d", "merchant_labels_90d"),
    source=_source("merchant_risk"),
)

merchant_attributes = FeatureView(
    name="merchant_attributes",
    description="The merchant's category, and its opening year",
    entities=[merchant],
    ttl=timedelta(0),  # never expires
    schema=[Field(name="merchant_category", dtype=String), Field(name="merchant_opened_year", dtype=Float64)],
    source=_source("merchant_attributes"),
)

card_attributes = FeatureView(
    name="card_attributes",
    description="Terms of the card's contract",
    entities=[card],
    ttl=timedelta(0),  # never expires
    schema=[
        Field(name="card_home_country", dtype=String),
        Field(name="card_tier", dtype=String),
        Field(name="card_limit", dtype=Float64),
        Field(name="card_issued_year", dtype=Float64),
    ],
    source=_source("card_attributes"),
)

purchase = RequestSource(
    name="purchase",
    schema=[
        Field(name="amount", dtype=Float64),
        Field(name="channel", dtype=String),
        Field(name="authorized_at", dtype=UnixTimestamp),
    ],
)


@on_demand_feature_view(  # type: ignore[untyped-decorator]
    sources=[purchase],
    schema=[
        Field(name="purchase_amount", dtype=Float64),
        Field(name="purchase_channel", dtype=String),
        Field(name="purchase_hour", dtype=Int64),
        Field(name="purchase_weekday", dtype=Int64),
        Field(name="purchase_at_night", dtype=Int64),
    ],
    mode="pandas",
)
def card_context(inputs: pd.DataFrame) -> pd.DataFrame:
    """Features of a card payment from its request alone."""
    from feature_repo.transforms.purchase import purchase_features

    return purchase_features(inputs)


card_risk = FeatureService(
    name="card_risk",
    description="Everything known about a simulated card payment at authorisation",
    features=[
        card_velocity,
        card_spending,
        card_habits,
        card_country,
        merchant_risk,
        merchant_attributes,
        card_attributes,
        card_context,
    ],
)
