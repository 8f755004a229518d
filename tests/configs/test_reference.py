"""The reference page and the JSON schemas: complete, up to date, and of the same opinion as the settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import BaseModel

from configs.model import ModelSpec
from configs.reading import ConfigError, merge, read_yaml, validated
from configs.reference import KINDS, generated
from configs.settings import CONFIGS, Settings
from configs.table import Table

FILES = {
    "headrace": [CONFIGS / "base.yaml", *sorted(CONFIGS.glob("*/headrace.yaml"))],
    "model": sorted(CONFIGS.glob("models/*.yaml")),
    "table": sorted(CONFIGS.glob("tables/*.yaml")),
}
PLACES = [(kind, path) for kind, paths in FILES.items() for path in paths]
MODEL = read_yaml(CONFIGS / "models" / "flight_delay.yaml")
TABLE = read_yaml(CONFIGS / "tables" / "flights.yaml")
BASE = read_yaml(CONFIGS / "base.yaml")
NEEDED = {"environment": "local", "folder": "/", "home": "/", "tables": {}}


def models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """The settings model and all those inside it, once each."""
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for found in within(field.annotation):
            yield from models(found, seen)


def within(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from within(argument)


@lru_cache
def validator(kind: str) -> Draft202012Validator:
    content = json.loads((CONFIGS / "schemas" / f"{kind}.schema.json").read_text(encoding="utf-8"))
    for draft in (Draft202012Validator, Draft7Validator):  # some editors know the older one only
        draft.check_schema(content)
    return Draft202012Validator(content)


def fits(kind: str, content: Any) -> bool:
    """Whether an editor accepts the content; it reads a time as text."""
    text = json.dumps(content, default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value))
    return validator(kind).is_valid(json.loads(text))


def test_every_key_has_a_description() -> None:
    seen: set[type[BaseModel]] = set()
    found = [each for root in (Settings, ModelSpec, Table) for each in models(root, seen)]
    assert len(found) > 30
    for model in found:
        assert model.__doc__, model.__name__
        for name, field in model.model_fields.items():
            assert field.description and field.description.endswith("."), f"{model.__name__}.{name}"


def test_the_page_and_the_schemas_are_up_to_date() -> None:
    for path, content in generated().items():
        written = path.read_text(encoding="utf-8") if path.exists() else ""
        assert written == content, f"{path.relative_to(CONFIGS.parent)} is old: run `python -m configs.reference`"


def test_the_page_has_every_key_that_a_file_may_have() -> None:
    page = (CONFIGS.parent / "docs" / "reference.md").read_text(encoding="utf-8")
    seen: set[type[BaseModel]] = set()
    unwritten = {"environment", "folder", "tables", "postgres_url", "redis"}
    for model in (each for root in (Settings, ModelSpec, Table) for each in models(root, seen)):
        for name in set(model.model_fields) - unwritten:
            assert f"| `{name}` |" in page, f"{model.__name__}.{name}"
    for name in unwritten - {"tables"}:
        assert f"| `{name}` |" not in page
    assert "| `serve` | whole number | `8000` |" in page  # from base.yaml
    assert "| `window` | duration | `7d` |" in page and "| `cron` | text | required |" in page


@pytest.mark.parametrize(("kind", "path"), PLACES, ids=lambda each: str(getattr(each, "stem", each)))
def test_a_committed_file_fits_its_schema_and_names_it(kind: str, path: Path) -> None:
    content = read_yaml(path)
    assert fits(kind, content), next(validator(kind).iter_errors(content), None)
    first = path.read_text(encoding="utf-8").splitlines()[0]
    before, _, schema = first.partition("=")
    assert before == "# yaml-language-server: $schema"
    assert (path.parent / schema).resolve() == CONFIGS / "schemas" / f"{kind}.schema.json"
    assert not fits(kind, {**content, "unknown": 1})
    for key in content:
        assert not fits(kind, {**content, key: [[1]]}), key


def test_an_overlay_has_only_what_differs_and_other_files_are_whole() -> None:
    assert '"required": [' not in (CONFIGS / "schemas" / "headrace.schema.json").read_text(encoding="utf-8")
    assert fits("headrace", {}) and fits("headrace", {"schedules": {"train": {"active": False}}})
    for kind, content in (("model", MODEL), ("table", TABLE)):
        needed = {name for name, field in KINDS[kind].model.model_fields.items() if field.is_required()}
        for key in needed:
            assert not fits(kind, {name: value for name, value in content.items() if name != key}), key


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"threshold": "f1"}, True),
        ({"threshold": 0.3}, True),
        ({"threshold": {"costs": {"false_positive": 1, "false_negative": 5}}}, True),
        ({"threshold": "f2"}, False),
        ({"threshold": 1.5}, False),
        ({"threshold": {"costs": {"false_positive": 1}}}, False),
        ({"tuning": {"scheduler": "median"}}, True),
        ({"tuning": {"scheduler": {"name": "asha", "brackets": 2}}}, True),
        ({"tuning": {"scheduler": {"brackets": 2}}}, False),
        ({"tuning": {"scheduler": {"name": "median", "brackets": 2}}}, False),
        ({"tuning": {"scheduler": "ahsa"}}, False),
        ({"tuning": {"searcher": "tpe"}}, True),
        ({"tuning": {"searcher": {"name": "tpe", "n_startup_trials": 4}}}, True),
        ({"tuning": {"rows": [20000, 40000]}}, True),
        ({"tuning": {"rows": 10}}, False),
        ({"split": {"validation": "1.5d"}}, True),
        ({"split": {"validation": 86400}}, True),
        ({"split": {"validation": "2 weeks"}}, False),
        ({"split": {"folds": 0}}, False),
        ({"parity": {"minimum": 0.99}}, True),
        ({"parity": None}, True),
        ({"expired": {"weather": None, "planes": "abstain", "carriers": {"default": {"late": 0.2}}}}, True),
        ({"expired": {"weather": "ignore"}}, False),
        ({"inputs": {"temp": {"impute": {"constant": "unknown"}, "clip": [0.01, 0.99]}}}, True),
        ({"inputs": {"temp": {"clip": [0.01]}}}, False),
        ({"gate": {"minimum": {"roc_auc": 0.6}}}, True),
        ({"gate": {"minimum": {"f1": 0.6}}}, False),
        ({"sampling": {"method": "select", "contenders": ["smote"]}}, True),
        ({"behaviour": [{"name": "a", "test": "minimum", "metric": "f1", "at_least": 0.1}]}, True),
        ({"behaviour": [{"name": "a", "test": "minimum", "metric": "f1", "raise_by": 1}]}, False),
        ({"behaviour": [{"name": "a", "test": "minimal"}]}, False),
    ],
)
def test_the_schema_of_a_model_agrees_with_the_settings(given: dict[str, Any], right: bool) -> None:
    content = merge(MODEL, given)
    assert fits("model", content) is right
    if right:
        validated(ModelSpec, content, "x")
    else:
        with pytest.raises(ConfigError):
            validated(ModelSpec, content, "x")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"source": {"kind": "sql", "cursor": "flight_id", "overlap": 0}}, True),
        ({"gates": {"freshness": "2d"}}, True),
        ({"gates": {"freshness": "soon"}}, False),
        ({"cleaning": {"replace": {"carrier": {"UA": "US", "XX": None}}, "dedupe": "last"}}, True),
        ({"columns": {"distance": {"type": "float"}}}, False),
    ],
)
def test_the_schema_of_a_table_agrees_with_the_settings(given: dict[str, Any], right: bool) -> None:
    content = merge(TABLE, given)
    assert fits("table", content) is right
    if right:
        validated(Table, content, "x")
    else:
        with pytest.raises(ConfigError):
            validated(Table, content, "x")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"approval": {"timeout": "2d", "approvers": ["ann"]}}, True),
        ({"features": {"memory_limit": "512MB"}}, True),
        ({"features": {"memory_limit": "much"}}, False),
        ({"ports": {"offset": -1}}, False),
        ({"clock": None}, True),
    ],
)
def test_the_schema_of_an_environment_agrees_with_the_settings(given: dict[str, Any], right: bool) -> None:
    assert fits("headrace", given) is right
    content = merge(merge(BASE, NEEDED), given)
    if right:
        validated(Settings, content, "x")
    else:
        with pytest.raises(ConfigError):
            validated(Settings, content, "x")


def test_what_an_environment_file_must_not_have_is_not_in_its_schema() -> None:
    for refused in ({"tables": {}}, {"environment": "x"}, {"databases": {"postgres_url": "postgresql://a:b@c"}}):
        assert not fits("headrace", refused)
