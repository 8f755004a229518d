"""Model families: fits that report as they go, that are continued as if never cut off, and what each is fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ray_cluster.training.families import (
    FamilyError,
    Rows,
    assemble,
    check_family,
    columns_of,
    fit_steps,
    preprocessing,
    start,
)
from ray_cluster.training.families.fit_steps import NUMBERS
from ray_cluster.training.families.prior import corrected

FAMILIES = ("xgboost", "hist_gradient_boosting", "random_forest", "mlp", "logistic_regression")
CUSTOM = ("sklearn.ensemble:ExtraTreesClassifier", "sklearn.naive_bayes:GaussianNB")
BOOSTED = FAMILIES[:2]
STEPWISE = FAMILIES[:4]
#: Parameters under which each family makes random choices.
RANDOM: dict[str, dict[str, Any]] = {
    "xgboost": {"subsample": 0.7, "colsample_bytree": 0.6, "colsample_bylevel": 0.7, "colsample_bynode": 0.8},
    "hist_gradient_boosting": {"max_features": 0.5},
    "random_forest": {"max_features": 2},
    "mlp": {"hidden_layer_sizes": [8], "batch_size": 64},
}


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    x = generator.normal(size=(600, 4)).astype("float32")
    x[::11, 1] = np.nan
    y = (x[:, 0] + 0.5 * generator.normal(size=len(x)) > 0.4).astype(int)
    return x, y


@pytest.mark.parametrize("family", BOOSTED)
def test_a_fit_reports_at_each_step_and_at_the_end(family: str, data: Any) -> None:
    x, y = data
    seen: list[tuple[int, np.ndarray]] = []

    def report(done: int, predict: Any) -> bool:
        seen.append((done, np.asarray(predict(x))))
        return False

    fitted = fit_steps(family, {"learning_rate": 0.2}, x, y, 25, seed=1, every=10, report=report, columns=NUMBERS)
    assert [done for done, _ in seen] == [10, 20, 25]
    scores = fitted.predict_proba(x)[:, 1]
    np.testing.assert_allclose(seen[-1][1], scores, atol=1e-5)
    assert not np.allclose(seen[0][1], seen[1][1])
    assert all(((found >= 0) & (found <= 1)).all() and found.shape == (len(x),) for _, found in seen)
    losses = [-(y * np.log(found) + (1 - y) * np.log(1 - found)).mean() for _, found in seen]
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("family", BOOSTED)
def test_a_fit_stops_when_it_is_told(family: str, data: Any) -> None:
    seen: list[int] = []

    def report(done: int, _: Any) -> bool:
        seen.append(done)
        return done >= 10

    fitted = fit_steps(family, {"learning_rate": 0.2}, *data, 40, seed=1, every=5, report=report, columns=NUMBERS)
    assert seen == [5, 10]
    rounds = fitted.get_booster().num_boosted_rounds() if family == "xgboost" else fitted.n_iter_
    assert rounds == 10
    short = fit_steps(family, {"learning_rate": 0.2}, *data, 10, seed=1, columns=NUMBERS)
    np.testing.assert_allclose(fitted.predict_proba(data[0]), short.predict_proba(data[0]), atol=1e-6)


def filled(family: str, data: Any) -> Any:
    x, y = data
    return (x, y) if family in FAMILIES[:3] else (np.nan_to_num(x), y)


@pytest.mark.parametrize("family", STEPWISE)
def test_the_same_seed_is_the_same_model(family: str, data: Any) -> None:
    x, y = filled(family, data)
    fits = [fit_steps(family, RANDOM[family], x, y, 12, seed, columns=NUMBERS) for seed in (3, 3, 4)]
    scores = [fit.predict_proba(x)[:, 1] for fit in fits]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def never() -> bool:
    return False


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("family", STEPWISE)
def test_a_continued_fit_equals_one_that_was_never_cut_off(family: str, threads: int, data: Any) -> None:
    x, y = filled(family, data)
    rows, validation = Rows(x[:400], y[:400], columns=NUMBERS), Rows(x[400:], y[400:], columns=NUMBERS)
    whole = start(family, RANDOM[family], rows, 5, threads)
    parts = start(family, RANDOM[family], rows, 5, threads)
    for done in (4, 8, 12):
        for fit in (whole, parts):
            fit.advance(done, never)
            assert fit.done == done
        np.testing.assert_array_equal(whole.scores(validation), parts.scores(validation))
        np.testing.assert_allclose(whole.scores(validation), whole.predict(validation.x), rtol=1e-5)
        parts = start(family, RANDOM[family], rows, 5, threads, checkpoint=parts.checkpoint())
    kept = [fit.classifier.predict_proba(x)[:, 1] for fit in (whole, parts)]
    np.testing.assert_array_equal(*kept)
    np.testing.assert_allclose(kept[0][400:], whole.scores(validation), rtol=1e-5)


def test_the_model_of_xgboost_does_not_depend_on_how_often_it_reports(data: Any) -> None:
    fits = [
        fit_steps(
            "xgboost", RANDOM["xgboost"], *data, 12, seed=5, every=every, report=lambda *_: False, columns=NUMBERS
        )
        for every in (0, 1, 5)
    ]
    dumps = [fit.get_booster().get_dump(with_stats=True) for fit in fits]
    assert dumps[0] == dumps[1] == dumps[2]


@pytest.mark.parametrize("family", [*FAMILIES, *CUSTOM])
def test_a_weight_of_two_is_a_row_that_is_there_twice(family: str, data: Any) -> None:
    """Exactly where nothing is drawn; and weights are taken by every family. Class weights are such weights, and the
    scores are corrected for the prior."""
    x, y = np.nan_to_num(data[0]), data[1]
    weights = np.where(y == 1, 4.0, 1.0)

    def scores(fitted_on: Any = (x, y), iterations: int = 10, weights: Any = None, **params: Any) -> np.ndarray:
        fitted = fit_steps(family, params, *fitted_on, iterations, seed=0, weights=weights, columns=NUMBERS)
        return np.asarray(fitted.predict_proba(x)[:, 1])

    plain, heavy, by_class = scores(), scores(weights=weights), scores(class_weight={0: 1.0, 1: 4.0})
    if family != CUSTOM[0]:  # whose leaves are pure whatever the weights
        assert heavy.mean() > plain.mean()
    np.testing.assert_allclose(corrected(heavy, np.log(4)), by_class, atol=1e-7)
    if family == "logistic_regression":
        twice = np.concatenate([x, *[x[y == 1]] * 3]), np.concatenate([y, *[y[y == 1]] * 3])
        np.testing.assert_allclose(heavy, scores(twice, 1), atol=1e-3)


class NoWeights:
    def fit(self, x: Any, y: Any) -> NoWeights:
        self.rate = float(y.mean())
        return self

    def predict_proba(self, x: Any) -> np.ndarray:
        return np.tile([1 - self.rate, self.rate], (len(x), 1))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}


def test_a_users_estimator_is_fitted_by_its_import_path(data: Any) -> None:
    path = f"{__name__}:NoWeights"
    fitted = fit_steps(path, {}, *data, 1, seed=0, columns=NUMBERS)
    assert isinstance(fitted, NoWeights) and fitted.rate == data[1].mean()
    with pytest.raises(FamilyError, match="takes no sample_weight in fit, and the rows have weights"):
        fit_steps(path, {}, *data, 1, seed=0, weights=np.ones(len(data[1])), columns=NUMBERS)


@pytest.mark.parametrize(
    ("family", "params", "said"),
    [
        ("xgbost", [], "no model family 'xgbost'. Did you mean 'xgboost'?"),
        ("xgboost", ["learning_rat"], "xgboost has no parameter 'learning_rat'. Did you mean 'learning_rate'?"),
        ("mlp", ["alfa"], "mlp has no parameter 'alfa'. Did you mean 'alpha'?"),
        ("no_such_package.x:Y", [], "importing no_such_package.x failed (ModuleNotFoundError"),
        ("sklearn.ensemble:ExtraTreeClassifier", [], "Did you mean 'ExtraTreesClassifier'?"),
        ("sklearn.svm:LinearSVC", [], "LinearSVC has no predict_proba; expected a classifier"),
        ("sklearn.metrics:roc_auc_score", [], "roc_auc_score is not a class"),
        ("sklearn.naive_bayes:GaussianNB", ["var_smoothin"], "Did you mean 'var_smoothing'?"),
    ],
)
def test_a_family_that_cannot_be_used_is_one_sentence(family: str, params: list[str], said: str) -> None:
    with pytest.raises(FamilyError) as raised:
        check_family(family, params)
    assert said in str(raised.value) and "\n" not in str(raised.value)


FRAME = pd.DataFrame(
    {
        "carrier": ["UA", "AA", "UA", None, "B6", "AA"],
        "temp": [1.0, np.nan, 3.0, 4.0, 5.0, 6.0],
        "origin": ["JFK", "EWR", "JFK", "EWR", "JFK", "EWR"],
    }
)


def test_text_becomes_codes_and_numbers_pass_through() -> None:
    encode = preprocessing(FRAME, family="random_forest").fit(FRAME)
    assert encode.get_feature_names_out().tolist() == ["carrier", "origin", "temp"]
    codes = encode.transform(FRAME)
    assert codes.dtype == "float32"
    np.testing.assert_array_equal(codes[:, 0], [2, 0, 2, 3, 1, 0])  # AA, B6, UA, None
    np.testing.assert_array_equal(codes[:, 1], [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(codes[:, 2], FRAME["temp"])


def test_unseen_and_missing_text() -> None:
    encode = preprocessing(FRAME, family="random_forest").fit(FRAME)
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
    encode = preprocessing(rows, family=family).fit(rows)
    y = np.tile([0, 1, 0, 1, 1, 0], 20)
    fitted = fit_steps(family, {}, encode.transform(rows), y, 10, seed=0, columns=columns_of(encode))
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
    np.testing.assert_allclose(alone, every[:6], atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundle_scores_what_its_classifier_was_fitted_on(family: str) -> None:
    """Numbers that float32 rounds across a split: a bundle that scored float64 would decide otherwise."""
    values = np.repeat(np.linspace(1, 1 + 1e-6, 40), 50)
    rows = pd.DataFrame({"a": values, "b": np.tile(np.arange(50.0), 40)})
    y = (rows["a"] > np.median(values)).astype(int).to_numpy()
    encode = preprocessing(rows, family=family).fit(rows)
    x = encode.transform(rows)
    assert x.dtype == encode.fit_transform(rows).dtype == "float32"
    iterations = 1 if family == "logistic_regression" else 20
    fitted = fit_steps(family, {}, x, y, iterations, seed=0, columns=columns_of(encode))
    scores = assemble(encode, fitted).predict_proba(rows)[:, 1]
    np.testing.assert_array_equal(scores, fitted.predict_proba(x)[:, 1])
    if family not in ("mlp", "logistic_regression"):  # whose numbers are standardised first
        assert len(np.unique(x[:, encode.get_feature_names_out().tolist().index("a")])) < 40


def test_the_other_families_get_texts_one_hot_and_numbers_filled_and_standardised() -> None:
    encode = preprocessing(FRAME, family="mlp").fit(FRAME)
    found = pd.DataFrame(encode.transform(FRAME), columns=encode.get_feature_names_out())
    assert list(found) == [
        *(f"carrier_{value}" for value in ("AA", "B6", "UA", "None")),
        *("origin_EWR", "origin_JFK", "temp", "missingindicator_temp"),
    ]
    assert found["carrier_UA"].tolist() == [1, 0, 1, 0, 0, 0] and found["carrier_None"].tolist() == [0, 0, 0, 1, 0, 0]
    numbers = found[["temp", "missingindicator_temp"]]
    np.testing.assert_allclose(numbers.mean(), 0, atol=1e-7)
    np.testing.assert_allclose(numbers.std(ddof=0), 1)
    filled = np.array([1, 4, 3, 4, 5, 6])
    np.testing.assert_allclose(found["temp"], (filled - filled.mean()) / filled.std())
    asked = pd.DataFrame({"carrier": ["ZZ"], "temp": [np.nan], "origin": [None]})
    assert (encode.transform(asked)[0, :6] == 0).all() and np.isfinite(encode.transform(asked)).all()


def test_many_texts_share_columns_and_an_estimator_that_takes_nan_gets_what_trees_get() -> None:
    frame = pd.DataFrame({"tail": [f"N{n}" for n in range(200)] + ["N1"] * 50, "x": np.arange(250.0)})
    assert len(preprocessing(frame, family="logistic_regression").fit(frame).get_feature_names_out()) == 32 + 1
    assert preprocessing(frame, family=CUSTOM[0]).fit(frame).get_feature_names_out().tolist() == ["tail", "x"]
    assert len(preprocessing(frame, family=CUSTOM[1]).fit(frame).get_feature_names_out()) == 32 + 1
