"""A training on a real cluster and MLflow server finishes though a baseline and a part of the evidence fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from configs import Settings, load_settings
from flows import stack
from ray_cluster import registry
from ray_cluster.promotion import model_card
from ray_cluster.promotion.registration import register
from ray_cluster.reports.lifecycle_content import ReportContent
from ray_cluster.reports.model_card_page import CardFacts, card_markdown
from ray_cluster.reports.page import render
from ray_cluster.training import baselines, evaluate
from ray_cluster.training.train import train_model
from tests.feature_repo.frames.test_training_frame import AS_OF, SPEC, made
from tests.integration.conftest import free_offset

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Simulated payments in a home of which MLflow is up, and a cluster of two CPUs."""
    import ray

    home = tmp_path_factory.mktemp("failures") / "home"
    made(home, 20_000, AS_OF)
    settings = load_settings("local", {"HEADRACE_HOME": str(home), "HEADRACE_PORT_OFFSET": str(free_offset())})
    os.environ.update(settings.variables())
    stack.up(settings, names=["mlflow"])
    os.environ.pop("RAY_ADDRESS", None)
    try:
        ray.init(num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
        address = ray.get_runtime_context().gcs_address
        yield settings.model_copy(update={"ray": settings.ray.model_copy(update={"address": address})})
    finally:
        ray.shutdown()
        stack.down(settings)


def broken(*given: Any, **named: Any) -> Any:
    raise ValueError("could not convert string to float: 'A12'\nin a second line")


broken.__module__ = "__main__"  # so that it is pickled by value: a Ray worker cannot import this file


def test_the_run_is_finished_and_its_evidence_says_what_failed(here, monkeypatch):
    tuning = SPEC.tuning.model_dump(mode="json") | {"budget": {"trials": 1}, "rows": 5000, "finalists": 1}
    changed = SPEC.model_dump(mode="json") | {"tuning": tuning}
    changed |= {"fairness": {"groups": ["card_tier"]}, "sampling": {"method": "none"}}
    changed |= {"split": {"validation": "25d", "held_out": "45d"}}
    changed["label"] |= {"positive": "fraud OR hash(transaction_id) % 5 = 0"}  # enough of both outcomes
    spec = type(SPEC).model_validate(changed)
    monkeypatch.setattr(baselines, "_logistic", broken)
    for name in ("permutation_importance", "fairness", "slices"):
        monkeypatch.setattr(evaluate, name, broken)
    why = "ValueError: could not convert string to float: 'A12'"
    done = train_model(here, spec, AS_OF, {}, lambda doing, share: None)
    failed = ["baseline logistic regression, calendar only", "slices", "importance", "fairness"]
    assert done["failures"] == [{"what": name, "why": why} for name in failed]
    assert registry.newest_run(here, spec.name) == done["run_id"]  # it finished
    evidence = registry.evidence(here, done["run_id"])
    assert evidence.failures == done["failures"]
    assert set(evidence.evaluation.baselines) == {"base rate", "XGBoost defaults, all features"}
    assert evidence.evaluation.shap and evidence.evaluation.importance is None

    page = render(ReportContent(title="t", model=spec.name, failures=evidence.failures, **{
        name: getattr(evidence, name) for name in ("evaluation", "dataset", "trials")
    }))  # fmt: skip
    assert "Failed and left out" in page and "The importance: ValueError: could not convert string" in page
    card = card_markdown(CardFacts(spec.name, 1, "", "2013-04-25T00:00:00", done["run_id"], evidence))
    assert f"The importance failed and is left out: {why}." in card

    # a gate that asks for what failed is not passed; the card fails too, and is made when it can be
    with monkeypatch.context() as patched:
        patched.setattr(model_card, "card_html", broken)
        asking = spec.model_copy(update={"gate": spec.gate.model_copy(update={"fairness": True})})
        registered = register(here, asking, done["run_id"], {})
    assert registered.decision.action == "refuse" and registered.version == 1
    gate = next(gate for gate in registered.decision.gates if gate["gate"] == "fairness")
    assert gate["passed"] is False and why in gate["reason"]
    assert registry.evidence(here, done["run_id"]).failures[-1] == {"what": "model card", "why": why}
    assert "headrace.card" not in registry.version(here, spec.name, 1).tags
    again = register(here, asking, done["run_id"], {})
    assert again.version == 1 and registry.version(here, spec.name, 1).tags["headrace.card"]
    assert registry.evidence(here, done["run_id"]).failures == done["failures"]
