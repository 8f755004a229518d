"""Calibration and threshold are chosen on validation rows, in time order, and only where there are enough of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from configs import load_model
from configs.model import ModelSpec
from ray_cluster.evaluation.metrics import cost_threshold, f1_threshold, metrics
from ray_cluster.training.calibration import Isotonic, Sigmoid, choose_operating_point


def spec(**changed: Any) -> ModelSpec:
    return ModelSpec.model_validate(load_model("flight_delay").model_dump(mode="json") | changed)


def rows(n: int = 6000, slope: float = 1.0, shift: float = 0.0, bend: float = 0.0) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(3)
    odds = random.normal(-1, 1.2, n)
    y = (random.random(n) < 1 / (1 + np.exp(-odds))).astype(int)
    scores = 1 / (1 + np.exp(-(slope * odds + shift + bend * odds**3)))
    return y, scores, np.sort(random.integers(0, 45, n))


def test_scores_that_are_calibrated_stay_as_they_are() -> None:
    y, scores, days = rows()
    found = choose_operating_point(spec(), y, scores, days)
    assert found.calibrator is None and found.evidence["method"] == "none"
    assert found.threshold == f1_threshold(y, scores)
    assert [tried["method"] for tried in found.evidence["tried"]] == ["sigmoid", "isotonic"]


def test_what_a_sigmoid_mends_it_mends_and_what_it_cannot_isotonic_does() -> None:
    assert isinstance(choose_operating_point(spec(), *rows(slope=2.0, shift=0.7)).calibrator, Sigmoid)
    bent = choose_operating_point(spec(), *rows(n=30_000, slope=0.2, bend=1.0))
    assert isinstance(bent.calibrator, Isotonic)
    assert bent.evidence["tried"][1]["log_loss"] < bent.evidence["tried"][0]["log_loss"]


def test_a_drift_within_validation_is_no_reason_to_calibrate() -> None:
    """The first blocks promise too much and the last too little: what the ones teach is wrong in the others."""
    y, scores, days = rows()
    odds = np.log(scores / (1 - scores)) + np.linspace(1.5, -1.5, len(y))
    assert choose_operating_point(spec(), y, 1 / (1 + np.exp(-odds)), days).evidence["method"] == "none"


@pytest.mark.parametrize(("asked", "kind"), [("sigmoid", Sigmoid), ("isotonic", Isotonic), ("none", type(None))])
def test_what_is_asked_for_is_done(asked: str, kind: type) -> None:
    found = choose_operating_point(spec(calibration=asked), *rows())
    assert isinstance(found.calibrator, kind) and found.evidence["method"] == asked and found.evidence["tried"] == []


def test_the_threshold_is_found_on_calibrated_scores() -> None:
    y, scores, days = rows(slope=2.0, shift=0.7)
    costs = {"false_positive": 1, "false_negative": 3}
    for threshold in ("f1", 0.4, {"costs": costs}):
        changed = spec(threshold=threshold)
        found = choose_operating_point(changed, y, scores, days)
        assert found.calibrator is not None
        calibrated = found.calibrator(scores)
        if threshold == "f1":
            assert found.threshold == f1_threshold(y, calibrated)
        elif isinstance(threshold, float):
            assert found.threshold == threshold
        else:
            assert found.threshold == cost_threshold(y, calibrated, changed.threshold.costs)  # type: ignore[union-attr]
            assert found.threshold == pytest.approx(0.25, abs=0.08)


def test_the_threshold_of_f1_is_that_of_the_last_window() -> None:
    """Positives become rarer, and the scores say so: the last window's threshold is lower, and better later."""
    random = np.random.default_rng(5)
    odds = np.concatenate([random.normal(centre, 1.2, 10_000) for centre in (0.5, -0.5, -2.0, -2.0)])
    scores = 1 / (1 + np.exp(-odds))
    y = (random.random(len(odds)) < scores).astype(int)
    seen, later, days = slice(0, 30_000), slice(30_000, None), np.repeat(np.arange(45), 1000)[:30_000]
    found, pooled = (
        choose_operating_point(spec(calibration="none"), y[seen], scores[seen], days, recent)
        for recent in (10_000, None)
    )
    assert found.threshold == f1_threshold(y[20_000:30_000], scores[20_000:30_000]) < pooled.threshold - 0.05
    assert (found.evidence["threshold_rows"], pooled.evidence["threshold_rows"]) == (10_000, 30_000)
    there = [metrics(y[later], scores[later], each.threshold)["f1"] for each in (found, pooled)]
    assert there[0] > there[1] + 0.005
    few = choose_operating_point(spec(calibration="none"), y[seen], scores[seen], days, 15)
    assert few.threshold == pooled.threshold and few.evidence["threshold_rows"] == 30_000
    costs = spec(calibration="none", threshold={"costs": {"false_positive": 1, "false_negative": 3}})
    ends = [choose_operating_point(costs, y[seen], scores[seen], days, recent).threshold for recent in (10_000, None)]
    assert ends[0] == ends[1]  # on calibrated scores it does not depend on the share of positives


@pytest.mark.parametrize("asked", ["auto", "sigmoid", "isotonic"])
def test_few_positives_are_not_learned_from(asked: str) -> None:
    y, scores, days = rows(400)
    y = np.zeros(400, dtype=int)
    y[::25] = 1
    found = choose_operating_point(spec(calibration=asked), y, scores, days)
    assert found.calibrator is None and found.evidence["method"] == "none" and found.evidence["positives"] == 16
