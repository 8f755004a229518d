"""Sampler selection: it keeps what helps on real rows, sees no other rows, and its decision can be made again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import ray

from configs import load_model
from configs.training import Sampling
from feature_repo.frames.training_frame import TrainingFrame
from ray_cluster.decisions.decision import Decision, replay, sampling_verdict
from ray_cluster.training.data import TrainingData, split
from ray_cluster.training.sampling.sampler_selection import _gain, select_sampler, try_sampler
from ray_cluster.training.search import TrialResult
from tests.ray_cluster.training.sampling.mixed_rows import mixed

TRIAL = TrialResult("7", "xgboost", {"max_depth": 3, "learning_rate": 0.2}, "finished", 20, 0.1, 1.0, [])
AS_OF = datetime(2013, 7, 1, tzinfo=UTC)
SPEC = load_model("card_fraud", "local")


def data(rows: int = 3000, seed: int = 0) -> TrainingData:
    x, y, ids = mixed(rows, 0.05, seed)
    times = pd.Series(pd.date_range(AS_OF - timedelta(days=180), AS_OF - timedelta(hours=1), rows))
    frame = x.assign(transaction_id=ids, prediction_time=times, label=y)
    periods = split(times, times, frame["label"], AS_OF, SPEC.split)
    return TrainingData(TrainingFrame(frame, list(x), "f", {}), x, y, periods)


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def asked(**sampling) -> object:
    return SPEC.model_copy(update={"sampling": Sampling(ratio=0.3, **sampling)})


def test_the_court_measures_all_contenders_and_holds_to_its_rule(cluster):
    found = select_sampler(asked(method="select"), TRIAL, data())
    result = found.result
    table = {row["contender"]: row for row in result.contenders}
    assert list(table) == ["none", "threshold", "class_weight", "undersample", "smote", "smotenc", "adasyn", "copula"]
    decision = Decision.from_dict(result.decision)
    assert replay(decision) == decision and decision.action == ("leave" if found.method == "none" else "resample")
    best = max((row["low"] for name, row in table.items() if name not in ("none", "threshold")), default=0)
    assert (found.method == "none") == (best <= 0) and decision.evidence["level"] == pytest.approx(1 - 0.05 / 6)
    assert len(decision.reasons) == 1 + 1 + 7 - (found.method != "none")
    for name, row in table.items():
        assert row["held_out"]["interval"][0] <= row["held_out"]["average_precision"] <= row["held_out"]["interval"][1]
        assert (
            (row["synthetic"] > 0) == (row["checks"] is not None) == (name in ("smote", "smotenc", "adasyn", "copula"))
        )
        assert "held_out" not in decision.evidence["contenders"][0]
    assert table["threshold"]["held_out"]["average_precision"] == table["none"]["held_out"]["average_precision"]
    assert table["none"]["threshold"] == 0.5 != table["threshold"]["threshold"]


def test_a_method_that_the_file_names_is_kept_and_measured(cluster):
    mine = data()
    found = select_sampler(asked(method="undersample"), TRIAL, mine)
    assert found.method == "undersample" and len(found.validation_scores) == mine.periods.validation.sum()
    assert "requests undersample, so it is kept" in found.result.decision["reasons"][1]
    none = select_sampler(asked(), TRIAL, mine)
    assert (none.method, none.validation_scores, none.result) == ("none", None, None)


@pytest.mark.parametrize("method", ["none", "class_weight", "smotenc", "copula"])
def test_no_fit_sees_validation_or_held_out_rows(method):
    mine = data(1500)
    train, rest = mine.periods.train, ~mine.periods.train
    x, y = mine.features, mine.y
    fold = {
        "x": x[train],
        "y": y[train],
        "ids": mine.rows["transaction_id"].to_numpy()[train],
        "validation": x[rest],
        "validation_y": y[rest],
        "held_out": x[rest].head(5),
        "inputs": {},
        "directions": {},
    }
    found = try_sampler(method, TRIAL, fold, 0.3, 0, 1)
    other = {**fold, "validation": pd.concat([x[rest].head(3), x[rest].tail(50) * 1]), "validation_y": y[rest][:53]}
    other["validation"].iloc[3:, 0] = 1e9
    again = try_sampler(method, TRIAL, other, 0.3, 0, 1)
    assert np.array_equal(again["validation"][:3], found["validation"][:3])
    assert np.array_equal(again["held_out"], found["held_out"])
    assert found["rows"] - found["synthetic"] == train.sum()


def contender(name: str, gain: float, low: float, high: float) -> dict[str, object]:
    return {"contender": name, "value": 0.3 + gain, "gain": gain, "low": low, "high": high, "error": None}


def evidence(*contenders: dict[str, object]) -> dict[str, object]:
    plain = contender("none", 0, 0, 0)
    return {
        "metric": "average_precision",
        "level": 0.99,
        "rows": 9000,
        "positives": 30,
        "contenders": [plain, *contenders],
    }


def test_of_several_that_help_the_surest_is_kept():
    rule = Sampling(method="select", contenders=["smote", "copula", "adasyn"])
    found = sampling_verdict(
        evidence(
            contender("smote", 0.05, 0.001, 0.1), contender("copula", 0.04, 0.01, 0.07), contender("adasyn", 1, 0, 2)
        ),
        rule,
    )
    assert found.action == "resample" and found.evidence["kept"] == "copula"
    assert "copula is kept: it gains +0.0400" in found.reasons[1] and "smote would help too" in found.reasons[2]
    assert "adasyn is not kept" in found.reasons[3]
    assert replay(found, {"contenders": ["adasyn"]}).action == "leave"


def test_what_cannot_contend_is_told_and_not_kept():
    rule = Sampling(method="smote")
    broken = {"contender": "smote", "error": "SMOTE needs at least 2 positives."}
    found = sampling_verdict(evidence(broken), rule)
    assert found.action == "leave" and "which failed: SMOTE needs" in found.reasons[1]


def test_a_gain_without_an_interval_has_its_reason():
    unknown = {**contender("smote", 0.01, 0, 0), "low": None, "high": None}
    days = {**unknown, "why": "The rows are of 7 days, and an interval needs 10."}
    found = sampling_verdict(evidence(days), Sampling(method="smote"))
    assert found.reasons[1].endswith(
        "it gains +0.0100, without an interval: the rows are of 7 days, and an interval needs 10."
    )
    assert sampling_verdict(evidence(days), Sampling(method="select", contenders=["smote"])).action == "leave"
    older = sampling_verdict(evidence(unknown), Sampling(method="smote"))
    assert replay(older) == older and "on too few days for an interval" in older.reasons[1]


def test_the_measured_gain_says_why_it_has_no_interval():
    random = np.random.default_rng(0)
    y, plain, scores = (random.random(600) < 0.3).astype(int), random.random(600), random.random(600)
    few = _gain(y, plain, scores, np.repeat(np.arange(6), 100), "roc_auc", 0.95, "smote")
    assert few["low"] is None and few["why"] == "The rows are of 6 days, and an interval needs 10."
    enough = _gain(y, plain, scores, np.repeat(np.arange(12), 50), "roc_auc", 0.95, "smote")
    assert enough["low"] < enough["gain"] < enough["high"] and "why" not in enough
