"""What would fail later is found beforehand, in one sentence each; the examples have no fault."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from configs import Settings, load_model, load_settings, model_names
from configs.model import ModelSpec
from feature_repo.definitions import checks
from feature_repo.definitions.checks import view_problems
from feature_repo.transforms import VIEWS, Query
from ray_cluster.training.model_check import ModelFileError, problems, require_usable


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    found = load_settings("local", {"HEADRACE_HOME": str(tmp_path_factory.mktemp("home"))})
    os.environ.update(found.variables())
    return found


def changed(**sections: dict[str, Any]) -> ModelSpec:
    """The model flight_delay with these keys of its sections."""
    content = load_model("flight_delay", "local").model_dump(mode="json")
    for section, keys in sections.items():
        content[section] = {**content[section], **keys} if isinstance(keys, dict) else keys
    return ModelSpec.model_validate(content)


@pytest.mark.parametrize("name", model_names())
def test_the_examples_have_no_fault(settings: Settings, name: str) -> None:
    assert problems(settings, load_model(name, "local")) == []
    require_usable(settings, load_model(name, "local"))


def test_the_views_of_the_examples_have_no_fault(settings: Settings) -> None:
    assert list(view_problems(settings)) == []


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"requests": {"table": "flihgts"}},
            "requests.table = 'flihgts': there is no such table. Did you mean 'flights'?",
        ),
        ({"requests": {"event_time": "carrier"}}, "requests.event_time = 'carrier' is a text; name a time column."),
        ({"label": {"table": "outcome"}}, "label.table = 'outcome': there is no such table. Did you mean 'outcomes'?"),
        (
            {"label": {"positive": "arr_dely > 30"}},
            "label.positive = 'arr_dely > 30' cannot be computed on table 'outcomes'",
        ),
        ({"label": {"positive": "cancelled OR ("}}, "cannot be computed on table 'outcomes': Parser Error"),
        ({"label": {"positive": "arr_delay / 60"}}, "returns a number; expected a boolean or a whole number."),
        ({"label": {"known_at": "flight_id"}}, "label.known_at = 'flight_id' returns a text; expected a time."),
        ({"feature_service": "flight_rsk"}, "no feature service 'flight_rsk'"),
        ({"slices": ["carier"]}, "slices: there is no column 'carier' in the training rows. Did you mean 'carrier'?"),
        (
            {"inputs": {"visb": {"impute": "median"}}},
            "the feature service has no feature 'visb'. Did you mean 'visib'?",
        ),
        (
            {
                "behaviour": [
                    {"name": "fog", "test": "minimum", "where": "fog < 1", "metric": "mean_score", "at_least": 0.2}
                ]
            },
            "behaviour 'fog'",
        ),
    ],
)
def test_each_fault_of_a_models_file_is_one_sentence(settings: Settings, sections: Any, said: str) -> None:
    found = problems(settings, changed(**sections))
    assert len(found) == 1 and found[0].startswith(("Model 'flight_delay'", "Model 'flight_delay',")), found
    assert said in found[0]


def test_all_faults_are_reported_at_once(settings: Settings) -> None:
    wrong = changed(label={"positive": "nothing"}, slices=["nowhere"], inputs={"visb": {"impute": "median"}})
    with pytest.raises(ModelFileError) as raised:
        require_usable(settings, wrong)
    assert "label.positive = 'nothing'" in str(raised.value) and "nowhere" in str(raised.value)


def test_request_and_table_have_the_same_types(settings: Settings) -> None:
    request = load_model("flight_delay", "local").requests.model_dump(mode="json")
    fields = request["fields"]
    fields["scheduled_departure"]["type"] = "number"
    [found] = [each for each in problems(settings, changed(requests={"fields": fields})) if "in a request" in each]
    assert "'scheduled_departure' is a number in a request, and a time in table 'flights'" in found


def test_a_request_without_an_entity_of_a_view(settings: Settings) -> None:
    entities = load_model("flight_delay", "local").requests.model_dump(mode="json")["entities"]
    del entities["tailnum"]
    found = problems(settings, changed(requests={"entities": entities}))
    assert any("is joined by 'tailnum', which is not in requests.entities" in each for each in found)


def test_an_id_that_neither_table_has(settings: Settings) -> None:
    found = problems(settings, changed(requests={"id": "flightid"}))
    assert [each.partition("'flightid': ")[2][:40] for each in found] == [
        "table 'flights' has no such column. Did ",
        "the table of labels, 'outcomes', has no ",
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (lambda sql: "SELECT 1 FROM nothing", "its query cannot be run: Catalog Error"),
        (lambda sql: f"SELECT * EXCLUDE (visib) FROM ({sql})", "its query returns no column 'visib'"),
        (
            lambda sql: f"SELECT * REPLACE (visib > 1 AS visib) FROM ({sql})",
            "feature 'visib' is declared as a number, and its query returns a boolean",
        ),
        (
            lambda sql: f"SELECT * REPLACE (visib::VARCHAR AS visib) FROM ({sql})",
            "feature 'visib' is declared as a number, and its query returns a text",
        ),
    ],
)
def test_each_fault_of_a_view_is_one_sentence(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, query: Callable[[str], str], said: str
) -> None:
    monkeypatch.setitem(VIEWS, "weather", VIEWS["weather"]._replace(sql=query(VIEWS["weather"].sql)))
    [found] = view_problems(settings)
    assert found.startswith("Feature view 'weather'") and said in found


def test_a_view_of_a_table_that_does_not_exist(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIEWS, "weather", Query(("wether",), "FROM wether"))
    assert list(view_problems(settings)) == [
        "Feature view 'weather': there is no table 'wether'. Did you mean 'weather'? Add configs/tables/wether.yaml."
    ]


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (
            lambda rows: pd.DataFrame({"late": [True]}),
            "integer",
            "declares 'late' as a whole number and returns a boolean",
        ),
        (lambda rows: pd.DataFrame({"late": ["x"]}), "number", "declares 'late' as a number and returns a text"),
        (
            lambda rows: pd.DataFrame({"lat": [1.0]}),
            "number",
            "returns no 'late', which it declares. Did you mean 'lat'?",
        ),
        (lambda rows: rows["nothing"], "number", "fails on one row (KeyError: 'nothing')"),
        (lambda rows: pd.DataFrame({"late": [1]}), "number", None),
        (lambda rows: pd.DataFrame({"late": [None]}), "integer", None),
    ],
)
def test_on_demand_code_returns_what_it_declares(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, code: Any, kind: str, said: str | None
) -> None:
    real = checks.feature_service

    def service(settings: Settings, name: str) -> Any:
        found = real(settings, name)
        [first, *_] = found.on_demand
        return replace(found, on_demand=[replace(first, code=code, outputs={"late": kind})])

    monkeypatch.setattr(checks, "feature_service", service)
    found = checks.service_problems(settings, load_model("flight_delay", "local"))[1]
    assert found == [] if said is None else (len(found) == 1 and said in found[0]), found
