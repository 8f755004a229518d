"""No choice sees the held-out period: with other held-out rows, every choice is the same to the last digit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs import load_model
from configs.model import ModelSpec, Split
from feature_repo.frames.training_frame import PREDICTION_TIME, TrainingFrame
from ray_cluster.evaluation.intervals import local_days
from ray_cluster.evaluation.metrics import metrics, ranking
from ray_cluster.training.baselines import baseline_scores, start_baselines
from ray_cluster.training.calibration import Calibrated, OperatingPoint, choose_operating_point
from ray_cluster.training.data import TrainingData, split
from ray_cluster.training.evaluate import EvaluationError, check_evaluation, evaluate
from ray_cluster.training.families import columns_of, fit_steps, preprocessing
from ray_cluster.training.final_fit import fit_before, fit_final, for_rows
from ray_cluster.training.finalists import Chosen, choose
from ray_cluster.training.reproduce import chosen_again
from ray_cluster.training.search import Search, TrialResult
from ray_cluster.training.seed_noise import seed_noise

AS_OF = datetime(2013, 12, 1, tzinfo=UTC)
CUT = Split(validation="20d", held_out="20d", folds=3)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    import ray

    ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def spec(**changed: Any) -> ModelSpec:
    content = load_model("flight_delay").model_dump(mode="json")
    kept = {
        "tuning": content["tuning"] | {"finalists": 3},
        "split": CUT.model_dump(mode="json"),
        "slices": ["carrier"],
        "calibration": "sigmoid",
        "threshold": {"costs": {"false_positive": 1, "false_negative": 4}},
        "fairness": {"groups": ["carrier"]},
        "behaviour": [
            {"name": "wind", "test": "direction", "feature": "wind", "raise_by": 1, "required": True},
            {"name": "storms", "test": "minimum", "metric": "mean_score", "where": "wind > 1.5", "at_least": 0.99},
        ],
    }
    return ModelSpec.model_validate(content | kept | changed)


def data(spec: ModelSpec, held_out: str = "as it is") -> TrainingData:
    """Hourly rows of 100 days; ``held_out`` changes the last 20 days' labels or inputs and nothing else."""
    random = np.random.default_rng(0)
    times = pd.Series([AS_OF - timedelta(hours=0.5 * back) for back in range(4800, 0, -1)])
    rows = pd.DataFrame({"flight_id": [f"f{i}" for i in range(4800)], PREDICTION_TIME: times})
    rows["wind"], rows["rain"] = random.normal(size=(2, 4800))
    rows["carrier"] = random.choice(["AA", "UA"], 4800)
    odds = rows["wind"] - 1 + 0.5 * (rows["carrier"] == "AA")
    rows["label"] = (random.random(4800) < 1 / (1 + np.exp(-odds))).astype(int)
    late = times >= AS_OF - CUT.held_out
    if held_out == "labels turned round":
        rows.loc[late, "label"] = 1 - rows.loc[late, "label"]
    elif held_out == "other inputs":
        rows.loc[late, ["wind", "rain"]] += 3.0
    periods = split(times, times + timedelta(hours=2), rows["label"], AS_OF, spec.split)
    features = rows[["carrier", "wind", "rain"]].copy()
    frame = TrainingFrame(rows, list(features), "f", {})
    return TrainingData(frame, features, rows["label"].to_numpy(), periods, timezone=spec.timezone)


def trial(name: str, metric: float, depth: int, rounds: int) -> TrialResult:
    params = {"max_depth": depth, "learning_rate": 0.3}
    return TrialResult(name, "xgboost", params, "finished", rounds, metric, 1.0, [[rounds, metric]])


def chosen(spec: ModelSpec, given: TrainingData) -> tuple[Chosen, OperatingPoint]:
    """The overfitted trial is said to be the best on the last fold, which the others do not bear out."""
    lucky = Search(
        [trial("lucky", 0.62, 12, 60), trial("plain", 0.61, 2, 20), trial("third", 0.6, 1, 1)],
        np.random.default_rng(1).random(int(given.periods.validation.sum())),
    )
    found = choose(spec, given, lucky)
    return found, choose_operating_point(spec, found.y, found.scores, found.days, found.recent)


