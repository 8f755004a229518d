"""The searcher and the scheduler of a model's file: a name, or a mapping of a name and its options."""

from __future__ import annotations

from typing import Any

import pytest

from configs.reading import ConfigError, validated
from configs.tuning import Family, Tuning

CONTENT = {"rows": 1000, "budget": {"trials": 1}, "families": [{"family": "logistic_regression"}]}


def test_a_name_stands_for_its_defaults_and_options_are_those_of_tune() -> None:
    plain = validated(Tuning, CONTENT, "m.yaml")
    assert (plain.searcher.name, plain.scheduler.name) == ("random", "none")  # a single trial is compared with none
    for budget, name in (({"trials": 15}, "none"), ({"trials": 16}, "asha"), ({"seconds": 60}, "asha")):
        assert validated(Tuning, CONTENT | {"budget": budget}, "m.yaml").scheduler.name == name
    given = CONTENT | {"searcher": "tpe", "scheduler": {"name": "median", "min_samples_required": 5}}
    tuning = validated(Tuning, given, "m.yaml")
    assert tuning.searcher.model_dump() == {
        "name": "tpe",
        "n_startup_trials": None,
        "n_ei_candidates": 24,
        "multivariate": False,
    }
    assert tuning.scheduler.model_dump() == {"name": "median", "min_samples_required": 5}
    assert validated(Tuning, tuning.model_dump(mode="json"), "m.yaml") == tuning


def test_the_pace_of_a_trial_is_its_learning_rate_beside_the_highest() -> None:
    def pace(space: dict[str, Any], **params: float) -> float:
        return Family(family="xgboost", iterations=9, space=space).pace(params)

    drawn = {"learning_rate": {"low": 0.01, "high": 0.1, "log": True}}
    assert pace(drawn, learning_rate=0.1) == 1 and pace(drawn, learning_rate=0.02) == pytest.approx(0.2)
    assert pace({"learning_rate": {"choices": [0.3, 0.1]}}, learning_rate=0.1) == pytest.approx(1 / 3)
    assert pace({"learning_rate": 0.05}, learning_rate=0.05) == pace({}) == 1


@pytest.mark.parametrize(("trials", "random"), [(1, 1), (4, 2), (12, 4), (30, 10), (300, 10), (None, 10)])
def test_tpe_draws_a_third_of_its_trials_at_random(trials: int | None, random: int) -> None:
    budget = {"trials": trials} if trials else {"seconds": 9}
    assert validated(Tuning, CONTENT | {"budget": budget, "searcher": "tpe"}, "m.yaml").sampler == {
        "n_startup_trials": random,
        "n_ei_candidates": 24,
        "multivariate": False,
    }
    given = {"name": "tpe", "n_startup_trials": 7}
    assert validated(Tuning, CONTENT | {"budget": budget, "searcher": given}, "m.yaml").sampler["n_startup_trials"] == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"searcher": "tpee"},
            "m.yaml: searcher = 'tpee': expected random, tpe, or a mapping of such a name and its options. "
            "Did you mean 'tpe'?",
        ),
        (
            {"scheduler": {"brackets": 2}},
            "m.yaml: scheduler = {'brackets': 2}: expected asha, hyperband, median, none, or a mapping of such a name "
            "and its options.",
        ),
        (
            {"searcher": {"name": "random", "n_startup_trials": 3}},
            "m.yaml: unknown key 'searcher.n_startup_trials'. Known here: name.",
        ),
        (
            {"scheduler": {"name": "asha", "brackets": 0}},
            "m.yaml: scheduler.brackets = 0: Input should be greater than or equal to 1.",
        ),
    ],
)
def test_another_name_or_option_is_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        validated(Tuning, CONTENT | given, "m.yaml")
    assert str(raised.value) == said
