"""Put a training on record: the bundle, its evidence, and where it came from, as one MLflow run."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frames import PREDICTION_TIME
from ray_cluster import registry
from ray_cluster.provenance import gather, model_digest
from ray_cluster.training.data import TrainingData
from ray_cluster.training.search import Search

if TYPE_CHECKING:
    import numpy as np
    from sklearn.pipeline import Pipeline

__all__ = ["record_run"]


def record_run(
    settings: Settings,
    spec: ModelSpec,
    as_of: datetime,
    key: str,
    data: TrainingData,
    search: Search,
    pipeline: Pipeline,
    scores: np.ndarray[Any, Any],
    evaluated: dict[str, Any],
    context: dict[str, str],
    started: datetime,
    device: str = "cpu",
    sampling: dict[str, Any] | None = None,
) -> str:
    """Log the run whole; returns its id. ``scores`` are the pipeline's on the held-out rows, shape (held out,).

    ``device``: on which the final fit ran. ``sampling``: what the court found, where there was one.
    """
    frame, held_out, champion = data.frame, data.periods.held_out, registry.champion(settings, spec.name)
    provenance = gather(
        settings,
        spec,
        as_of,
        {
            "fingerprint": frame.fingerprint,
            "columns": frame.columns,
            "rows": data.row_count,
            "label_overlay": frame.overlay,
        },
        model_digest(pipeline),
        {"version": champion.version, "run_id": champion.run_id} if champion else None,
        context,
        started,
        device,
    )
    git, libraries = provenance.document["git"], provenance.document["libraries"]
    dataset = {
        "fingerprint": frame.fingerprint,
        "rows": data.row_count,
        "as_of": as_of.isoformat(),
        "label_overlay": frame.overlay,
        "feature_service": spec.feature_service,
        "tables": frame.tables,
        "git": {name: git[name] for name in ("commit", "branch", "dirty")},
        "libraries": libraries,
    }
    reference = data.rows[held_out][[spec.requests.id, PREDICTION_TIME]].assign(
        **data.features[held_out], label=data.y[held_out], score=scores
    )
    threshold = evaluated["threshold"]
    return registry.log_run(
        settings,
        spec.name,
        key,
        pipeline,
        example=data.features[held_out].head(3),
        reference=reference,
        documents={
            "evaluation": evaluated,
            "trials": [asdict(trial) for trial in search.trials],
            "dataset": dataset,
            "provenance": provenance.document,
            "model": spec.model_dump(mode="json"),
            **({"sampling": sampling} if sampling else {}),
        },
        params={"family": search.best.family, "seed": spec.tuning.seed, **evaluated["params"]},
        metrics={
            **evaluated["metrics"],
            "threshold": threshold,
            "validation_" + spec.tuning.metric: search.metric,
        },
        tags={
            "headrace.dataset": frame.fingerprint,
            "headrace.as_of": as_of.isoformat(),
            "headrace.feature_service": spec.feature_service,
            "headrace.git_commit": str(git["commit"]),
            "headrace.git_dirty": str(git["dirty"]).lower(),
            **provenance.tags,
            **context,
        },
        files=provenance.files,
        metadata={
            "threshold": threshold,
            "features": frame.features,
            "feature_service": spec.feature_service,
            "dataset": frame.fingerprint,
            "as_of": as_of.isoformat(),
            "libraries": libraries,
        },
    )
