"""The gateway's HTTP face, over states of models given by hand."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from ray_cluster.serving.gateway import ModelState, gateway_routes


async def states() -> dict[str, ModelState]:
    return {"flight_delay": ModelState("RUNNING", "", 2), "card_fraud": ModelState("DEPLOY_FAILED", "no version", 0)}


async def exposition() -> str:
    return "up 1\n"


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(gateway_routes(states, exposition), raise_server_exceptions=False)


def test_the_description_has_every_path(client: TestClient) -> None:
    described = client.get("/openapi.json")
    assert described.status_code == 200
    assert set(described.json()["paths"]) == {"/", "/healthz", "/readyz", "/metrics"}


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_documentation_page_needs_nothing_from_outside(client: TestClient, page: str) -> None:
    found = re.findall(r"""(?:(?:src|href|spec-url)=["']|url: ')([^"']+)""", client.get(page).text)
    assert "/openapi.json" in found and len(found) >= 3
    for address in found:
        assert re.match(r"/\w", address), address  # neither https://… nor //host
        assert client.get(address).status_code == 200, address


def test_a_model_that_is_not_there_is_a_problem_that_names_the_closest(client: TestClient) -> None:
    answer = client.post("/models/flight_dely/predict", json={})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["detail"] == (
        "POST /models/flight_dely/predict: there is no model 'flight_dely'. Did you mean 'flight_delay'? "
        "Served: card_fraud, flight_delay."
    )


def test_a_model_that_failed_is_waited_for(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["waiting"] == {"card_fraud": "DEPLOY_FAILED no version"}
    assert sorted(client.get("/").json()["models"]) == ["card_fraud", "flight_delay"]
    assert client.get("/metrics").text == "up 1\n"
