"""Samplers: what every one of them promises, and imbalanced-learn itself as the reference."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC

from configs.model import InputRule
from configs.training import SYNTHETIC, Sampler
from ray_cluster.training.sampling import sampled_rows as bounds
from ray_cluster.training.sampling.sampled_rows import SamplingError
from ray_cluster.training.sampling.sampler_selection import resample
from ray_cluster.training.sampling.smote import places
from tests.ray_cluster.training.sampling.mixed_rows import mixed

METHODS = get_args(Sampler)
NUMBERS = ["amount", "balance"]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(METHODS), st.integers(60, 300), st.floats(0.02, 0.2), st.integers(0, 99), st.floats(0.05, 1))
def test_what_every_sampler_promises(method, rows, share, seed, ratio):
    x, y, ids = mixed(rows, share, seed)
    before = x.copy()
    try:
        found = resample(method, x, y, ids, ratio, seed, {})
    except SamplingError as error:  # fewer rows to make than positives to share them
        assert method == "adasyn" and "ADASYN would make no row" in str(error)
        return
    pd.testing.assert_frame_equal(x, before)
    new = found.synthetic
    assert list(found.features.dtypes) == list(x.dtypes) and list(found.features) == list(x)
    assert len(found.features) == len(found.y) == len(found.weights) == len(found.origin)
    assert (found.y[new] == 1).all() and (new.any() <= (method in SYNTHETIC))

    real = found.origin.loc[~new, "parent"].map({name: place for place, name in enumerate(ids)}).to_numpy()
    assert (np.diff(real) > 0).all() and (np.flatnonzero(y == 1)[:, None] == real).any(axis=1).all()
    if method != "undersample":
        assert len(real) == len(x)
    pd.testing.assert_frame_equal(found.features[~new], x.iloc[real].set_index(found.features.index[~new]))
    assert (found.y[~new] == y[real]).all()

    odds = found.weights[found.y == 1].sum() / found.weights[found.y == 0].sum()
    already = (y == 1).sum() / (y == 0).sum()
    if already >= ratio:
        assert odds == already and "Nothing to do" in found.note
    else:
        rounding = already / 2 if method == "adasyn" else 0.0  # it rounds for each positive
        if method == "undersample":  # a whole number of negatives is kept
            rounding = ratio / (found.y == 0).sum()
        assert odds == pytest.approx(ratio, rel=0.02, abs=rounding + 1.5 / (y == 0).sum())

    origin = found.origin[new]
    if method == "copula":
        assert (origin["parent"] == "copula").all()
    elif len(origin):
        positives = set(ids[y == 1])
        assert set(origin["parent"]) <= positives and set(origin["neighbour"]) <= positives
    assert (origin["sampler"] == method).all() and (origin["seed"] == seed).all()

    again = resample(method, x, y, ids, ratio, seed, {})
    pd.testing.assert_frame_equal(again.features, found.features)
    pd.testing.assert_frame_equal(again.origin, found.origin)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(SYNTHETIC), st.integers(0, 99))
def test_synthetic_rows_stay_within_what_positives_were(method, seed):
    x, y, ids = mixed(200, 0.1, seed)
    found = resample(method, x, y, ids, 0.6, seed, {})
    new, positives = found.features[found.synthetic], x[y == 1]
    for name in ("amount", "balance", "hour"):
        assert new[name].min() >= positives[name].min() and new[name].max() <= positives[name].max()
    for name in ("channel", "tier"):
        assert set(new[name]) <= set(positives[name])
    hours = new["hour"].dropna()
    assert (hours == hours.round()).all()


@pytest.mark.parametrize("method", ["smote", "smotenc", "adasyn"])
def test_a_row_between_two_has_the_gaps_of_the_first(method):
    x, y, ids = mixed(400, 0.1, 3, missing=0.3)
    found = resample(method, x, y, ids, 0.8, 3, {})
    origin, by_id = found.origin[found.synthetic], x.set_index(ids)
    first = by_id.loc[origin["parent"]].reset_index(drop=True)
    second = by_id.loc[origin["neighbour"]].reset_index(drop=True)
    new = found.features[found.synthetic].reset_index(drop=True)
    for name in ("amount", "balance"):
        assert (new[name].isna() == first[name].isna()).all()
        a, b = first[name], second[name].fillna(first[name])
        inside = (new[name] >= np.minimum(a, b) - 1e-9) & (new[name] <= np.maximum(a, b) + 1e-9)
        assert inside[new[name].notna()].all()
    assert (second["balance"].isna() & first["balance"].notna()).any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("method", "theirs"), [("smote", SMOTE), ("adasyn", ADASYN)])
def test_numbers_without_gaps_are_what_imbalanced_learn_makes(method, theirs, seed):
    x, y, ids = mixed(500, 0.08, seed, missing=0)
    x = x[NUMBERS]
    found = resample(method, x, y, ids, 0.5, seed, {})
    wanted = {1: int(0.5 * (y == 0).sum())}
    order = np.argsort(y, kind="stable")  # ours puts the negatives first, which decides ties only
    z = places(x, y == 1)
    made, _ = theirs(sampling_strategy=wanted, random_state=seed).fit_resample(z[order], y[order])
    positives = x[y == 1]
    reference = made[len(x) :] * positives.std(ddof=0).to_numpy() + positives.median().to_numpy()
    np.testing.assert_allclose(found.features[found.synthetic][NUMBERS].to_numpy(), reference, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_numbers_and_texts_without_gaps_are_what_imbalanced_learn_makes(seed):
    x, y, ids = mixed(500, 0.08, seed, missing=0)
    x = x[[*NUMBERS, "channel", "tier"]]
    found = resample("smotenc", x, y, ids, 0.5, seed, {})
    scaled = pd.DataFrame(places(x, y == 1), columns=NUMBERS).join(x[["channel", "tier"]])
    theirs = SMOTENC(["channel", "tier"], sampling_strategy={1: int(0.5 * (y == 0).sum())}, random_state=seed)
    made = theirs.fit_resample(scaled, y)[0].iloc[len(x) :].reset_index(drop=True)
    positives = x.loc[y == 1, NUMBERS]
    new = found.features[found.synthetic].reset_index(drop=True)
    reference = made[NUMBERS] * positives.std(ddof=0) + positives.median()
    np.testing.assert_allclose(new[NUMBERS].to_numpy(), reference.to_numpy(dtype=float), rtol=1e-9)
    assert (new[["channel", "tier"]] == made[["channel", "tier"]]).all(axis=None)


def test_bounds_on_what_is_made_and_searched_hold(monkeypatch):
    monkeypatch.setattr(bounds, "MOST_NEW", 50)
    monkeypatch.setattr(bounds, "MOST_SEARCHED", 30)
    x, y, ids = mixed(900, 0.08, 1)
    for method in SYNTHETIC:
        found = resample(method, x, y, ids, 1.0, 1, {})
        assert found.synthetic.sum() <= 60 and "50 of" in found.note
        if method != "copula":
            assert len(set(found.origin[found.synthetic]["parent"])) <= 30


@pytest.mark.parametrize("method", ["smote", "smotenc", "adasyn", "copula"])
def test_too_few_positives_are_told(method):
    x, y, ids = mixed(50, 0, 0)
    y = np.zeros(50, dtype=int)
    y[7] = 1
    with pytest.raises(SamplingError, match=r"needs at least (2|10) positives .* have 1\. Ingest more history"):
        resample(method, x, y, ids, 0.5, 0, {})


@pytest.mark.parametrize("method", SYNTHETIC)
def test_a_number_that_is_a_category_is_the_value_of_a_real_row(method):
    """Between the categories 10 and 97.3 there is no other; without the rule there are numbers in between."""
    x, y, ids = mixed(300, 0.1, 4)
    codes = np.random.default_rng(4).choice([10.0, 97.3, 0.1 + 0.2, np.nan], 300)
    x = x.assign(zone=codes)
    found = resample(method, x, y, ids, 0.8, 4, {"zone": InputRule(categories=3), "tier": InputRule(categories=0)})
    real, new = found.features[~found.synthetic], found.features[found.synthetic]
    pd.testing.assert_frame_equal(real, x)
    assert new["zone"].dtype == "float64" and set(new["zone"].dropna()) <= {10.0, 97.3, 0.1 + 0.2}
    assert new["zone"].isna().any() and new["zone"].nunique() > 1
    between = resample(method, x, y, ids, 0.8, 4, {})
    assert between.features[between.synthetic]["zone"].nunique() > 3
    if method in ("smote", "adasyn"):
        parents = x.set_index(ids).loc[found.origin.loc[found.synthetic, "parent"], "zone"]
        np.testing.assert_array_equal(new["zone"], parents)


@pytest.mark.parametrize("method", ["smote", "smotenc", "adasyn"])
def test_rows_without_a_number_have_no_neighbours(method):
    x, y, ids = mixed(300, 0.1, 4)
    rules = {"hour": InputRule(categories=24)}
    with pytest.raises(SamplingError, match=r"The 2 inputs are texts or categories, .*; use copula, undersample or"):
        resample(method, x[["channel", "hour"]], y, ids, 0.5, 4, rules)
    assert resample("copula", x[["channel", "hour"]], y, ids, 0.5, 4, rules).synthetic.any()
