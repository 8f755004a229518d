"""Train one model as of a time: frame, search, final fit, evaluation, and one MLflow run that records all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.definitions.feature_store import request_features
from feature_repo.frames.label_overrides import overlay_version
from feature_repo.frames.training_frame import PREDICTION_TIME, inputs_fingerprint
from feature_repo.storage.code_files import code_fingerprint
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster import registry
from ray_cluster.cluster.connection import connected
from ray_cluster.lineage.environment import fit_files, library_versions
from ray_cluster.lineage.model_digest import model_digest
from ray_cluster.lineage.provenance import gather
from ray_cluster.parity.check import require as require_parity
from ray_cluster.registry.evidence import Dataset, Evaluation, Evidence, SamplingResult
from ray_cluster.training.baselines import baseline_scores, start_baselines
from ray_cluster.training.data import TrainingData, prepare
from ray_cluster.training.distributed.devices import check_cluster, cluster_resources, device_of
from ray_cluster.training.evaluate import evaluate
from ray_cluster.training.families import encoded
from ray_cluster.training.final_fit import fit_final
from ray_cluster.training.finalists import choose
from ray_cluster.training.model_check import require_usable
from ray_cluster.training.sampling.sampler_selection import select_sampler
from ray_cluster.training.search import Search, tune_families
from ray_cluster.training.seed_noise import seed_noise

if TYPE_CHECKING:
    import numpy as np
    from sklearn.pipeline import Pipeline

__all__ = [
    "record_run",
    "Trained",
    "TrainedRun",
    "train_model",
]


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished training, with everything that is recorded about it.

    Attributes:
        key: of the training; the same key means the same result.
        pipeline: that is served. scores: of the held-out rows, by fits that had not seen them, shape (held out,).
        context: tags of the flow run.
        device: on which the final fit ran.
        sampling: the result of the sampler selection, if there was one.
        failures: of secondary work.
    """

    spec: ModelSpec
    as_of: datetime
    key: str
    data: TrainingData
    search: Search
    pipeline: Pipeline
    scores: np.ndarray[Any, Any]
    evaluation: Evaluation
    context: dict[str, str]
    started: datetime
    device: str = "cpu"
    sampling: SamplingResult | None = None
    failures: Sequence[Failure] = ()


def record_run(settings: Settings, run: TrainedRun) -> str:
    """Log the whole run; returns its id."""
    spec, data, evaluation = run.spec, run.data, run.evaluation
    frame, held_out, champion = data.frame, data.periods.held_out, registry.champion(settings, spec.name)
    provenance = gather(
        settings,
        spec,
        run.as_of,
        {
            "fingerprint": frame.fingerprint,
            "columns": frame.columns,
            "rows": data.row_count,
            "label_overlay": frame.overlay,
        },
        model_digest(run.pipeline),
        {"version": champion.version, "run_id": champion.run_id} if champion else None,
        run.context,
        run.started,
        run.device,
    )
    git, libraries = provenance.document["git"], provenance.document["libraries"]
    dataset = Dataset(
        fingerprint=frame.fingerprint,
        rows=data.row_count,
        unlabelled=frame.unlabelled,
        as_of=run.as_of.isoformat(),
        label_overlay=frame.overlay,
        feature_service=spec.feature_service,
        tables=frame.tables,
        git={name: git[name] for name in ("commit", "branch", "dirty")},
        libraries=libraries,
    )
    reference = data.rows[held_out][[spec.requests.id, PREDICTION_TIME]].assign(
        **data.features[held_out], label=data.y[held_out], score=run.scores
    )
    return registry.log_run(
        settings,
        spec.name,
        run.key,
        run.pipeline,
        example=data.features[held_out].head(3),
        reference=reference,
        evidence=Evidence(
            evaluation=evaluation,
            trials=[asdict(trial) for trial in run.search.trials],
            dataset=dataset,
            provenance=provenance.document,
            model=spec.model_dump(mode="json"),
            sampling=run.sampling,
            failures=list(run.failures),
        ),
        params={"family": run.search.best.family, "seed": spec.tuning.seed, **evaluation.params},
        metrics={
            **evaluation.metrics,
            "threshold": evaluation.served_threshold,
            "validation_" + spec.tuning.metric: run.search.metric,
        },
        tags={
            "headrace.dataset": frame.fingerprint,
            "headrace.as_of": run.as_of.isoformat(),
            "headrace.feature_service": spec.feature_service,
            "headrace.git_commit": str(git["commit"]),
            "headrace.git_dirty": str(git["dirty"]).lower(),
            **provenance.tags,
            **run.context,
        },
        files=provenance.files,
        metadata={
            "threshold": evaluation.served_threshold,
            "features": frame.features,
            "feature_service": spec.feature_service,
            "dataset": frame.fingerprint,
            "as_of": run.as_of.isoformat(),
            "libraries": libraries,
        },
    )


