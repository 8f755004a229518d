"""Reading YAML into settings: what is misspelt is found at every depth, lengths of time survive a round trip."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.model import ModelSpec, Split
from configs.reading import ConfigError, merge, nearest, read_yaml, validated
from configs.settings import CONFIGS, Settings
from configs.table import Table

NEEDED: dict[str, Any] = {"environment": "local", "folder": "/", "home": "/", "tables": {}}
BASE: dict[str, Any] = {**read_yaml(CONFIGS / "base.yaml"), **NEEDED}
TABLE: dict[str, Any] = read_yaml(CONFIGS / "tables" / "flights.yaml")
MODEL: dict[str, Any] = read_yaml(CONFIGS / "models" / "flight_delay.yaml")
#: Below these the keys are names of somebody's own.
FREE = {"tables", "columns", "rows", "references", "schedules", "entities", "fields", "space", "minimum", "parameters"}
FREE |= {"runtime_env", "expired", "default"}

json_like = st.recursive(
    st.integers() | st.text(max_size=3) | st.none() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abcd"), json_like, max_size=4)


def paths(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key that a settings model declares, with the way to it."""
    if isinstance(content, list):
        for number, inner in enumerate(content):
            yield from paths(inner, (*at, number))
    elif isinstance(content, dict):
        for key, inner in content.items():
            if not at or at[-1] not in FREE:
                yield (*at, key)
            if key not in ("space", "minimum", "parameters", "runtime_env", "tables"):
                yield from paths(inner, (*at, key))


PLACES = [
    (model, content, path)
    for model, content in ((Settings, BASE), (ModelSpec, MODEL), (Table, TABLE))
    for path in paths(content)
]


def inside(content: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        content = content[part]
    return content


def test_the_places_go_to_every_depth() -> None:
    found = {path for _, _, path in PLACES}
    assert {("home",), ("ports", "serve"), ("schedules", "train", "cron")} <= found
    assert {("source", "kind"), ("gates", "unmatched")} <= found
    assert ("requests", "entities", "carrier", "pattern") in found and ("tuning", "families", 1, "iterations") in found
    assert len(found) > 100


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(PLACES), st.data())
def test_a_misspelt_key_is_refused_with_the_nearest_one(place: Any, data: st.DataObject) -> None:
    model, original, path = place
    key = path[-1]
    at = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from(["", *"aeknxz_"]))
    wrong = key[:at] + letter + key[at + 1 :]
    content = copy.deepcopy(original)
    holder = inside(content, path[:-1])
    if not wrong or wrong in holder:
        return
    holder[wrong] = holder.pop(key)
    with pytest.raises(ConfigError) as caught:
        validated(model, content, "somewhere.yaml")
    said = str(caught.value)
    assert said.startswith("somewhere.yaml")
    if "unknown key" not in said:  # another known key
        where = ".".join(map(str, path))
        assert f"'{where}' is missing" in said or wrong in model_keys(said)
        return
    wrong_place = ".".join(map(str, (*path[:-1], wrong)))
    assert f" unknown key '{wrong_place}'." in said
    known = said.partition("Known here: ")[2].partition("\n")[0].rstrip(".").split(", ")
    assert key in known and set(known) >= set(holder) - {wrong}
    if len(key) > 2:
        suggested = said.partition("Did you mean '")[2].partition("'")[0]
        ratio = difflib.SequenceMatcher(None, wrong, key).ratio()
        assert suggested in known
        assert difflib.SequenceMatcher(None, suggested, wrong).ratio() >= ratio - 0.2


def model_keys(said: str) -> set[str]:
    return set(said.replace(":", " ").replace("'", " ").split())


def test_every_dropped_last_letter_of_a_long_key_leads_back_to_the_key() -> None:
    for model, original, path in PLACES:
        key = path[-1]
        if len(key) < 5:
            continue
        content = copy.deepcopy(original)
        inside(content, path[:-1])[key[:-1]] = 1  # beside the right one, so that nothing is missing
        with pytest.raises(ConfigError) as caught:
            validated(model, content, "x")
        assert f"Did you mean '{key}'?" in str(caught.value), path


def test_a_member_of_a_union_is_not_part_of_the_place() -> None:
    content = next(original for model, original, _ in PLACES if model is ModelSpec)
    for key, wrong, said in [
        ("behaviour", [{"name": "a", "test": "direction", "feature": "x"}], "'behaviour.0.raise_by' is missing"),
        ("behaviour", [{"name": "a", "test": "minimum", "metric": "f1"}], "behaviour.0 = {"),
        (
            "behaviour",
            [{"name": "a", "test": "minimum", "metric": "f1", "raise_by": 1}],
            "unknown key 'behaviour.0.raise_by'. Known here: at_least, at_most, metric, name, required, test, where.",
        ),
        ("threshold", {"costs": {"false_negative": 1}}, "'threshold.costs.false_positive' is missing"),
    ]:
        with pytest.raises(ConfigError) as caught:
            validated(ModelSpec, {**content, key: wrong}, "x")
        assert said in str(caught.value)


