"""Broken features: what is found in the newest rows, and what nature does without being called broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_cluster.monitoring.broken_features import LENGTHS, broken_feature

RANDOM = np.random.default_rng(0)
NUMBERS = pd.Series(RANDOM.gamma(3, 300, 8_000))
TEXTS = pd.Series(RANDOM.choice(["UA", "B6", "EV", "DL"], 8_000))


def broken(kind: str, rows: int) -> dict[str, Any]:
    return {"feature": "x", "kind": kind, "rows": rows}


def after(good: pd.Series, bad: pd.Series) -> pd.Series:
    """A log of good rows whose newest are bad."""
    return pd.concat([good.head(500), bad], ignore_index=True)


@pytest.mark.parametrize(
    ("reference", "newest", "kind", "rows"),
    [
        (NUMBERS, pd.Series([np.nan] * 50), "null", 50),
        (TEXTS, pd.Series([None] * 50, dtype=object), "null", 50),
        (NUMBERS, NUMBERS.tail(50) * 10, "unit", 50),
        (NUMBERS, NUMBERS.tail(50) * 1000, "unit", 50),
        (NUMBERS, NUMBERS.tail(200) / 1000, "unit", 200),
        (NUMBERS, NUMBERS.tail(50) - 50_000, "unit", 50),
        (NUMBERS, pd.Series([900.0] * 200), "constant", 200),
        (TEXTS, pd.Series(["ua"] * 25 + ["b6"] * 25), "unseen", 50),
    ],
)
def test_a_break_is_found_in_the_newest_rows(reference: pd.Series, newest: pd.Series, kind: str, rows: int) -> None:
    assert broken_feature("x", reference, after(reference, newest)) == broken(kind, rows)
    alone = broken_feature("x", reference, newest)
    assert alone is not None and alone["kind"] == kind


@pytest.mark.parametrize("newest", [NUMBERS.tail(49) * 1000, pd.Series([np.nan] * 30), pd.Series([900.0] * 150)])
def test_a_few_rows_are_not_enough(newest: pd.Series) -> None:
    assert broken_feature("x", NUMBERS, newest) is None


def test_what_happened_before_must_last_twice_as_long() -> None:
    """A station that failed for 300 rows once; and a daily value, the same for 100 rows."""
    failed = NUMBERS.copy()
    failed[3_000:3_300] = np.nan
    assert broken_feature("x", failed, after(NUMBERS, pd.Series([np.nan] * 400))) is None
    assert broken_feature("x", failed, after(NUMBERS, pd.Series([np.nan] * 800))) == broken("null", 800)
    daily = pd.Series(np.repeat(RANDOM.normal(size=80), 100))
    assert broken_feature("x", daily, after(daily, pd.Series([0.3] * 199))) is None
    assert broken_feature("x", daily, after(daily, pd.Series([0.3] * 800))) == broken("constant", 800)


def test_rare_events_and_seasons_are_not_broken() -> None:
    rain = pd.Series(np.where(RANDOM.random(8_000) < 0.02, RANDOM.exponential(0.1, 8_000), 0.0))
    assert broken_feature("rain", rain, after(rain, pd.Series(RANDOM.exponential(0.1, 300)))) is None
    warm = pd.Series(50 + 15 * np.sin(np.arange(8_000) / 1_300) + RANDOM.normal(0, 5, 8_000))
    assert broken_feature("temperature", warm, pd.Series(RANDOM.normal(5, 4, 300))) is None
    ids = pd.Series([f"campaign {n // 100}" for n in range(8_000)])
    assert broken_feature("campaign", ids, pd.Series(["campaign 80"] * 100)) is None
    assert broken_feature("never", pd.Series([None] * 900, dtype=object), pd.Series(["a"] * 100)) is None
    assert broken_feature("one", pd.Series([1.0] * 900), pd.Series([2.0] * 300)) is None


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from(["normal", "counts", "texts", "gaps", "walk"]), st.integers(50, LENGTHS[2])
)
def test_rows_of_the_same_kind_are_never_broken(seed: int, kind: str, rows: int) -> None:
    random = np.random.default_rng(seed)
    count = 4_000 + rows
    normal = random.normal(size=count)
    columns = {
        "normal": normal,
        "counts": random.poisson(0.3, count).astype(float),
        "texts": random.choice(list("abcde"), count),
        "gaps": np.where(random.random(count) < 0.6, np.nan, normal),
        "walk": np.repeat(random.normal(size=count // 20 + 1), 20)[:count] + normal,
    }
    column = pd.Series(columns[kind])
    assert broken_feature("x", column.head(4_000), column.tail(rows)) is None
