"""Checks of synthetic rows: brute force as reference, and rows of which the verdict is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from ray_cluster.training.sampling.copula import GaussianCopula
from ray_cluster.training.sampling.synthetic_rows import (
    check_rows,
    closest_records,
    column_fidelity,
    duplicates,
    pair_fidelity,
)
from tests.ray_cluster.training.sampling.mixed_rows import mixed


def by_hand(real: pd.DataFrame, row: pd.Series) -> float:
    """The distance to the nearest real row, column by column."""
    best = np.inf
    for _, other in real.iterrows():
        total = 0.0
        for name in real:
            a, b = row[name], other[name]
            if real[name].dtype == object:
                total += float(("" if a is None else a) != ("" if b is None else b))
                continue
            middle, spread = real[name].median(), real[name].std(ddof=0) or 1.0
            total += ((middle if np.isnan(a) else a) / spread - (middle if np.isnan(b) else b) / spread) ** 2
            total += float(np.isnan(a) != np.isnan(b))
        best = min(best, np.sqrt(total))
    return best


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 999))
def test_closest_records_are_those_of_brute_force(seed):
    real, _, _ = mixed(60, 0.5, seed, missing=0.2)
    rows, _, _ = mixed(40, 0.5, seed + 1, missing=0.2)
    rows = rows.head(15)
    expected = [by_hand(real, row) for _, row in rows.iterrows()]
    np.testing.assert_allclose(closest_records(real, rows), expected, atol=1e-6)


@given(st.integers(0, 999), st.integers(0, 20))
def test_duplicates_are_counted(seed, copies):
    real, _, _ = mixed(60, 0.5, seed)
    other, _, _ = mixed(30, 0.5, seed + 1)
    rows = pd.concat([other, real.sample(copies, random_state=seed)], ignore_index=True)
    found = duplicates(real, rows)
    assert found.sum() == copies and not found[: len(other)].any()


def test_fidelity_is_by_the_formulae():
    a, _, _ = mixed(300, 0.3, 0)
    b, _, _ = mixed(500, 0.3, 1)
    columns, pairs = column_fidelity(a, b), pair_fidelity(a, b)
    gap = abs(a["balance"].isna().mean() - b["balance"].isna().mean())
    known = ks_2samp(a["balance"].dropna(), b["balance"].dropna()).statistic
    assert columns["balance"] == pytest.approx((1 - known) * (1 - gap))
    shares = [[(frame["tier"] == tier).mean() for tier in ("gold", "basic")] for frame in (a, b)]
    assert columns["tier"] == pytest.approx(1 - np.abs(np.subtract(*shares)).sum() / 2)
    correlation = [frame[["amount", "balance"]].rank().corr().iloc[0, 1] for frame in (a, b)]
    assert pairs["amount and balance"] == pytest.approx(1 - abs(correlation[0] - correlation[1]) / 2, abs=0.01)
    assert set(columns) == set(a) and len(pairs) == 3 + 1
    assert all(value == 1 for value in (column_fidelity(a, a) | pair_fidelity(a, a)).values())


def test_verdicts_tell_copies_noise_and_a_fitted_copula_apart():
    real, _, _ = mixed(600, 0.5, 0)
    held_back, _, _ = mixed(400, 0.5, 1)
    copies = check_rows(real, real.sample(200, random_state=0), held_back)
    assert (
        copies["duplicates"]["share"] == 1
        and "copies of a real one; a model learns no more" in copies["duplicates"]["verdict"]
    )
    assert copies["closest"]["ratio"] == 0 and "closer to a real one than" in copies["closest"]["verdict"]
    drawn = check_rows(real, GaussianCopula.fit(real, 0).draw(400, 0), held_back)
    assert drawn["duplicates"]["share"] == 0 and drawn["closest"]["ratio"] > 0.7
    assert drawn["columns"]["mean"] > 0.93 and "alike" in drawn["columns"]["verdict"]
    noise = real.sample(300, random_state=0).reset_index(drop=True)
    noise["amount"] = noise["amount"] * 5
    noise = check_rows(real, noise, held_back)
    assert noise["columns"]["worst"] == "amount" and "the worst amount" in noise["columns"]["verdict"]
    few = check_rows(real, real.head(5), held_back.head(3))
    assert few["closest"]["ratio"] is None and "Closeness is not measured: 3 real rows" in few["closest"]["verdict"]
