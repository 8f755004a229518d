"""Bundles of every model family are kept without pickle, and come back as they were."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from skops import io

from ray_cluster import registry
from ray_cluster.evaluation.column_profile import ColumnProfile, profile_column
from ray_cluster.registry import TRUSTED
from ray_cluster.registry.mlflow_client import connect
from ray_cluster.training.families import assemble, columns_of, fit_steps, preprocessing
from tests.ray_cluster.registry.conftest import FEATURES

FAMILIES = ("xgboost", "hist_gradient_boosting", "random_forest", "logistic_regression", "mlp")


@pytest.mark.parametrize("family", [*FAMILIES, "sklearn.ensemble:ExtraTreesClassifier"])
def test_a_bundle_of_each_family_survives_skops(family):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"number": generator.normal(size=400), "text": generator.choice(["x", "y"], 400)})
    frame["text"] = frame["text"].astype(object)
    y = (frame["number"] + (frame["text"] == "x") > 0.5).to_numpy().astype(int)
    frame.loc[::7, "number"] = np.nan
    encode = preprocessing(frame, family=family).fit(frame)
    classifier = fit_steps(family, {}, encode.transform(frame), y, 15, seed=0, columns=columns_of(encode))
    bundle = assemble(encode, classifier)
    kept = io.dumps(bundle)
    assert set(io.get_untrusted_types(data=kept)) <= set(TRUSTED)
    again = io.loads(kept, trusted=TRUSTED)
    np.testing.assert_array_equal(again.predict_proba(frame), bundle.predict_proba(frame))


def test_a_bundle_explains_itself_without_a_server(settings, run, tmp_path):
    run_id = run("explained", "a")
    facts = registry.register_run(settings, "explained", run_id, {})
    import mlflow

    path = Path(mlflow.artifacts.download_artifacts(f"models:/explained/{facts.version}", dst_path=str(tmp_path)))
    said = registry.explain(path)
    assert {"bundle", "reference", "evaluation", "dataset", "model"} <= set(said)
    assert said["bundle"]["threshold"] == 0.4 and said["bundle"]["features"] == FEATURES
    rows = registry.reference(settings, run_id)
    for name in (*FEATURES, "score"):
        assert ColumnProfile.from_dict(said["reference"][name]) == profile_column(rows[name], name)
    assert not [file for file in path.rglob("*") if file.suffix in (".pkl", ".pickle", ".cloudpickle")]
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    loaded = registry.load_version(settings, "explained", facts.version)
    scores = loaded.pipeline.predict_proba(rows[FEATURES])[:, 1]
    np.testing.assert_allclose(scores, rows["score"], atol=1e-7)
    assert loaded.threshold == 0.4 and loaded.size > 10_000
    native = xgboost.XGBClassifier()
    native.load_model(path / "extra_files" / "classifier.ubj")
    x = loaded.pipeline[0].transform(rows[FEATURES])
    np.testing.assert_allclose(native.predict_proba(x)[:, 1], rows["score"], atol=1e-6)
    with pytest.raises(mlflow.exceptions.MlflowException, match="PICKLE"):  # it would trust the model's own list
        mlflow.sklearn.load_model(path)


def test_what_is_not_whole_is_never_loaded_or_registered(settings, run):
    run_id = run("halved", "a")
    facts = registry.register_run(settings, "halved", run_id, {})
    client = connect(settings)
    client.set_terminated(run_id, "KILLED")
    with pytest.raises(registry.RegistryError, match=r"Version 1 of 'halved' is incomplete .* is killed, not finished"):
        registry.load_version(settings, "halved", facts.version)
    other = run("halved", "b")
    client.set_terminated(other, "RUNNING")
    with pytest.raises(registry.RegistryError, match=r"is not complete .status running.*`headrace run train` again"):
        registry.register_run(settings, "halved", other, {})
    client.set_terminated(other, "FINISHED")
    second = registry.register_run(settings, "halved", other, {})
    files = (settings.home / "mlflow").rglob("extra_files/evaluation.json")
    (gone,) = (path for path in files if second.logged in path.parts)
    gone.unlink()
    with pytest.raises(
        registry.RegistryError, match=r"it has no extra_files/evaluation.json; train and register again"
    ):
        registry.load_version(settings, "halved", second.version)
    with pytest.raises(registry.RegistryError, match=r"Model 'halved' has no version 7; registered: 2, 1."):
        registry.load_version(settings, "halved", 7)
