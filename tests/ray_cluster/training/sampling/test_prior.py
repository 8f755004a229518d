"""What sampling does to probabilities is undone: on average a score is the share of positives again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from ray_cluster.training.families.prior import PriorCorrected, corrected
from ray_cluster.training.sampling.prior import prior_shift
from ray_cluster.training.sampling.sampler_selection import resample
from tests.ray_cluster.training.sampling.mixed_rows import mixed


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(-6, 6))
def test_the_correction_keeps_the_order_and_can_be_undone(scores, shift):
    found = corrected(scores, shift)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[np.argsort(scores, kind="stable")]) >= -1e-12).all()
    assert corrected(found, -shift) == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize("method", ["none", "class_weight", "undersample"])
def test_a_weighted_fit_says_what_the_plain_one_says(method):
    random = np.random.default_rng(0)
    y = (random.random(60_000) < 0.02).astype(int)
    x = random.normal(size=(60_000, 1)) + y[:, None]
    import pandas as pd

    found = resample(method, pd.DataFrame(x, columns=["a"]), y, np.arange(len(y)), 0.5, 0)
    shift = prior_shift(found, y)
    fitted = LogisticRegression(C=1e6).fit(found.features.to_numpy(), found.y, sample_weight=found.weights)
    model = PriorCorrected(fitted, shift)
    assert (shift == 0) == (method == "none")
    plain = LogisticRegression(C=1e6).fit(x, y)
    assert model.predict_proba(x)[:, 1].mean() == pytest.approx(y.mean(), rel=0.1)
    assert model.predict_proba([[1.0]])[0, 1] == pytest.approx(plain.predict_proba([[1.0]])[0, 1], rel=0.15)
    assert fitted.predict_proba(x)[:, 1].mean() == pytest.approx(y.mean(), rel=0.05) or method != "none"


def test_the_shift_counts_synthetic_rows():
    x, y, ids = mixed(1000, 0.05, 0)
    found = resample("copula", x, y, ids, 0.5, 0)
    assert prior_shift(found, y) == pytest.approx(np.log(0.5 / ((y == 1).sum() / (y == 0).sum())), abs=0.01)
