"""The endpoint's HTTP face, on the real application with a stand-in reader and version."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from configs import load_model
from configs.model import Expired, RequestField
from configs.reading import nearest
from ray_cluster.serving.errors import MOST_PROBLEMS, InvalidRequestError, ProblemDetails
from ray_cluster.serving.prediction_log import PredictionLog
from ray_cluster.serving.predictor import Observed, Predictor, VersionError
from ray_cluster.serving.request_batches import Batches
from ray_cluster.serving.routes import ModelFacts, ViewTraits, routes
from ray_cluster.serving.schema import RequestSchema
from tests.ray_cluster.serving.stand_ins import FEATURES, StandInPipeline, StandInReader, StandInVersion

SPEC = load_model("flight_delay")
NOW = datetime(2013, 12, 17, tzinfo=UTC)
ROW = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "ORD",
    "tailnum": "N14228",
    "scheduled_departure": "2013-12-16T15:30:00Z",
    "scheduled_arrival": "2013-12-16T18:05:00+01:00",
}
MOST_ROWS, MOST_BYTES = 5, 5000


class Served:
    """A client and what is behind it."""

    def __init__(self, folder: Path, expired: Mapping[str, Expired] | None = None) -> None:
        self.folder = folder
        self.reader = StandInReader()
        schema = RequestSchema(SPEC.requests, MOST_ROWS)
        self.observed: list[Observed] = []
        self.predictor = Predictor(
            SPEC.name,
            schema,
            self.reader,
            PredictionLog(folder, "replica-1"),
            now=lambda: NOW,
            observe=self.observed.append,
            expired=expired,
            view_versions=lambda: {"weather": "c0de"},
        )
        self.predictor.swap(StandInVersion())
        self.counted: list[int] = []
        batches = Batches(self.predictor.predict, MOST_ROWS)
        views = {view: ViewTraits(self.reader.ttls[view], names) for view, names in self.reader.view_features.items()}
        app = routes(schema, self.facts, batches.run, MOST_BYTES, lambda status, _: self.counted.append(status), views)
        self.client = TestClient(app, raise_server_exceptions=False)

    def facts(self) -> ModelFacts:
        live = self.predictor.live
        return ModelFacts(
            name=SPEC.name,
            description=SPEC.description,
            version=live.version if live else None,
            alias=None,
            threshold=0.3,
            features=FEATURES,
            feature_service="flight_risk",
            run_id="run",
            trained_as_of=None,
            replica="replica-1",
        )

    def post(self, body: Any = None, **changes: Any) -> Any:
        content = {**ROW, **changes} if body is None else body
        return self.client.post("/predict", json={k: v for k, v in content.items() if v is not ...})

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for path in self.folder.glob("*/*.jsonl") for line in path.read_text().splitlines()]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield Served(tmp_path)


@pytest.mark.parametrize("number", [1e39, -1e300, 10**60])
def test_a_number_beyond_float32_is_refused(number: Any) -> None:
    fields = SPEC.requests.fields | {"amount": RequestField(type="number", description="Paid")}
    schema = RequestSchema(SPEC.requests.model_copy(update={"fields": fields}), 10)
    rows = [{**ROW, "amount": 3.4e38}, {**ROW, "amount": number}]
    assert schema.read(json.dumps({"instances": rows[:1]}).encode())[0][0]["amount"] == 3.4e38
    with pytest.raises(InvalidRequestError, match=r"instances\[1\]\.amount = .*: expected a finite number") as caught:
        schema.read(json.dumps({"instances": rows}).encode())
    assert "between ±3.4e+38" in str(caught.value)


def test_one_row_is_answered_and_logged_before_the_answer(served: Served) -> None:
    answer = served.post(flight_id="AA-1").json()
    (line,) = served.lines()
    assert answer["probability"] == line["score"] == pytest.approx(0.315)
    assert answer["decision"] is True
    assert (answer["id"], line["id"]) == ("AA-1", "AA-1")
    assert (answer["version"], answer["status"], answer["missing_features"]) == (1, "ok", 0)
    assert answer["prediction_id"] == line["prediction_id"]
    assert line["entities"] == {"carrier": "UA", "origin": "EWR", "dest": "ORD", "tailnum": "N14228"}
    assert line["fields"]["scheduled_arrival"] == "2013-12-16T17:05:00+00:00"
    assert line["features"] == {"late_rate": 0.25, "wind": 7.0, "hour_of_day": 15}
    assert line["event_times"]["weather"] == "2013-12-16T12:30:00+00:00"
    assert served.counted == [200]


@pytest.mark.parametrize(
    ("changes", "as_of"),
    [
        ({}, "2013-12-16T13:30:00+00:00"),  # two hours before departure
        ({"scheduled_departure": "2013-12-18T12:00:00Z"}, "2013-12-17T00:00:00+00:00"),  # no later than now
        ({"as_of": "2013-12-16T08:00:00-05:00"}, "2013-12-16T13:00:00+00:00"),  # as asked
    ],
)
def test_as_of(served: Served, changes: dict[str, Any], as_of: str) -> None:
    assert served.post(**changes).json()["as_of"] == as_of


def test_rows_come_back_in_order_and_the_log_has_a_file_per_day(served: Served) -> None:
    rows = [{**ROW, "flight_id": str(day), "scheduled_departure": f"2013-12-{day}T15:30:00Z"} for day in (12, 11, 12)]
    answers = served.post({"instances": rows}).json()["predictions"]
    assert [answer["id"] for answer in answers] == ["12", "11", "12"]
    assert sorted(path.parent.name for path in served.folder.glob("*/replica-1.jsonl")) == ["2013-12-11", "2013-12-12"]
    assert served.reader.reads[-1] == 3


def test_an_unknown_entity_is_an_answer(served: Served) -> None:
    partial = served.post(carrier="ZZ").json()
    assert (partial["status"], partial["unknown_entities"], partial["missing_features"]) == ("partial", ["carrier"], 1)
    unknown = served.post(carrier="ZZ", origin="ZZZ").json()
    assert unknown["status"] == "unknown"
    assert set(unknown["unknown_entities"]) == {"carrier", "origin", "dest", "tailnum"}
    assert 0 <= unknown["probability"] <= 1


def test_explain_tells_values_and_ages(served: Served) -> None:
    answer = served.client.post("/predict?explain=true", json={**ROW, "carrier": "ZZ"}).json()
    assert answer["explanation"]["features"] == {"late_rate": None, "wind": 7.0, "hour_of_day": 15}
    assert answer["explanation"]["views"]["weather"]["age_seconds"] == 3600
    assert answer["explanation"]["views"]["carrier_stats"] == {"event_time": None, "age_seconds": None}


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"origin": 7}, "origin", "origin = 7: expected a string of at most 256 characters matching ^[A-Z]{3}$."),
        ({"origin": "newark"}, "origin", "origin = 'newark': expected a string of at most 256 characters"),
        ({"origin": ...}, "origin", "origin is missing: expected a string"),
        ({"origin": None}, "origin", "origin = None: expected a string"),
        ({"orign": "EWR"}, "orign", "orign is not a field of this model. Did you mean 'origin'?"),
        (
            {"scheduled_departure": "2013-12-16T15:30:00"},
            "scheduled_departure",
            "expected an ISO 8601 time with offset",
        ),
        ({"scheduled_departure": 1387207800}, "scheduled_departure", "expected an ISO 8601 time with offset"),
        ({"scheduled_departure": "9999-12-16T15:30:00Z"}, "scheduled_departure", "years 1900 to 2200"),
        ({"flight_id": 7}, "flight_id", "flight_id = 7: expected a string of at most 256 characters, or null."),
        ({"tailnum": "N" * 5000}, "", "send fewer rows"),
        ({"tailnum": "N" * 300}, "tailnum", "(300 characters)"),
    ],
)
def test_a_wrong_field_is_named(served: Served, changes: dict[str, Any], field: str, said: str) -> None:
    answer = served.post(**changes)
    (problem,) = answer.json()["errors"]
    assert answer.status_code == (413 if field == "" else 422)
    assert problem["field"] == field
    assert said in problem["message"]
    assert served.lines() == []


def test_every_problem_of_every_row_is_told(served: Served) -> None:
    answer = served.post({"instances": [ROW, {**ROW, "origin": 1, "dest": 2}, 3]}).json()
    assert [problem["field"] for problem in answer["errors"]] == [
        "instances[1].origin",
        "instances[1].dest",
        "instances[2]",
    ]


def calls_to_refuse(instances: list[Any]) -> tuple[int, list[str]]:
    """How many calls of Python and C functions it takes to read a request, and the messages of its problems."""
    schema, body = RequestSchema(SPEC.requests, 1000), json.dumps({"instances": instances}).encode()
    calls = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    messages: list[str] = []
    sys.setprofile(count)
    try:
        schema.read(body)
    except InvalidRequestError as error:
        messages = [problem.message for problem in error.problems]
    finally:
        sys.setprofile(None)
    return calls, messages


@pytest.mark.parametrize(
    "instance",
    [
        lambda number: {**ROW, **{f"unknown_{field}": 1 for field in range(60)}},
        lambda number: {**ROW, **{f"orign_{number}_{field}": 1 for field in range(60)}},  # never the same name twice
        lambda number: {**ROW, **{f"{number} {field}" + "x" * 500: 1 for field in range(10)}},
        lambda number: dict.fromkeys(ROW, 7),
        lambda number: {},
        lambda number: number,
        lambda number: {**ROW, "origin": "N" * 5000},
        lambda number: {**ROW, "origin": [[[number]] * 50] * 50},
    ],
)
def test_a_request_full_of_problems_costs_less_than_two_valid_ones(instance: Callable[[int], Any]) -> None:
    good, none = calls_to_refuse([ROW] * 1000)
    calls, messages = calls_to_refuse([instance(number) for number in range(1000)])
    assert none == []
    assert len(messages) == MOST_PROBLEMS
    assert max(map(len, messages)) < 500
    assert calls < 2 * good


def test_a_hundred_thousand_unknown_fields_are_counted_not_described() -> None:
    calls, messages = calls_to_refuse([{f"{number}": number for number in range(100_000)}])
    assert len(messages) == MOST_PROBLEMS
    assert calls < 10_000


def test_the_closest_name_is_searched_once_for_each_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []

    def search(word: str, choices: list[str]) -> str:
        searched.append(word)
        return nearest(word, choices)

    monkeypatch.setattr("ray_cluster.serving.schema.nearest", search)
    schema = RequestSchema(SPEC.requests, 1000)
    for _ in range(3):
        with pytest.raises(
            InvalidRequestError, match=r"instances\[0\]\.orign is not a field .* mean 'origin'"
        ) as caught:
            schema.read(json.dumps({"instances": [{**ROW, "orign": "EWR"}] * 1000}).encode())
        assert (len(caught.value.problems), caught.value.count) == (MOST_PROBLEMS, 1000)
    assert searched == ["orign"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"carrier": "UA",}', "trailing comma at line 1 column 18"),
        (b"", "The body is not JSON"),
        (b"[" * 2000, "recursion limit"),
        (b"NaN", "The body is not JSON"),
        (b"\xff\xfe", "The body is not JSON"),
        (b"[]", "body = '[]': expected a JSON object"),
        (b'{"instances": []}', "instances has 0 rows: expected a list of 1 to 5 objects."),
        (b'{"instances": [1,2,3,4,5,6]}', "instances has 6 rows"),
        (b'{"instances": 7}', "instances = 7: expected a list"),
        (b'{"instances": [], "carrier": "UA"}', "carrier is next to instances"),
    ],
)
def test_a_wrong_body_is_told(served: Served, body: bytes, said: str) -> None:
    answer = served.client.post("/predict", content=body)
    assert answer.status_code == 422
    assert said in answer.json()["errors"][0]["message"]


def test_a_large_body_is_refused_declared_or_streamed(served: Served) -> None:
    assert served.client.post("/predict", content=b"x" * (MOST_BYTES + 1)).status_code == 413
    streamed = served.client.post("/predict", content=iter([b"x" * 3000] * 3))
    assert streamed.status_code == 413
    assert "at most 5000 bytes" in streamed.json()["errors"][0]["expected"]


def test_an_unexpected_failure_says_an_id_and_nothing_else(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("redis password is hunter2")

    monkeypatch.setattr(served.reader, "read", explode)
    answer = served.post()
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["error_id"] in caplog.text
    assert served.counted == [500]


def fail(*_: Any) -> None:
    raise RuntimeError("no online store")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "title", "detail", "fields"),
    [
        ("GET", "/no/such", b"", 404, "about:blank", "Not Found", "GET /no/such: Not Found.", None),
        ("GET", "/predict", b"", 405, "about:blank", "Method Not Allowed", "GET /predict: Method Not Allowed.", None),
        ("POST", "/predict", b" " * 5001, 413, "body-too-large", "The body is too large", "The body has 5001 ", [""]),
        (
            "POST",
            "/predict",
            json.dumps({**ROW, "origin": 7}).encode(),
            422,
            "invalid-request",
            "Invalid request",
            "origin = 7: expected a string",
            ["origin"],
        ),
        (
            "POST",
            "/predict",
            json.dumps({"instances": [{**ROW, "orign": "EWR", "origin": 7}] * 3}).encode(),
            422,
            "invalid-request",
            "Invalid request",
            "6 problems. The first: instances[0].orign is not a field of this model. Did you mean 'origin'?",
            [f"instances[{row}].{name}" for row in range(3) for name in ("orign", "origin")],
        ),
        (
            "POST",
            "/predict?ages=7",
            b"",
            422,
            "invalid-request",
            "Invalid request",
            "ages = '7': expected true or false.",
            ["ages"],
        ),
        (
            "POST",
            "/predict",
            json.dumps(ROW).encode(),
            500,
            "internal-error",
            "Internal error",
            "The server fail",
            None,
        ),
    ],
)
def test_every_error_is_a_problem_details_document(
    served: Served, method: str, path: str, body: bytes, status: int, kind: str, title: str, detail: str, fields: Any
) -> None:
    served.reader.read = fail  # type: ignore[method-assign, assignment]
    answer = served.client.request(method, path, content=body)
    document = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == document["status"] == status
    assert document["type"] == (kind if kind == "about:blank" else f"urn:headrace:problem:{kind}")
    assert (document["title"], document["instance"]) == (title, path.partition("?")[0])
    assert document["detail"].startswith(detail)
    assert (fields and [error["field"] for error in document["errors"]]) == fields
    assert ("errors" in document, "error_id" in document) == (fields is not None, status == 500)
    ProblemDetails.model_validate(document)


def test_problems_beyond_twenty_are_counted() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        RequestSchema(SPEC.requests, 1000).read(json.dumps({"instances": [{**ROW, "x": 1}] * 1000}).encode())
    assert (len(caught.value.problems), caught.value.count) == (20, 1000)


def test_a_version_that_cannot_score_is_refused_and_the_old_one_stays(served: Served) -> None:
    with pytest.raises(VersionError, match="needs the features moon_phase"):
        served.predictor.swap(StandInVersion(version=2, features=[*FEATURES, "moon_phase"]))
    with pytest.raises(VersionError, match="cannot score the example request"):
        served.predictor.swap(StandInVersion(version=3, pipeline=None))
    with pytest.raises(VersionError, match=r"outside \[0, 1\]"):
        served.predictor.swap(StandInVersion(version=4, pipeline=StandInPipeline(float("nan"))))
    assert served.post().json()["version"] == 1


def test_the_description_has_the_models_own_fields_and_examples(served: Served) -> None:
    described = served.client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    body = described["requestBody"]["content"]["application/json"]
    assert body["schema"]["anyOf"][0]["properties"]["origin"]["description"] == "IATA code of the airport of departure"
    example = body["examples"]["one row"]["value"]
    assert served.post(example).status_code == 200
    assert {"200", "413", "422"} <= set(described["responses"])
    page = served.client.get("/docs")
    assert page.status_code == 200 and 'src="http' not in page.text  # it works without the internet
    script = re.search(r'src="([^"]+swagger-ui-bundle.js)"', page.text)
    assert script and served.client.get(script[1]).status_code == 200
    assert served.client.get("/readyz").json() == {"status": "ok", "version": 1}
    assert served.client.get("/").json()["version"] == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TIMES = st.datetimes().map(lambda time: time.isoformat() + "Z") | st.just("2013-12-16T15:30:00+14:00")
CODES = st.from_regex(r"[A-Z0-9]{2,7}", fullmatch=True)
FIELDS = {**dict.fromkeys(SPEC.requests.entities, CODES), **dict.fromkeys(SPEC.requests.fields, TIMES)}
NEARLY = st.fixed_dictionaries(
    {name: good | JSON for name, good in FIELDS.items()}, optional={"as_of": TIMES | JSON, "flight_id": JSON, "x": JSON}
)
BODIES = JSON | NEARLY | st.builds(lambda rows: {"instances": rows}, st.lists(NEARLY | JSON, max_size=6) | JSON)


@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=BODIES)
def test_any_json_gets_200_413_or_422(served: Served, content: Any) -> None:
    answer = served.client.post("/predict", content=json.dumps(content).encode())
    assert answer.status_code in (200, 413, 422), answer.text
    if answer.status_code != 200:
        assert all(problem["message"].endswith(".") for problem in answer.json()["errors"])


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=400))
def test_any_bytes_get_200_413_or_422(served: Served, body: bytes) -> None:
    assert served.client.post("/predict", content=body).status_code in (200, 413, 422)


def test_waiting_requests_share_a_batch_and_fail_alone() -> None:
    calls: list[list[int]] = []

    def double(rows: Any) -> list[int]:
        calls.append(list(rows))
        if 13 in rows:
            raise ValueError("13")
        return [2 * row for row in rows]

    async def together(ask: Callable[[Batches[int, int]], Any]) -> Any:
        return await ask(Batches(double, most=4))

    def ask(batches: Batches[int, int]) -> Any:
        return asyncio.gather(
            *(batches.run([n]) for n in (1, 2, 13, 4, 5)), batches.run([6, 7]), return_exceptions=True
        )

    results = asyncio.run(together(ask))
    assert [results[n] for n in (0, 1, 3, 4, 5)] == [[2], [4], [8], [10], [12, 14]]
    assert isinstance(results[2], ValueError)
    assert calls[0] == [1, 2, 13, 4]
    assert calls[-1] == [5, 6, 7]
