"""Cleaning of a model's inputs: learned on the rows it is fitted on and nothing else, kept without pickle."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skops import io

from configs.model import InputRule, ModelSpec, load_model
from configs.reading import ConfigError, validated
from configs.settings import Settings, load_settings
from feature_repo.frames.training_frame import TrainingFrame
from ray_cluster.registry import TRUSTED
from ray_cluster.training.data import Fold, Periods, TrainingData
from ray_cluster.training.families import assemble, columns_of, encoded, fit_steps, preprocessing
from ray_cluster.training.final_fit import fit_before
from ray_cluster.training.inputs import InputsError, check_inputs, learned
from ray_cluster.training.search import TrialResult

FAMILIES = ("xgboost", "hist_gradient_boosting", "random_forest", "logistic_regression", "mlp")
RULES = {
    "temp": {"impute": "median", "clip": [0.05, 0.9]},
    "year": {"impute": "mean", "indicator": True},
    "engines": {"impute": "most_frequent"},
    "seats": {"impute": {"constant": -1}},
    "speed": {"indicator": True},
    "wind": {"clip": [0.1, 1]},
    "maker": {"impute": "most_frequent", "indicator": True},
    "model": {"impute": {"constant": "unknown"}},
}


def rules(**given: dict[str, Any]) -> dict[str, InputRule]:
    return {name: InputRule.model_validate(rule) for name, rule in (given or RULES).items()}


def rows(count: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Every kind of column with gaps, one of each that has no rule, and None and NaN both missing in text."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {name: random.normal(shift, 3, count) for name in ("temp", "year", "seats", "speed", "wind", "plain")}
    )
    frame["engines"] = random.integers(1, 4, count).astype(float)
    for name in ("maker", "model", "carrier"):
        frame[name] = random.choice(["A", "B", "C", "C"], count).astype(object)
    gaps = random.random(frame.shape) < 0.2
    gaps[0] = False
    frame = frame.mask(gaps)
    texts = frame.select_dtypes(object).columns
    frame[texts] = frame[texts].astype(object).where(frame[texts].notna(), None)
    frame.loc[frame.index[-1], "maker"] = np.nan
    return frame


def by_hand(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What the rules of RULES have to learn from ``frame``, by numpy alone."""
    values = {name: frame[name].dropna().to_numpy() for name in frame}
    low, high = np.quantile(values["temp"], [0.05, 0.9])
    engines = Counter(values["engines"])
    makers = Counter(values["maker"])
    first = {
        "engines": min(engines, key=lambda v: (-engines[v], v)),
        "maker": min(makers, key=lambda v: (-makers[v], v)),
    }
    return {
        "temp": {"clip": [low, high], "impute": np.median(np.clip(values["temp"], low, high))},
        "year": {"impute": np.mean(values["year"])},
        "engines": {"impute": first["engines"]},
        "seats": {"impute": -1.0},
        "speed": {},
        "wind": {"clip": list(np.quantile(values["wind"], [0.1, 1]))},
        "maker": {"impute": first["maker"]},
        "model": {"impute": "unknown"},
    }


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        assert found[name].keys() == each.keys()
        for step, value in each.items():
            if isinstance(value, str):
                assert found[name][step] == value
            else:
                np.testing.assert_allclose(found[name][step], value, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_what_is_learned_is_numpys_of_the_fitted_rows(count: int, seed: int) -> None:
    frame = rows(count, seed)
    same(learned(preprocessing(frame, rules()).fit(frame), rules()), by_hand(frame))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 120), st.integers(0, 2**32 - 1))
def test_each_value_is_clipped_then_filled(count: int, seed: int) -> None:
    frame = rows(count, seed)
    encode = preprocessing(frame, rules()).fit(frame)
    asked = rows(50, seed + 1, shift=5)
    found = pd.DataFrame(encode.transform(asked), columns=encode.get_feature_names_out(), dtype=float)
    hand = by_hand(frame)
    temp = asked["temp"].clip(*hand["temp"]["clip"]).fillna(hand["temp"]["impute"])
    np.testing.assert_allclose(found["temp"], temp, rtol=1e-6)
    np.testing.assert_allclose(found["wind"], asked["wind"].clip(*hand["wind"]["clip"]), rtol=1e-6)
    np.testing.assert_allclose(found["seats"], asked["seats"].fillna(-1))
    for name in ("speed", "plain"):  # an indicator fills nothing
        np.testing.assert_array_equal(found[name].astype("float32"), asked[name].astype("float32"))
    for name in ("year", "speed", "maker"):
        np.testing.assert_array_equal(found[f"{name}_missing"], asked[name].isna())
    makers = sorted(set(frame["maker"].dropna()))
    filled = asked["maker"].fillna(hand["maker"]["impute"])
    np.testing.assert_array_equal(found["maker"], [makers.index(v) if v in makers else np.nan for v in filled])
    assert [name for name in found if name.endswith("_missing")] == ["year_missing", "speed_missing", "maker_missing"]


