"""Confident learning: the paper's own definition as reference, planted errors, and no row judged by itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_cluster.labels.suspect_labels import SuspectError, blocks_of_time, mattering, out_of_fold, suspects


def by_the_paper(y: np.ndarray, p: np.ndarray) -> set[int]:
    """Northcutt et al. 2021, equations 1 to 3 and "prune by noise rate", for two classes, row by row.

    As cleanlab does, a row whose given label is also the likelier one is no suspect.
    """
    both = np.column_stack([1 - p, p])
    threshold = [both[y == label, label].mean() for label in (0, 1)]
    joint = np.zeros((2, 2))
    for place, given_label in enumerate(y):
        over = [label for label in (0, 1) if both[place, label] >= threshold[label] - 1e-6]
        if over:
            joint[given_label, max(over, key=lambda label: both[place, label])] += 1
    joint = np.maximum(joint, np.eye(2))
    joint = joint / joint.sum(axis=1, keepdims=True) * np.bincount(y, minlength=2)[:, None]
    found: set[int] = set()
    for given_label, true in ((0, 1), (1, 0)):
        count = round(joint[given_label, true])
        rows = np.flatnonzero(y == given_label)
        margin = both[rows, true] - both[rows, given_label]
        found |= set(rows[np.argsort(-margin, kind="stable")[:count]][: (margin > 0).sum()].tolist())
    return found


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 0.5), st.floats(0, 0.2))
def test_suspects_are_what_the_paper_defines(seed, share, noise):
    random = np.random.default_rng(seed)
    truth = (random.random(600) < share).astype(int)
    p = np.clip(random.normal(0.15 + 0.7 * truth, 0.15), 0.001, 0.999)
    y = np.where(random.random(600) < noise, 1 - truth, truth)
    found, expected = set(suspects(y, p).tolist()), by_the_paper(y, p)
    assert len(found ^ expected) <= 3  # it rounds the two directions together, the paper each alone


def test_the_least_plausible_come_first():
    y, p = np.array([0] * 50 + [1] * 50), np.r_[np.full(49, 0.02), 0.99, np.full(48, 0.97), 0.03, 0.01]
    assert suspects(y, p).tolist() == [49, 99, 98] or suspects(y, p).tolist() == [99, 49, 98]


@given(st.integers(10, 500), st.integers(2, 7))
def test_blocks_are_stretches_of_time_that_hold_every_row_once(rows, folds):
    blocks = blocks_of_time(rows, folds)
    assert np.concatenate(blocks).tolist() == list(range(rows))
    assert all((np.diff(block) == 1).all() for block in blocks) and len(blocks) == folds


def flipped(rows: int = 4000, share: float = 0.03) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    x = pd.DataFrame({"a": random.normal(size=rows), "b": random.normal(size=rows)})
    x["kind"] = random.choice(np.array(["u", "v", None], dtype=object), rows)
    truth = (x["a"] + 0.5 * (x["kind"] == "u") > 1).to_numpy().astype(int)
    planted = random.choice(rows, int(share * rows), replace=False)
    y = truth.copy()
    y[planted] = 1 - y[planted]
    return x, y, planted


def test_planted_errors_are_found_and_said_why():
    x, y, planted = flipped()
    out = out_of_fold(x, y, 0)
    found = suspects(y, out.probability)
    at = len(planted)
    assert np.isin(found[:at], planted).mean() > 0.8
    first = int(found[0])
    assert "a = " in mattering(out, x.iloc[first].to_dict(), first, count=1)
    odds = np.log(out.probability / (1 - out.probability))
    bias = odds - out.contributions.sum(axis=1)
    assert all(np.ptp(bias[block]) < 1e-3 for block in blocks_of_time(len(y), 5))


def test_no_row_is_judged_by_its_own_label_or_stretch():
    x, y, _ = flipped(1000)
    before = out_of_fold(x, y, 0).probability
    block = blocks_of_time(1000, 5)[2]
    other = y.copy()
    other[block] = 1 - other[block]
    assert np.array_equal(out_of_fold(x, other, 0).probability[block], before[block])


def test_labels_of_one_kind_are_told():
    x, _, _ = flipped(100)
    with pytest.raises(SuspectError, match=r"all have the label 0"):
        out_of_fold(x, np.zeros(100, dtype=int), 0)
