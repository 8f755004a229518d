"""Rebuild a registered version: retrieve its frame, fit its recorded point again, and report differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.reading import ConfigError, validated
from configs.settings import Settings
from feature_repo.frames.training_frame import FrameError, LabelError
from feature_repo.tables import manifest
from ray_cluster import registry
from ray_cluster.cluster.connection import connected
from ray_cluster.evaluation.metrics import metrics
from ray_cluster.lineage.changes import Change, changes_since
from ray_cluster.lineage.model_digest import model_digest
from ray_cluster.registry.evidence import Evaluation, Evidence
from ray_cluster.training.data import SplitError, TrainingData, prepare
from ray_cluster.training.distributed.devices import Device, again_on, cluster_resources, device_of, on_device
from ray_cluster.training.final_fit import FinalFit, fit_final
from ray_cluster.training.finalists import Chosen, choose, newest_scores
from ray_cluster.training.sampling.sampler_selection import contender_scores
from ray_cluster.training.search import Search, TrialResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "refit",
    "chosen_again",
    "Check",
    "ReproduceError",
    "Reproduction",
    "recorded",
    "reproduce",
]


def refit(settings: Settings, spec: ModelSpec, data: TrainingData, evidence: Evidence) -> FinalFit:
    """Make the final fits of a run's ``evidence`` again, with calibration and threshold; the cluster must be
    connected."""
    trial = TrialResult.from_dict(evidence.trials[0])
    sampler = evidence.sampling.kept if evidence.sampling else "none"
    device = device_of(spec, cluster_resources(), [part.family for part in trial.parts])
    return fit_final(spec, chosen_again(spec, data, trial, sampler), data, device, sampler)


def chosen_again(spec: ModelSpec, data: TrainingData, trial: TrialResult, sampler: str) -> Chosen:
    """The recorded point with its scores on the validation windows of that training."""
    alone = spec.model_copy(update={"tuning": spec.tuning.model_copy(update={"finalists": 1, "blend": "none"})})
    newest = Search([trial], newest_scores(spec, data, trial))
    chosen = choose(alone, data, newest)
    if sampler != "none":
        chosen = chosen.refitted(replace(newest, validation_scores=contender_scores(spec, trial, data, sampler)))
    return chosen


class ReproduceError(HeadraceError, RuntimeError):
    """A version cannot be rebuilt; the message says what is missing and how to fix it."""


@dataclass(frozen=True)
class Check:
    """One comparison: the recorded value, and the rebuilt value."""

    what: str
    then: str
    now: str
    same: bool


@dataclass(frozen=True)
class Reproduction:
    """Result of a rebuild. ``causes`` are the changes that can explain a difference; empty if there is none."""

    model: str
    version: int | None
    run_id: str
    identical: bool
    checks: list[Check]
    causes: list[str]
    changes: list[Change]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def recorded(settings: Settings, subject: registry.Subject) -> tuple[ModelSpec, Evidence]:
    """The model's file at the time of the training, and the run's evidence.

    Raises:
        ReproduceError: the run has no provenance, or the current code cannot read its model file.
    """
    evidence = registry.evidence(settings, subject.run.run_id)
    if not (evidence.provenance and evidence.model and evidence.trials):
        raise ReproduceError(
            f"Run {subject.run.run_id} of '{subject.model}' has no provenance to rebuild it from; it was trained "
            "before Headrace recorded provenance, or by hand: train again with `headrace run train`."
        )
    try:
        spec = validated(ModelSpec, evidence.model, f"the model file of {subject.title}")
    except ConfigError as error:
        commit = evidence.provenance["git"]["commit"]
        raise ReproduceError(
            f"The current code cannot read the model file of '{subject.model}' {subject.title} "
            f"({error}); check out commit {commit} to rebuild it."
        ) from error
    return spec, evidence


def reproduce(settings: Settings, model: str, which: str | None = None) -> Reproduction:
    """Rebuild a version (by number, default the champion) or a run (by id), and compare it with what was recorded.

    Raises:
        RegistryError: there is no such version or run.
        ReproduceError: its data or its evidence is no longer available.
    """
    from time import monotonic

    started = monotonic()
    subject = registry.find(settings, model, which)
    if subject.run.kind != "training":
        raise ReproduceError(
            f"Run {subject.run.run_id} of '{model}' was logged from a {subject.run.kind}, by hand, so no recorded "
            "steps can rebuild it; run the notebook, or train with `headrace run train`."
        )
    spec, evidence = recorded(settings, subject)
    provenance = evidence.provenance
    data = _rebuilt(settings, spec, subject, provenance)
    try:
        with connected(settings):
            then: Device = provenance.get("device", "cpu")
            now = again_on(spec, then, cluster_resources())
            again = refit(settings, on_device(spec, now), data, evidence)
    finally:
        data.release()
    checks = [
        *_frame_checks(provenance["dataset"], data),
        *_model_checks(provenance["model_digest"], model_digest(again.pipeline)),
        *_number_checks(evidence.evaluation, data, again),
        _score_check(spec, registry.reference(settings, subject.run.run_id), data, again.scores),
    ]
    data.release()
    changes = changes_since(settings, model, provenance)
    frame = all(check.same for check in checks[:1])
    affecting = ("frame",) if not frame else ("fit", "frame")
    identical = all(check.same for check in checks)
    causes = [] if now == then else [f"device: fitted on {then} then and on {now} now, because Ray has too few GPUs"]
    causes += [f"{each.kind} {each.name}: {each.sentence}" for each in changes if each.affects in affecting]
    if not identical and not causes:
        causes = ["no recorded input has changed: the fit itself is not deterministic on this machine"]
    return Reproduction(
        model=model,
        version=subject.version.version if subject.version else None,
        run_id=subject.run.run_id,
        identical=identical,
        checks=checks,
        causes=[] if identical else causes,
        changes=changes,
        seconds=round(monotonic() - started, 1),
    )


def _rebuilt(
    settings: Settings, spec: ModelSpec, subject: registry.Subject, provenance: Mapping[str, Any]
) -> TrainingData:
    """The training data as of the recorded time."""
    for table, then in provenance["tables"].items():
        held = manifest(settings, table) if table in settings.tables else None
        if held is None or not held.files:
            raise ReproduceError(
                f"'{spec.name}' {subject.title} cannot be rebuilt: table '{table}' has no rows in {settings.home} "
                f"(it had {then['rows']:,} rows); restore it with `headrace run ingest` and `materialize`."
            )
    try:
        overlay = provenance["dataset"].get("label_overlay", 0)
        return prepare(settings, spec, datetime.fromisoformat(provenance["as_of"]), overlay)
    except (FrameError, LabelError, SplitError, LookupError) as error:
        raise ReproduceError(f"'{spec.name}' {subject.title} cannot be rebuilt: {error}") from error


def _frame_checks(then: Mapping[str, Any], data: TrainingData) -> list[Check]:
    """Compare the whole frame first; then its rows, and the columns that differ."""
    now = data.frame.fingerprint
    checks = [Check("training frame", then["fingerprint"], now, then["fingerprint"] == now)]
    rows = data.row_count
    checks.append(Check("rows", f"{then['rows']:,}", f"{rows:,}", then["rows"] == rows))
    if not checks[0].same:
        columns = {**dict.fromkeys(then["columns"]), **dict.fromkeys(data.frame.columns)}
        differ = [name for name in columns if then["columns"].get(name) != data.frame.columns.get(name)]
        few = ", ".join(differ[:8]) + (f" and {len(differ) - 8} more" if len(differ) > 8 else "")
        checks.append(Check("columns that differ", "none", f"{len(differ)} of {len(columns)}: {few}", not differ))
    return checks


def _model_checks(then: Mapping[str, str], now: Mapping[str, str]) -> list[Check]:
    """Compare the whole fitted model, then each step."""
    names = ["model", *(name for name in {**then, **now} if name != "model")]
    return [
        Check(name, str(then.get(name, "none")), str(now.get(name, "none")), then.get(name) == now.get(name))
        for name in names
    ]


def _number_checks(evaluation: Evaluation | None, data: TrainingData, again: FinalFit) -> list[Check]:
    """Compare both thresholds and the metrics."""
    if evaluation is None:
        return []
    threshold = again.measured.threshold
    then = {"threshold": evaluation.threshold, **evaluation.metrics}
    now = {"threshold": threshold, **metrics(data.y[data.periods.held_out], again.scores, threshold)}
    if evaluation.served:
        then["served threshold"], now["served threshold"] = evaluation.served["threshold"], again.served.threshold
    return [
        Check(name, f"{value:.10g}", f"{now[name]:.10g}", value == now[name])
        for name, value in then.items()
        if name in now and isinstance(value, float | int)
    ]


def _score_check(spec: ModelSpec, reference: pd.DataFrame, data: TrainingData, scores: Any) -> Check:
    """Compare every held-out score with the recorded one."""
    held_out = data.rows[data.periods.held_out][[spec.requests.id]].assign(now=scores)
    both = reference[[spec.requests.id, "score"]].merge(held_out, on=spec.requests.id, how="outer")
    differ = int((both["score"] != both["now"]).sum())
    largest = (both["score"] - both["now"]).abs().max()
    now = "equal, bit for bit" if not differ else f"{differ:,} differ, by {largest:.3g} at most"
    return Check("held-out scores", f"{len(reference):,}", now, not differ)
