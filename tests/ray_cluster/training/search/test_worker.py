"""The worker of one node: a trial's next step begins while Tune decides, and ends early if the trial is dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from configs.tuning import Family
from ray_cluster.training.families import Rows
from ray_cluster.training.search.checkpoint import Progress
from ray_cluster.training.search.results import TrialResult
from ray_cluster.training.search.worker import Worker
from tests.ray_cluster.training.search.problem import rows, spec_of

FAMILY = {"family": "xgboost", "iterations": 400, "report_every": 8, "space": {"learning_rate": {"choices": [0.1]}}}


@pytest.fixture
def worker() -> Worker:
    found = Worker(spec_of({"trials": 1}, [FAMILY]).tuning, 1)
    found.rows = {name: [Rows(x, y, columns=columns) for x, y, columns in both] for name, both in rows().items()}
    return found


def begin(worker: Worker) -> tuple[int, Family, Progress]:
    [family] = worker.tuning.families
    return 0, family, Progress(TrialResult("00", "xgboost", {"learning_rate": 0.1}, "stopped early", 0, None, 0.0, []))


def test_steps_ahead_give_the_same_results_as_steps_on_demand(worker: Worker) -> None:
    number, family, ahead = begin(worker)
    alone = ahead
    for _ in range(5):
        ahead = worker.advance(number, family, ahead, False)
    worker._ahead[number][1].result(timeout=30)
    worker.drop(number)
    for _ in range(5):
        alone = worker.advance(1, family, alone, True)
    assert ahead.result.history == alone.result.history and ahead.model == alone.model
    assert [done for done, _ in ahead.result.history] == [8, 16, 24, 32, 40]


def test_a_step_begins_after_a_report_and_is_not_done_twice(worker: Worker) -> None:
    number, family, progress = begin(worker)
    progress = worker.advance(number, family, progress, False)
    done, step = worker._ahead[number]
    assert done == 8 and step.result(timeout=30).done == 16
    assert worker.advance(number, family, progress, False) is step.result()


def test_an_earlier_checkpoint_is_continued_by_a_fit_of_its_own(worker: Worker) -> None:
    """As after a trial's process died between the worker's report and its checkpoint."""
    number, family, progress = begin(worker)
    first = worker.advance(number, family, progress, False)
    second = worker.advance(number, family, first, False)
    worker.advance(number, family, second, False)
    again = worker.advance(number, family, first, False)
    assert again.result.history == second.result.history and again.model == second.model


def test_a_dropped_trial_ends_its_step(worker: Worker) -> None:
    number, family, progress = begin(worker)
    progress = worker.advance(number, family, progress, False)
    second = worker._ahead[number][1].result(timeout=30)
    entered, leave, stop = threading.Event(), threading.Event(), []

    def advance(iterations: int, stopped: Callable[[], bool]) -> None:
        entered.set()
        leave.wait(30)
        stop.append(stopped())

    worker.running[number].fit.advance = advance  # type: ignore[method-assign]
    assert worker.advance(number, family, progress, False) is second
    assert entered.wait(30)
    step = worker._ahead[number][1]
    worker.drop(number)
    leave.set()
    assert step.result(timeout=30) is second and stop == [True]  # nothing is scored
    assert not worker.running and not worker._ahead and not worker._working


def test_while_a_trial_runs_alone_no_other_begins(worker: Worker) -> None:
    number, family, progress = begin(worker)
    assert worker.advance(number, family, progress, True).done == 8
    assert not worker._ahead
    worker._working = 1
    assert worker.advance(5, family, progress, True) is None
    worker._working, worker._alone = 0, True
    assert worker.advance(5, family, progress, False) is None
