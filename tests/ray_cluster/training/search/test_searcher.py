"""The searcher: points inside their space, decided by the seed and the number of the trial alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.experiment import Experiment
from ray.tune.search import ConcurrencyLimiter, SearchGenerator

from configs.tuning import Tuning
from ray_cluster.training.search.searcher import SeededSearch
from ray_cluster.training.search.trainable import BEST, ENDED

whole = st.tuples(st.integers(-50, 50), st.integers(1, 40)).map(lambda p: {"low": p[0], "high": p[0] + p[1]})
uniform = st.tuples(st.floats(-5, 5), st.floats(0.1, 9)).map(lambda p: {"low": p[0], "high": p[0] + p[1]})
positive = st.tuples(st.floats(1e-6, 5), st.floats(1.1, 99)).map(lambda p: {"low": p[0], "high": p[0] * p[1]})
dimensions = st.one_of(
    uniform,
    positive.map(lambda d: d | {"log": True}),
    whole.map(lambda d: d | {"integer": True}),
    whole.filter(lambda d: d["low"] > 0).map(lambda d: d | {"integer": True, "log": True}),
    st.lists(st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2), min_size=1, max_size=4).map(
        lambda c: {"choices": c}
    ),
    st.integers() | st.text(max_size=3) | st.booleans(),
)
spaces = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), dimensions, max_size=6)


def tuning(space: dict[str, Any], seed: int = 0, searcher: Any = "random") -> Tuning:
    families = [{"family": "xgboost", "iterations": 20, "space": space}, {"family": "logistic_regression"}]
    return Tuning.model_validate(
        {"rows": 1000, "budget": {"trials": 9}, "seed": seed, "searcher": searcher, "families": families}
    )


def generator(settings: Tuning, trials: int = 9, slots: int = 10**6) -> SearchGenerator:
    """The searcher as Tune asks it."""
    found = SearchGenerator(ConcurrencyLimiter(SeededSearch(settings), slots))
    found.add_configurations([Experiment("search", lambda config: None, num_samples=trials)])
    return found


def drawn(settings: Tuning, count: int, asked: Any = None) -> list[tuple[str, dict[str, Any]]]:
    asked = asked or SeededSearch(settings)
    families = {family.key: family for family in settings.families}
    points = [asked.suggest(f"trial {asked.__dict__.setdefault('count', 0) + n}") for n in range(count)]
    asked.__dict__["count"] += count
    return [(point["family"], families[point["family"]].parameters(point)) for point in points]


@settings(max_examples=60, deadline=None)
@given(spaces, st.integers(0, 2**32 - 1))
def test_a_point_lies_inside_its_space_and_comes_from_the_seed(space: dict[str, Any], seed: int) -> None:
    points = drawn(tuning(space, seed), 4)
    assert points == drawn(tuning(space, seed), 4)
    assert [family for family, _ in points[:2]] == ["xgboost", "logistic_regression"]
    for family, point in points:
        assert list(point) == (list(space) if family == "xgboost" else [])
        for name, value in point.items():
            dimension = space[name]
            if not isinstance(dimension, dict):
                assert value == dimension
            elif "choices" in dimension:
                assert value in dimension["choices"]
            else:
                slack = 0 if dimension.get("integer") else 1e-9 * abs(dimension["high"])
                assert dimension["low"] - slack <= value <= dimension["high"] + slack
                assert isinstance(value, int) == bool(dimension.get("integer"))


SPACE = {"n": {"low": 3, "high": 7, "integer": True}, "x": {"low": 0.001, "high": 10, "log": True}}


def test_whole_numbers_reach_both_ends_and_logarithms_spread_evenly() -> None:
    points = [point for family, point in drawn(tuning(SPACE), 1500) if family == "xgboost"]
    assert 600 < len(points) < 900
    assert np.bincount([point["n"] for point in points], minlength=8)[3:].min() > 100
    assert np.histogram([np.log10(point["x"]) for point in points], [-3, -2, -1, 0, 1])[0].min() > 130


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10**6), st.integers(1, 4))
def test_never_more_trials_than_the_budget_and_a_seed_gives_the_same_points(count: int, seed: int, slots: int) -> None:
    """Whatever the number of slots, and in whatever order trials end."""
    given, order = tuning(SPACE, seed), np.random.default_rng(seed)
    points, running, asked = [], [], generator(given, count, slots)
    while not asked.is_finished() or running:
        while (trial := asked.next_trial()) is not None:
            points.append(trial.config)
            running.append(trial.trial_id)
        assert len(running) <= slots
        ended = running.pop(int(order.integers(len(running))))
        asked.on_trial_complete(ended, {BEST: float(order.random())})
    assert len(points) == count
    assert [point["family"] for point in points] == [family for family, _ in drawn(given, count)]
    assert [next(f for f in given.families if f.key == p["family"]).parameters(p) for p in points] == [
        point for _, point in drawn(given, count)
    ]


@pytest.mark.parametrize("searcher", ["random", "tpe"])
def test_a_search_that_was_cut_off_goes_on_with_the_same_points(searcher: str, tmp_path: Path) -> None:
    given = tuning(SPACE, 3, searcher)
    whole, points, asked = drawn(given, 14), [], generator(given, 14)
    for number, count in enumerate((5, 1, 8)):
        points += [asked.next_trial().config for _ in range(count)]
        asked.save_to_dir(str(tmp_path), f"session {number}")
        asked = generator(given, 14)
        asked.restore_from_dir(str(tmp_path))
    families = {family.key: family for family in given.families}
    assert [(point["family"], families[point["family"]].parameters(point)) for point in points] == whole


def test_tpe_learns_within_a_small_budget() -> None:
    """Of nine trials, those after the third depend on the results."""

    def points(sign: float) -> list[dict[str, Any]]:
        asked, found = generator(tuning({"x": {"low": -1.0, "high": 1.0}}, 1, "tpe")), []
        for number in range(9):
            trial = asked.next_trial()
            asked.on_trial_complete(trial.trial_id, {BEST: sign * number})
            found.append(trial.config)
        return found

    rising, falling = points(1.0), points(-1.0)
    assert rising[:3] == falling[:3] and rising[3:] != falling[3:]


def test_a_stopped_trial_is_pruned_and_not_complete() -> None:
    from optuna.trial import TrialState

    asked = generator(tuning({"x": {"low": -1.0, "high": 1.0}}, 1, "tpe"))
    for ended in (True, False):
        trial = asked.next_trial()
        asked.on_trial_result(trial.trial_id, {BEST: 0.5, "training_iteration": 1})
        asked.on_trial_complete(trial.trial_id, {BEST: 0.5, ENDED: ended})
    trials = asked.searcher.searcher._ot_study.trials
    assert [(each.state, each.value) for each in trials] == [(TrialState.COMPLETE, 0.5), (TrialState.PRUNED, 0.5)]


@pytest.mark.parametrize("searcher", ["tpe", {"name": "tpe", "n_startup_trials": 5, "multivariate": True}])
def test_tpe_learns_from_the_trials_that_ended(searcher: Any) -> None:
    given = tuning({"x": {"low": -1.0, "high": 1.0}}, 1, searcher)
    asked, found = generator(given, 60), []
    for _ in range(60):
        trial = asked.next_trial()
        value = -abs(trial.config["xgboost.x"] - 0.3) if trial.config["family"] == "xgboost" else -2.0
        asked.on_trial_complete(trial.trial_id, {BEST: value})
        found.append(value)
    assert np.median(found[40:]) > np.median(found[:20]) and found.count(-2.0) < 20
