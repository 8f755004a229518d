"""Feast itself on the store: apply, retrieve with an on-demand view, materialize, read online."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

START = datetime(2024, 1, 1, tzinfo=UTC)


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("feast")
    moment = pa.timestamp("us", "UTC")
    times = {
        "event": pa.array([hour(1), hour(2), hour(1)], moment),
        "known": pa.array([hour(1), hour(5), hour(3)], moment),
    }
    (folder / "stays").mkdir()
    pq.write_table(
        pa.table({"guest": ["a", "a", "b"], "nights": [1, 2**60 + 1, 3], **times}), folder / "stays" / "1.parquet"
    )
    pq.write_table(pa.table({"rate": [1.0, 2.0, 1.5], **times}), folder / "rates.parquet")
    written = {
        "project": "test",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "offline_store": {"type": "feature_repo.offline.offline_store.AsofOfflineStore", "root": str(folder)},
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "entity_key_serialization_version": 3,
        "materialization": {"pull_latest_features": True},
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(written))
    guest = Entity(name="guest", join_keys=["guest"], value_type=ValueType.STRING)
    columns = {"timestamp_field": "event", "created_timestamp_column": "known"}
    stays = FeatureView(
        name="stays",
        entities=[guest],
        ttl=timedelta(hours=4),
        schema=[Field(name="guest", dtype=String), Field(name="nights", dtype=Int64)],
        source=FileSource(name="stays", path="stays/*.parquet", **columns),
    )
    rates = FeatureView(  # the same for everybody: no entity
        name="rates",
        entities=[],
        ttl=timedelta(0),
        schema=[Field(name="rate", dtype=Float64)],
        source=FileSource(name="rates", path="rates.parquet", **columns),
    )

    @on_demand_feature_view(
        sources=[rates, RequestSource(name="asked", schema=[Field(name="people", dtype=Int64)])],
        schema=[Field(name="price", dtype=Float64)],
        mode="pandas",
    )
    def price(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"price": inputs["rate"] * inputs["people"]})

    found = FeatureStore(repo_path=str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.apply([guest, stays, rates, price])
    return found


REFS = ["stays:nights", "rates:rate", "price:price"]


def test_retrieval_through_feast_with_an_on_demand_view_and_a_view_without_entities(store: FeatureStore) -> None:
    requests = pd.DataFrame(
        {
            "guest": ["b", "a", "a", None],
            "people": [1, 2, 3, 4],
            "event_timestamp": [hour(2), hour(4), hour(6), hour(9)],
        }
    )
    frame = store.get_historical_features(requests, REFS).to_df()
    assert frame["nights"].astype(object).where(frame["nights"].notna(), None).tolist() == [None, 1, 2**60 + 1, None]
    assert frame["rate"].tolist() == [1.0, 1.5, 2.0, 2.0]  # the second is a correction, known at 3 o'clock
    assert frame["price"].tolist() == (frame["rate"] * frame["people"]).tolist()


def test_times_come_with_the_on_demand_features(store: FeatureStore) -> None:
    requests = pd.DataFrame({"guest": ["a", "a"], "people": [1, 1], "event_timestamp": [hour(4), hour(20)]})
    job = store.get_historical_features(requests, REFS)
    frame = job.to_df_with_times()  # type: ignore[attr-defined]
    assert frame["stays__event_timestamp"].tolist() == [hour(1), hour(2)]
    assert frame["stays__known_at"].tolist() == [hour(1), hour(5)]
    assert frame["nights"].isna().tolist() == [False, True]  # the second has expired; its time is still told
    assert frame["price"].notna().all()


def test_feast_materializes_from_it(store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.materialize(hour(-1), hour(4), feature_views=["stays", "rates"], disable_event_timestamp=False)
    read = store.get_online_features(["stays:nights", "rates:rate"], [{"guest": "a"}, {"guest": "b"}]).to_dict()
    assert read["nights"] == [1, 3]
    store.materialize(hour(4), hour(6), feature_views=["stays"], disable_event_timestamp=False)
    read = store.get_online_features(["stays:nights"], [{"guest": "a"}, {"guest": "b"}]).to_dict()
    assert read["nights"] == [2**60 + 1, 3]


def test_feast_s_date_range_without_requests_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="Pass the request rows as a pandas DataFrame"):
        store.get_historical_features(None, REFS[:1], start_date=hour(0), end_date=hour(9))


def test_both_bundled_environments_name_a_store_that_loads() -> None:
    from feast.repo_config import get_offline_config_from_type

    for environment in ("local", "production"):
        path = Path(__file__).parents[3] / "configs" / environment / "feature_store.yaml"
        block = yaml.safe_load(path.read_text())["offline_store"]
        assert get_offline_config_from_type(block["type"])(**block).memory_limit == "4GB"
    ray = {"type": "ray_cluster.cluster.ray_offline_store.RayAsofOfflineStore", "root": "x", "parallelism": 4}
    assert get_offline_config_from_type(ray["type"])(**ray).parallelism == 4