def test_a_name_that_scikit_learn_keeps_for_itself_is_a_feature_like_any_other() -> None:
    frame = pd.DataFrame({"a__b": [1.0, np.nan, 3.0], "codes": [1.0, 2.0, np.nan]})
    given = rules(a__b={"impute": "mean"}, codes={"impute": "median"})
    encode = preprocessing(frame, given).fit(frame)
    same(learned(encode, given), {"a__b": {"impute": 2.0}, "codes": {"impute": 1.5}})


def test_without_rules_nothing_is_different() -> None:
    frame = rows(30, 0)
    frame.loc[29, "maker"] = None
    plain = preprocessing(frame).fit(frame)
    assert [name for name, *_ in plain.transformers_] == ["codes", "remainder"]
    assert learned(plain, {}) == {}
    assert np.isnan(plain.transform(frame)).any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundle_with_rules_survives_skops(family: str) -> None:
    frame = rows(300, 3)
    y = (frame["plain"].fillna(0) > 0).to_numpy().astype(int)
    encode = preprocessing(frame, rules(), family).fit(frame)
    bundle = assemble(encode, fit_steps(family, {}, encode.transform(frame), y, 15, seed=0, columns=columns_of(encode)))
    kept = io.dumps(bundle)
    assert set(io.get_untrusted_types(data=kept)) <= set(TRUSTED)
    again = io.loads(kept, trusted=TRUSTED)
    np.testing.assert_array_equal(again.predict_proba(frame), bundle.predict_proba(frame))
    same(learned(again[0], rules()), learned(encode, rules()))


@pytest.fixture
def spec() -> ModelSpec:
    return load_model("flight_delay").model_copy(update={"inputs": rules()})


@pytest.fixture
def here(tmp_path: Any) -> Settings:
    return load_settings("local", {"HEADRACE_HOME": str(tmp_path)})


def periods(frame: pd.DataFrame, validation: int, held_out: int) -> Periods:
    place, now = np.arange(len(frame)), datetime(2013, 12, 1, tzinfo=UTC)
    train, later, last = place < validation, (place >= validation) & (place < held_out), place >= held_out
    bounds = {"validation": (now, now)}
    return Periods(train, later, last, bounds, (Fold(train | later, last, now, now),), Fold(place >= 0, last, now, now))


def training_data(features: pd.DataFrame, y: Any, cut: Periods) -> TrainingData:
    return TrainingData(
        TrainingFrame(features.assign(label=y, flight_id=np.arange(len(y))), list(features), "none", {}),
        features,
        y,
        cut,
    )


def test_the_search_learns_from_no_later_row(spec: ModelSpec) -> None:
    """What the trainer itself fits for the search: the latest of the training rows."""
    frame = rows(2000, 5)
    cut = periods(frame, 1500, 1800)
    y = np.tile([0, 1], 1000)
    spec = spec.model_copy(update={"tuning": spec.tuning.model_copy(update={"rows": 1000})})

    def searched(features: pd.DataFrame) -> Any:
        return encoded(spec, training_data(features, y, cut))["categories"]

    (x, *_), (x_validation, *_) = searched(frame)
    moved = pd.concat([frame.iloc[:1500], rows(500, 6, shift=40)], ignore_index=True)
    (x_moved, *_), (x_validation_moved, *_) = searched(moved)
    np.testing.assert_array_equal(x, x_moved)
    assert not np.array_equal(x_validation, x_validation_moved)
    encode = preprocessing(frame, spec.inputs).fit(frame[500:1500])
    same(learned(encode, spec.inputs), by_hand(frame[500:1500]))
    np.testing.assert_array_equal(x, encode.transform(frame[500:1500]))
    np.testing.assert_array_equal(x_validation_moved, encode.transform(moved[1500:1800]))
    # and the test would notice: training rows that move do move it
    (other, *_), _ = searched(pd.concat([rows(1500, 7, shift=3), frame.iloc[1500:]], ignore_index=True))
    assert not np.array_equal(x, other)


