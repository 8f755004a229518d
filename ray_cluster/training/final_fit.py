"""The final fits: the chosen point on all rows before each window of the held-out period, and on all rows, on Ray.

The fits before the windows measure the point, its calibration and its threshold on rows that none of them has seen.
The fit on all rows is served; it is not measured, because no labelled row is later. Evaluating a procedure on the past
and then applying it to all data is the usual practice of forecasting (R. Hyndman and G. Athanasopoulos, Forecasting:
Principles and Practice, 2021, section 5.10).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model import ModelSpec
from feature_repo.frames.frame_parts import FrameParts
from feature_repo.frames.training_frame import PREDICTION_TIME
from ray_cluster.cluster.capacity import all_resources, share
from ray_cluster.cluster.connection import wait
from ray_cluster.training.calibration import OperatingPoint, calibrated, choose_operating_point
from ray_cluster.training.data import Fold, TrainingData
from ray_cluster.training.distributed.devices import Device, gpus_of
from ray_cluster.training.distributed.out_of_core import encoder_of_parts, shares_on_disk
from ray_cluster.training.distributed.shares import ArrayShare, deal
from ray_cluster.training.distributed.workers import fit_by_workers
from ray_cluster.training.families import Rows, assemble, columns_of, fit_steps, preprocessing
from ray_cluster.training.families.family import fit_class
from ray_cluster.training.families.prior import PriorCorrected, weight_shift
from ray_cluster.training.finalists import Chosen
from ray_cluster.training.sampling.prior import prior_shift
from ray_cluster.training.sampling.sampler_selection import resample
from ray_cluster.training.search import TrialResult

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["FinalFit", "fit_before", "fit_final", "for_all_rows"]

Values = np.ndarray[Any, Any]

#: Exponent by which boosting rounds increase with rows, from ``benchmarks/rounds.py``.
_GROWTH = 0.7


def for_all_rows(spec: ModelSpec, best: TrialResult, data: TrainingData, fold: Fold) -> TrialResult:
    """The trial for a fit on the rows before ``fold``: its boosting rounds, chosen on the search's rows, increase with
    the number of rows to the power of :data:`_GROWTH`."""
    if not fit_class(best.family).boosts:
        return best
    searched = min(data.rows_before(data.periods.folds[-1]), spec.tuning.rows)
    return replace(best, iterations=max(1, round(best.iterations * (data.rows_before(fold) / searched) ** _GROWTH)))


@dataclass(frozen=True)
class FinalFit:
    """The fits of the chosen point.

    Attributes:
        origins: a pipeline per window of the held-out period, not calibrated.
        raw, scores: of those pipelines on the held-out rows, before and after calibration, shape (held out,).
        measured: calibration and threshold that the held-out rows measure, chosen on the validation windows.
        pipeline: of the fit on all rows, calibrated: preprocessing, classifier.
        served: its calibration and threshold, chosen on the validation windows and the held-out period.
    """

    origins: list[Pipeline]
    raw: Values
    scores: Values
    measured: OperatingPoint
    pipeline: Pipeline
    served: OperatingPoint


def fit_final(
    spec: ModelSpec, chosen: Chosen, data: TrainingData, device: Device = "cpu", sampler: str = "none"
) -> FinalFit:
    """Fit the chosen point before each window of the held-out period and on all rows, and choose the operating points.

    Both operating points are chosen in the same way, on scores of rows that their fits had not seen; that of the served
    fit has the held-out rows in addition, as the threshold depends on the latest share of positives.
    """
    periods = data.periods
    *origins, served = fit_before(spec, chosen.trial, data, [*periods.origins, periods.served], device, sampler)
    measured = choose_operating_point(spec, chosen.y, chosen.scores, chosen.days, chosen.recent)
    raw = np.concatenate(
        [
            pipeline.predict_proba(data.features[fold.validation])[:, 1]
            for pipeline, fold in zip(origins, periods.origins, strict=True)
        ]
    )
    latest = data.rows.loc[periods.held_out, PREDICTION_TIME] >= periods.served.start - spec.split.validation
    point = choose_operating_point(
        spec,
        np.concatenate([chosen.y, data.y[periods.held_out]]),
        np.concatenate([chosen.scores, raw]),
        np.concatenate([chosen.days, data.days[periods.held_out]]),
        int(latest.sum()),
    )
    scores = raw if measured.calibrator is None else measured.calibrator(raw)
    return FinalFit(origins, raw, scores, measured, calibrated(served, point.calibrator), point)


def fit_before(
    spec: ModelSpec,
    best: TrialResult,
    data: TrainingData,
    folds: Sequence[Fold],
    device: Device = "cpu",
    sampler: str = "none",
) -> list[Pipeline]:
    """Fit ``best`` on the rows known before each of ``folds``, at the same time where the CPUs allow it.

    It is fitted :func:`for_all_rows`, on those that ``sampler`` returns, and its scores are corrected for the share of
    added positives; encoding and cleaning are fitted on the real rows.

    Returns a fitted pipeline (preprocessing, classifier) for each of ``folds``.
    """
    if data.parts is not None:
        return [_on_disk(spec, for_all_rows(spec, best, data, fold), data.parts, fold, device) for fold in folds]
    slots = sum(node.get("CPU", 0.0) for node in all_resources().values()) / spec.tuning.cpus_per_trial
    running, fitted = deque[Callable[[], "Pipeline"]](), list["Pipeline"]()
    for fold in folds:
        if len(running) >= slots:  # further rows would only wait in memory
            fitted.append(running.popleft()())
        running.append(_start(spec, for_all_rows(spec, best, data, fold), data, fold, device, sampler))
    return [*fitted, *(finish() for finish in running)]


def _on_disk(spec: ModelSpec, best: TrialResult, parts: FrameParts, fold: Fold, device: Device) -> Pipeline:
    """Fit on rows on disk, which are not sampled."""
    encode = encoder_of_parts(spec, parts, fold.start)
    with shares_on_disk(spec, best.params, parts, fold.start, encode, paged=device == "cpu") as shares:
        columns = columns_of(encode, spec.directions)
        fitted: Any = fit_by_workers(spec, best.params, best.iterations, shares, device, columns)
        if weights := shares[0].class_weights:
            fitted = PriorCorrected(fitted, math.log(weights[1] / weights[0]))
    return assemble(encode, fitted)


def _start(
    spec: ModelSpec, best: TrialResult, data: TrainingData, fold: Fold, device: Device, sampler: str
) -> Callable[[], Pipeline]:
    """Start a fit on rows in memory; returns a function that waits for it."""
    features, y = data.features[fold.train], data.y[fold.train]
    encode = preprocessing(data.features, spec.inputs, best.family).fit(features)
    ids = data.rows[spec.requests.id].to_numpy()[fold.train]
    sampled = resample(sampler, features, y, ids, spec.sampling.ratio, spec.tuning.seed, spec.inputs)
    x, columns, shift = encode.transform(sampled.features), columns_of(encode, spec.directions), prior_shift(sampled, y)
    rows = Rows(x, sampled.y, sampled.fit_weights, columns=columns)
    fit = _by_workers if spec.fit.workers > 1 else _alone
    finish = fit(spec, best, rows, device)

    def finished() -> Pipeline:
        fitted = finish()
        return assemble(encode, PriorCorrected(fitted, shift) if shift else fitted)

    return finished


def _alone(spec: ModelSpec, best: TrialResult, rows: Rows, device: Device) -> Callable[[], Any]:
    """Start a fit in one Ray task."""
    import ray

    tuning = spec.tuning
    steps: Any = fit_steps  # Ray's types do not have keyword-only arguments
    fit = ray.remote(num_cpus=share(tuning.cpus_per_trial), num_gpus=gpus_of(spec, device))(steps)
    started = fit.remote(
        best.family,
        best.params,
        ray.put(rows.x),
        ray.put(rows.y),
        best.iterations,
        tuning.seed,
        threads=max(1, int(tuning.cpus_per_trial)),
        device=device,
        weights=rows.weights,
        columns=rows.columns,
    )
    return lambda: wait([started])[0]


def _by_workers(spec: ModelSpec, best: TrialResult, rows: Rows, device: Device) -> Callable[[], Any]:
    """Fit with several workers, each with a share of the rows."""
    import ray

    workers = spec.fit.workers
    weights = rows.weighted(best.params.get("class_weight")).weights
    arrays = (rows.x, rows.y) if weights is None else (rows.x, rows.y, weights)
    shares = [ray.put(ArrayShare(*deal(rank, workers, *arrays))) for rank in range(workers)]
    fitted = fit_by_workers(spec, best.params, best.iterations, shares, device, rows.columns)
    shift = weight_shift(rows.y, weights, rows.weights)
    return lambda: PriorCorrected(fitted, shift) if shift else fitted
