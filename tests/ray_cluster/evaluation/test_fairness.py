"""Group rates and gaps: by hand, as fairlearn defines them, and with intervals that know few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.evaluation import Fairness
from ray_cluster.evaluation.fairness import fairness


def table(counts: dict[str, tuple[int, int, int, int]]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rows with so many true positives, false negatives, false positives and true negatives per group; flagged rows
    have a score of 0.9, the others of 0.1."""
    groups, y, scores = [], [], []
    for group, (hits, missed, alarms, left) in counts.items():
        groups += [group] * (hits + missed + alarms + left)
        y += [1] * (hits + missed) + [0] * (alarms + left)
        scores += [0.9] * hits + [0.1] * missed + [0.9] * alarms + [0.1] * left
    return pd.DataFrame({"tier": groups}), np.array(y), np.array(scores)


def measured(counts: dict[str, tuple[int, int, int, int]], gap: float = 0.1) -> dict[str, Any]:
    frame, y, scores = table(counts)
    return fairness(frame, Fairness(groups=["tier"], gap=gap), y, scores, 0.5, np.arange(len(y)) % 20)[0]


def test_rates_and_gaps_by_hand() -> None:
    found = measured({"gold": (30, 10, 20, 140), "plain": (20, 20, 10, 150)})
    gold, plain = found["groups"]
    assert (gold["rows"], gold["positives"]) == (200, 40)
    assert gold["selection_rate"] == pytest.approx(50 / 200) and plain["selection_rate"] == pytest.approx(30 / 200)
    assert gold["tpr"] == pytest.approx(30 / 40) and plain["tpr"] == pytest.approx(20 / 40)
    assert gold["fpr"] == pytest.approx(20 / 160) and plain["fpr"] == pytest.approx(10 / 160)
    assert gold["calibration_gap"] == pytest.approx((50 * 0.9 + 150 * 0.1 - 40) / 200)
    gaps = {name: gap["gap"] for name, gap in found["gaps"].items()}
    # fairlearn: demographic_parity_difference, equal_opportunity_difference, equalized_odds_difference
    assert gaps == pytest.approx({"demographic_parity": 0.1, "equal_opportunity": 0.25, "equalised_odds": 0.25})
    assert found["within"] is False and found["bound"] == 0.1
    assert measured({"gold": (30, 10, 20, 140), "plain": (20, 20, 10, 150)}, gap=0.3)["within"] is True
    for gap in found["gaps"].values():
        assert 0 <= gap["low"] <= gap["gap"] <= gap["high"]


def test_equalised_odds_is_the_larger_of_both_gaps() -> None:
    found = measured({"a": (30, 10, 80, 80), "b": (30, 10, 16, 144)})
    assert found["gaps"]["equal_opportunity"]["gap"] == 0
    assert found["gaps"]["equalised_odds"]["gap"] == pytest.approx(0.5 - 0.1)


def test_the_worst_group_is_the_furthest_from_all_rows() -> None:
    found = measured({"large": (300, 100, 200, 1400), "near": (28, 12, 20, 140), "far": (10, 30, 20, 140)})
    assert found["worst"] == "far"


def test_rates_of_too_few_rows_are_left_out() -> None:
    found = measured({"a": (30, 10, 20, 140), "b": (20, 20, 10, 150), "tiny": (0, 19, 60, 40)})
    assert found["too_small"] == ["tiny"] and found["groups"][2]["tpr"] is None
    assert found["groups"][2]["selection_rate"] == pytest.approx(60 / 119)
    assert found["gaps"]["equal_opportunity"]["gap"] == pytest.approx(0.25)
    assert found["gaps"]["demographic_parity"]["gap"] == pytest.approx(60 / 119 - 30 / 200)
    alone = measured({"a": (30, 10, 20, 140), "tiny": (0, 1, 0, 90)})
    assert set(alone["gaps"]) == {"demographic_parity"}
    assert alone["gaps"]["demographic_parity"]["gap"] == pytest.approx(0.25) and alone["within"] is False
    one = measured({"a": (30, 10, 20, 140)})
    assert one["within"] is None and one["worst"] is None and one["gaps"] == {}


def test_alike_groups_have_a_small_gap_that_fewer_rows_leave_open() -> None:
    random = np.random.default_rng(0)
    widths = []
    for rows in (600, 20_000):
        frame = pd.DataFrame({"tier": random.choice(["a", "b"], rows)})
        y = (random.random(rows) < 0.3).astype(int)
        scores = np.clip(0.3 + 0.3 * (y - 0.3) + random.normal(0, 0.2, rows), 0, 1)
        found = fairness(frame, Fairness(groups=["tier"]), y, scores, 0.5, random.integers(0, 40, rows))[0]
        widths.append(found["gaps"]["equal_opportunity"]["high"] - found["gaps"]["equal_opportunity"]["low"])
    assert found["gaps"]["equal_opportunity"]["gap"] < 0.03 and widths[1] < widths[0] / 2
