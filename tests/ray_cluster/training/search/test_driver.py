"""The search: its budget, early stops, failures, and going on after a driver or a worker was killed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_cluster.training.families import fit_steps
from ray_cluster.training.search import SearchError
from ray_cluster.training.search.budget import BudgetError, Spending, check_budget
from ray_cluster.training.search.trial import Event
from tests.ray_cluster.training.search.in_process import rows, search, settings_at, spec_of


class Slow:
    """An estimator that takes its time, fails, or leaves the metric at what it was told."""

    def __init__(self, seconds: float = 0.0, fails: bool = False) -> None:
        self.seconds, self.fails = seconds, fails

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"seconds": self.seconds, "fails": self.fails}

    def fit(self, x: Any, y: Any) -> Slow:
        time.sleep(self.seconds)
        if self.fails:
            raise ValueError("too few\n rows of this kind")
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.stack([1 - x[:, 0], x[:, 0]], axis=1)


SLOW = {"family": "custom", "estimator": f"{__name__}:Slow"}


def test_every_trial_is_reported_with_its_point_and_the_best_comes_first(tmp_path: Path) -> None:
    found, _ = search(tmp_path, spec_of({"trials": 7}))
    assert sorted(trial.trial for trial in found.trials) == [f"{number:02d}" for number in range(7)]
    metrics = [trial.metric for trial in found.trials]
    assert metrics == sorted(metrics, reverse=True) and found.metric == metrics[0]
    assert {trial.family for trial in found.trials} == {"xgboost", "logistic_regression"}
    for trial in found.trials:
        assert trial.metric == max(value for _, value in trial.history)
        assert trial.iterations in [done for done, _ in trial.history]
        assert trial.status == "finished" or (trial.history[-1][0] < 32 and "others were better" in trial.reason)
        assert trial.cpu_seconds > 0 and trial.seconds < 60
    (x, y), (x_validation, _) = rows()["ordinal"]
    best = found.best
    again = fit_steps(best.family, best.params, x, y, best.iterations, 0).predict_proba(x_validation)[:, 1]
    np.testing.assert_allclose(found.validation_scores, again, atol=1e-6)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.integers(0, 10**6))
def test_never_more_trials_than_the_budget_and_a_seed_gives_the_same_points(
    tmp_path: Path, count: int, seed: int
) -> None:
    points = []
    for turn in range(2):
        home = tmp_path / f"{count}-{seed}-{turn}"
        found, _ = search(home, spec_of({"trials": count}, seed=seed))
        points.append({trial.trial: (trial.family, trial.params) for trial in found.trials})
        assert len(points[-1]) == count
        shutil.rmtree(home)
    assert points[0] == points[1]


@pytest.mark.parametrize("seconds", [0.6, 1.5])
def test_seconds_end_a_search_whatever_runs(tmp_path: Path, seconds: float) -> None:
    family = {"family": "xgboost", "iterations": 100_000, "space": {"max_depth": 2}}
    started = time.monotonic()
    found, _ = search(tmp_path, spec_of({"seconds": seconds, "trials": 2}, [family], grace_iterations=90_000))
    assert seconds <= time.monotonic() - started < seconds + 3
    assert all(trial.status == "stopped early" for trial in found.trials)
    assert {trial.reason for trial in found.trials} == {f"the budget of {seconds:g} seconds was spent"}


def test_a_search_ends_with_a_metric_even_where_the_seconds_do_not_reach_for_one(tmp_path: Path) -> None:
    found, _ = search(tmp_path, spec_of({"seconds": 0.05}, [{**SLOW, "space": {"seconds": 0.5}}]))
    assert found.metric > 0 and len(found.trials) <= 2


def test_cost_ends_a_search(tmp_path: Path) -> None:
    cost = 1.0 * settings_at(tmp_path).prices.cpu_hour / 3600  # of a second
    found, driver = search(tmp_path, spec_of({"cost": cost}, [{**SLOW, "space": {"seconds": 0.2}}]))
    assert 5 <= len(found.trials) <= 8 and driver.spending.over == f"the budget of {cost:g} was spent"


@given(st.floats(0, 1e5), st.floats(0.1, 64), st.floats(0, 8), st.floats(0, 10), st.floats(0, 10))
def test_cost_is_the_hours_that_trials_held_at_their_prices(
    seconds: float, cpus: float, gpus: float, cpu_hour: float, gpu_hour: float
) -> None:
    prices = settings_at(Path("/")).prices.model_copy(update={"cpu_hour": cpu_hour, "gpu_hour": gpu_hour})
    tuning = spec_of({"cost": 1.0}, cpus_per_trial=cpus, gpus_per_trial=gpus).tuning
    spending = Spending(tuning, prices, trial_seconds=seconds)
    assert spending.cost == pytest.approx(seconds / 3600 * (cpus * cpu_hour + gpus * gpu_hour))
    assert bool(spending.over) == (spending.cost >= 1) == (not spending.may_begin)
    if cpus * cpu_hour + gpus * gpu_hour == 0:
        with pytest.raises(BudgetError, match=r"costs nothing; set prices\.cpu_hour"):
            check_budget(tuning.budget, prices, tuning, "m")


def test_a_trial_that_fails_does_not_fail_the_search(tmp_path: Path) -> None:
    space = {"fails": {"choices": [True, False]}}
    found, _ = search(tmp_path, spec_of({"trials": 8}, [{**SLOW, "space": space}]))
    failed = [trial for trial in found.trials if trial.status == "failed"]
    assert 0 < len(failed) < 8 and found.trials[-len(failed) :] == failed and found.best.status == "finished"
    assert {trial.reason for trial in failed} == {"ValueError: too few rows of this kind"}
    assert all(trial.metric is None and trial.params["fails"] for trial in failed)


def test_all_failing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SearchError) as raised:
        search(tmp_path, spec_of({"trials": 2}, [{**SLOW, "space": {"fails": True}}]))
    assert str(raised.value) == (
        "None of the 2 trials of model 'flight_delay' came to a metric; the first said: ValueError: too few rows of "
        "this kind. Mend that in tuning.families, and train again."
    )


NOT_STOPPED = {"reduction_factor": 2, "grace_iterations": 32}


def facts(found: Any) -> dict[str, Any]:
    return {trial.trial: (trial.family, trial.params, trial.status, trial.history) for trial in found.trials}


class Killed(BaseException):
    """What ends a driver in the middle, as far as the search can tell."""


@pytest.mark.parametrize("events", [1, 4, 9, 15])
def test_a_driver_that_was_killed_goes_on_where_it_was(tmp_path: Path, events: int) -> None:
    spec = spec_of({"trials": 4}, **NOT_STOPPED)
    whole, _ = search(tmp_path / "whole", spec)
    seen: list[Event] = []

    def killed(event: Event) -> bool:
        if len(seen) == events:
            raise Killed
        seen.append(event)
        return False

    with pytest.raises(Killed):
        search(tmp_path / "cut", spec, killed)
    journal = tmp_path / "cut" / "tune" / "key" / "study.journal"
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 6, "wor')  # killed while it wrote
    reported = {event.number: event.progress.done for event in seen if event.progress is not None}
    later: list[Event] = []
    found, _ = search(tmp_path / "cut", spec, lambda event: bool(later.append(event)))
    assert facts(found) == facts(whole)
    np.testing.assert_array_equal(found.validation_scores, whole.validation_scores)
    for event in later:  # nothing that was reported is done again
        if event.progress is not None:
            assert event.progress.done > reported.get(event.number, 0)


def test_a_worker_that_dies_costs_what_came_after_the_last_report(tmp_path: Path) -> None:
    spec = spec_of({"trials": 4}, **NOT_STOPPED)
    whole, _ = search(tmp_path / "whole", spec)
    seen: list[Event] = []

    def dies(event: Event) -> bool:
        seen.append(event)
        return len(seen) in (3, 8, 11)

    found, _ = search(tmp_path / "cut", spec, dies)
    assert facts(found) == facts(whole)


def test_a_trial_whose_worker_always_dies_is_failed_and_the_others_go_on(tmp_path: Path) -> None:
    spec = spec_of({"trials": 3}, **NOT_STOPPED)
    found, _ = search(tmp_path, spec, lambda event: event.number == 1)
    by_trial = {trial.trial: trial for trial in found.trials}
    assert by_trial["01"].status == "failed" and "3 times without a report in between" in by_trial["01"].reason
    assert by_trial["00"].status == by_trial["02"].status == "finished"
