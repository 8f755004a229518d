"""Values older than their TTL at the endpoint: null, defaults, no probability, no answer; and the ages shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from configs import ConfigError
from configs.model import Defaults
from ray_cluster.serving.app import AppArgs
from ray_cluster.serving.schema import Answer
from tests.ray_cluster.serving.stand_ins import StandInReader
from tests.ray_cluster.serving.test_routes import ROW, SPEC, Served

HOUR = 3600.0


def stale(folder: Path, policies: dict[str, Any], weather: float = 7 * HOUR, stats: float = HOUR) -> Served:
    """An endpoint whose weather (TTL 6 h) and carrier_stats (TTL 2 d) are this old."""
    served = Served(folder, policies)
    served.reader.ages = {"weather": weather, "carrier_stats": stats}
    return served


def test_null_is_what_happens_unless_something_else_is_said(tmp_path: Path) -> None:
    for number, policies in enumerate(({}, {"weather": None})):
        served = stale(tmp_path / str(number), policies)
        answer = served.post().json()
        assert (answer["probability"], answer["status"], answer["missing_features"]) == (0.315, "ok", 1)
        (line,) = served.lines()
        assert line["features"]["wind"] is None and line["event_times"]["weather"] is not None
        assert line["expired"] == {"weather": {"age": 7 * HOUR, "ttl": 6 * HOUR, "policy": "null"}}


def test_a_default_stands_for_the_expired_value_and_not_for_the_unknown_one(tmp_path: Path) -> None:
    served = stale(tmp_path, {"weather": Defaults(default={"wind": 12.5})})
    answers = served.client.post("/predict?explain=true", json={"instances": [ROW, {**ROW, "origin": "ZZZ"}]}).json()[
        "predictions"
    ]
    assert [answer["explanation"]["features"]["wind"] for answer in answers] == [12.5, None]
    assert [line["features"]["wind"] for line in served.lines()] == [12.5, None]
    assert [line["expired"] for line in served.lines()] == [
        {"weather": {"age": 7 * HOUR, "ttl": 6 * HOUR, "policy": "default"}},
        {},
    ]
    assert served.observed[-1].missing == 1 and served.observed[-1].expired == {"weather": 1}


def test_an_abstaining_row_has_no_probability_and_says_why_its_neighbour_has_one(tmp_path: Path) -> None:
    served = stale(tmp_path, {"weather": "abstain"}, weather=27060)
    rows = [{**ROW, "flight_id": "a"}, {**ROW, "flight_id": "b", "origin": "ZZZ"}]
    first, second = served.post({"instances": rows}).json()["predictions"]
    assert (first["probability"], first["decision"], first["status"]) == (None, None, "abstained")
    assert first["reason"] == ("The value of view 'weather' for origin = EWR is 7 h 31 min old, past its TTL of 6 h.")
    assert second["probability"] == 0.315 and "reason" not in second
    Answer.model_validate(first)
    lines = {line["id"]: line for line in served.lines()}
    assert (lines["a"]["score"], lines["a"]["decision"]) == (None, None)
    assert lines["a"]["expired"] == {"weather": {"age": 27060, "ttl": 21600, "policy": "abstain"}}
    assert lines["b"]["score"] == 0.315
    assert served.observed[-1].abstained == 1


def test_a_row_that_abstains_for_two_views_names_both(tmp_path: Path) -> None:
    served = stale(tmp_path, {"weather": "abstain", "carrier_stats": "abstain"}, stats=60 * HOUR)
    reason = served.post().json()["reason"]
    assert reason == (
        "The value of view 'carrier_stats' for carrier = UA is 2 d 12 h old, past its TTL of 2 d; "
        "the value of view 'weather' for origin = EWR is 7 h old, past its TTL of 6 h."
    )


def test_a_refused_request_says_how_to_mend_it_and_logs_nothing(tmp_path: Path) -> None:
    served = stale(tmp_path, {"weather": "refuse"})
    answer = served.post()
    assert answer.status_code == 503
    (problem,) = answer.json()["errors"]
    assert problem == {
        "field": "",
        "value": {"origin": "EWR"},
        "expected": "a value of view 'weather' no older than 6 h at as_of",
        "message": "The value of view 'weather' for origin = EWR is 7 h old, past its TTL of 6 h, and the model "
        "refuses expired values of it; materialize newer ones with `headrace run materialize`, or change expired "
        "in the model's file.",
    }
    assert served.lines() == [] and served.observed == [] and served.counted == [503]
    served.reader.ages["weather"] = 6 * HOUR  # materialized
    assert served.post().status_code == 200 and len(served.lines()) == 1


def test_one_stale_row_refuses_its_whole_request_and_names_itself(tmp_path: Path) -> None:
    served = stale(tmp_path, {"weather": "refuse"})
    answer = served.post({"instances": [{**ROW, "origin": "ZZZ"}, ROW, {**ROW, "origin": "ZZZ"}]})
    assert answer.status_code == 503
    assert [each["field"] for each in answer.json()["errors"]] == ["instances[1]"]
    assert answer.json()["errors"][0]["message"].startswith("instances[1]: the value of view 'weather'")
    assert served.lines() == []


def test_a_version_is_not_refused_for_stale_features(tmp_path: Path) -> None:
    served = stale(tmp_path, {"weather": "refuse"})
    assert served.predictor.live is not None
    served.predictor.swap(served.predictor.live)


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ({"wether": "refuse"}, "expired.wether: .* no view 'wether' .* Did you mean 'weather'"),
        ({"weather": Defaults(default={"wnd": 3})}, "view 'weather' has no feature 'wnd'. Did you mean 'wind'"),
    ],
)
def test_a_policy_about_what_there_is_not_stops_the_replica(tmp_path: Path, policies: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Served(tmp_path, policies)


def test_the_policy_is_one_of_the_applications_arguments() -> None:
    spec = SPEC.model_copy(update={"expired": {"weather": Defaults(default={"temp": 50.0}), "plane_stats": "refuse"}})
    args = AppArgs.of(spec).model_dump(mode="json")
    assert args != AppArgs.of(SPEC).model_dump(mode="json")
    assert AppArgs.model_validate(args).expired == spec.expired


def test_ages_are_told_when_asked_for(tmp_path: Path) -> None:
    served = stale(tmp_path, {})
    assert "ages" not in served.post().json()
    many = {"instances": [ROW, {**ROW, "carrier": "ZZ"}]}
    first, second = served.client.post("/predict?ages=true", json=many).json()["predictions"]
    assert first["ages"]["weather"] == {
        "event_time": "2013-12-16T06:30:00+00:00",
        "age_seconds": 7 * HOUR,
        "ttl_seconds": 6 * HOUR,
        "expired": True,
        "known_until": None,
        "features": ["wind"],
    }
    assert first["ages"]["carrier_stats"]["known_until"] == "2013-12-16T12:00:00+00:00"
    assert first["ages"]["carrier_stats"]["expired"] is False
    assert second["ages"]["carrier_stats"] | {"features": 0, "known_until": 0} == {
        "event_time": None,
        "age_seconds": None,
        "ttl_seconds": 48 * HOUR,
        "expired": False,
        "known_until": 0,
        "features": 0,
    }
    Answer.model_validate(first)
    described = served.client.get("/openapi.json").json()
    assert "ages" in [each["name"] for each in described["paths"]["/predict"]["post"]["parameters"]]
    assert "ViewFreshness" in described["components"]["schemas"]


@pytest.mark.parametrize("value", ["maybe", "", "2", "null"])
def test_another_value_of_ages_is_refused(tmp_path: Path, value: str) -> None:
    answer = Served(tmp_path).client.post(f"/predict?ages={value}", json=ROW)
    assert answer.status_code == 422
    assert [each["message"] for each in answer.json()["errors"]] == [f"ages = {value!r}: expected true or false."]


def test_the_log_says_what_the_store_was_materialized_as_of_and_by_which_code(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.post()
    (line,) = served.lines()
    assert line["known_until"] == {"carrier_stats": "2013-12-16T12:00:00+00:00", "weather": None}
    assert line["view_versions"] == {"weather": "c0de"}
    observed = served.observed[-1]
    assert observed.lag == {"carrier_stats": 1.5 * HOUR}
    assert observed.ages.tolist() == [[HOUR, HOUR]]


policies = st.dictionaries(
    st.sampled_from(["weather", "carrier_stats"]),
    st.sampled_from([None, "abstain", "refuse"]),
)
ages = st.fixed_dictionaries({"weather": st.floats(0, 12 * HOUR), "carrier_stats": st.floats(0, 96 * HOUR)})
rows = st.lists(st.tuples(st.sampled_from(["UA", "ZZ"]), st.sampled_from(["EWR", "ZZZ"])), min_size=1, max_size=5)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(policies=policies, ages=ages, rows=rows)
def test_every_row_gets_what_the_strictest_policy_of_its_expired_views_says(
    tmp_path_factory: pytest.TempPathFactory, policies: Any, ages: dict[str, float], rows: list[tuple[str, str]]
) -> None:
    served = Served(tmp_path_factory.mktemp("log"), policies)
    served.reader.ages = ages
    ttls = StandInReader().ttls
    wanted = []
    for carrier, origin in rows:
        seen = [view for view, known in (("carrier_stats", carrier == "UA"), ("weather", origin == "EWR")) if known]
        wanted.append({policies.get(view) for view in seen if ages[view] > ttls[view]})
    client: TestClient = served.client
    answer = client.post("/predict", json={"instances": [{**ROW, "carrier": c, "origin": o} for c, o in rows]})
    refused = [number for number, each in enumerate(wanted) if "refuse" in each]
    if refused:
        assert answer.status_code == 503
        assert sorted({each["field"] for each in answer.json()["errors"]}) == [f"instances[{n}]" for n in refused]
        assert served.lines() == []
        return
    told = answer.json()["predictions"]
    assert [each["probability"] is None for each in told] == ["abstain" in each for each in wanted]
    assert [each["status"] == "abstained" for each in told] == ["abstain" in each for each in wanted]
    logged = {line["prediction_id"]: line["score"] for line in served.lines()}
    assert [logged[each["prediction_id"]] for each in told] == [each["probability"] for each in told]
