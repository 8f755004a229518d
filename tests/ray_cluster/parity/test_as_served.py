"""As served, so trained: a retrieved frame equals what the endpoint served under the same policy for expired values."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from configs import ConfigError
from configs.model import Defaults
from feature_repo.frames.expired_values import retrieve_as_served
from feature_repo.frames.training_frame import inputs_fingerprint, model_inputs
from ray_cluster.parity.comparison import as_requests
from ray_cluster.serving.batch_scoring import ScoringError, abstentions
from ray_cluster.serving.prediction_log import read_predictions
from tests.ray_cluster.served_world import NOON, SPEC, World, registered, world

__all__ = ["registered", "world"]  # fixtures

DEFAULTS = {
    "weather": Defaults(default={"temp": 50.0, "wind_gust": 0}),
    "plane_stats": Defaults(default={"plane_last_delay": -1.5}),
}


def old(world: World, **hours: float) -> None:
    """Views whose newest row is this many hours old; all are brought online."""
    for view, age in hours.items():
        rows = world.rows[view]
        world.write(view, rows[rows["event_timestamp"] <= NOON - timedelta(hours=age)])
    world.materialize()


def spec(**expired: Any) -> Any:
    return SPEC.model_copy(update={"expired": expired})


def both(world: World, policies: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    """What was served, what is retrieved for the same requests, and the rest of the retrieval."""
    world.serve(expired=policies)
    log = read_predictions(world.settings, SPEC.name)
    served = pd.DataFrame(log["features"].tolist())
    found = retrieve_as_served(world.settings, spec(**policies), as_requests(log, SPEC.requests), "as_of")
    columns = list(served.columns)
    return model_inputs(served[columns]), model_inputs(found.rows[columns].reset_index(drop=True)), found


def test_defaults_stand_for_expired_values_on_both_sides_and_for_nothing_else(world: World) -> None:
    old(world, weather=8, plane_stats=4)
    served, retrieved, found = both(world, DEFAULTS)
    pd.testing.assert_frame_equal(served, retrieved, check_dtype=False)
    known = found.rows["origin"].isin(["EWR", "JFK"]).to_numpy()
    assert known.any() and not known.all()
    assert (retrieved["temp"][known] == 50).all() and (retrieved["wind_gust"][known] == 0).all()
    assert retrieved["temp"][~known].isna().all()  # an airport never seen has no value that could expire
    assert retrieved["dewp"].isna().all()  # expired, and no default is said
    assert (retrieved["plane_last_delay"] != -1.5).all()  # four hours of a TTL of fourteen days
    assert found.expired["weather"].tolist() == known.tolist()


def test_without_a_policy_expired_values_are_null_on_both_sides(world: World) -> None:
    old(world, weather=8)
    served, retrieved, found = both(world, {})
    pd.testing.assert_frame_equal(served, retrieved, check_dtype=False)
    assert retrieved["temp"].isna().all() and found.ttls == {}


def test_ages_are_the_same_floats_on_both_sides(world: World) -> None:
    """Also of rows older than the TTL, whose age is missing as their values are, unless a default is given."""
    policies = {"carrier_stats": Defaults(default={"carrier_stats_age_hours": 48})}
    old(world, carrier_stats=47, origin_stats=47, plane_stats=4)
    asked_at = NOON + timedelta(hours=1, minutes=7, seconds=3, microseconds=123_457)
    world.materialize(asked_at)
    world.serve(asked_at, expired=policies)
    log = read_predictions(world.settings, SPEC.name)
    served = pd.DataFrame(log["features"].tolist()).filter(like="_age_hours").astype("float64")
    found = retrieve_as_served(world.settings, spec(**policies), as_requests(log, SPEC.requests), "as_of")
    assert list(served) == [
        f"{view}_age_hours" for view in ("carrier_stats", "origin_stats", "route_stats", "plane_stats")
    ]
    for name in served:
        pd.testing.assert_series_equal(served[name], found.rows[name], check_index=False, check_exact=True)
    assert served["origin_stats_age_hours"].isna().all()
    assert set(served["carrier_stats_age_hours"].dropna()) == {48.0}
    for view, event in {"plane_stats": NOON - timedelta(hours=4), "route_stats": NOON}.items():
        hours = (asked_at - event) // timedelta(microseconds=1) / 3_600_000_000
        assert set(served[f"{view}_age_hours"].dropna()) == {hours}


def test_batch_scoring_abstains_where_the_endpoint_does(world: World) -> None:
    old(world, weather=8)
    _, _, found = both(world, {"weather": "abstain", "plane_stats": None})
    reasons = abstentions(spec(weather="abstain"), found)
    log = read_predictions(world.settings, SPEC.name)
    assert reasons.notna().tolist() == log["score"].isna().tolist()
    assert set(reasons.dropna()) == {"The value of view 'weather' is 8 h old, past its TTL of 6 h."}
    assert 0 < reasons.notna().sum() < len(reasons)


def test_batch_scoring_refuses_as_one(world: World) -> None:
    old(world, weather=8)
    _, _, found = both(world, {"weather": "abstain"})
    with pytest.raises(
        ScoringError, match=r"View 'weather' has expired values for \d+ of 40 rows \(the oldest 8 h, its"
    ):
        abstentions(spec(weather="refuse"), found)
    fresh = retrieve_as_served(
        world.settings,
        spec(carrier_stats="refuse"),
        as_requests(read_predictions(world.settings, SPEC.name), SPEC.requests),
        "as_of",
    )
    assert abstentions(spec(carrier_stats="refuse"), fresh).isna().all()


def test_a_policy_about_what_there_is_not_stops_training(world: World) -> None:
    asked = pd.DataFrame()
    for policies, said in (
        ({"wether": None}, "no view 'wether' that can expire. Did you mean 'weather'"),
        ({"calendar": "abstain"}, "no view 'calendar' that can expire"),
        ({"plane_attributes": "refuse"}, "has no TTL"),
        ({"weather": Defaults(default={"tmp": 5})}, "has no feature 'tmp'. Did you mean 'temp'"),
        ({"weather": Defaults(default={"temp": "warm"})}, r"default.temp = 'warm': expected a number"),
    ):
        with pytest.raises(ConfigError, match=said):
            retrieve_as_served(world.settings, spec(**policies), asked, "as_of")


def test_defaults_are_part_of_what_a_training_is_made_from_and_other_policies_are_not(world: World) -> None:
    plain = inputs_fingerprint(world.settings, SPEC)
    assert inputs_fingerprint(world.settings, spec(weather="abstain", plane_stats="refuse")) == plain
    changed = {inputs_fingerprint(world.settings, spec(weather=Defaults(default={"temp": value}))) for value in (1, 2)}
    assert len(changed | {plain}) == 3
