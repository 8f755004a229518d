"""The Gaussian copula keeps each column's distribution and the correlations between them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, spearmanr

from ray_cluster.training.sampling.copula import GaussianCopula
from tests.ray_cluster.training.sampling.mixed_rows import mixed


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 999))
def test_columns_keep_their_distribution(seed):
    x, _, _ = mixed(1500, 0.3, seed, missing=0.2)
    drawn = GaussianCopula.fit(x, seed).draw(4000, seed)
    assert list(drawn) == list(x) and list(drawn.dtypes) == list(x.dtypes)
    for name in ("amount", "balance", "hour"):
        assert ks_2samp(x[name].dropna(), drawn[name].dropna()).statistic < 0.07
    for name in x:
        assert drawn[name].isna().mean() == pytest.approx(x[name].isna().mean(), abs=0.05)
    for name in ("channel", "tier"):
        differences = x[name].value_counts(normalize=True) - drawn[name].value_counts(normalize=True)
        assert differences.abs().sum() / 2 < 0.06


@settings(max_examples=8, deadline=None)
@given(st.floats(-0.95, 0.95), st.integers(0, 999))
def test_rank_correlation_is_kept_whatever_the_columns_look_like(rho, seed):
    random = np.random.default_rng(seed)
    z = random.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 3000)
    x = pd.DataFrame({"a": np.exp(z[:, 0]), "b": z[:, 1] ** 3})
    drawn = GaussianCopula.fit(x, seed).draw(5000, seed)
    assert spearmanr(drawn["a"], drawn["b"])[0] == pytest.approx(spearmanr(x["a"], x["b"])[0], abs=0.06)


def test_values_that_are_missing_together_stay_so():
    random = np.random.default_rng(0)
    gone = random.random(2000) < 0.3
    x = pd.DataFrame({name: np.where(gone, np.nan, random.normal(size=2000)) for name in ("wind", "rain")})
    drawn = GaussianCopula.fit(x, 0).draw(4000, 0).isna()
    assert (drawn["wind"] == drawn["rain"]).all() and drawn["wind"].mean() == pytest.approx(0.3, abs=0.03)


def test_a_column_that_is_never_or_always_there_is_drawn_so():
    x = pd.DataFrame({"never": np.full(20, np.nan), "same": np.full(20, 3.0), "text": np.full(20, "x", dtype=object)})
    drawn = GaussianCopula.fit(x, 0).draw(7, 0)
    assert drawn["never"].isna().all() and (drawn["same"] == 3).all() and (drawn["text"] == "x").all()
