"""Fit a recorded point again, as the training did after its search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.store import request_features
from ray_cluster.evaluation.metrics import metrics
from ray_cluster.training.calibration import calibrated
from ray_cluster.training.data import TrainingData
from ray_cluster.training.final import fit_final
from ray_cluster.training.finalists import choose, newest_scores
from ray_cluster.training.fitting.devices import cluster_resources, device_of
from ray_cluster.training.sampling.court import contender_scores
from ray_cluster.training.search import Search, TrialResult
from ray_cluster.training.settling import Settled, settle

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["Refitted", "refit", "settled_again"]


@dataclass(frozen=True)
class Refitted:
    """The bundle fitted again: ``scores`` on the held-out rows, shape (held out,), and their ``metrics``."""

    pipeline: Pipeline
    threshold: float
    scores: np.ndarray[Any, Any]
    metrics: dict[str, float]


def refit(settings: Settings, spec: ModelSpec, data: TrainingData, documents: Mapping[str, Any]) -> Refitted:
    """Fit the chosen trial of a run's evidence ``documents`` again, with calibration and threshold; the cluster must be
    connected."""
    trial = TrialResult(**documents["trials"][0])
    calendar = request_features(settings, spec.feature_service)
    sampler = documents.get("sampling", {}).get("kept", "none")
    device = device_of(spec, cluster_resources(), trial.family)
    fitted, _ = fit_final(spec, trial, data, calendar, device, sampler)
    settled = settled_again(spec, data, trial, sampler)
    pipeline = calibrated(fitted, settled.calibrator)
    y, held_out = data.y, data.periods.held_out
    scores = pipeline.predict_proba(data.features[held_out])[:, 1]
    return Refitted(pipeline, settled.threshold, scores, metrics(y[held_out], scores, settled.threshold))


def settled_again(spec: ModelSpec, data: TrainingData, trial: TrialResult, sampler: str) -> Settled:
    """Calibration and threshold, from the scores that the point gave on the validation windows then."""
    alone = spec.model_copy(update={"tuning": spec.tuning.model_copy(update={"finalists": 1})})
    newest = Search([trial], newest_scores(spec, data, trial))
    chosen = choose(alone, data, newest)
    if sampler != "none":
        chosen = chosen.refitted(replace(newest, validation_scores=contender_scores(spec, trial, data, sampler)))
    return settle(spec, chosen.y, chosen.scores, chosen.days)
