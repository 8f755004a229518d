"""An experiment in a notebook: the few functions that the training flow consists of, called one by one.

``data = prepare(settings, spec, as_of)``, ``fitted = fit_point(spec, data, "xgboost", {...}, 200)``,
``found = evaluate(spec, data, fitted)``, ``log_experiment(settings, spec, data, fitted, found, note="…")``.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.evaluation.metrics import curves, metrics, ranking
from ray_cluster.registry.evidence import Evaluation
from ray_cluster.training.calibration import choose_operating_point
from ray_cluster.training.data import TrainingData, prepare
from ray_cluster.training.families import assemble, columns_of, fit_steps, preprocessing
from ray_cluster.training.search import Search, TrialResult
from ray_cluster.training.train import TrainedRun, record_run

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["Fitted", "evaluate", "fit_point", "log_experiment", "prepare"]

Rows = Literal["train", "early"]


@dataclass(frozen=True)
class Fitted:
    """A fitted point.

    Attributes:
        pipeline: preprocessing and classifier, fitted on ``rows``: of the training period, or with the validation
            period (``early``).
        trial: the point and its metric on the validation period.
        validation_scores: of a fit on the training period alone, shape (validation,).
        started: when the fit started.
    """

    pipeline: Pipeline
    rows: Rows
    trial: TrialResult
    validation_scores: np.ndarray[Any, Any]
    started: datetime


def fit_point(
    spec: ModelSpec, data: TrainingData, family: str, params: dict[str, Any], iterations: int, rows: Rows = "train"
) -> Fitted:
    """Fit one point in this process, with the model's own preprocessing, seed and threads.

    With ``rows="early"`` it is also fitted on all rows before the held-out period, as a training does at the end.
    """
    started, clock = datetime.now(UTC), monotonic()
    periods = data.periods
    pipeline = _fit(spec, data, periods.train, family, params, iterations)
    scores = pipeline.predict_proba(data.features[periods.validation])[:, 1]
    metric = ranking(data.y[periods.validation], scores)[spec.tuning.metric]
    if rows == "early":
        pipeline = _fit(spec, data, data.early, family, params, iterations)
    seconds = monotonic() - clock
    history = [[float(iterations), metric]]
    trial = TrialResult("notebook", family, params, "finished", iterations, metric, seconds, history)
    return Fitted(pipeline, rows, trial, scores, started)


def evaluate(spec: ModelSpec, data: TrainingData, fitted: Fitted) -> Evaluation:
    """Measure a fitted point on rows it was not fitted on: the validation period, or for ``early`` the held-out period.

    Use the held-out period last, and once: a choice made on it can no longer be measured on it. The threshold is that
    of the model's file, or chosen on the validation period if the file has no number; the scores are not calibrated.
    """
    validation = data.periods.validation
    uncalibrated = spec.model_copy(update={"calibration": "none"})
    threshold = choose_operating_point(
        uncalibrated, data.y[validation], fitted.validation_scores, data.days[validation]
    ).threshold
    period = "validation" if fitted.rows == "train" else "held_out"
    mask = getattr(data.periods, period)
    scores = fitted.pipeline.predict_proba(data.features[mask])[:, 1]
    return Evaluation(
        period=period,
        periods=data.periods.describe(data.rows["label"]),
        family=fitted.trial.family,
        params={**fitted.trial.params, "iterations": fitted.trial.iterations},
        threshold=threshold,
        metrics=metrics(data.y[mask], scores, threshold),
        baselines={"base rate": ranking(data.y[mask], np.full(int(mask.sum()), data.y[data.early].mean()))},
        curves=curves(data.y[mask], scores),
    )


def log_experiment(
    settings: Settings, spec: ModelSpec, data: TrainingData, fitted: Fitted, evaluated: Evaluation, note: str = ""
) -> str:
    """Log the experiment as a run next to the trainings, with the same evidence and provenance; returns the run's id.

    The run is tagged ``headrace.kind = notebook``: no flow selects it as the newest training. It is registered only by
    its id, and only if it was fitted on ``early`` rows, so that it was measured like a training.
    """
    as_of = data.periods.bounds["held_out"][1]
    scores = fitted.pipeline.predict_proba(data.features[data.periods.held_out])[:, 1]
    tags = {registry.KIND: "notebook", "mlflow.note.content": note, "headrace.started_by": "a notebook"}
    search = Search([fitted.trial], fitted.validation_scores)
    key = f"notebook-{uuid.uuid4().hex}"
    run = TrainedRun(
        spec=spec,
        as_of=as_of,
        key=key,
        data=data,
        search=search,
        pipeline=fitted.pipeline,
        scores=scores,
        evaluation=evaluated,
        context=tags,
        started=fitted.started,
    )
    return record_run(settings, run)


def _fit(
    spec: ModelSpec,
    data: TrainingData,
    mask: np.ndarray[Any, Any],
    family: str,
    params: dict[str, Any],
    iterations: int,
) -> Pipeline:
    rows = data.features[mask]
    encode = preprocessing(data.features, spec.inputs, family).fit(rows)
    threads = max(1, int(spec.tuning.cpus_per_trial))
    x = encode.transform(rows)
    columns = columns_of(encode, spec.directions)
    fitted = fit_steps(family, params, x, data.y[mask], iterations, spec.tuning.seed, threads, columns=columns)
    return assemble(encode, fitted)