def test_all_problems_of_a_file_are_reported_at_once() -> None:
    content = merge(
        MODEL,
        {"split": {"validation": "2 weeks", "fold": 1}, "timezone": 3, "tuning": {"families": [{"iterations": 0}]}},
    )
    del content["name"]
    with pytest.raises(ConfigError) as caught:
        validated(ModelSpec, content, "models/m.yaml")
    assert str(caught.value).splitlines() == [
        "models/m.yaml: 6 problems.",
        "- 'name' is missing; add it.",
        "- timezone = 3: Input should be a valid string.",
        "- split.validation = '2 weeks': expected a number and a unit such as 90s, 15m, 2h or 7d.",
        "- unknown key 'split.fold'. Did you mean 'folds'? Known here: folds, held_out, origins, validation.",
        "- 'tuning.families.0.family' is missing; add it.",
        "- tuning.families.0.iterations = 0: Input should be greater than or equal to 1.",
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tuning": {"rows": "many"}}, "x: tuning.rows = 'many': Input should be a valid integer, or a valid list."),
        (
            {"tuning": {"rows": 5}},
            "x: tuning.rows = 5: Input should be greater than or equal to 1000, or a valid list.",
        ),
        ({"tuning": {"rows": [10, 2000]}}, "x: tuning.rows.0 = 10: Input should be greater than or equal to 1000."),
        ({"inputs": {"temp": {"clip": [0.01]}}}, "x: 'inputs.temp.clip.1' is missing; add it."),
        (
            {"gate": {"minimum": {"f1": "high"}}},
            "x: 2 problems.\n- gate.minimum.f1.[key] = 'f1': Input should be 'average_precision' or 'roc_auc'.\n"
            "- gate.minimum.f1 = 'high': Input should be a valid number, unable to parse string as a number.",
        ),
        (
            {"requests": {"entities": {"origin": {"example": [1]}}}},
            "x: requests.entities.origin.example = [1]: Input should be a valid string, or a valid integer, or a valid "
            "number.",
        ),
    ],
)
def test_a_problem_is_reported_once_and_without_names_of_types(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(ModelSpec, merge(MODEL, given), "x")
    assert str(caught.value) == said


def test_nearest_is_silent_when_nothing_is_near() -> None:
    assert nearest("zzzz", ["flights", "weather"]) == ""
    assert nearest("wether", ["flights", "weather"]) == " Did you mean 'weather'?"


@given(mappings, mappings)
def test_merge_is_deep_and_the_overlay_wins(base: dict[str, Any], overlay: dict[str, Any]) -> None:
    kept = copy.deepcopy((base, overlay))
    merged = merge(base, overlay)
    assert (base, overlay) == kept
    assert set(merged) == set(base) | set(overlay)
    for key, value in merged.items():
        if key not in overlay:
            assert value == base[key]
        elif isinstance(base.get(key), dict) and isinstance(overlay[key], dict):
            assert value == merge(base[key], overlay[key])
        else:
            assert value == overlay[key]


@given(mappings, mappings, mappings)
def test_merge_with_nothing_and_twice_changes_nothing(
    base: dict[str, Any], overlay: dict[str, Any], more: dict[str, Any]
) -> None:
    assert merge(base, {}) == base == merge({}, base)
    once = merge(base, overlay)
    assert merge(once, overlay) == once
    assert merge(once, more) == merge(once, merge({}, more))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        (" 1.5 d ", timedelta(hours=36)),
        (7200, timedelta(hours=2)),
    ],
)
def test_durations(written: Any, meant: timedelta) -> None:
    assert Split.model_validate({"validation": written, "held_out": "1d"}).validation == meant


@pytest.mark.parametrize("written", ["2", "2 weeks", "h", "-2h", "1e3s", "P1D", ""])
def test_what_is_no_duration(written: str) -> None:
    with pytest.raises(ConfigError, match="expected a number and a unit such as 90s, 15m, 2h or 7d"):
        validated(Split, {"validation": written, "held_out": "1d"}, "x.yaml")


@given(st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_a_duration_written_as_json_reads_as_the_same(length: timedelta) -> None:
    split = Split(validation=length, held_out=length)
    assert Split.model_validate(split.model_dump(mode="json")) == split


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a: [1", "is not valid YAML"), ("- 1\n- 2", "contains a list; expected a mapping"), (None, "does not exist")],
)
def test_a_file_that_is_no_mapping(tmp_path: Any, text: str | None, sentence: str) -> None:
    path = tmp_path / "x.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_an_empty_file_is_an_empty_mapping(tmp_path: Any) -> None:
    (tmp_path / "x.yaml").write_text("# nothing yet\n")
    assert read_yaml(tmp_path / "x.yaml") == {}
