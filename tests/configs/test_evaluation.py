"""Calibration, costs, behaviour and fairness in a model's file: what is read, and what is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from configs.model import ModelSpec, load_model
from configs.reading import ConfigError, merge, validated


def read(**changed: Any) -> ModelSpec:
    plain = load_model("flight_delay").model_dump(mode="json")
    return validated(ModelSpec, merge(plain, changed), "models/m.yaml")


@pytest.mark.parametrize("name", ["flight_delay", "flight_cancelled", "card_fraud"])
def test_the_bundled_models_declare_tests_of_their_behaviour(name: str) -> None:
    spec = load_model(name)
    assert 2 <= len(spec.behaviour) <= 4 and any(test.required for test in spec.behaviour)
    assert ModelSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize("threshold", [0.3, "f1", {"costs": {"false_positive": 1.0, "false_negative": 5.0}}])
def test_each_kind_of_threshold_is_read(threshold: Any) -> None:
    kept = read(threshold=threshold).model_dump(mode="json")["threshold"]
    assert kept == threshold or kept["costs"].items() >= threshold["costs"].items()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"threshold": "f2"}, "threshold = 'f2': Did you mean 'f1'? Expected f1, a number in (0, 1) or {costs: "),
        ({"threshold": 1.5}, "threshold = 1.5: a number must be above 0 and below 1."),
        ({"threshold": {"cost": {}}}, "Expected f1, a number in (0, 1) or {costs: "),
        ({"threshold": {"costs": {"false_negative": 1}}}, "threshold.costs.false_positive' is missing; add it."),
        (
            {"threshold": {"costs": {"false_positive": 0, "false_negative": 1}}},
            "false_positive 0 must cost more than true_negative 0; otherwise flagging everything would always be best.",
        ),
        ({"calibration": "platt"}, "calibration = 'platt': Input should be 'auto', 'none', 'sigmoid' or 'isotonic'."),
        ({"behaviour": [{"test": "direktion", "name": "a"}]}, "'invariance', 'direction', 'minimum'"),
        (
            {"behaviour": [{"test": "direction", "name": "a", "feature": "x", "raise_by": 0}]},
            "raise_by = 0: expected a number other than 0.",
        ),
        (
            {"behaviour": [{"test": "minimum", "name": "a", "metric": "recall"}]},
            "the test 'a' has no bound; set at_least or at_most.",
        ),
        (
            {"behaviour": [{"test": "invariance", "name": "a", "feature": "x", "values": [1, "a"]}]},
            "values = [1, 'a']: expected all texts or all numbers.",
        ),
        ({"fairness": {"groups": ["carrier"], "gap": 2}}, "fairness.gap = 2: Input should be less than or equal to 1."),
        ({"split": {"folds": 0}}, "split.folds = 0: Input should be greater than or equal to 1."),
    ],
)
def test_what_makes_no_sense_is_one_sentence(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(**changed)
    assert said in str(raised.value), str(raised.value)
