"""Categories: their codes, what boosted trees make of them, and that a fit has them wherever it runs."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
from skops import io

from configs.evaluation import Direction
from configs.model import InputRule, ModelSpec, load_model
from ray_cluster.evaluation.importance import contributions
from ray_cluster.registry import TRUSTED
from ray_cluster.training.families import Columns, Rows, assemble, columns_of, fit_steps, preprocessing, start
from ray_cluster.training.inputs import CategoryCodes, InputEncoder

BOOSTED = ("xgboost", "hist_gradient_boosting")
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh"), st.just(float("nan"))), min_size=1, max_size=40)


def by_hand(rows: list[Any], asked: list[Any], most: int) -> list[float]:
    """The rule, one value after the other."""
    counts = Counter(value for value in rows if isinstance(value, str))
    frequent = sorted(counts, key=lambda value: (-counts[value], value))
    kept, rare = sorted(frequent[:most]), frequent[most:]
    codes = {value: float(code) for code, value in enumerate(kept)}
    other = float(len(kept)) if rare else np.nan
    return [codes.get(value, other) if isinstance(value, str) else np.nan for value in asked]


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 9))
def test_the_rarest_and_the_unseen_share_a_code_and_missing_stays_missing(rows: Any, asked: Any, most: int) -> None:
    fitted, later = (pd.DataFrame({"x": pd.Series(values, dtype=object)}) for values in (rows, asked))
    codes = CategoryCodes(most).fit(fitted)
    for frame, values in ((fitted, rows), (later, asked)):
        found = codes.transform(frame)
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found[:, 0], by_hand(rows, values, most))
        np.testing.assert_array_equal(codes.transform(frame.to_numpy()), found)
        alone = np.concatenate([codes.transform(frame.iloc[[at]]) for at in range(len(frame))])
        np.testing.assert_array_equal(alone, found)
    known = [value for value in by_hand(rows, rows, most) if not np.isnan(value)]
    assert codes.sizes_ == [len(set(known))]


def shops(count: int, seed: int, gap: bool = True) -> tuple[pd.DataFrame, np.ndarray]:
    """40 shops in no order, each with its own rate; the rarest shops are seldom seen."""
    random = np.random.default_rng(seed)
    rates = np.random.default_rng(0).permutation(np.linspace(-3, 3, 40))
    shop = np.minimum(random.geometric(0.08, count) - 1, 39)
    amount = random.normal(size=count)
    y = (rates[shop] + 0.5 * amount + random.logistic(size=count) > 0).astype(int)
    text = np.array([f"S{number:02d}" for number in shop], dtype=object)
    if gap:
        text[random.random(count) < 0.1] = None
    return pd.DataFrame({"shop": text, "amount": amount, "hour": random.integers(0, 24, count).astype(float)}), y


def fitted(
    family: str,
    rules: dict[str, InputRule],
    x: pd.DataFrame,
    y: Any,
    rounds: int = 25,
    directions: dict[str, int] | None = None,
    **params: Any,
) -> Any:
    encode = preprocessing(x, rules, family).fit(x)
    columns = columns_of(encode, directions)
    return assemble(encode, fit_steps(family, params, encode.transform(x), y, rounds, seed=1, columns=columns))


@pytest.mark.parametrize("family", BOOSTED)
def test_a_split_on_categories_separates_any_set_of_them(family: str) -> None:
    """One split of a tree: as numbers a code is below a threshold or above it."""
    frame = pd.DataFrame({"x": np.tile(np.array(list("abcdef"), dtype=object), 200)})
    y = frame["x"].isin(["b", "d", "f"]).astype(int).to_numpy()
    one_split = {"max_depth": 1, "max_cat_to_onehot": 1} if family == "xgboost" else {"max_leaf_nodes": 2}
    native = fitted(family, {}, frame, y, 1, **one_split).predict_proba(frame)[:, 1]
    codes = fitted(family, {"x": InputRule(categories=0)}, frame, y, 1, **one_split).predict_proba(frame)[:, 1]
    assert native[y == 1].min() > native[y == 0].max() and codes[y == 1].min() <= codes[y == 0].max()


@pytest.mark.parametrize("family", BOOSTED)
def test_unseen_rare_and_missing_are_scored_by_the_rule_in_any_batch(family: str) -> None:
    x, y = shops(3000, 1)
    model = fitted(family, {"shop": InputRule(categories=10)}, x, y)
    columns = columns_of(model[0])
    assert columns.categories == (11, 0, 0)
    rare = x["shop"].value_counts().index[-1]
    rows = pd.DataFrame({"shop": [rare, "never seen", None, "S00"], "amount": 0.3, "hour": 5.0}).astype(
        {"shop": object}
    )
    scores = model.predict_proba(rows)[:, 1]
    assert scores[0] == scores[1] and len(set(scores)) == 3
    rows.loc[2, "shop"] = np.nan
    np.testing.assert_array_equal(model.predict_proba(rows)[:, 1], scores)
    np.testing.assert_array_equal([model.predict_proba(rows.iloc[[at]])[0, 1] for at in range(4)], scores)


@pytest.mark.parametrize("family", BOOSTED)
def test_a_number_can_be_declared_a_category_and_a_bundle_keeps_it(family: str) -> None:
    x, y = shops(1500, 2)
    model = fitted(family, {"hour": InputRule(categories=24), "shop": InputRule(impute="most_frequent")}, x, y)
    names = model[0].get_feature_names_out().tolist()
    sizes = dict(zip(names, columns_of(model[0]).categories, strict=True))
    assert sizes == {"hour": 24, "shop": 33, "amount": 0} and x["shop"].nunique() > 33
    stored = io.dumps(model)
    assert not set(io.get_untrusted_types(data=stored)) - set(TRUSTED)
    again = io.loads(stored, trusted=TRUSTED)
    later, _ = shops(400, 3)
    np.testing.assert_array_equal(again.predict_proba(later), model.predict_proba(later))
    if family == "xgboost":
        file = xgboost.XGBClassifier()
        file.load_model(bytearray(model[-1].get_booster().save_raw("ubj")))
        coded = model[0].transform(later)
        np.testing.assert_array_equal(file.predict_proba(coded), model[-1].predict_proba(coded))
        margin = model[-1].predict(coded, output_margin=True)
        np.testing.assert_allclose(contributions(file, coded).sum(axis=1), margin, atol=1e-4)  # type: ignore[union-attr]


def test_a_partial_of_any_other_function_is_not_trusted() -> None:
    """HistGradientBoosting's own is: it holds scikit-learn's check of arrays."""
    forged = FunctionTransformer(partial(os.system, "true"))
    assert set(io.get_untrusted_types(data=io.dumps(forged))) - set(TRUSTED) == {f"{os.system.__module__}.system"}


def test_a_bundle_from_before_categories_is_loaded_and_scores_as_before() -> None:
    x, y = shops(800, 4)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=np.nan)
    encode = InputEncoder([("codes", codes, ["shop"])], remainder="passthrough", verbose_feature_names_out=False)
    model = assemble(
        encode, fit_steps("xgboost", {}, encode.fit_transform(x), y, 20, seed=0, columns=columns_of(encode))
    )
    again = io.loads(io.dumps(model), trusted=TRUSTED)
    later, _ = shops(300, 5)
    plain = np.asarray(ColumnTransformer.transform(encode, later), dtype="float32")
    expected = model[-1].get_booster().inplace_predict(plain)
    np.testing.assert_array_equal(again.predict_proba(later)[:, 1], expected)
    assert columns_of(again[0]) == Columns((0, 0, 0), (0, 0, 0))


def never() -> bool:
    return False


@pytest.mark.parametrize("family", BOOSTED)
def test_a_fit_with_categories_and_directions_continues_as_if_never_cut_off(family: str) -> None:
    x, y = shops(900, 6)
    encode = preprocessing(x, family=family).fit(x[:600])
    columns = columns_of(encode, {"amount": 1, "shop": -1})
    assert columns.directions == (0, 1, 0)
    coded = encode.transform(x)
    rows, validation = Rows(coded[:600], y[:600], columns=columns), Rows(coded[600:], y[600:], columns=columns)
    params: dict[str, Any] = {"xgboost": {"subsample": 0.7}, "hist_gradient_boosting": {"max_features": 0.5}}[family]
    whole = start(family, params, rows, 5)
    parts = start(family, params, rows, 5)
    for done in (4, 8):
        for fit in (whole, parts):
            fit.advance(done, never)
        np.testing.assert_array_equal(whole.scores(validation), parts.scores(validation))
        np.testing.assert_allclose(whole.scores(validation), whole.predict(validation.x), rtol=1e-5)
        parts = start(family, params, rows, 5, checkpoint=parts.checkpoint())
    found = [fit.classifier.predict_proba(coded)[:, 1] for fit in (whole, parts)]
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0][600:], whole.scores(validation), rtol=1e-5)


def test_a_column_with_more_categories_than_bins_is_a_number_for_hist_gradient_boosting() -> None:
    x, y = shops(1500, 7)
    few = fitted("hist_gradient_boosting", {}, x, y, max_bins=16)[-1]
    many = fitted("hist_gradient_boosting", {}, x, y)[-1]
    assert few.is_categorical_ is None and many.is_categorical_.tolist() == [True, False, False]


@pytest.mark.parametrize("family", BOOSTED)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_direction_holds_in_every_row(family: str, sign: int) -> None:
    x, y = shops(2000, 8)
    rising = x.assign(amount=x["amount"] + 1)

    def falls(directions: dict[str, int]) -> float:
        model = fitted(family, {}, x, y, directions=directions, learning_rate=0.3)
        moved = model.predict_proba(rising)[:, 1] - model.predict_proba(x)[:, 1]
        return float((sign * moved < -1e-7).mean())

    assert falls({"amount": sign}) == 0 < falls({})


def test_directions_are_those_of_tests_about_all_rows_that_agree() -> None:
    def test(feature: str, raise_by: float, score: str = "up", where: str | None = None) -> Direction:
        return Direction.model_validate(
            {"name": feature, "test": "direction", "feature": feature, "raise_by": raise_by, "score": score}
            | ({"where": where} if where else {})
        )

    tests = [
        *(test("a", 1), test("b", -2), test("c", 3, "down"), test("d", -1, "down"), test("e", 1, where="a > 2")),
        *(test("f", 1), test("f", -1), test("g", 1), test("g", -5, "down")),
    ]
    spec = load_model("flight_delay").model_copy(update={"behaviour": tests})
    assert spec.directions == {}
    spec = spec.model_copy(update={"tuning": spec.tuning.model_copy(update={"monotone": True})})
    assert spec.directions == {"a": 1, "b": -1, "c": -1, "d": 1, "g": 1}
    assert isinstance(spec, ModelSpec)
