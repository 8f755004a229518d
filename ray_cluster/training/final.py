"""The final fit: the chosen point on everything before the held-out period, with the baselines beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from ray_cluster.cluster import wait
from ray_cluster.training.baselines import baseline_scores, start_baselines
from ray_cluster.training.data import TrainingData
from ray_cluster.training.families import assemble, fit_steps, preprocessing
from ray_cluster.training.search import TrialResult

if TYPE_CHECKING:
    import numpy as np
    from sklearn.pipeline import Pipeline

__all__ = ["fit_final"]


def fit_final(
    spec: ModelSpec, best: TrialResult, data: TrainingData, calendar: list[str]
) -> tuple[Pipeline, dict[str, np.ndarray[Any, Any]]]:
    """Fit ``best`` and the baselines on the cluster, side by side.

    Returns the fitted pipeline (preprocessing, classifier), and each baseline's scores on the held-out rows.
    """
    import ray

    early = data.early
    encode = preprocessing(data.features, spec.inputs).fit(data.features[early])
    x = ray.put(encode.transform(data.features[early]).astype("float32"))
    tuning = spec.tuning
    fit = ray.remote(num_cpus=tuning.cpus_per_trial, num_gpus=tuning.gpus_per_trial)(fit_steps)
    classifier = fit.remote(
        best.family,
        best.params,
        x,
        ray.put(data.y[early]),
        best.iterations,
        tuning.seed,
        threads=max(1, int(tuning.cpus_per_trial)),
        device="cuda" if tuning.gpus_per_trial else "cpu",
    )
    baselines = start_baselines(data, encode, calendar)
    fitted, *scores = wait([classifier, *baselines.values()])
    return assemble(encode, fitted), baseline_scores(data, dict(zip(baselines, scores, strict=True)))
