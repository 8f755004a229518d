"""The digest of a model: the same fit has the same one, in any process and after keeping it; another has another."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from skops import io

from ray_cluster.lineage.model_digest import model_digest
from ray_cluster.registry import TRUSTED
from ray_cluster.training.families import assemble, columns_of, fit_steps, preprocessing

FAMILIES = ("xgboost", "hist_gradient_boosting")


def data(rows: int = 3000) -> tuple[pd.DataFrame, np.ndarray]:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{number}": generator.normal(size=rows) for number in range(6)})
    frame["text"] = generator.choice(["a", "b", "c"], rows).astype(object)
    y = (frame["x0"] + (frame["text"] == "a") + generator.normal(size=rows) > 0.5).to_numpy().astype(int)
    return frame, y


def fitted(family: str, seed: int = 0, threads: int = 1, value: float | None = None):
    frame, y = data()
    if value is not None:
        frame.loc[17, "x0"] = value
    encode = preprocessing(frame).fit(frame)
    x = encode.transform(frame)
    params = {"subsample": 0.7} if family == "xgboost" else {"max_features": 0.5}
    return assemble(encode, fit_steps(family, params, x, y, 20, seed, threads, columns=columns_of(encode)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_fit_is_the_same_bytes(family):
    first = model_digest(fitted(family))
    assert model_digest(fitted(family)) == first
    assert set(first) == {"preprocessing", "classifier", "model"}
    other = model_digest(fitted(family, seed=1))
    assert other["preprocessing"] == first["preprocessing"] and other["classifier"] != first["classifier"]
    assert model_digest(fitted(family, value=9.0))["model"] != first["model"]


@pytest.mark.parametrize("family", FAMILIES)
def test_threads_do_not_change_what_boosting_fits(family):
    """Histograms are summed in one order whatever the threads; what is recorded is used all the same."""
    assert model_digest(fitted(family, threads=2)) == model_digest(fitted(family, threads=1))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundle_that_was_kept_has_the_digest_of_the_fit(family):
    bundle = fitted(family)
    assert model_digest(io.loads(io.dumps(bundle), trusted=TRUSTED)) == model_digest(bundle)


@pytest.mark.parametrize(
    "classifier",
    [LogisticRegression(), RandomForestClassifier(5, random_state=0), MLPClassifier(4, max_iter=20, random_state=0)],
    ids=lambda each: type(each).__name__,
)
def test_any_scikit_learn_classifier_has_one(classifier):
    frame, y = data(500)
    encode = preprocessing(frame).fit(frame)
    x = encode.transform(frame)
    fits = [type(classifier)(**classifier.get_params()).fit(x, y) for _ in range(2)]
    digests = {model_digest(assemble(encode, each))["model"] for each in fits}
    assert len(digests) == 1
    y = y.copy()
    y[0] = 1 - y[0]
    assert model_digest(assemble(encode, classifier.fit(x, y)))["model"] not in digests


@pytest.mark.parametrize("family", FAMILIES)
def test_another_process_gives_the_same(family):
    code = (
        "from tests.ray_cluster.lineage.test_model_digest import fitted, model_digest;"
        f"print(model_digest(fitted('{family}'))['model'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == model_digest(fitted(family))["model"]