def test_the_finalist_with_the_best_mean_is_chosen_on_out_of_fold_scores() -> None:
    given = data(spec())
    found, _ = chosen(spec(), given)
    assert found.trial.trial == "plain" and [each.trial for each in found.search.trials] == ["plain", "lucky", "third"]
    windows, finalists = found.evidence["windows"], found.evidence["finalists"]
    assert len(windows) == 3 and [len(each["metrics"]) for each in finalists] == [3, 3, 3]
    assert [each["chosen"] for each in finalists] == [False, True, False]
    assert max(each["mean"] for each in finalists) == finalists[1]["mean"]
    assert len(found.y) == len(found.scores) == len(found.days) == sum(window["rows"] for window in windows)
    assert np.all(np.diff(found.days) >= 0)
    times = pd.concat([given.rows[PREDICTION_TIME][fold.validation] for fold in given.periods.folds])
    np.testing.assert_array_equal(found.days, local_days(times, "America/New_York"))
    first = windows[0]["rows"]
    assert ranking(found.y[:first], found.scores[:first])["average_precision"] == finalists[1]["metrics"][0]
    only = spec(tuning={**spec().tuning.model_dump(mode="json"), "finalists": 1})
    assert chosen(only, given)[0].trial.trial == "lucky"


def test_calibration_and_threshold_are_settled_again_from_the_trial_alone() -> None:
    given = data(spec())
    found, operating_point = chosen(spec(), given)
    repeated = chosen_again(spec(), given, found.trial, "none")
    assert repeated.trial == found.trial
    again = choose_operating_point(spec(), repeated.y, repeated.scores, repeated.days, repeated.recent)
    assert operating_point.calibrator is not None and again.calibrator is not None
    assert again.threshold == operating_point.threshold and again.evidence == operating_point.evidence
    assert again.calibrator.get_params() == operating_point.calibrator.get_params()


def test_after_another_fit_only_the_last_window_is_learned_from() -> None:
    found, _ = chosen(spec(), data(spec()))
    assert found.refitted(found.search) is found
    rows = len(found.search.validation_scores)
    other = replace(found.search, validation_scores=np.linspace(0, 1, rows))
    refitted = found.refitted(other)
    assert len(refitted.y) == len(refitted.scores) == len(refitted.days) == rows
    np.testing.assert_array_equal(refitted.y, found.y[-rows:])


def test_with_one_fold_the_searchs_best_stands() -> None:
    one = spec(split={"validation": "20d", "held_out": "20d"})
    found, _ = chosen(one, data(one))
    assert found.trial.trial == "lucky"
    np.testing.assert_array_equal(found.scores, found.search.validation_scores)
    assert len(found.evidence["windows"]) == 1 and found.evidence["finalists"][0]["metrics"] == [0.62]


@pytest.mark.parametrize(("family", "grown"), [("xgboost", True), ("random_forest", False)])
def test_boosting_rounds_grow_with_the_rows_of_the_final_fit(family: str, grown: bool) -> None:
    """The search saw 1,000 of the 3,840 rows before the held-out period."""
    few = spec(tuning={**spec().tuning.model_dump(mode="json"), "rows": 1000})
    given = data(few)
    (origin,), served = given.periods.origins, given.periods.served
    assert 3800 < given.rows_before(origin) == given.early.sum() < 4800 - 900
    assert given.rows_before(served) == 4800 - 3  # the last outcomes are not known yet
    point = replace(trial("a", 0.6, 2, 20), family=family)
    for fold in (origin, served):
        found = for_rows(few, point, given, fold)
        assert found.iterations == (round(20 * (fold.train.sum() / 1000) ** 0.7) if grown else 20)
        assert replace(found, iterations=20) == point


