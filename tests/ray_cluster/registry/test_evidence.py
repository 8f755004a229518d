"""Evidence documents: the JSON form, documents that were written before formats had a version, and newer ones."""

from __future__ import annotations

import json

import pytest

from feature_repo.storage.document_format import DocumentError
from ray_cluster.registry.evidence import Dataset, Evaluation, Evidence, SamplingResult

#: As a run kept it before documents had the key ``format``.
BEFORE = {
    "periods": {"held_out": {"start": "2013-10-01", "end": "2013-12-17", "rows": 100, "positives": 20}},
    "folds": {"windows": [], "finalists": []},
    "family": "xgboost",
    "params": {"max_depth": 3, "iterations": 20},
    "threshold": 0.4,
    "metrics": {"roc_auc": 0.7},
    "baselines": {"base rate": {"roc_auc": 0.5}},
    "inputs": {},
    "worst_slice": None,
}


def test_a_document_without_a_format_is_of_format_1_and_keeps_its_keys() -> None:
    found = Evaluation.from_json(BEFORE, "evaluation.json")
    assert (found.threshold, found.period, found.shap) == (0.4, "held_out", None)
    written = found.to_json()
    assert written.pop("format") == 1 and written.pop("period") == "held_out"
    assert written == {name: value for name, value in BEFORE.items() if value is not None}


def test_evidence_is_read_as_it_was_written() -> None:
    evidence = Evidence(
        evaluation=Evaluation.from_json(BEFORE, "x"),
        dataset=Dataset(fingerprint="f", rows=3, as_of="2013-12-17T00:00:00+00:00", feature_service="flight_risk"),
        sampling=SamplingResult(decision={"action": "leave"}, kept="none", trial="3", contenders=[]),
        model={"name": "m"},
        trials=[{"trial": "1"}],
    )
    documents = json.loads(json.dumps(evidence.to_json()))
    assert set(documents) == {"evaluation", "dataset", "sampling", "model", "trials"}
    assert all(documents[name]["format"] == 1 for name in ("evaluation", "dataset", "sampling"))
    assert Evidence.from_json({**documents, "of_a_later_version": 1}, "run r1") == evidence


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_an_unknown_format_is_one_sentence(version: object) -> None:
    with pytest.raises(DocumentError, match=r"^evidence/evaluation.json of run r1 has format .*, and this version of "):
        Evidence.from_json({"evaluation": {**BEFORE, "format": version}}, "run r1")


def test_a_missing_key_is_one_sentence() -> None:
    content = {name: value for name, value in BEFORE.items() if name != "threshold"}
    with pytest.raises(DocumentError, match=r"^evaluation.json has no key 'threshold'; train again"):
        Evaluation.from_json(content, "evaluation.json")
