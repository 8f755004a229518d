"""Importance: the inputs that matter come first, and SHAP contributions add up to the model's margin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance as reference
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import FunctionTransformer
from xgboost import XGBClassifier

from ray_cluster.evaluation.importance import contributions, permutation_importance, shap_importance


def rows(n: int = 2500) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(n, 3)), columns=["strong", "weak", "noise"])
    y = (random.random(n) < 1 / (1 + np.exp(1 - 2 * frame["strong"] - 0.7 * frame["weak"]))).astype(int)
    return frame, y.to_numpy() if hasattr(y, "to_numpy") else y


def test_it_agrees_with_scikit_learn() -> None:
    frame, y = rows()
    model = LogisticRegression().fit(frame, y)
    for metric, scoring in (("roc_auc", "roc_auc"), ("average_precision", "average_precision")):
        found = permutation_importance(lambda part: model.predict_proba(part)[:, 1], frame, y, metric, rows=len(y))
        assert [row["feature"] for row in found] == ["strong", "weak", "noise"]
        theirs = reference(model, frame, y, scoring=scoring, n_repeats=20, random_state=1)
        by_name = dict(zip(frame, theirs.importances_mean, strict=True))
        for row in found:
            assert row["importance"] == pytest.approx(by_name[row["feature"]], abs=0.03)
        assert abs(found[-1]["importance"]) < 0.005 and found[0]["spread"] >= 0


def test_a_sample_is_drawn_and_is_the_same_again() -> None:
    frame, y = rows()
    seen: list[int] = []

    def score(part: pd.DataFrame) -> np.ndarray:
        seen.append(len(part))
        return part["strong"].to_numpy()

    first = permutation_importance(score, frame, y, "roc_auc", rows=400)
    assert set(seen) == {400, 1200}
    assert permutation_importance(score, frame, y, "roc_auc", rows=400) == first
    assert permutation_importance(score, frame, np.zeros(len(y), int), "roc_auc") == []


def test_rare_positives_are_kept_and_told_at_their_true_share() -> None:
    random = np.random.default_rng(1)
    y = (np.arange(60_000) % 200 == 0).astype(int)
    frame = pd.DataFrame({"a": random.normal(size=len(y)) + 2.5 * y, "b": random.normal(size=len(y))})
    seen: list[pd.DataFrame] = []

    def score(part: pd.DataFrame) -> np.ndarray:
        seen.append(part)
        return part["a"].to_numpy()

    found = permutation_importance(score, frame, y, "average_precision")
    assert len(seen[0]) == 2000 and (seen[0]["a"] > 2).sum() > 150  # of 300 positives, where 10 would be their share
    whole = average_precision_score(y, frame["a"])
    assert found[0]["importance"] == pytest.approx(whole - y.mean(), abs=0.08)


def test_contributions_add_up_to_the_margin() -> None:
    frame, y = rows(600)
    model = XGBClassifier(n_estimators=30, max_depth=4).fit(frame.to_numpy(), y)
    values = contributions(model, frame.to_numpy(dtype="float32"))
    assert values is not None and values.shape == (600, 4)
    margin = model.predict(frame.to_numpy(), output_margin=True)
    np.testing.assert_allclose(values.sum(axis=1), margin, atol=1e-4)
    encode = FunctionTransformer(lambda part: part.to_numpy(), feature_names_out="one-to-one").fit(frame)
    found = shap_importance(encode, model, frame, rows=600)
    assert found[0]["feature"] == "strong"
    assert found[0]["contribution"] == pytest.approx(np.abs(values[:, 0]).mean())


def test_other_families_have_none() -> None:
    frame, y = rows(300)
    model = HistGradientBoostingClassifier(max_iter=5).fit(frame, y)
    assert contributions(model, frame.to_numpy()) is None
