"""The final fit: the chosen point on everything before the held-out period, with the baselines beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from ray_cluster.cluster import wait
from ray_cluster.training.baselines import baseline_scores, start_baselines
from ray_cluster.training.data import TrainingData
from ray_cluster.training.families import assemble, fit_steps, preprocessing
from ray_cluster.training.fitting.devices import Device, cluster_resources, device_of, gpus_of
from ray_cluster.training.sampling.prior import PriorCorrected, prior_shift
from ray_cluster.training.sampling.resampling import resample
from ray_cluster.training.search import TrialResult

if TYPE_CHECKING:
    import numpy as np
    from sklearn.pipeline import Pipeline

    Values = np.ndarray[Any, Any]

__all__ = ["fit_final"]


def fit_final(
    spec: ModelSpec, best: TrialResult, data: TrainingData, calendar: list[str], sampler: str = "none"
) -> tuple[Pipeline, dict[str, np.ndarray[Any, Any]]]:
    """Fit ``best`` and the baselines on the cluster, side by side.

    ``best`` is fitted on what ``sampler`` makes of the rows, and its scores are corrected for the share of positives
    that were added; what encodes and cleans inputs is learned from the real rows, and the baselines are fitted on them.

    Returns the fitted pipeline (preprocessing, classifier), and each baseline's scores on the held-out rows.
    """
    early = data.early
    encode = preprocessing(data.features, spec.inputs, best.family).fit(data.features[early])
    ids = data.rows[spec.requests.id].to_numpy()[early]
    sampled = resample(sampler, data.features[early], data.y[early], ids, spec.sampling.ratio, spec.tuning.seed)
    x, y = encode.transform(sampled.features).astype("float32"), sampled.y
    device = device_of(spec, cluster_resources())
    trees = preprocessing(data.features, spec.inputs).fit(data.features[early])
    baselines = start_baselines(data, trees, calendar)
    fitted = (
        _by_workers(spec, best, x, y, device)
        if spec.fit.workers > 1
        else _alone(spec, best, x, y, device, sampled.fit_weights)
    )
    if shift := prior_shift(sampled, data.y[early]):
        fitted = PriorCorrected(fitted, shift)
    scores = wait(list(baselines.values()))
    return assemble(encode, fitted), baseline_scores(data, dict(zip(baselines, scores, strict=True)))


def _alone(
    spec: ModelSpec, best: TrialResult, x: Values, y: Values, device: Device, weights: Values | None = None
) -> Any:
    """Fit in one Ray task."""
    import ray

    tuning = spec.tuning
    fit = ray.remote(num_cpus=tuning.cpus_per_trial, num_gpus=gpus_of(spec, device))(fit_steps)
    return wait(
        [
            fit.remote(
                best.family,
                best.params,
                ray.put(x),
                ray.put(y),
                best.iterations,
                tuning.seed,
                threads=max(1, int(tuning.cpus_per_trial)),
                device=device,
                weights=weights,
            )
        ]
    )[0]


def _by_workers(spec: ModelSpec, best: TrialResult, x: Values, y: Values, device: Device) -> Any:
    """Fit by workers that each hold a share of the rows."""
    import ray

    from ray_cluster.training.fitting.data_parallel import fit_by_workers
    from ray_cluster.training.fitting.shares import ArrayShare, deal

    workers = spec.fit.workers
    shares = [ray.put(ArrayShare(*deal(rank, workers, x, y))) for rank in range(workers)]
    return fit_by_workers(spec, best.params, best.iterations, shares, device)
