"""What is no sampling is refused when the file is read, in one sentence."""

from __future__ import annotations

import pytest

from configs import ConfigError, load_model
from configs.model import ModelSpec
from configs.reading import read_yaml, validated
from configs.settings import CONFIGS


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"method": "smot"}, r"there is no method 'smot'\. Did you mean 'smote'\? Known: none, class_weight,"),
        ({"method": "select", "contenders": ["adasin"]}, r"there is no contender 'adasin'\. Did you mean 'adasyn'\?"),
        (
            {"method": "select", "contenders": []},
            r"method select has no contenders; add at least one, or set method none",
        ),
        ({"contenders": ["smote", "smote"]}, r"contenders = \['smote', 'smote'\]: list each once"),
        ({"ratio": 0}, r"sampling\.ratio = 0: .*greater than 0"),
        ({"confidence": 1}, r"sampling\.confidence = 1: .*less than 1"),
    ],
)
def test_what_is_no_sampling_is_told(sampling, message):
    content = {**read_yaml(CONFIGS / "models" / "flight_delay.yaml"), "sampling": sampling}
    with pytest.raises(ConfigError, match=message) as found:
        validated(ModelSpec, content, "models/flight_delay.yaml")
    assert "\n" not in str(found.value)


def test_flights_are_fitted_as_they_are_and_payments_go_to_court():
    assert load_model("flight_delay", "local").sampling.method == "none"
    assert load_model("flight_cancelled", "local").sampling.method == "none"
    assert load_model("card_fraud", "local").sampling.method == "select"
