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
from ray_cluster.training.families.blend import Blend
from ray_cluster.training.families.family import fit_class
from ray_cluster.training.families.prior import PriorCorrected, weight_shift
from ray_cluster.training.finalists import Chosen
from ray_cluster.training.sampling.prior import prior_shift
from ray_cluster.training.sampling.sampler_selection import resample
from ray_cluster.training.search import TrialResult

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["FinalFit", "Fitted", "fit_before", "fit_final", "for_rows"]

Values = np.ndarray[Any, Any]

#: Exponent by which boosting rounds increase with rows, from ``benchmarks/rounds.py``.
_GROWTH = 0.7


@dataclass(frozen=True)
class Fitted:
    """One final fit.

    Attributes:
        pipeline: preprocessing and classifier; a :class:`~ray_cluster.training.families.blend.Blend` for a blend.
        trial: as it was fitted, with the iterations for its rows.
        rows: number of rows that it was fitted on, before sampling; of a blend, of the member with most.
    """

    pipeline: Pipeline
    trial: TrialResult
    rows: int


@dataclass(frozen=True)
class FinalFit:
    """The fits of the chosen point.

    Attributes:
        origins: the fit before each window of the held-out period, not calibrated.
        raw, scores: of those fits on the held-out rows, before and after calibration, shape (held out,).
        measured: calibration and threshold that the held-out rows measure, chosen on the validation windows.
        last: the fit on all rows, not calibrated.
        pipeline: that fit, calibrated; it is served.
        served: its calibration and threshold, chosen on the validation windows and the held-out period.
    """

    origins: list[Fitted]
    raw: Values
    scores: Values
    measured: OperatingPoint
    last: Fitted
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
    *origins, last = fit_before(spec, chosen.trial, data, [*periods.origins, periods.served], device, sampler)
    measured = choose_operating_point(spec, chosen.y, chosen.scores, chosen.days, chosen.recent)
    raw = np.concatenate(
        [
            fitted.pipeline.predict_proba(data.features[fold.validation])[:, 1]
            for fitted, fold in zip(origins, periods.origins, strict=True)
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
    return FinalFit(origins, raw, scores, measured, last, calibrated(last.pipeline, point.calibrator), point)


def fit_before(
    spec: ModelSpec,
    best: TrialResult,
    data: TrainingData,
    folds: Sequence[Fold],
    device: Device = "cpu",
    sampler: str = "none",
) -> list[Fitted]:
    """Fit ``best`` on the rows known before each of ``folds``, at the same time where the CPUs allow it.

    Its boosting rounds, chosen on the search's rows, increase with the number of rows. It is fitted on the rows that
    ``sampler`` returns, and its scores are corrected for the share of added positives; encoding and cleaning are fitted
    on the real rows. The members of a blend are fitted one by one.
    """
    slots = sum(node.get("CPU", 0.0) for node in all_resources().values()) / spec.tuning.cpus_per_trial
    running, fitted = deque[Callable[[], "Pipeline"]](), list["Pipeline"]()
    members = [(fold, for_rows(spec, part, data, fold)) for fold in folds for part in best.parts]
    for fold, member in members:
        on = device if member.family == "xgboost" else "cpu"
        if data.parts is not None:
            fitted.append(_on_disk(spec, member, data.parts, fold, on))
            continue
        if len(running) >= slots:  # further rows would only wait in memory
            fitted.append(running.popleft()())
        running.append(_start(spec, member, data, fold, on, sampler))
    fitted += [finish() for finish in running]
    return [
        _joined(best, fitted[at : at + len(best.parts)], members[at : at + len(best.parts)], data)
        for at in range(0, len(fitted), len(best.parts))
    ]


def for_rows(spec: ModelSpec, trial: TrialResult, data: TrainingData, fold: Fold) -> TrialResult:
    """The trial for a fit on the rows before ``fold``: its boosting rounds increase with their number to the power of
    :data:`_GROWTH`."""
    if not fit_class(trial.family).boosts:
        return trial
    searched = min(data.rows_before(data.periods.folds[-1]), trial.rows or spec.tuning.most_rows)
    growth = (_rows(trial, data, fold) / searched) ** _GROWTH
    return replace(trial, iterations=max(1, round(trial.iterations * growth)))


def _rows(trial: TrialResult, data: TrainingData, fold: Fold) -> int:
    known = data.rows_before(fold)
    return known if trial.rows is None else min(known, trial.rows)


def _joined(
    best: TrialResult, pipelines: list[Pipeline], members: list[tuple[Fold, TrialResult]], data: TrainingData
) -> Fitted:
    """The fit of ``best`` before one window from those of its parts."""
    from sklearn.pipeline import Pipeline

    rows = max(_rows(member, data, fold) for fold, member in members)
    if not best.members:
        return Fitted(pipelines[0], members[0][1], rows)
    trial = replace(best, members=tuple(member for _, member in members))
    return Fitted(Pipeline([("blend", Blend(pipelines, list(best.weights)))]), trial, rows)


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
    known = np.flatnonzero(fold.train)[-_rows(best, data, fold) :]
    features, y = data.features.iloc[known], data.y[known]
    encode = preprocessing(data.features, spec.inputs, best.family).fit(features)
    ids = data.rows[spec.requests.id].to_numpy()[known]
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
