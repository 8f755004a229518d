"""What has changed since a training is told by what it can alter, with days, files and versions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feature_repo.frames.fingerprints import table_contents
from feature_repo.materialization.backfill import compute
from feature_repo.materialization.view_files import remember, state
from feature_repo.transforms import code
from ray_cluster.lineage import changes
from ray_cluster.lineage.environment import code_files, git_state, library_versions, machine
from ray_cluster.lineage.provenance import view_facts
from tests.feature_repo.raw_tables import END, change, put, raw, small_settings

TABLES = ["outcomes", "weather"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    settings = small_settings(tmp_path_factory.mktemp("changes") / "home")
    put(settings, {name: raw()[name] for name in TABLES})
    compute(settings, "weather")
    return settings


@pytest.fixture
def provenance(home, monkeypatch):
    """What a training that ended now would have kept; Feast is not asked."""
    monkeypatch.setattr(changes, "on_demand_code", lambda settings, service: {"calendar": "c1"})
    return {
        "as_of": END.isoformat(),
        "dataset": {"label_overlay": 0},
        "tables": table_contents(home, TABLES, END),
        "feature_service": "flight_risk",
        "views": view_facts(home, ["weather"]),
        "on_demand": {"calendar": "c1"},
        "erasures": None,
        "git": git_state(home.root).facts,
        "code": code_files(home.root),
        "libraries": library_versions(),
        "machine": machine(),
    }


def told(home, provenance):
    found = changes.changes_since(home, "flight_delay", provenance)
    return [each for each in found if (each.kind, each.name) != ("code", "commit")]


def test_nothing_changed(home, provenance):
    assert told(home, provenance) == []


def test_a_correction_is_told_with_its_day_and_a_restored_table_is_the_same_again(home, provenance):
    corrected = change({**raw()}, "correct", 3)
    put(home, {"weather": corrected["weather"]})
    try:
        (found,) = told(home, provenance)
        assert (found.kind, found.name, found.affects) == ("table", "weather", "frame")
        assert found.sentence.startswith("the rows known then are different now on ")
    finally:
        put(home, {"weather": raw()["weather"]})
    assert told(home, provenance) == []


def test_rows_that_became_known_later_alter_nothing(home, provenance):
    early = raw()["outcomes"]["known_at"].quantile(0.5).to_pydatetime()
    before = {**provenance, "as_of": early.isoformat(), "tables": table_contents(home, TABLES, early)}
    before["tables"]["outcomes"]["stored"] = "of a smaller table"
    (found,) = told(home, before)
    assert found.affects == "nothing" and "became known since" in found.sentence


def test_a_table_that_is_gone_and_rows_taken_back(home, provenance):
    before = {**provenance, "tables": {**provenance["tables"], "orders": {"rows": 1200, "known": "a", "days": {}}}}
    (gone,) = told(home, before)
    assert gone.sentence == "the table no longer exists (it had 1,200 rows)"


def test_queries_functions_libraries_and_machine(home, provenance):
    views = {**provenance["views"], "lost_view": {"query": "q"}}
    views["weather"] = {**views["weather"], "query": "0123456789abcdef"}
    before = {
        **provenance,
        "views": views,
        "on_demand": {"calendar": "c0"},
        "libraries": {**provenance["libraries"], "xgboost": "1.0"},
        "machine": {**provenance["machine"], "cpus": 999},
    }
    found = {(each.kind, each.name): each for each in told(home, before)}
    assert found["view", "weather"].sentence == f"its query changed since (01234567, now {code('weather')[:8]})"
    assert found["view", "lost_view"].affects == "frame"
    assert found["on-demand view", "calendar"].affects == "frame"
    assert found["library", "xgboost"].sentence.startswith("1.0 then, ")
    assert found["machine", "cpus"].affects == "fit"
    assert len(found) == 5


def test_code_is_told_apart_by_what_it_can_alter(home, provenance):
    files = dict(provenance["code"])
    for path in (
        "ray_cluster/training/final_fit.py",
        "feature_repo/frames/training_frame.py",
        "ray_cluster/serving/app.py",
    ):
        files[path] = "other"
    before = {**provenance, "code": files, "git": {"commit": "0" * 40, "dirty": True}}
    found = changes.changes_since(home, "flight_delay", before)
    by_name = {each.name: each for each in found}
    assert by_name["commit"].affects == "nothing" and "3 files differ" in by_name["commit"].sentence
    assert by_name["of the frame"].sentence == "feature_repo/frames/training_frame.py changed"
    assert by_name["of the training"].affects == "fit"


def test_a_view_that_another_query_computed(home, provenance):
    held = state(home, "weather")
    remember(home, replace(held, code="older"))
    try:
        (found,) = told(home, provenance)
        assert found.sentence == "another query computed its rows; run `headrace run materialize`"
    finally:
        remember(home, held)
