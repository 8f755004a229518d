"""The live endpoint over HTTP."""

from __future__ import annotations

import json

import httpx
import pytest

FLIGHT = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "ORD",
    "tailnum": "N14228",
    "scheduled_departure": "2013-03-28T15:30:00Z",
    "scheduled_arrival": "2013-03-28T18:05:00Z",
}

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def client(headrace, lifecycle):
    with httpx.Client(base_url=headrace.settings.url("serve"), timeout=30, trust_env=False) as found:
        yield found


def predict(client: httpx.Client, content: object, **params: str) -> httpx.Response:
    return client.post("/models/flight_delay/predict", json=content, params=params)


def test_one_flight(client):
    answer = predict(client, {**FLIGHT, "flight_id": "mine"})
    assert answer.status_code == 200
    body = answer.json()
    assert 0 < body["probability"] < 1 and isinstance(body["decision"], bool)
    assert body["version"] == 1 and body["id"] == "mine" and body["prediction_id"]
    assert body["as_of"].startswith("2013-03-28T13:30:00")


def test_many_flights_and_their_ages(client):
    answer = predict(client, {"instances": [FLIGHT, {**FLIGHT, "tailnum": None}]}, explain="true")
    assert answer.status_code == 200
    first, second = answer.json()["predictions"]
    assert first["prediction_id"] != second["prediction_id"]
    text = json.dumps(first)
    assert "origin_stats" in text and "age" in text and "hour_of_day" in text


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"origin": "Newark"}, "origin", "Newark"),
        ({"carrier": 7}, "carrier", "7"),
        ({"scheduled_departure": "tomorrow"}, "scheduled_departure", "tomorrow"),
        ({"scheduled_departure": "2013-03-28T15:30:00"}, "scheduled_departure", "offset"),
        ({"colour": "red"}, "colour", "colour"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(client, change, field, expected):
    answer = predict(client, {**FLIGHT, **change})
    assert answer.status_code == 422
    problem = answer.json()["errors"][0]
    assert field in problem["field"] and expected in json.dumps(problem)
    assert problem["message"]


def test_a_missing_field_is_named(client):
    answer = predict(client, {name: value for name, value in FLIGHT.items() if name != "dest"})
    assert answer.status_code == 422 and "dest" in answer.json()["errors"][0]["field"]


def test_what_is_not_json_is_refused(client):
    answer = client.post("/models/flight_delay/predict", content="{", headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_an_oversized_body_is_refused(client):
    answer = client.post(
        "/models/flight_delay/predict", content=b" " * 2_000_000, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


def test_an_unknown_entity_gets_a_documented_answer(client):
    answer = predict(client, {**FLIGHT, "carrier": "ZZ", "tailnum": "N00000", "dest": "XXX"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "partial" and 0 <= body["probability"] <= 1
    documented = client.get("/models/flight_delay/openapi.json").json()
    assert "unknown" in json.dumps(documented)


def test_health_metrics_and_documentation(client):
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 200 and "flight_delay" in ready.json()["models"]
    assert client.get("/models/flight_delay/docs").status_code == 200
    for _ in range(20):
        metrics = client.get("/metrics")
        if "headrace_requests" in metrics.text:
            break
        import time

        time.sleep(1)
    assert metrics.status_code == 200 and "headrace_requests" in metrics.text


def test_the_command_line_asks_too(headrace, client):
    asked = headrace("predict", "flight_delay", "--raw", "--json", json.dumps(FLIGHT))
    assert asked.returncode == 0 and 0 < json.loads(asked.stdout)["probability"] < 1
    many = headrace("predict", "flight_delay", "--json", json.dumps([FLIGHT, FLIGHT]))
    assert many.returncode == 0 and "probability" in many.stdout
    refused = headrace("predict", "flight_delay", "--json", json.dumps({**FLIGHT, "origin": "Newark"}))
    assert refused.returncode == 1 and "Newark" in refused.stderr and "Traceback" not in refused.stderr
