"""Slices partition the rows, carry intervals, and the worst one is named where there are enough rows to say so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from ray_cluster.evaluation.slices import slice_changes, slices, worst_slice


def test_slices_partition_the_rows_and_leave_small_ones_out() -> None:
    generator = np.random.default_rng(2)
    frame = pd.DataFrame({"carrier": generator.choice(["AA", "UA", "OO"], 2000, p=[0.5, 0.49, 0.01]), "hour": 7})
    y = generator.integers(0, 2, len(frame))
    scores = generator.uniform(size=len(frame))
    found = slices(frame, ["carrier", "hour"], y, scores, np.arange(len(y)) % 3)
    assert [(each["slice"], each["value"]) for each in found] == [("carrier", "AA"), ("carrier", "UA"), ("hour", "7")]
    small = int((frame["carrier"] == "OO").sum())
    assert sum(each["rows"] for each in found if each["slice"] == "carrier") == len(frame) - small
    assert found[-1]["rows"] == len(frame) and found[-1]["positives"] == y.sum()
    assert found[-1]["roc_auc"] == pytest.approx(reference.roc_auc_score(y, scores))
    mine = (frame["carrier"] == "UA").to_numpy()
    assert found[1]["average_precision"] == pytest.approx(reference.average_precision_score(y[mine], scores[mine]))


@pytest.mark.parametrize(("positives", "kept"), [(19, 0), (20, 1), (80, 1), (81, 0)])
def test_a_slice_needs_twenty_rows_of_either_outcome(positives: int, kept: int) -> None:
    y = np.r_[np.ones(positives, int), np.zeros(100 - positives, int)]
    assert len(slices(pd.DataFrame({"a": ["x"] * 100}), ["a"], y, np.linspace(0, 1, 100), np.arange(100))) == kept


def test_two_models_are_compared_on_slices_with_thirty_rows_of_each_class() -> None:
    random = np.random.default_rng(4)
    frame = pd.DataFrame({"a": ["x"] * 400 + ["y"] * 100})
    y = np.r_[np.tile([0, 1], 200), np.ones(29, int), np.zeros(71, int)]  # y has 29 rows of the rarer class
    new, old = random.random(500) + 0.5 * y, random.random(500)
    [part] = slice_changes(frame, ["a"], y, new, old)
    assert {name: part[name] for name in ("slice", "value", "rows", "positives")} == {
        "slice": "a", "value": "x", "rows": 400, "positives": 200,
    }  # fmt: skip
    assert part["challenger"] == pytest.approx(reference.roc_auc_score(y[:400], new[:400]))
    assert part["champion"] == pytest.approx(reference.roc_auc_score(y[:400], old[:400]))
    y[-1] = 1
    assert [part["value"] for part in slice_changes(frame, ["a"], y, new, old)] == ["x", "y"]


def test_intervals_hold_the_value_and_are_wider_for_fewer_rows() -> None:
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"a": np.repeat(["large", "small"], [3000, 300])})
    y = (random.random(len(frame)) < 0.3).astype(int)
    scores, days = 0.3 * y + random.random(len(frame)), random.integers(0, 30, len(frame))
    large, small = slices(frame, ["a"], y, scores, days)
    for part in (large, small):
        for metric in ("roc_auc", "average_precision"):
            low, high = part["intervals"][metric]
            assert low < part[metric] < high
    widths = [np.ptp(part["intervals"]["roc_auc"]) for part in (large, small)]
    assert widths[1] > 2 * widths[0]


def test_the_worst_slice_is_named_only_with_thirty_rows_of_each_class() -> None:
    parts = [
        {"value": "a", "rows": 100, "positives": 29, "roc_auc": 0.4},
        {"value": "b", "rows": 100, "positives": 30, "roc_auc": 0.6},
        {"value": "c", "rows": 100, "positives": 71, "roc_auc": 0.5},
        {"value": "d", "rows": 100, "positives": 50, "roc_auc": 0.7},
    ]
    worst = worst_slice(parts)
    assert worst is not None and worst["value"] == "b"
    assert worst_slice(parts[:1]) is None and worst_slice([]) is None
