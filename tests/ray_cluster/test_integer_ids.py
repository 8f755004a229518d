"""Requests whose id is a whole number in the tables: replayed, logged, and joined to their outcomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from configs import Settings, load_model, load_settings
from configs.model import ModelSpec
from configs.table import Column, Source, Table
from feature_repo.frames.label_overrides import LabelOverride, append, with_overrides
from feature_repo.tables import ingest_table
from ray_cluster.monitoring.measurements import with_outcomes
from ray_cluster.monitoring.monitoring_run import outcomes_of
from ray_cluster.serving.prediction_log import PredictionLog, predictions_folder, read_predictions
from ray_cluster.serving.predictor import Predictor
from ray_cluster.serving.replay import replay
from ray_cluster.serving.schema import RequestSchema
from tests.ray_cluster.serving.stand_ins import StandInReader, StandInVersion

START = datetime(2013, 12, 16, tzinfo=UTC)
AS_OF = START + timedelta(days=7)
FIRST = 2**53 + 1  # not a float


def spec() -> ModelSpec:
    """The flights' model, with an id of its own: a whole number."""
    flights = load_model("flight_delay")
    requests = flights.requests.model_copy(update={"table": "orders", "id": "order_id", "lead": timedelta(0)})
    label = flights.label.model_copy(
        update={"table": "returns", "positive": "returned", "known_at": "known_at", "matures": timedelta(0)}
    )
    return flights.model_copy(update={"requests": requests, "label": label})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    times = pd.date_range(START, periods=24, freq="h")
    orders = pd.DataFrame(
        {
            "order_id": range(FIRST, FIRST + 24),
            "carrier": "UA",
            "origin": "EWR",
            "dest": "ORD",
            "tailnum": "N14228",
            "scheduled_departure": times,
            "scheduled_arrival": times + pd.Timedelta("2h"),
        }
    )
    returns = orders[["order_id"]].assign(returned=orders.index % 3 == 0, known_at=times + pd.Timedelta("1d"))
    loaded = load_settings(variables={"HEADRACE_HOME": str(tmp_path / "home")})
    kinds = {"order_id": "integer", "returned": "boolean"}
    tables = {}
    for name, frame, time in (("orders", orders, "scheduled_departure"), ("returns", returns, "known_at")):
        path = tmp_path / f"{name}.parquet"
        frame.to_parquet(path, index=False)
        columns = {
            column: Column(type=kinds.get(column, "time" if "UTC" in str(dtype) else "string"))  # type: ignore[arg-type]
            for column, dtype in frame.dtypes.items()
        }
        tables[name] = Table(
            source=Source(kind="parquet", location=str(path)),
            key=["order_id"],
            day=time,
            known_at=time if name == "returns" else None,
            columns=columns,
        )
    found = loaded.model_copy(update={"tables": tables})
    for name in tables:
        ingest_table(found, name, AS_OF)
    return found


@pytest.fixture
def predictor(settings: Settings) -> Predictor:
    log = PredictionLog(predictions_folder(settings, "flight_delay"), "replica-1")
    served = Predictor("flight_delay", RequestSchema(spec().requests, 1000), StandInReader(), log, lambda: AS_OF)
    served.swap(StandInVersion())
    return served


def test_replayed_events_are_logged_once_and_join_their_outcomes(
    settings: Settings, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_cluster.serving.replay.service_views", lambda *_: [])  # no view is brought online
    schema = RequestSchema(spec().requests, 1000)

    def send(rows: list[dict[str, Any]]) -> None:
        predictor.predict(schema.read(json.dumps({"instances": rows}).encode())[0])

    planned = [START + timedelta(hours=hour) for hour in range(24)]
    assert replay(settings, spec(), planned, send, lambda *_: None) == (24, 0)
    assert replay(settings, spec(), planned, send, lambda *_: None) == (0, 24)

    predictions = read_predictions(settings, "flight_delay")
    assert predictions["id"].tolist() == [str(FIRST + number) for number in range(24)]
    outcomes = outcomes_of(settings, spec(), predictions, AS_OF)
    joined = with_outcomes(predictions, outcomes, pd.Timestamp(AS_OF))
    assert dict(zip(joined["id"], joined["label"], strict=True)) == {
        str(FIRST + number): int(number % 3 == 0) for number in range(24)
    }


def test_an_id_that_is_an_entity_too_is_sent_in_its_type_and_logged_as_text(settings: Settings) -> None:
    requests = spec().requests
    field = requests.entities["carrier"].model_copy(update={"type": "integer", "pattern": None, "example": 7})
    own = requests.model_copy(update={"entities": {**requests.entities, "order_id": field}})
    schema = RequestSchema(own, 1000)
    row = {name: each.example for name, each in own.inputs.items()}
    log = PredictionLog(predictions_folder(settings, "flight_delay"), "replica-1")
    served = Predictor("flight_delay", schema, StandInReader(), log, lambda: AS_OF)
    served.swap(StandInVersion())
    served.predict(schema.read(json.dumps({**row, "order_id": FIRST}).encode())[0])
    assert read_predictions(settings, "flight_delay")["id"].tolist() == [str(FIRST)]
    assert schema.expectations["order_id"].startswith("a whole number")


def test_outcomes_join_in_whichever_type_either_side_has() -> None:
    times = pd.to_datetime(["2024-01-01"] * 3, utc=True)
    predictions = pd.DataFrame({"id": ["1", "2", None], "as_of": times, "score": [0.1, 0.2, 0.3]})
    for ids in ([1, 2], [1.0, 2.0], ["1", "2"], pd.array([1, 2], dtype="Int64")):
        outcomes = pd.DataFrame({"id": ids, "label": [0, 1]})
        assert with_outcomes(predictions, outcomes, times[0])["label"].tolist() == [0, 1]


def test_a_correction_reaches_the_label_of_an_integer_id(settings: Settings) -> None:
    append(settings, "flight_delay", [LabelOverride("7", 1, 0, "Ada", "checked", "2024-01-01T00:00:00+00:00")], 0)
    for ids in ([7, 8], [7.0, None]):
        known = pd.DataFrame({"order_id": ids, "label": [0, 0]})
        assert with_overrides(settings, "flight_delay", known)["label"].tolist() == [1, 0]