#: Called with the current step and the completed share of the whole, in [0, 1].
Progress = Callable[[str, float], None]


class Trained(dict[str, Any]):
    """Result of :func:`train_model`: ``run_id`` and ``unchanged``; after a training also ``unlabelled`` (the rows left
    out because their label is null), ``failures`` (:mod:`feature_repo.storage.secondary`) and the metrics."""


def train_model(
    settings: Settings, spec: ModelSpec, as_of: datetime, context: dict[str, str], progress: Progress
) -> Trained:
    """Train ``spec`` on the data known at ``as_of`` and log it to MLflow; an identical training is not repeated.

    Trainings are identical if these are the same: tables (by content) and relabels, feature code, model file, training
    code, libraries, and ``as_of``.

    Raises:
        LabelError: the label SQL returns a value other than true, false, 0, 1 or null.
        FitError: the cluster has too few resources for the model's final fit.
        ParityBoundError: the served features differ from the retrieved ones by more than the model's YAML allows.
        ModelFileError: the model's file names a table, a column or a feature that does not exist, or does not fit.
    """
    started = datetime.now(UTC)
    require_parity(settings, spec, as_of)
    overlay = overlay_version(settings, spec.name)
    key = _key(spec, inputs_fingerprint(settings, spec, overlay), as_of)
    if known := registry.find_run(settings, spec.name, key):
        return Trained(run_id=known, unchanged=True)
    require_usable(settings, spec)
    progress("joining features as of each prediction", 0.02)
    data = prepare(settings, spec, as_of, overlay)
    with connected(settings):
        check_cluster(spec, cluster_resources())
        progress("searching model families", 0.15)
        search = tune_families(settings, spec, key, lambda: encoded(spec, data))
        if data.periods.earlier:
            progress("comparing the finalists over the folds", 0.5)
        chosen = choose(spec, data, search)
        chosen = replace(chosen, evidence={**chosen.evidence, "seed_noise": seed_noise(spec, data, chosen)})
        selection = select_sampler(spec, chosen.trial, data)
        failures: list[Failure] = [*selection.failures]
        progress("fitting the best before the held-out period and on all rows, and the baselines", 0.6)
        baselines: dict[str, Any] = {}
        with secondary("baselines", failures):
            baselines = start_baselines(spec, data, request_features(settings, spec.feature_service))
        device = device_of(spec, cluster_resources(), [part.family for part in chosen.trial.parts])
        chosen = chosen.refitted(selection.applied(chosen.search))
        final = fit_final(spec, chosen, data, device, selection.method)
        measured_beside = baseline_scores(data, baselines, failures)
    progress("measuring on the held-out period", 0.85)
    measured = evaluate(spec, data, chosen, final, measured_beside, failures)
    progress("recording the run", 0.92)
    run = TrainedRun(
        spec=spec,
        as_of=as_of,
        key=key,
        data=data,
        search=chosen.search,
        pipeline=final.pipeline,
        scores=final.scores,
        evaluation=measured,
        context=context,
        started=started,
        device=device,
        sampling=selection.result,
        failures=failures,
    )
    run_id = record_run(settings, run)
    data.release()
    progress("done", 1.0)
    return Trained(
        run_id=run_id,
        unchanged=False,
        unlabelled=data.frame.unlabelled,
        failures=failures,
        **measured.metrics,
    )


def _key(spec: ModelSpec, inputs: str, as_of: datetime) -> str:
    """Fingerprint of everything that decides the result of a training."""
    what = {
        "model": spec.model_dump(mode="json", exclude={"description", "card", "gate", "serving", "monitoring"}),
        "inputs": inputs,
        "as_of": as_of.isoformat(),
        "code": code_fingerprint(fit_files()),
        "libraries": library_versions(),
    }
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=10).hexdigest()
