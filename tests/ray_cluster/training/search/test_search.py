"""The search on a Ray cluster: its budget, schedulers, failures, and a worker that dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ray_cluster.training.families import fit_steps
from ray_cluster.training.search import SearchError, tune_families
from ray_cluster.training.search.budget import BudgetStopper
from tests.ray_cluster.training.search.problem import facts, rows, search, settings_at, spec_of


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    import ray

    ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


SLOW = {"family": "custom", "estimator": "tests.ray_cluster.training.search.estimators:Slow"}
OTHER = {"family": "custom", "estimator": "tests.ray_cluster.training.search.estimators:Other"}


def test_every_trial_is_reported_with_its_point_and_the_best_comes_first(tmp_path: Path) -> None:
    found = search(tmp_path, spec_of({"trials": 7}))
    assert sorted(trial.trial for trial in found.trials) == [f"{number:02d}" for number in range(7)]
    metrics = [trial.metric for trial in found.trials]
    assert metrics == sorted(metrics, reverse=True) and found.metric == metrics[0]
    assert {trial.family for trial in found.trials} == {"xgboost", "logistic_regression"}
    for trial in found.trials:
        assert trial.metric == max(value for _, value in trial.history)
        assert trial.iterations in [done for done, _ in trial.history]
        assert trial.status == "finished" or (trial.history[-1][0] < 32 and "others were better" in trial.reason)
        assert trial.cpu_seconds > 0 and trial.seconds < 60
    (x, y, columns), (x_validation, *_) = rows()["ordinal"]
    best = found.best
    again = fit_steps(best.family, best.params, x, y, best.iterations, 0, columns=columns).predict_proba(x_validation)
    np.testing.assert_allclose(found.validation_scores, again[:, 1], atol=1e-6)
    assert not (tmp_path / "tune" / "key").exists()


def test_trials_draw_a_number_of_rows_and_are_fitted_on_the_latest(tmp_path: Path) -> None:
    found = tune_families(
        settings_at(tmp_path), spec_of({"trials": 8}, rows=[1000, 2000], scheduler="none"), "key", lambda: rows(3000)
    )
    assert {trial.rows for trial in found.trials} == {1000, None}
    (x, y, columns), (x_validation, y_validation, _) = rows(3000)["ordinal"]
    for trial in found.trials:
        latest = slice(-(trial.rows or 2000), None)
        given = trial.family, trial.params, x[latest], y[latest], trial.iterations, 0
        scores = fit_steps(*given, columns=columns).predict_proba(x_validation)[:, 1]
        assert trial.metric == pytest.approx(average_precision_score(y_validation, scores), abs=1e-5)


@pytest.mark.parametrize("scheduler", ["hyperband", {"name": "median", "min_samples_required": 2}, "none"])
def test_schedulers_by_name(tmp_path: Path, scheduler: Any) -> None:
    family = {
        "family": "xgboost",
        "iterations": 32,
        "space": {"reg_lambda": {"low": 1.0, "high": 1e5, "log": True}},
    }
    found = search(tmp_path, spec_of({"trials": 9}, [family], scheduler=scheduler, searcher="tpe"))
    stopped = [trial for trial in found.trials if trial.status == "stopped early"]
    assert len(found.trials) == 9 and found.best.status == "finished"
    assert bool(stopped) == (scheduler != "none")
    for trial in stopped:
        assert 8 <= trial.history[-1][0] < 32 and trial.reason == "others were better at the same point"


def test_a_folder_that_a_killed_run_left_is_in_no_trials_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune then gives a trial's folder another name."""
    from ray.tune.experiment import trial

    monkeypatch.setattr(trial, "_create_unique_logdir_name", lambda root, name: f"{name}_cb50")
    found = search(tmp_path, spec_of({"trials": 3}, scheduler="none"))
    assert sorted(each.trial for each in found.trials) == ["00", "01", "02"]
    assert all(each.status == "finished" for each in found.trials)


def test_slow_learners_are_compared_after_as_much_progress(tmp_path: Path) -> None:
    """A learning rate of a fifth reaches the first rung after five times the rounds; a fast one is stopped there."""
    family = {
        "family": "xgboost",
        "iterations": 60,
        "space": {"learning_rate": {"choices": [0.5, 0.1]}, "max_depth": 2},
    }
    found = search(tmp_path, spec_of({"trials": 8}, [family]))
    rates = {trial.params["learning_rate"]: trial for trial in found.trials}
    assert set(rates) == {0.1, 0.5}
    slow = [trial for trial in found.trials if trial.params["learning_rate"] == 0.1]
    assert all(trial.history[-1][0] >= 5 * 8 for trial in slow)
    assert any(trial.status == "stopped early" for trial in found.trials)


