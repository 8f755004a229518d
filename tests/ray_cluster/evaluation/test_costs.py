"""The threshold by cost: against brute force, Elkan's threshold, and what flagging all or nothing costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.evaluation import Costs
from ray_cluster.evaluation.intervals import MIN_DAYS
from ray_cluster.evaluation.metrics import cost_evidence, cost_threshold, mean_cost, theoretical_threshold

amounts = st.integers(-3, 9).map(float)
rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=1, max_size=40)


@st.composite
def costs(draw: st.DrawFn) -> Costs:
    right = draw(amounts), draw(amounts)
    more = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    return Costs(
        true_positive=right[0],
        true_negative=right[1],
        false_negative=right[0] + more[0],
        false_positive=right[1] + more[1],
    )


@settings(max_examples=150, deadline=None)
@given(rows, costs())
def test_no_threshold_costs_less(drawn: list[tuple[int, int]], matrix: Costs) -> None:
    y, scores = np.array([row[0] for row in drawn]), np.array([row[1] for row in drawn]) / 10
    found = cost_threshold(y, scores, matrix)
    everywhere = [*np.unique(scores), -1.0, 2.0]
    assert mean_cost(y, scores >= found, matrix) == pytest.approx(
        min(mean_cost(y, scores >= threshold, matrix) for threshold in everywhere)
    )


def test_a_mean_cost_by_hand() -> None:
    matrix = Costs(false_positive=1, false_negative=5, true_positive=-2, true_negative=0.5)
    y, flagged = np.array([1, 1, 0, 0]), np.array([True, False, True, False])
    assert mean_cost(y, flagged, matrix) == pytest.approx((-2 + 5 + 1 + 0.5) / 4)


def test_on_calibrated_scores_it_is_the_theoretical_one() -> None:
    random = np.random.default_rng(0)
    scores = random.random(200_000)
    y = (random.random(len(scores)) < scores).astype(int)
    for wrong, missed in ((1, 1), (1, 4), (3, 1)):
        matrix = Costs(false_positive=wrong, false_negative=missed)
        assert cost_threshold(y, scores, matrix) == pytest.approx(theoretical_threshold(matrix), abs=0.02)
    assert theoretical_threshold(Costs(false_positive=3, false_negative=4, true_positive=1, true_negative=1)) == 0.4


def test_flagging_nothing_is_a_threshold_above_all_scores() -> None:
    y, scores = np.array([0, 0, 0, 1]), np.array([0.9, 0.8, 1.0, 0.1])
    found = cost_threshold(y, scores, Costs(false_positive=5, false_negative=1))
    assert not (scores >= found).any()


@settings(max_examples=60, deadline=None)
@given(rows, costs(), st.integers(0, 10))
def test_the_evidence_holds_together(drawn: list[tuple[int, int]], matrix: Costs, tenths: int) -> None:
    y, scores = np.array([row[0] for row in drawn]), np.array([row[1] for row in drawn]) / 10
    found: dict[str, Any] = cost_evidence(y, scores, tenths / 10, matrix, np.arange(len(y)))
    curve = found["curve"]
    assert curve["threshold"] == sorted(curve["threshold"])
    assert curve["cost"][0] == pytest.approx(found["flag_all"]) and curve["cost"][-1] == pytest.approx(
        found["flag_none"]
    )
    for threshold, cost in zip(curve["threshold"], curve["cost"], strict=True):
        assert cost == pytest.approx(mean_cost(y, scores >= threshold, matrix))
    if len(y) < MIN_DAYS:
        assert found["low"] is found["high"] is None
    else:
        assert found["low"] - 1e-9 <= found["mean"] <= found["high"] + 1e-9
    assert found["mean"] == pytest.approx(mean_cost(y, scores >= tenths / 10, matrix))


def test_costs_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="false_positive 1 must cost more than true_negative 2"):
        Costs(false_positive=1, false_negative=5, true_negative=2)
    with pytest.raises(ValidationError, match="false_negative 0 must cost more than true_positive 0"):
        Costs(false_positive=1, false_negative=0)
