"""Feast's own ways to read and write, against the reader: the same data, the same rules."""

from __future__ import annotations

from datetime import timedelta
from time import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.infra.registry.sql import SqlRegistryConfig
from feast.repo_config import RepoConfig

from feature_repo.online.layout import layout_of, layouts
from feature_repo.online.reader import OnlineReader
from feature_repo.online.redis_values import RedisValues
from tests.feature_repo.online.drawn import DEFINITIONS, START, shop_rows, visit_rows
from tests.feature_repo.online.services import REDIS

SHOPS = ["a", "b", "c|d", "#1", "ü"]
VISITS = [("a", 1), ("a", -2), ("b", 2**60), ("ü", 1)]


@pytest.fixture
def store(environment, values, tmp_path):
    """A FeatureStore over the same values, with a registry of its own."""
    kind = "feature_repo.online.feast_online_stores."
    if isinstance(values, RedisValues):
        online = {"type": f"{kind}RedisOnlineStore", "connection_string": REDIS, "namespace": values._namespace}
    else:
        online = {"type": f"{kind}SqliteOnlineStore", "path": str(values.path)}
    config = RepoConfig(
        project="headrace",
        provider="local",
        registry=SqlRegistryConfig(registry_type="sql", path=f"sqlite:///{tmp_path / 'registry.db'}"),
        offline_store={"type": "feature_repo.offline.offline_store.AsofOfflineStore", "root": str(tmp_path)},
        online_store=online,
        entity_key_serialization_version=3,
        repo_path=tmp_path,
    )
    found = FeatureStore(config=config)
    shop_rows(1, SHOPS).to_parquet(tmp_path / "shops.parquet", coerce_timestamps="us")
    visit_rows(2, VISITS).to_parquet(tmp_path / "visits.parquet", coerce_timestamps="us")
    found.apply(list(DEFINITIONS.values()))
    return found


def records(random, count: int) -> list[dict]:
    """Entities that are known, unknown and, for single ones, empty."""
    return [
        {
            "shop": str(random.choice([*SHOPS, "nobody", ""])),
            "customer": int(random.choice([1, -2, 2**60, 7])),
            "price": float(random.random()),
            "items": int(random.integers(1, 9)),
        }
        for _ in range(count)
    ]


def by_feast(store, service: str, asked: list[dict]) -> pd.DataFrame:
    found = store.get_online_features(store.get_feature_service(service), asked).to_dict(include_event_timestamps=True)
    return pd.DataFrame(found)


def assert_same(feast: pd.DataFrame, found) -> None:
    for name in found.features:
        if name.endswith("_age_hours"):  # Feast passes no time: the age is that of the call
            continue
        mine = found.features[name]
        theirs = feast[name]
        for place, given in enumerate(theirs):
            value = pd.to_datetime(given, utc=True) if name == "since" and given is not None else given
            got = mine.iloc[place]
            assert (pd.isna(value) and pd.isna(got)) or value == got, (name, place, value, got)


def test_materialized_by_feast_and_read_by_the_reader(environment, store, values):
    store.materialize(START - timedelta(days=1), START + timedelta(days=1), disable_event_timestamp=False)
    held = layouts(environment)
    assert values.count(held["shops"]) == len(SHOPS) and values.count(held["visits"]) == len(VISITS)
    asked = records(np.random.default_rng(0), 40)
    rows = pd.DataFrame(asked)
    found = OnlineReader(environment, "everything", values).read(rows, pd.Series([START] * 40))
    feast = by_feast(store, "everything", asked)
    assert_same(feast, found)
    assert feast["size__ts"].gt(0).tolist() == found.event_times["shops"].notna().tolist()
    seconds = (found.event_times["shops"].dropna() - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    assert feast.loc[seconds.index, "size__ts"].tolist() == seconds.tolist()
    hours = (time() - seconds) / 3600
    assert feast.loc[seconds.index, "shops_age_hours"].tolist() == pytest.approx(hours.tolist(), abs=0.1)
    assert feast["shops_age_hours"].notna().tolist() == found.event_times["shops"].notna().tolist()
    expected = shop_rows(1, SHOPS).set_index("shop")["size"].reindex(rows["shop"])
    assert found.features["size"].tolist() == pytest.approx(expected.tolist(), nan_ok=True)


def test_written_as_a_table_and_read_by_feast(environment, store, values):
    held = layouts(environment)
    values.write(held["shops"], pa.Table.from_pandas(shop_rows(5, SHOPS), preserve_index=False))
    values.write(held["visits"], pa.Table.from_pandas(visit_rows(6, VISITS), preserve_index=False))
    asked = records(np.random.default_rng(1), 40)
    found = OnlineReader(environment, "everything", values).read(pd.DataFrame(asked), pd.Series([START] * 40))
    feast = by_feast(store, "everything", asked)
    assert found.features["spent"].notna().any() and found.features["city"].notna().any()
    assert_same(feast, found)


def test_a_push_follows_the_same_rule(environment, store, values):
    layout = layouts(environment)["visits"]
    newer = visit_rows(2, [("a", 1)]).assign(event_timestamp=START, known_at=START, spent=1.0)
    newer = newer.assign(visits_age_hours=None)  # Feast requires the column; no age is stored
    store.write_to_online_store("visits", newer)
    for minutes, spent, stays in ((-5, 2.0, 1.0), (0, 3.0, 3.0), (5, 4.0, 4.0)):
        event = START + timedelta(minutes=minutes)
        store.write_to_online_store("visits", newer.assign(event_timestamp=event, known_at=event, spent=spent))
        asked = [{"shop": "a", "customer": 1, "price": 1.0, "items": 1}]
        assert by_feast(store, "everything", asked)["spent"].tolist() == [stays]
    assert values.matching(layout, "customer", 1) == [(1, "a")]
    assert values.count(layout) == 1


def test_the_registry_gives_the_same_layouts(environment, store):
    """Also where an entity and its join key have different names, and with several join keys."""
    held = layouts(environment)
    for name in ("shops", "visits"):
        view = store.get_feature_view(name)
        assert layout_of("headrace", view, view.join_keys) == held[name]


def test_a_view_that_goes_takes_its_values_with_it(environment, store, values):
    store.materialize(START - timedelta(days=1), START + timedelta(days=1), disable_event_timestamp=False)
    held = layouts(environment)
    kept = [each for name, each in DEFINITIONS.items() if name in ("drawn_shop", "drawn_customer", "drawn_visits")]
    gone = [each for name, each in DEFINITIONS.items() if each not in kept]
    store.apply(kept, objects_to_delete=gone, partial=False)
    assert values.count(held["shops"]) == 0
    assert values.count(held["visits"]) == len(VISITS)
    store.teardown()
    assert values.count(held["visits"]) == 0
