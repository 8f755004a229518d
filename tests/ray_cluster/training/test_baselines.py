"""The baseline on request features takes every column that a feature view can give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ray_cluster.evaluation.metrics import ranking
from ray_cluster.training.baselines import _logistic

ROWS, FIT = 400, 300
Y = (np.arange(ROWS) % 3 == 0).astype(int)
NULLS = np.arange(ROWS) % 5 == 0

COLUMNS = {
    "text of 40 values": pd.Series([f"A{i % 40}" for i in range(ROWS)], dtype=object),
    "text, each value once": pd.Series([f"A{i}" for i in range(ROWS)], dtype=object),
    "text with None and NaN": pd.Series([None, np.nan, "a", "b"] * (ROWS // 4), dtype=object),
    "numbers, one missing": pd.Series(np.where(np.arange(ROWS) == 5, np.nan, np.linspace(0, 1, ROWS))),
    "numbers, missing in the held-out rows only": pd.Series(np.where(np.arange(ROWS) >= 350, np.nan, np.arange(ROWS))),
    "infinite numbers": pd.Series(np.where(NULLS, np.inf, np.linspace(-1, 1, ROWS))),
    "few numbers, some missing": pd.Series(np.where(NULLS, np.nan, np.arange(ROWS) % 7)),
    "numbers, all null": pd.Series(np.full(ROWS, np.nan)),
    "text, all null": pd.Series([None] * ROWS, dtype=object),
    "null in the rows that are fitted": pd.Series(np.where(np.arange(ROWS) < FIT, np.nan, 1.0)),
    "booleans": pd.Series(NULLS),
    "booleans with nulls": pd.Series(np.where(NULLS, None, Y == 1), dtype=object),
    "nullable booleans": pd.Series(np.where(NULLS, None, Y == 1), dtype="boolean"),
    "nullable integers": pd.Series([None if null else i for i, null in enumerate(NULLS)], dtype="Int64"),
    "times": pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="UTC").where(~NULLS)),
    "a category": pd.Series(pd.Categorical([f"c{i % 4}" for i in range(ROWS)])),
    "one value": pd.Series(np.ones(ROWS)),
}


@examples(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([*COLUMNS]), min_size=1, max_size=6, unique=True))
def test_any_columns_give_a_probability_for_each_held_out_row(names):
    frame = pd.DataFrame({name: COLUMNS[name] for name in names})
    scores = _logistic(frame[:FIT], Y[:FIT], frame[FIT:])
    assert scores.shape == (ROWS - FIT,) and np.isfinite(scores).all() and ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("kind", ["text", "number"])
def test_it_learns_from_text_of_many_values_and_from_numbers_with_gaps(kind, missing):
    random = np.random.default_rng(0)
    column = pd.Series(
        random.integers(0, 40, ROWS) + 100 * Y if kind == "number" else [f"{y}/{i % 20}" for i, y in enumerate(Y)]
    )
    frame = pd.DataFrame({"x": column.where(~NULLS) if missing else column})
    scores = _logistic(frame[:FIT], Y[:FIT], frame[FIT:])
    assert ranking(Y[FIT:], scores)["roc_auc"] > (0.85 if missing else 0.99)