@pytest.mark.parametrize("changed", ["labels turned round", "other inputs"])
def test_other_held_out_rows_change_no_choice(changed: str) -> None:
    pairs = []
    for held_out in ("as it is", changed):
        given = data(spec(), held_out)
        found, operating_point = chosen(spec(), given)
        pairs.append((found, operating_point, fit_final(spec(), found, given)))
    (first, operating_point, final), (second, again, other_final) = pairs
    [pipeline], [other] = ([fitted.pipeline for fitted in each.origins] for each in (final, other_final))
    assert final.measured.evidence == operating_point.evidence
    assert first.evidence == second.evidence and first.trial == second.trial
    np.testing.assert_array_equal(first.scores, second.scores)
    assert operating_point.evidence == again.evidence and operating_point.threshold == again.threshold
    assert operating_point.calibrator is not None and again.calibrator is not None
    assert operating_point.calibrator.get_params() == again.calibrator.get_params()
    features = data(spec()).features
    np.testing.assert_array_equal(pipeline.predict_proba(features), other.predict_proba(features))
    # the served fit has learned from these rows
    assert not np.array_equal(final.pipeline.predict_proba(features), other_final.pipeline.predict_proba(features))


def test_the_recipe_is_measured_before_each_origin_and_served_from_all_rows() -> None:
    """The fits before the windows are those that were possible then; the served fit equals a fit on all known rows."""
    two = spec(split={**CUT.model_dump(mode="json"), "origins": 2})
    given = data(two)
    found, _ = chosen(two, given)
    final = fit_final(two, found, given)
    first, second = given.periods.origins
    assert second.start == first.end and first.start == AS_OF - CUT.held_out and second.end == AS_OF
    assert not (first.validation & second.validation).any()
    np.testing.assert_array_equal(first.validation | second.validation, given.periods.held_out)
    assert second.train.sum() == given.rows_before(second) == first.train.sum() + 480
    parts = []
    for fold, fitted in zip((first, second), final.origins, strict=True):
        known = (given.rows[PREDICTION_TIME] + timedelta(hours=2) <= fold.start).to_numpy()
        np.testing.assert_array_equal(fold.train, known)
        [alone] = fit_before(two, found.trial, given, [fold])
        parts.append(alone.pipeline.predict_proba(given.features[fold.validation])[:, 1])
        np.testing.assert_array_equal(parts[-1], fitted.pipeline.predict_proba(given.features[fold.validation])[:, 1])
    np.testing.assert_array_equal(final.raw, np.concatenate(parts))
    assert final.served.evidence["rows"] == final.measured.evidence["rows"] + len(final.raw)
    evaluation = evaluate(two, given, found, final, {})
    assert [each["train_rows"] for each in evaluation.origins] == [first.train.sum(), second.train.sum()]
    assert evaluation.origins[1]["metrics"] == ranking(given.y[second.validation], parts[1])
    assert evaluation.served["until"] == evaluation.fitted_until == AS_OF.isoformat()
    assert evaluation.served["rows"] == 4800 - 3 and evaluation.served["threshold"] == final.served.threshold
    assert evaluation.params["iterations"] == evaluation.served["iterations"]
    assert evaluation.served["iterations"] > evaluation.origins[1]["iterations"] > evaluation.origins[0]["iterations"]


