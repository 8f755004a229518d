"""Behavioural tests on models whose behaviour is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from configs.evaluation import BehaviourTest
from ray_cluster.evaluation.behaviour import BehaviourError, check_behaviour, run_behaviour

FRAME = pd.DataFrame(
    {
        "wind": np.r_[np.linspace(0, 50, 90), [np.nan] * 10],
        "maker": np.array(["A", "B", None, "A"] * 25, dtype=object),
    }
)
Y = (FRAME["wind"].to_numpy() > 30).astype(int)


def by_wind(frame: pd.DataFrame) -> np.ndarray:
    """A model that rises with wind up to 40 and falls beyond, and adds a little for maker B."""
    wind = frame["wind"].fillna(0).to_numpy()
    return np.asarray(np.where(wind <= 40, wind, 80 - wind) / 100 + 0.02 * (frame["maker"] == "B"))


def run(**test: Any) -> dict[str, Any]:
    parsed = TypeAdapter(BehaviourTest).validate_python({"name": "n", **test})
    check_behaviour("m", [parsed], FRAME)
    return run_behaviour([parsed], FRAME, [f"r{i}" for i in range(100)], Y, by_wind, 0.3)[0]


def test_invariance_counts_the_rows_that_move_too_much() -> None:
    moved = run(test="invariance", feature="maker", values=["A", "B"], tolerance=0.01)
    assert moved["passed"] is False and moved["failing"] == 1 and moved["rows"] == 100
    assert moved["example"]["change"] == "maker: A → B"
    assert moved["example"]["after"] - moved["example"]["before"] == pytest.approx(0.02)
    still = run(test="invariance", feature="maker", values=["A", "C"], tolerance=0.0)
    assert still["passed"] is True and still["failing"] == 0 and still["example"] is None
    assert "maker set to A, B moves the score by at most 0.01 in 95% of rows" in moved["says"]


def test_direction_counts_the_rows_that_go_the_wrong_way() -> None:
    found = run(test="direction", feature="wind", raise_by=5, share=0.9)
    wrong = (FRAME["wind"].dropna() > 37.5).mean()  # beyond, 40 lies nearer than 5 further
    assert found["rows"] == 90 and found["failing"] == pytest.approx(wrong, abs=0.02) and found["passed"] is False
    assert found["example"]["before"] > found["example"]["after"]
    assert run(test="direction", feature="wind", raise_by=5, share=0.7)["passed"] is True
    assert run(test="direction", feature="wind", raise_by=5, where="wind < 30", share=1.0)["passed"] is True
    assert run(test="direction", feature="wind", raise_by=5, score="down", where="wind > 41", share=1)["passed"] is True
    assert (
        run(test="direction", feature="wind", raise_by=-5, score="down", where="wind < 40", share=1)["passed"] is True
    )


def test_a_minimum_is_met_or_not() -> None:
    strong = run(test="minimum", where="wind > 30 AND wind <= 40", metric="mean_score", at_least=0.3)
    assert strong["passed"] is True and strong["value"] == pytest.approx(0.355, abs=0.02) and strong["rows"] == 18
    weak = run(test="minimum", where="wind > 30", metric="mean_score", at_least=0.5, required=True)
    assert weak["passed"] is False and weak["required"] is True and weak["example"]["before"] < 0.35
    assert run(test="minimum", metric="mean_score", at_most=0.3)["passed"] is True
    assert run(test="minimum", metric="roc_auc", at_least=0.9)["value"] == pytest.approx(
        run(test="minimum", metric="roc_auc", at_least=0.9)["value"]
    )


def test_too_few_rows_are_not_judged() -> None:
    assert run(test="minimum", where="wind > 48", metric="roc_auc", at_least=0.5)["passed"] is None
    assert run(test="minimum", where="wind > 99", metric="mean_score", at_least=0.5)["passed"] is None
    assert run(test="direction", feature="wind", raise_by=1, where="maker = 'Z'")["passed"] is None
    assert run(test="invariance", feature="wind", values=[1, 2], where="maker = 'Z'")["passed"] is None


def test_missing_values_match_no_condition() -> None:
    assert run(test="minimum", where="wind >= 0", metric="mean_score", at_most=1)["rows"] == 90
    assert run(test="minimum", where="maker <> 'A'", metric="mean_score", at_most=1)["rows"] == 25


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (
            {"test": "direction", "feature": "wnd", "raise_by": 1},
            "has no feature 'wnd'. Did you mean 'wind'? Known: wind",
        ),
        ({"test": "direction", "feature": "maker", "raise_by": 1}, "feature 'maker' is text and cannot be raised"),
        ({"test": "invariance", "feature": "wind", "values": ["a", "b"]}, "but feature 'wind' is a number"),
        ({"test": "invariance", "feature": "maker", "values": [1, 2]}, "but feature 'maker' is text"),
        ({"test": "minimum", "metric": "f1", "at_least": 0, "where": "wnd > 3"}, "where = 'wnd > 3' cannot be used: "),
        ({"test": "minimum", "metric": "f1", "at_least": 0, "where": "wind + 1"}, "cannot be used: "),
        (
            {"test": "minimum", "metric": "f1", "at_least": 0, "where": "bool_or(wind > 1)"},
            "it is not a condition on single rows",
        ),
    ],
)
def test_a_test_that_does_not_fit_is_one_sentence(test: dict[str, Any], said: str) -> None:
    with pytest.raises(BehaviourError) as raised:
        run(**test)
    assert said in str(raised.value), str(raised.value)
    assert str(raised.value).startswith("Model 'm', behaviour 'n': ")
