"""Versions and runs are found by number, id or the beginning of an id; what there is not is said."""

from __future__ import annotations

import pytest

from ray_cluster import registry
from ray_cluster.lineage.run_comparison import CompareError, compare
from ray_cluster.reports.comparison_page import render_comparison
from ray_cluster.training.reproduce import ReproduceError, reproduce


@pytest.fixture
def two(settings, run):
    model, other = "found_model", "other_model"
    if not registry.runs_of(settings, model):
        first, _, _ = run(model, "a"), run(model, "b", rounds=5), run(other, "c")
        registry.register_run(settings, model, first, {})
    return model, other


def test_by_number_id_and_beginning(settings, two):
    model, _ = two
    newest, oldest = registry.runs_of(settings, model)
    assert registry.find(settings, model, "1").run.run_id == oldest.run_id
    found = registry.find(settings, model, newest.run_id[:10])
    assert found.run == newest and found.version is None and found.title == f"run {newest.run_id[:12]}"
    assert registry.find(settings, model, oldest.run_id).title == "version 1"


def test_what_there_is_not_is_said(settings, two):
    model, other = two
    with pytest.raises(registry.RegistryError, match=r"has no version 7; registered: 1\."):
        registry.find(settings, model, "7")
    with pytest.raises(registry.RegistryError, match="has no champion; give a version"):
        registry.find(settings, model)
    foreign = registry.runs_of(settings, other)[0].run_id
    with pytest.raises(registry.RegistryError, match=f"Run {foreign} is of model 'other_model', not of 'found_model'"):
        registry.find(settings, model, foreign)
    with pytest.raises(registry.RegistryError, match="has no version or run 'feedbeef'; expected a version's number"):
        registry.find(settings, model, "feedbeef")
    with pytest.raises(ReproduceError, match="has no provenance to rebuild it from"):
        reproduce(settings, model, "1")


def test_runs_side_by_side(settings, two):
    model, other = two
    found = compare(settings, model)
    assert [run.title.partition(" ")[0] for run in found.runs] == ["run", "version"]
    assert found.best("roc_auc") is None  # of other training frames
    page = render_comparison(found)
    assert "different training frames" in page and "<script>" in page
    with pytest.raises(CompareError, match="Expected 2 to 8 runs to compare; 1 were given"):
        compare(settings, model, ["1"])
    with pytest.raises(CompareError, match="Version 1 of 'found_model' was given twice"):
        compare(settings, model, ["1", registry.find(settings, model, "1").run.run_id])
    with pytest.raises(CompareError, match="model 'other_model' has 1 finished"):
        compare(settings, other)
