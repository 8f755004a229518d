"""The searcher: points inside their space, decided by the seed and the number of the trial alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.tuning import Tuning
from ray_cluster.training.search.searcher import Searcher

optuna.logging.set_verbosity(optuna.logging.WARNING)

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


def tuning(space: dict[str, Any], seed: int = 0, searcher: str = "random") -> Tuning:
    families = [{"family": "xgboost", "iterations": 20, "space": space}, {"family": "logistic_regression"}]
    return Tuning.model_validate(
        {"rows": 1000, "budget": {"trials": 9}, "seed": seed, "searcher": searcher, "families": families}
    )


def drawn(settings: Tuning, count: int, study: optuna.Study | None = None) -> list[tuple[str, dict[str, Any]]]:
    searcher = Searcher(settings, study or optuna.create_study(direction="maximize"))
    points = [searcher.point(searcher.ask()) for _ in range(count)]
    return [(point.family.key, point.params) for point in points]


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


@pytest.mark.parametrize("searcher", ["random", "tpe"])
def test_a_search_that_was_cut_off_goes_on_with_the_same_points(searcher: str) -> None:
    given = tuning(SPACE, 3, searcher)
    whole, cut = drawn(given, 14), optuna.create_study(direction="maximize")
    assert drawn(given, 5, cut) + drawn(given, 1, cut) + drawn(given, 8, cut) == whole


def test_tpe_learns_from_the_trials_that_ended() -> None:
    given = tuning({"x": {"low": -1.0, "high": 1.0}}, 1, "tpe")
    study = optuna.create_study(direction="maximize")
    searcher, found = Searcher(given, study), []
    for _ in range(60):
        trial = searcher.ask()
        point = searcher.point(trial)
        value = -abs(point.params["x"] - 0.3) if point.family.key == "xgboost" else -2.0
        study.tell(trial, value)
        found.append(value)
    assert np.median(found[40:]) > np.median(found[:20]) and found.count(-2.0) < 20