def test_a_trial_ends_when_its_metric_no_longer_improves(tmp_path: Path) -> None:
    """The patience of 20 rounds is that of the highest learning rate; a half of it has 40."""
    family = {"family": "xgboost", "iterations": 400, "space": {"learning_rate": {"choices": [1.0, 0.5]}}}
    found = search(tmp_path, spec_of({"trials": 6}, [family], scheduler="none", patience=20))
    assert {trial.params["learning_rate"] for trial in found.trials} == {1.0, 0.5}
    for trial in found.trials:
        waited = trial.history[-1][0] - trial.iterations
        patience = 20 / trial.params["learning_rate"]
        assert trial.status == "finished" and patience <= waited < patience + 4
        assert trial.reason == f"no better for {waited:.0f} iterations" and trial.metric == max(
            v for _, v in trial.history
        )


def test_seconds_end_a_search_whatever_runs(tmp_path: Path) -> None:
    boosted = {"family": "xgboost", "iterations": 100_000, "space": {"max_depth": 2}}
    asleep = {**SLOW, "space": {"seconds": 200.0}}
    started = time.monotonic()
    found = search(tmp_path, spec_of({"seconds": 10, "trials": 2}, [boosted, asleep], grace_iterations=90_000))
    assert 10 <= time.monotonic() - started < 150  # not until the sleeper wakes
    assert all(trial.status == "stopped early" for trial in found.trials)
    assert {trial.reason for trial in found.trials} == {"the budget of 10 seconds was spent"}
    assert found.metric > 0
    assert all(
        trial.metric is None for trial in found.trials[1:]
    )  # the sleeper, which a busy machine may begin too late


def test_a_search_ends_with_a_metric_even_where_the_seconds_do_not_reach_for_one(tmp_path: Path) -> None:
    found = search(tmp_path, spec_of({"seconds": 0.05}, [{**SLOW, "space": {"seconds": 0.5}}]))
    assert found.metric > 0 and len(found.trials) <= 2


def test_cost_ends_a_search(tmp_path: Path) -> None:
    cost = 1.0 * settings_at(tmp_path).prices.cpu_hour / 3600  # of a second
    found = search(tmp_path, spec_of({"cost": cost}, [{**SLOW, "space": {"seconds": 0.2}}]))
    seconds = [trial.seconds for trial in sorted(found.trials, key=lambda trial: trial.trial)]
    assert sum(seconds) >= 1.0 > sum(seconds[:-3])  # two may run at the report that ends the search
    assert {trial.reason for trial in found.trials} <= {"", f"the budget of {cost:g} was spent"}


def test_a_trial_that_fails_does_not_fail_the_search(tmp_path: Path) -> None:
    space = {"fails": {"choices": [True, False]}}
    found = search(tmp_path, spec_of({"trials": 8}, [{**SLOW, "space": space}]))
    failed = [trial for trial in found.trials if trial.status == "failed"]
    assert 0 < len(failed) < 8 and found.trials[-len(failed) :] == failed and found.best.status == "finished"
    assert {trial.reason for trial in failed} == {"ValueError: too few rows of this kind"}
    assert all(trial.metric is None and trial.params["fails"] for trial in failed)


def test_all_failing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SearchError) as raised:
        search(tmp_path, spec_of({"trials": 2}, [{**SLOW, "space": {"fails": True}}]))
    assert str(raised.value) == (
        "None of the 2 trials of model 'flight_delay' has a metric; the first failed with: ValueError: too few rows of "
        "this kind. Fix that in tuning.families, and train again."
    )


def test_a_search_in_which_everything_fails_ends_before_its_budget(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"None of the 2\d trials of model 'flight_delay' has a metric"):
        search(tmp_path, spec_of({"cost": 1.0}, [{**SLOW, "space": {"fails": True}}]))


NOT_STOPPED = {"reduction_factor": 2, "grace_iterations": 32}


def test_a_worker_that_dies_costs_what_came_after_the_last_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of({"trials": 4}, **NOT_STOPPED)
    whole, count, seen = search(tmp_path / "whole", spec), BudgetStopper.__call__, []

    def killing(self: BudgetStopper, trial_id: str, result: dict[str, Any]) -> bool:
        seen.append((trial_id, result["iterations"]))
        if len(seen) in (3, 8, 11):
            for each in worker_processes():
                os.kill(each, signal.SIGKILL)
        return count(self, trial_id, result)

    monkeypatch.setattr(BudgetStopper, "__call__", killing)
    found = search(tmp_path / "cut", spec)
    assert facts(found) == facts(whole) and len(seen) == len(set(seen)) > 11
    np.testing.assert_array_equal(found.validation_scores, whole.validation_scores)


def worker_processes() -> list[int]:
    import psutil

    ours = psutil.Process().children(recursive=True)
    return [each.pid for each in ours if each.is_running() and "ray::Worker" in "".join(each.cmdline()[:1])]


def test_a_trial_whose_worker_always_dies_is_failed_and_the_others_go_on(tmp_path: Path) -> None:
    boosted = {"family": "xgboost", "iterations": 32, "space": {"subsample": 0.7}}
    families = [boosted, {**SLOW, "space": {"kills": True}}, {**OTHER, "space": {"seconds": 0.1}}]
    by_trial = {trial.trial: trial for trial in search(tmp_path, spec_of({"trials": 3}, families)).trials}
    assert by_trial["01"].status == "failed" and "3 times without a report in between" in by_trial["01"].reason
    assert by_trial["00"].status == by_trial["02"].status == "finished"