@pytest.mark.long
def test_the_final_fit_learns_from_nothing_held_out(spec: ModelSpec) -> None:
    import ray

    frame = rows(900, 8).assign(hour=np.arange(900) % 24.0)
    cut = periods(frame, 600, 750)
    y = np.tile([0, 1], 450)
    best = TrialResult("0", "xgboost", {"max_depth": 2}, "finished", 12, 0.5, 1.0, [])
    ray.init(num_cpus=1, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
    try:
        found = [
            fit_before(spec, best, training_data(features, y, cut), cut.origins)[0].pipeline
            for features in (frame, pd.concat([frame[:750], rows(150, 9, shift=40).assign(hour=0.0)]))
        ]
    finally:
        ray.shutdown()
    same(learned(found[0][0], spec.inputs), by_hand(frame[:750]))
    same(learned(found[1][0], spec.inputs), learned(found[0][0], spec.inputs))
    np.testing.assert_array_equal(*(each.predict_proba(frame) for each in found))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tmp": {"impute": "median"}}, "inputs.tmp: the feature service has no feature 'tmp'. Did you mean 'temp'?"),
        ({"maker": {"impute": "median"}}, "impute = 'median' is for numbers, but the feature is text"),
        ({"maker": {"clip": [0.1, 0.9]}}, "clip = [0.1, 0.9] is for numbers, but the feature is text; omit clip."),
        ({"maker": {"impute": {"constant": 0}}}, "constant = 0, but the feature is text"),
        ({"temp": {"impute": {"constant": "none"}}}, "constant = 'none', but the feature is a number"),
        ({"empty": {"impute": "median"}}, "none of the 20 training rows has a value to fit on"),
        ({"empty": {"clip": [0, 1]}}, "none of the 20 training rows has a value to fit on"),
        ({"temp": {"categories": 0}}, "categories = 0, but the feature is a number already; omit categories."),
        ({"temp": {"indicator": True}}, "the indicator would be named 'temp_missing', which is a feature already"),
    ],
)
def test_a_rule_that_does_not_fit_is_one_sentence(given: dict[str, Any], said: str) -> None:
    frame = rows(20, 1).assign(empty=np.nan, temp_missing=0.0)
    with pytest.raises(InputsError) as raised:
        check_inputs("flight_delay", rules(**given), frame)
    assert said in str(raised.value) and str(raised.value).startswith("Model 'flight_delay', inputs.")


@pytest.mark.parametrize("family", FAMILIES)
def test_rules_that_fit_are_let_through_and_can_be_learned(family: str) -> None:
    frame = rows(20, 1).assign(empty=np.nan)
    fitting = rules(**RULES, empty={"impute": {"constant": 0}})
    check_inputs("m", fitting, frame)
    found = learned(preprocessing(frame, fitting, family).fit(frame), fitting)
    assert set(found) >= set(by_hand(frame)) - {"speed"} and found["empty"] == {"impute": 0.0}
    for name, values in by_hand(frame).items():
        for kind, value in values.items():
            expected = value if isinstance(value, str) else pytest.approx(value)
            assert found[name][kind] == expected, (name, kind)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "the rule is empty; set impute, clip, indicator or categories"),
        ({"categories": 255}, "inputs.temp.categories = 255"),
        ({"impute": "meidan"}, "Did you mean 'median'?"),
        ({"impute": 0}, "Expected mean, median, most_frequent or {constant: value}"),
        ({"impute": {"constant": None}}, "constant is None; expected a finite number or a text"),
        ({"impute": {"constant": float("nan")}}, "constant is nan; expected a finite number or a text"),
        ({"clip": [0.9, 0.1]}, "clip = [0.9, 0.1]: expected two rising quantiles in [0, 1]"),
        ({"clip": [1, 99]}, "clip = [1.0, 99.0]: expected two rising quantiles in [0, 1]"),
        ({"imput": "mean"}, "unknown key 'inputs.temp.imput'. Did you mean 'impute'?"),
    ],
)
def test_a_rule_that_says_nothing_sensible_is_refused_when_read(rule: dict[str, Any], said: str) -> None:
    content = load_model("flight_delay").model_dump(mode="json") | {"inputs": {"temp": rule}}
    with pytest.raises(ConfigError) as raised:
        validated(ModelSpec, content, "models/flight_delay.yaml")
    assert said in str(raised.value), str(raised.value)
    assert "\n" not in str(raised.value)
