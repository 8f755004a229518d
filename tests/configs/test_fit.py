"""What a model's file may say of its final fit."""

from __future__ import annotations

from typing import Any

import pytest

from configs.model import ModelSpec, load_model
from configs.reading import ConfigError, merge, validated

BASE = load_model("flight_delay", "local").model_dump()
BOOSTED = next(family for family in BASE["tuning"]["families"] if family["family"] == "xgboost")


def spec(fit: dict[str, Any], only_xgboost: bool = True) -> ModelSpec:
    tuning = {"families": [BOOSTED]} if only_xgboost else {}
    return validated(ModelSpec, merge(BASE, {"fit": fit, "tuning": tuning}), "models/m.yaml")


def test_a_model_that_says_nothing_is_fitted_in_memory_by_one_process():
    fit = load_model("card_fraud", "local").fit
    assert (fit.memory, fit.workers, fit.device, fit.by_workers) == ("in_memory", 1, "auto", False)


def test_xgboost_may_have_several_workers_and_parts_on_disk():
    assert spec({"workers": 2}).fit.by_workers
    assert spec({"memory": "external"}).fit.by_workers
    assert not spec({"device": "cuda"}).fit.by_workers
    spec({"device": "auto", "rows_per_part": 2000}, only_xgboost=False)


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        ({"workers": 2}, "fit.workers = 2: tuning.families has hist_gradient_boosting, and only xgboost supports this"),
        ({"memory": "external"}, "fit.memory = external: tuning.families has hist_gradient_boosting"),
        ({"device": "cuda"}, "fit.device = cuda: tuning.families has hist_gradient_boosting"),
    ],
)
def test_another_family_is_refused_when_the_file_is_loaded(fit, said):
    with pytest.raises(ConfigError, match=r"^models/m.yaml: ") as error:
        spec(fit, only_xgboost=False)
    assert said in str(error.value) and str(error.value).endswith("or remove the setting from fit.")


def test_rows_on_disk_are_not_sampled():
    sampled = merge(BASE, {"tuning": {"families": [BOOSTED]}, "sampling": {"method": "smote"}})
    validated(ModelSpec, merge(sampled, {"fit": {"workers": 2}}), "models/m.yaml")
    with pytest.raises(ConfigError, match=r"^models/m.yaml: sampling.method = smote: rows are sampled in memory, and "):
        validated(ModelSpec, merge(sampled, {"fit": {"memory": "external"}}), "models/m.yaml")


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        ({"workers": 0}, "fit.workers = 0: Input should be greater than or equal to 1."),
        ({"workers": -2}, "fit.workers = -2: "),
        ({"workers": True}, "fit.workers = True: Input should be a valid integer."),
        ({"workers": 1.5}, "fit.workers = 1.5: "),
        ({"workers": "two"}, "fit.workers = 'two': "),
        ({"memory": "disk"}, "fit.memory = 'disk': Input should be 'in_memory' or 'external'."),
        ({"rows_per_part": 10}, "fit.rows_per_part = 10: Input should be greater than or equal to 1000."),
        ({"device": "gpu"}, "fit.device = 'gpu': Input should be 'auto', 'cpu' or 'cuda'."),
        ({"worker": 2}, "unknown key 'fit.worker'. Did you mean 'workers'?"),
    ],
)
def test_a_value_without_sense_is_told_in_one_sentence(fit, said):
    with pytest.raises(ConfigError) as error:
        spec(fit)
    assert said in str(error.value) and "\n" not in str(error.value)
