"""Model files: the bundled ones, overlays of an environment, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import ConfigError, load_model, load_settings, model_names
from configs.model import ModelSpec
from configs.reading import read_yaml, validated
from configs.settings import CONFIGS
from configs.tuning import Family
from ray_cluster.serving.app import AppArgs


@pytest.mark.parametrize("name", ["flight_cancelled", "flight_delay"])
def test_the_bundled_models_load_and_fit_the_settings(name: str) -> None:
    assert name in model_names()
    spec, settings = load_model(name, "local"), load_settings("local", {})
    assert spec.name == name and spec.requests.lead == timedelta(hours=2)
    assert spec.requests.table in settings.tables and spec.label.table in settings.tables
    assert spec.requests.event_time in spec.requests.fields
    for field in [*spec.requests.entities.values(), *spec.requests.fields.values()]:
        assert field.example is not None and field.description
    assert ModelSpec.model_validate(spec.model_dump(mode="json")) == spec
    args = AppArgs.of(spec)
    assert AppArgs.model_validate(args.model_dump(mode="json")) == args


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no model 'flight_dely'. Did you mean 'flight_delay'\?"):
        load_model("flight_dely", "local")


def test_an_environment_may_overlay_a_model(tmp_path: Path) -> None:
    (tmp_path / "acme" / "models").mkdir(parents=True)
    (tmp_path / "acme" / "headrace.yaml").touch()
    overlay = tmp_path / "acme" / "models" / "flight_delay.yaml"
    overlay.write_text("tuning: { rows: 5000 }\nserving: { replicas: 3 }\n")
    plain, changed = load_model("flight_delay", "local"), load_model("flight_delay", str(tmp_path / "acme"))
    assert changed.tuning.rows == 5000 and changed.serving.replicas == 3
    assert changed.tuning.model_copy(update={"rows": plain.tuning.rows}) == plain.tuning
    assert load_model("flight_cancelled", str(tmp_path / "acme")) == load_model("flight_cancelled", "local")
    overlay.write_text("tuning: { row: 5000 }\n")
    with pytest.raises(ConfigError, match=r"acme/models/flight_delay.yaml: unknown key 'tuning.row'.* 'rows'\?"):
        load_model("flight_delay", str(tmp_path / "acme"))


def test_a_file_must_carry_its_own_name(tmp_path: Path) -> None:
    content = read_yaml(CONFIGS / "models" / "flight_delay.yaml")
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="name = 'flight_delay': expected 'other'"):
        load_model("other", "local", tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("America/NewYork", "Did you mean 'America/New_York'? Expected an IANA time zone, as in America/New_York."),
        ("America", "Expected an IANA time zone, as in America/New_York."),
        ("../etc/passwd", "Expected an IANA time zone, as in America/New_York."),
        ("", "Expected an IANA time zone, as in America/New_York."),
    ],
)
def test_a_time_zone_that_does_not_exist_is_one_sentence(name: str, said: str) -> None:
    content = read_yaml(CONFIGS / "models" / "flight_delay.yaml")
    assert validated(ModelSpec, content, "m.yaml").timezone == "America/New_York"
    assert load_model("card_fraud", "local").timezone == "UTC"
    with pytest.raises(ConfigError) as raised:
        validated(ModelSpec, content | {"timezone": name}, "m.yaml")
    assert str(raised.value).startswith(f"m.yaml: timezone = {name!r}: ") and str(raised.value).endswith(said)


def family(space: str) -> dict[str, Any]:
    return {"family": "xgboost", "iterations": 10, "space": yaml.safe_load(space)}


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ("{a: {low: 1}}", r"expected \{low, high\} with optional log and integer"),
        ("{a: {low: 1, high: 2, step: 1}}", r"expected \{low, high\}"),
        ("{a: {low: 2, high: 2}}", "low 2 must be below high 2"),
        ("{a: {low: 1e-3, high: 1}}", "low = '1e-3'; expected a number .*YAML reads 1e-3 as text"),
        ("{a: {low: 1, high: 2.5, integer: true}}", "high = 2.5; expected a whole number"),
        ("{a: {low: 0, high: 1, log: true}}", "low 0 must be above 0"),
        ("{a: {choices: []}}", "has no choices"),
    ],
)
def test_a_dimension_that_cannot_be_drawn_from_is_refused(space: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        validated(Family, family(space), "x.yaml")


def test_every_kind_of_dimension_is_taken() -> None:
    space = "{a: {low: 0.001, high: 1, log: true}, b: {low: -3, high: 7, integer: true}, c: {choices: [x, 1]}, d: 4}"
    assert set(Family.model_validate(family(space)).space) == set("abcd")


def test_fewer_iterations_than_grace_are_refused() -> None:
    content = read_yaml(CONFIGS / "models" / "flight_delay.yaml")
    content["tuning"]["families"][0]["iterations"] = 20
    content["tuning"]["grace_iterations"] = 45
    with pytest.raises(ConfigError, match="xgboost has 20 iterations, fewer than grace_iterations = 45"):
        validated(ModelSpec, content, "x.yaml")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": "best"}, "threshold"),
        ({"gate": {"metric": "accuracy"}}, "gate.metric = 'accuracy'"),
        ({"name": "Flight Delay"}, "name = 'Flight Delay'"),
        ({"monitoring": {"drifted_share": 0}}, "monitoring.drifted_share = 0"),
    ],
)
def test_values_that_do_not_fit_are_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(ModelSpec, {**read_yaml(CONFIGS / "models" / "flight_delay.yaml"), **change}, "x.yaml")
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
