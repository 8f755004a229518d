"""Model families: points of a search space, fits that report as they go, one preprocessing for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.model import Family
from ray_cluster.training.families import assemble, fit_steps, preprocessing, sample

FAMILIES = ("xgboost", "hist_gradient_boosting")

whole = st.tuples(st.integers(-50, 50), st.integers(1, 40)).map(lambda p: {"low": p[0], "high": p[0] + p[1]})
uniform = st.tuples(st.floats(-5, 5), st.floats(0.1, 9)).map(lambda p: {"low": p[0], "high": p[0] + p[1]})
positive = st.tuples(st.floats(1e-6, 5), st.floats(1.1, 99)).map(lambda p: {"low": p[0], "high": p[0] * p[1]})
dimensions = st.one_of(
    uniform,
    positive.map(lambda d: d | {"log": True}),
    whole.map(lambda d: d | {"integer": True}),
    whole.filter(lambda d: d["low"] > 0).map(lambda d: d | {"integer": True, "log": True}),
    st.lists(st.integers() | st.text(max_size=3), min_size=1, max_size=4).map(lambda c: {"choices": c}),
    st.integers() | st.text(max_size=3) | st.booleans(),
)
spaces = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), dimensions, max_size=6)


@settings(max_examples=200, deadline=None)
@given(spaces, st.integers(0, 2**32 - 1))
def test_a_point_lies_inside_its_space_and_comes_from_the_seed(space: dict[str, Any], seed: int) -> None:
    Family.model_validate({"family": "xgboost", "trials": 1, "iterations": 10, "space": space})
    point = sample(space, np.random.default_rng(seed))
    assert point == sample(space, np.random.default_rng(seed))
    assert list(point) == list(space)
    for name, dimension in space.items():
        if not isinstance(dimension, dict):
            assert point[name] == dimension
        elif "choices" in dimension:
            assert point[name] in dimension["choices"]
        else:
            slack = 0 if dimension.get("integer") else 1e-9 * abs(dimension["high"])
            assert dimension["low"] - slack <= point[name] <= dimension["high"] + slack
            assert isinstance(point[name], int) == bool(dimension.get("integer"))


def test_whole_numbers_reach_both_ends_and_logarithms_spread_evenly() -> None:
    generator = np.random.default_rng(0)
    drawn = [sample({"n": {"low": 3, "high": 7, "integer": True}}, generator)["n"] for _ in range(2000)]
    assert np.bincount(drawn, minlength=8)[3:].min() > 300
    logs = [np.log10(sample({"x": {"low": 0.001, "high": 10, "log": True}}, generator)["x"]) for _ in range(2000)]
    assert np.histogram(logs, [-3, -2, -1, 0, 1])[0].min() > 400


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    x = generator.normal(size=(600, 4)).astype("float32")
    x[::11, 1] = np.nan
    y = (x[:, 0] + 0.5 * generator.normal(size=len(x)) > 0.4).astype(int)
    return x, y


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fit_reports_at_each_step_and_at_the_end(family: str, data: Any) -> None:
    x, y = data
    seen: list[tuple[int, np.ndarray]] = []

    def report(done: int, predict: Any) -> bool:
        seen.append((done, np.asarray(predict(x))))
        return False

    fitted = fit_steps(family, {"learning_rate": 0.2}, x, y, 25, seed=1, every=10, report=report)
    assert [done for done, _ in seen] == [10, 20, 25]
    scores = fitted.predict_proba(x)[:, 1]
    np.testing.assert_allclose(seen[-1][1], scores, atol=1e-5)
    assert not np.allclose(seen[0][1], seen[1][1])
    assert all(((found >= 0) & (found <= 1)).all() and found.shape == (len(x),) for _, found in seen)
    losses = [-(y * np.log(found) + (1 - y) * np.log(1 - found)).mean() for _, found in seen]
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fit_stops_when_it_is_told(family: str, data: Any) -> None:
    seen: list[int] = []

    def report(done: int, _: Any) -> bool:
        seen.append(done)
        return done >= 10

    fitted = fit_steps(family, {"learning_rate": 0.2}, *data, 40, seed=1, every=5, report=report)
    assert seen == [5, 10]
    rounds = fitted.get_booster().num_boosted_rounds() if family == "xgboost" else fitted.n_iter_
    assert rounds == 10
    short = fit_steps(family, {"learning_rate": 0.2}, *data, 10, seed=1)
    np.testing.assert_allclose(fitted.predict_proba(data[0]), short.predict_proba(data[0]), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_is_the_same_model(family: str, data: Any) -> None:
    params = {"subsample": 0.7} if family == "xgboost" else {"max_features": 0.5}
    scores = [fit_steps(family, params, *data, 12, seed=seed).predict_proba(data[0])[:, 1] for seed in (3, 3, 4)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


FRAME = pd.DataFrame(
    {
        "carrier": ["UA", "AA", "UA", None, "B6", "AA"],
        "temp": [1.0, np.nan, 3.0, 4.0, 5.0, 6.0],
        "origin": ["JFK", "EWR", "JFK", "EWR", "JFK", "EWR"],
    }
)


def test_text_becomes_codes_and_numbers_pass_through() -> None:
    encode = preprocessing(FRAME).fit(FRAME)
    assert encode.get_feature_names_out().tolist() == ["carrier", "origin", "temp"]
    codes = encode.transform(FRAME)
    assert codes.dtype == float
    np.testing.assert_array_equal(codes[:, 0], [2, 0, 2, 3, 1, 0])  # AA, B6, UA, None
    np.testing.assert_array_equal(codes[:, 1], [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(codes[:, 2], FRAME["temp"])


def test_unseen_and_missing_text() -> None:
    encode = preprocessing(FRAME).fit(FRAME)
    asked = pd.DataFrame({"carrier": ["ZZ", None, "B6"], "temp": [1.0, 2.0, np.nan], "origin": ["LGA", None, "EWR"]})
    codes = encode.transform(asked)
    np.testing.assert_array_equal(codes[:, 0], [-1, 3, 1])
    np.testing.assert_array_equal(codes[:, 1], [-1, -1, 0])  # origin was never missing when fitted
    np.testing.assert_array_equal(codes[:, 2], [1, 2, np.nan])


def test_columns_in_another_order_are_the_same_columns() -> None:
    encode = preprocessing(FRAME).fit(FRAME)
    np.testing.assert_array_equal(encode.transform(FRAME[["origin", "temp", "carrier"]]), encode.transform(FRAME))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_with_nothing_known_is_scored(family: str) -> None:
    rows = pd.concat([FRAME] * 20, ignore_index=True)
    encode = preprocessing(rows).fit(rows)
    y = np.tile([0, 1, 0, 1, 1, 0], 20)
    fitted = fit_steps(family, {}, encode.transform(rows).astype("float32"), y, 10, seed=0)
    pipeline = assemble(encode, fitted)
    for row in (
        {"carrier": [None], "temp": [np.nan], "origin": [None]},
        {"carrier": ["ZZ"], "temp": [None], "origin": ["JFK"]},
    ):
        one = pd.DataFrame(row).astype({"temp": "float64", "carrier": object, "origin": object})
        probability = pipeline.predict_proba(one)
        assert probability.shape == (1, 2) and probability.sum() == pytest.approx(1) and np.isfinite(probability).all()
    every = pipeline.predict_proba(rows)[:, 1]
    alone = np.concatenate([pipeline.predict_proba(rows.iloc[[at]])[:, 1] for at in range(6)])
    np.testing.assert_allclose(alone, every[:6], atol=1e-7)
