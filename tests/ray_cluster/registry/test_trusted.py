"""A user's estimator may hold objects of its own package, and nothing else that skops does not know."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from skops import io

from configs.model import load_model
from configs.reading import merge
from ray_cluster.registry import RegistryError, bundles


class Tree:
    """What a library of its own keeps in its estimator."""

    share = 0.5


class TwoStage(ClassifierMixin, BaseEstimator):
    """An estimator with an attribute that scikit-learn does not know."""

    def __init__(self, held: str = "tree") -> None:
        self.held = held

    def fit(self, x: Any, y: Any) -> TwoStage:
        self.classes_ = np.unique(y)
        self.kept_ = {"tree": Tree(), "decimal": decimal.Decimal("0.5"), "function": len}[self.held]
        return self

    def predict_proba(self, x: Any) -> Any:
        return np.full((len(x), 2), 0.5)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """flight_delay's file names the estimator."""
    family = {"family": "custom", "estimator": f"{__name__}:TwoStage"}
    spec = load_model("flight_delay", "local")
    changed = type(spec).model_validate(merge(spec.model_dump(), {"tuning": {"families": [family]}}))
    monkeypatch.setattr(bundles, "load_model", lambda *_: changed)


def fitted(held: str) -> TwoStage:
    return TwoStage(held).fit(np.zeros((4, 1)), np.array([0, 1, 0, 1]))


def test_classes_of_the_estimators_package_are_trusted(settings: Any, named: None) -> None:
    types = bundles.check_types(settings, "flight_delay", fitted("tree"))
    assert f"{__name__}.Tree" in types and f"{__name__}.TwoStage" in types
    assert io.loads(io.dumps(fitted("tree")), trusted=types).kept_.share == 0.5


@pytest.mark.parametrize("held", ["decimal", "function"])
def test_another_type_is_refused_before_anything_is_logged(settings: Any, named: None, held: str) -> None:
    with pytest.raises(RegistryError, match=r"^Model 'flight_delay' cannot be stored: it contains .*; store no other"):
        bundles.check_types(settings, "flight_delay", fitted(held))


def test_a_package_that_no_model_file_names_is_not_trusted(settings: Any) -> None:
    with pytest.raises(RegistryError, match=r"contains .*Tree, .*TwoStage"):
        bundles.check_types(settings, "flight_delay", fitted("tree"))
