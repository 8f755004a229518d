"""The final fit: the chosen point on everything before the held-out period, with the baselines beside it on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from ray_cluster.cluster.capacity import share
from ray_cluster.cluster.connection import wait
from ray_cluster.training.data import TrainingData
from ray_cluster.training.distributed.devices import Device, gpus_of
from ray_cluster.training.distributed.out_of_core import encoder_of_parts, shares_on_disk
from ray_cluster.training.distributed.shares import ArrayShare, deal
from ray_cluster.training.distributed.workers import fit_by_workers
from ray_cluster.training.families import Rows, assemble, fit_steps, preprocessing
from ray_cluster.training.sampling.prior import PriorCorrected, prior_shift
from ray_cluster.training.sampling.sampler_selection import resample
from ray_cluster.training.search import TrialResult

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = [
    "baseline_scores",
    "start_baselines",
    "fit_final",
]


def start_baselines(data: TrainingData, encode: Any, calendar: list[str]) -> dict[str, Any]:
    """Start fitting the baselines; name -> reference to its scores on the held-out rows, shape (held out,)."""
    import ray

    early, held_out = data.early, data.periods.held_out
    x = encode.transform(data.features[early]).astype("float32")
    x_held_out = encode.transform(data.features[held_out]).astype("float32")
    cpus, plain = share(1), data.features.loc[:, calendar]
    return {
        "logistic regression, calendar only": ray.remote(_logistic)
        .options(num_cpus=cpus)
        .remote(plain[early], data.y[early], plain[held_out]),
        "XGBoost defaults, all features": ray.remote(_defaults)
        .options(num_cpus=cpus)
        .remote(x, data.y[early], x_held_out),
    }


def baseline_scores(data: TrainingData, found: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """The fitted baselines' scores with the base rate in front of them."""
    import numpy as np

    return {"base rate": np.full(int(data.periods.held_out.sum()), data.y[data.early].mean()), **found}


def _defaults(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], x_held_out: np.ndarray[Any, Any]) -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_jobs=1).fit(x, y).predict_proba(x_held_out)[:, 1]


def _logistic(frame: pd.DataFrame, y: np.ndarray[Any, Any], held_out: pd.DataFrame) -> Any:
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
    return model.fit(frame, y).predict_proba(held_out)[:, 1]


def fit_final(
    spec: ModelSpec,
    best: TrialResult,
    data: TrainingData,
    calendar: list[str],
    device: Device = "cpu",
    sampler: str = "none",
) -> tuple[Pipeline, dict[str, np.ndarray[Any, Any]]]:
    """Fit ``best`` and the baselines on the cluster, side by side.

    ``best`` is fitted on what ``sampler`` makes of the rows, and its scores are corrected for the share of positives
    that were added; what encodes and cleans inputs is learned from the real rows, and the baselines are fitted on them.

    Returns the fitted pipeline (preprocessing, classifier), and each baseline's scores on the held-out rows.
    """
    if data.parts is not None:  # as they are: rows on disk are not sampled
        encode = encoder_of_parts(spec, data, data.parts)
        baselines = start_baselines(data, encode, calendar)
        with shares_on_disk(spec, best.params, data, data.parts, encode, paged=device == "cpu") as shares:
            fitted: Any = fit_by_workers(spec, best.params, best.iterations, shares, device)
    else:
        early = data.early
        encode = preprocessing(data.features, spec.inputs, best.family).fit(data.features[early])
        ids = data.rows[spec.requests.id].to_numpy()[early]
        sampled = resample(sampler, data.features[early], data.y[early], ids, spec.sampling.ratio, spec.tuning.seed)
        rows = Rows(encode.transform(sampled.features).astype("float32"), sampled.y, sampled.fit_weights)
        trees = preprocessing(data.features, spec.inputs).fit(data.features[early])
        baselines = start_baselines(data, trees, calendar)
        fitted = (_by_workers if spec.fit.workers > 1 else _alone)(spec, best, rows, device)
        if shift := prior_shift(sampled, data.y[early]):
            fitted = PriorCorrected(fitted, shift)
    scores = wait(list(baselines.values()))
    return assemble(encode, fitted), baseline_scores(data, dict(zip(baselines, scores, strict=True)))


def _alone(spec: ModelSpec, best: TrialResult, rows: Rows, device: Device) -> Any:
    """Fit in one Ray task."""
    import ray

    tuning = spec.tuning
    fit = ray.remote(num_cpus=share(tuning.cpus_per_trial), num_gpus=gpus_of(spec, device))(fit_steps)
    return wait(
        [
            fit.remote(
                best.family,
                best.params,
                ray.put(rows.x),
                ray.put(rows.y),
                best.iterations,
                tuning.seed,
                threads=max(1, int(tuning.cpus_per_trial)),
                device=device,
                weights=rows.weights,
            )
        ]
    )[0]


def _by_workers(spec: ModelSpec, best: TrialResult, rows: Rows, device: Device) -> Any:
    """Fit by workers that each hold a share of the rows."""
    import ray

    workers = spec.fit.workers
    weights = rows.weighted(best.params.get("class_weight")).weights
    columns = (rows.x, rows.y) if weights is None else (rows.x, rows.y, weights)
    shares = [ray.put(ArrayShare(*deal(rank, workers, *columns))) for rank in range(workers)]
    return fit_by_workers(spec, best.params, best.iterations, shares, device)
