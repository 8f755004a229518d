"""Definitions of a small feature store with every kind of feature, and random values for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float32, Float64, Int64, String, UnixTimestamp

from feature_repo.transforms.age import age

START = datetime(2024, 1, 1, tzinfo=UTC)

shop = Entity(name="the_shop", join_keys=["shop"], value_type=ValueType.STRING)
customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)


def _source(name: str) -> FileSource:
    return FileSource(
        name=name, path=f"{name}.parquet", timestamp_field="event_timestamp", created_timestamp_column="known_at"
    )


shops = FeatureView(
    name="shops",
    entities=[shop],
    ttl=timedelta(hours=2),
    schema=[
        Field(name="size", dtype=Float64),
        Field(name="city", dtype=String),
        Field(name="open", dtype=Bool),
        Field(name="staff", dtype=Int64),
        Field(name="since", dtype=UnixTimestamp),
        Field(name="rate", dtype=Float32),
        age("shops"),
    ],
    source=_source("shops"),
)
visits = FeatureView(
    name="visits",
    entities=[shop, customer],
    ttl=timedelta(0),
    schema=[
        age("visits"),
        Field(name="spent", dtype=Float64),
        Field(name="mood", dtype=String),
        Field(name="count", dtype=Int64),
    ],
    source=_source("visits"),
)
basket = RequestSource(name="basket", schema=[Field(name="price", dtype=Float64), Field(name="items", dtype=Int64)])


@on_demand_feature_view(
    sources=[basket, visits],
    schema=[Field(name="share", dtype=Float64), Field(name="label", dtype=String), Field(name="large", dtype=Bool)],
    mode="pandas",
)
def compared(inputs: pd.DataFrame) -> pd.DataFrame:
    share = inputs["price"] / inputs["spent"]
    return pd.DataFrame({"share": share, "label": inputs["mood"].fillna("?") + "!", "large": inputs["items"] > 3})


@on_demand_feature_view(
    sources=[basket], schema=[Field(name="unit_price", dtype=Float64), Field(name="whole", dtype=Int64)], mode="python"
)
def priced(inputs: dict[str, list]) -> dict[str, list]:
    prices = [price / items for price, items in zip(inputs["price"], inputs["items"], strict=True)]
    return {"unit_price": prices, "whole": [int(price) for price in prices]}


everything = FeatureService(name="everything", features=[shops, visits, compared, priced])
without_visits = FeatureService(name="without_visits", features=[shops[["staff", "city"]], compared[["share"]]])
DEFINITIONS = {
    "drawn_shop": shop,
    "drawn_customer": customer,
    "drawn_shops": shops,
    "drawn_visits": visits,
    "drawn_compared": compared,
    "drawn_priced": priced,
    "drawn_everything": everything,
    "drawn_without_visits": without_visits,
}


def shop_rows(seed: int, names: list[str]) -> pd.DataFrame:
    """One row per shop; some features are missing."""
    random = np.random.default_rng(seed)
    count = len(names)
    event = pd.to_datetime([START + timedelta(minutes=int(each)) for each in random.integers(0, 240, count)])
    frame = pd.DataFrame(
        {
            "shop": names,
            "event_timestamp": event,
            "known_at": event + pd.Timedelta("1min"),
            "size": random.normal(size=count),
            "city": [f"Zürich {place}" for place in range(count)],
            "open": random.random(count) < 0.5,
            "staff": random.integers(0, 9, count),
            "since": pd.to_datetime(random.integers(0, 10**9, count), unit="s", utc=True),
            "rate": random.random(count).astype("float32"),
        }
    ).astype({"staff": "Int64", "open": "boolean"})
    for name in ("size", "city", "open", "staff", "since", "rate"):
        frame.loc[random.random(count) < 0.3, name] = None
    return frame


def visit_rows(seed: int, keys: list[tuple[str, int]]) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    event = pd.to_datetime([START + timedelta(minutes=int(each)) for each in random.integers(0, 240, len(keys))])
    return pd.DataFrame(
        {
            "shop": [key[0] for key in keys],
            "customer": [key[1] for key in keys],
            "event_timestamp": event,
            "known_at": event,
            "spent": random.random(len(keys)) + 1,
            "mood": [None if random.random() < 0.3 else f"mood {place}" for place in range(len(keys))],
            "count": random.integers(0, 9, len(keys)),
        }
    )