def test_the_noise_of_the_seed_is_that_between_fits_with_other_seeds() -> None:
    given, point = data(spec()), replace(trial("a", 0.6, 4, 20), params={"max_depth": 4, "subsample": 0.5})
    for changed, extra in (({}, 1), ({"split": {"validation": "20d", "held_out": "20d"}}, 3)):
        asked = spec(**changed)
        found = chosen_again(asked, data(asked), point, "none")
        noise = seed_noise(asked, data(asked), found)
        assert noise["freedom"] == 3 and 0.0005 < noise["average_precision"] < 0.05
        windows = []
        for fold in data(asked).periods.folds:
            encode = preprocessing(given.features).fit(given.features[fold.train])
            x, later = (encode.transform(given.features[mask]) for mask in (fold.train, fold.validation))
            fitted = "xgboost", point.params, x, given.y[fold.train]
            fits = [
                fit_steps(*fitted, 20, asked.tuning.seed + more, columns=columns_of(encode))
                for more in range(extra + 1)
            ]
            y = given.y[fold.validation]
            windows.append([ranking(y, fitted.predict_proba(later)[:, 1])["roc_auc"] for fitted in fits])
        assert noise["roc_auc"] == pytest.approx(np.sqrt(np.mean([np.var(each, ddof=1) for each in windows])))
    fixed = replace(point, params={"max_depth": 4})
    assert seed_noise(spec(), given, chosen_again(spec(), given, fixed, "none"))["average_precision"] == 0


def test_the_evidence_of_a_whole_training() -> None:
    given = data(spec())
    found, operating_point = chosen(spec(), given)
    final = fit_final(spec(), found, given)
    baselines = baseline_scores(given, start_baselines(spec(), given, ["rain"]))
    evaluation = evaluate(spec(), given, found, final, baselines)
    held_out = given.periods.held_out
    assert isinstance(final.pipeline[-1], Calibrated) and operating_point.calibrator is not None
    np.testing.assert_array_equal(
        final.scores,
        operating_point.calibrator(final.origins[0].pipeline.predict_proba(given.features[held_out])[:, 1]),
    )
    assert evaluation.metrics == metrics(given.y[held_out], final.scores, operating_point.threshold)
    for name, (low, high) in evaluation.intervals.items():
        assert low <= evaluation.metrics[name] <= high or name == "ece"
    assert set(evaluation.intervals) == set(evaluation.metrics)
    assert evaluation.calibration["ece_after"] == evaluation.metrics["ece"]
    assert evaluation.calibration["method"] == "sigmoid"
    assert evaluation.curves["calibration_before"] != evaluation.curves["calibration"]
    assert evaluation.worst_slice["slice"] == "carrier" and len(evaluation.slices) == 2
    assert evaluation.importance[0]["feature"] == "wind" and evaluation.shap[0]["feature"] == "wind"
    assert evaluation.costs["mean"] < min(evaluation.costs["flag_all"], evaluation.costs["flag_none"])
    assert [result["name"] for result in evaluation.behaviour] == ["wind", "storms"]
    assert evaluation.behaviour[1]["passed"] is False and evaluation.behaviour[1]["example"]["id"].startswith("f")
    assert evaluation.fairness[0]["column"] == "carrier" and len(evaluation.fairness[0]["groups"]) == 2


def test_without_request_features_there_is_no_baseline_on_them_and_a_failing_one_ends_nothing() -> None:
    given = data(spec())
    found = baseline_scores(given, start_baselines(spec(), given, []))
    assert list(found) == ["base rate", "XGBoost defaults, all features"]
    failures: list[dict[str, str]] = []
    started = start_baselines(spec(), replace(given, y=given.y.astype(str)), ["rain"])
    found = baseline_scores(given, started, failures)
    assert list(found) == ["base rate", "logistic regression, calendar only"]
    assert [each["what"] for each in failures] == ["baseline XGBoost defaults, all features"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"slices": ["carier"]}, "slices: there is no column 'carier' in the training rows. Did you mean 'carrier'?"),
        ({"fairness": {"groups": ["tier"]}}, "fairness.groups: there is no column 'tier' in the training rows."),
    ],
)
def test_a_slice_or_group_that_is_not_there_is_told_before_anything_is_fitted(given: Any, said: str) -> None:
    rows = data(spec())
    with pytest.raises(EvaluationError) as raised:
        check_evaluation(spec(**given), rows.rows, rows.features)
    assert said in str(raised.value) and "Known: flight_id, prediction_time, wind" in str(raised.value)
    check_evaluation(spec(), rows.rows, rows.features)
