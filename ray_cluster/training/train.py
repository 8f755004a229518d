"""Train one model as of a moment: frame, split, search, final fit, evaluation, record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frames import PREDICTION_TIME, inputs_fingerprint, labels, model_inputs, training_frame
from feature_repo.store import request_features
from ray_cluster import evaluation, registry
from ray_cluster.cluster import connected, wait
from ray_cluster.parity.bound import require as require_parity
from ray_cluster.provenance import code_fingerprint, git_state, library_versions
from ray_cluster.training.families import assemble, fit_steps, preprocessing
from ray_cluster.training.inputs import check_inputs, learned
from ray_cluster.training.split import Periods, split
from ray_cluster.training.tuning import Search, tune_families

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Trained", "train_model"]

#: Told what is being done and how much of the whole is done, in [0, 1].
Progress = Callable[[str, float], None]


class Trained(dict[str, Any]):
    """What :func:`train_model` returns: ``run_id``, ``unchanged``, and the metrics when it trained."""


def train_model(
    settings: Settings, spec: ModelSpec, as_of: datetime, context: dict[str, str], progress: Progress
) -> Trained:
    """Train ``spec`` on what was known at ``as_of`` and log it to MLflow; the same training is not done twice.

    The same training is: the same tables (by content), feature code, model file, training code, libraries, ``as_of``.

    Raises:
        ParityBoundError: the served features differ from the retrieved ones by more than the model's YAML allows.
    """
    require_parity(settings, spec, as_of)
    key = _key(spec, inputs_fingerprint(settings, spec), as_of)
    if known := registry.find_run(settings, spec.name, key):
        return Trained(run_id=known, unchanged=True)
    progress("joining features as of each prediction", 0.02)
    frame = training_frame(settings, spec, as_of)
    rows, y = frame.rows, frame.rows["label"].to_numpy()
    known_at = rows[[spec.requests.id]].merge(labels(settings, spec, as_of), on=spec.requests.id)["label_known_at"]
    periods = split(rows[PREDICTION_TIME], known_at, rows["label"], as_of, spec.split)
    features = model_inputs(rows[frame.features])
    check_inputs(spec.name, spec.inputs, features[periods.train].tail(spec.tuning.rows))

    with connected(settings):
        progress("searching model families", 0.15)
        search = _search(settings, spec, key, features, y, periods)
        progress("fitting the best on all earlier rows, and the baselines", 0.6)
        calendar = request_features(settings, spec.feature_service)
        pipeline, baselines = _final(spec, search, features, y, periods, calendar)
    progress("measuring on the held-out period", 0.85)
    threshold = (
        evaluation.f1_threshold(y[periods.validation], search.validation_scores)
        if spec.threshold == "f1"
        else spec.threshold
    )
    held_out = periods.held_out
    scores = pipeline.predict_proba(features[held_out])[:, 1]
    measured = evaluation.metrics(y[held_out], scores, threshold)
    evaluated: dict[str, Any] = {
        "periods": periods.describe(rows["label"]),
        "family": search.best.family,
        "params": {**search.best.params, "iterations": search.best.iterations},
        "threshold": threshold,
        "metrics": measured,
        "baselines": {name: evaluation.ranking(y[held_out], found) for name, found in baselines.items()},
        "curves": evaluation.curves(y[held_out], scores),
        "slices": evaluation.slices(rows[held_out].assign(**features[held_out]), spec.slices, y[held_out], scores),
        "importance": _importance(pipeline),
        "inputs": learned(pipeline[0], spec.inputs),
    }
    progress("recording the run", 0.92)
    git = git_state(settings.root)
    libraries = library_versions()
    dataset = {
        "fingerprint": frame.fingerprint,
        "rows": len(rows),
        "as_of": as_of.isoformat(),
        "feature_service": spec.feature_service,
        "tables": frame.tables,
        "git": git,
        "libraries": libraries,
    }
    reference = rows[held_out][[spec.requests.id, PREDICTION_TIME]].assign(
        **features[held_out], label=y[held_out], score=scores
    )
    run_id = registry.log_run(
        settings,
        spec.name,
        key,
        pipeline,
        example=features[held_out].head(3),
        reference=reference,
        documents={
            "evaluation": evaluated,
            "trials": [asdict(trial) for trial in search.trials],
            "dataset": dataset,
            "model": spec.model_dump(mode="json"),
        },
        params={"family": search.best.family, "seed": spec.tuning.seed, **evaluated["params"]},
        metrics={**measured, "threshold": threshold, "validation_" + spec.tuning.metric: search.best.metric},
        tags={
            "headrace.dataset": frame.fingerprint,
            "headrace.as_of": as_of.isoformat(),
            "headrace.feature_service": spec.feature_service,
            "headrace.git_commit": str(git["commit"]),
            "headrace.git_dirty": str(git["dirty"]).lower(),
            **context,
        },
        metadata={
            "threshold": threshold,
            "features": frame.features,
            "feature_service": spec.feature_service,
            "dataset": frame.fingerprint,
            "as_of": as_of.isoformat(),
            "libraries": libraries,
        },
    )
    progress("done", 1.0)
    return Trained(run_id=run_id, unchanged=False, **measured)


def _key(spec: ModelSpec, inputs: str, as_of: datetime) -> str:
    """Fingerprint of everything that decides the result of a training."""
    what = {
        "model": spec.model_dump(
            mode="json", include={"name", "requests", "label", "split", "tuning", "threshold", "inputs"}
        ),
        "service": spec.feature_service,
        "slices": spec.slices,
        "inputs": inputs,
        "as_of": as_of.isoformat(),
        "code": code_fingerprint(Path(__file__).parent),
        "libraries": library_versions(),
    }
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=10).hexdigest()


def _search(
    settings: Settings, spec: ModelSpec, key: str, features: pd.DataFrame, y: np.ndarray, periods: Periods
) -> Search:
    import numpy as np

    train = np.flatnonzero(periods.train)[-spec.tuning.rows :]
    encode = preprocessing(features, spec.inputs).fit(features.iloc[train])
    x = encode.transform(features.iloc[train]).astype("float32")
    x_validation = encode.transform(features[periods.validation]).astype("float32")
    return tune_families(settings, spec, key, (x, y[train]), (x_validation, y[periods.validation]))


def _final(
    spec: ModelSpec, search: Search, features: pd.DataFrame, y: np.ndarray, periods: Periods, calendar: list[str]
) -> tuple[Any, dict[str, np.ndarray]]:
    """Fit the best point and the baselines on everything before the held-out period, side by side on the cluster.

    Returns the pipeline, and each baseline's scores on the held-out rows.
    """
    import numpy as np
    import ray

    early = periods.train | periods.validation
    encode = preprocessing(features, spec.inputs).fit(features[early])
    x = ray.put(encode.transform(features[early]).astype("float32"))
    x_held_out = ray.put(encode.transform(features[periods.held_out]).astype("float32"))
    y_early = ray.put(y[early])
    best, tuning = search.best, spec.tuning
    fit = ray.remote(num_cpus=tuning.cpus_per_trial, num_gpus=tuning.gpus_per_trial)(fit_steps)
    device = "cuda" if tuning.gpus_per_trial else "cpu"
    threads = max(1, int(tuning.cpus_per_trial))
    classifier = fit.remote(
        best.family, best.params, x, y_early, best.iterations, tuning.seed, threads=threads, device=device
    )
    defaults = ray.remote(_defaults).options(num_cpus=1).remote(x, y_early, x_held_out)
    plain = features.loc[:, calendar]
    logistic = ray.remote(_logistic).options(num_cpus=1).remote(plain[early], y_early, plain[periods.held_out])
    fitted, default_scores, logistic_scores = wait([classifier, defaults, logistic])
    base = np.full(int(periods.held_out.sum()), y[early].mean())
    return assemble(encode, fitted), {
        "base rate": base,
        "logistic regression, calendar only": logistic_scores,
        "XGBoost defaults, all features": default_scores,
    }


def _defaults(x: np.ndarray, y: np.ndarray, x_held_out: np.ndarray) -> np.ndarray:
    import xgboost

    return xgboost.XGBClassifier(n_jobs=1).fit(x, y).predict_proba(x_held_out)[:, 1]  # type: ignore[no-any-return]


def _logistic(frame: pd.DataFrame, y: np.ndarray, held_out: pd.DataFrame) -> np.ndarray:
    """Logistic regression with whole-number columns of few values one-hot and the rest standardised."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    few = [name for name in frame if frame[name].nunique() <= 31]
    encode = ColumnTransformer(
        [
            ("few", OneHotEncoder(handle_unknown="ignore"), few),
            ("many", StandardScaler(), [name for name in frame if name not in few]),
        ]
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=200))
    return model.fit(frame, y).predict_proba(held_out)[:, 1]  # type: ignore[no-any-return]


def _importance(pipeline: Any) -> list[dict[str, Any]]:
    """The classifier's own importances (gain), largest first; empty for a family that has none."""
    values = getattr(pipeline[-1], "feature_importances_", None)
    if values is None:
        return []
    names = pipeline[0].get_feature_names_out()
    pairs = sorted(zip(names, values, strict=True), key=lambda pair: -pair[1])
    return [{"feature": str(name), "importance": float(value)} for name, value in pairs]
