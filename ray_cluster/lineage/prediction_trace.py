"""Predictions in the log: count those of a version, and trace one back to all its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from configs import model_names
from configs.errors import HeadraceError
from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.serving.prediction_log import PredictionLine, parse_line, predictions_folder

__all__ = ["PredictionError", "Served", "Traced", "served_by", "trace_prediction"]


class PredictionError(HeadraceError, LookupError):
    """A prediction is not in the log; the message is one sentence."""


@dataclass(frozen=True)
class Served:
    """Number of predictions of a version, and their first and last as-of time."""

    count: int
    first: str | None
    last: str | None


@dataclass(frozen=True)
class Traced:
    """One prediction and its inputs.

    Attributes:
        line: the log's line.
        ages: view -> seconds from the value's event time to ``as_of``; None if there was no value.
        run_id, dataset, views, git, flow: of the version's run; ``views`` is view -> fingerprint of the query that it
            was trained with.
        recomputed: the bundle's score for the logged features; None if the model abstained.
        exact: whether it equals the logged score, bit for bit.
        notes: inconsistencies, one sentence each.
    """

    line: PredictionLine
    ages: dict[str, float | None]
    run_id: str
    dataset: str
    views: dict[str, str]
    git: dict[str, Any]
    flow: dict[str, str]
    recomputed: float | None
    exact: bool
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "line": self.line.to_json()}


def served_by(settings: Settings, model: str, version: int) -> Served:
    """Count the predictions of one version in the log."""
    count, first, last = 0, None, None
    for line in _lines(settings, model, f'"version":{version},'):
        if line.version != version:
            continue
        count += 1
        first = min(first or line.as_of, line.as_of)
        last = max(last or line.as_of, line.as_of)
    return Served(count, first, last)


def trace_prediction(settings: Settings, prediction_id: str, model: str | None = None) -> Traced:
    """Find a prediction by its id in the log of ``model`` (default: of every model) and recompute it.

    Raises:
        PredictionError: no line of the log has the id.
        RegistryError: the version that made it can no longer be loaded.
    """
    names = [model] if model else model_names()
    candidates = (found for name in names for found in _lines(settings, name, prediction_id))
    line = next((found for found in candidates if found.prediction_id == prediction_id), None)
    if line is None:
        where = f"of '{model}'" if model else f"of {', '.join(names)}"
        raise PredictionError(
            f"No prediction '{prediction_id}' is in the log {where} below {settings.home / 'predictions'}; expected a "
            "prediction_id from a response of the endpoint."
        )
    loaded = registry.load_version(settings, line.model, line.version)
    evidence = registry.evidence(settings, loaded.run_id)
    run = registry.find(settings, line.model, str(line.version)).run
    dataset, provenance = evidence.dataset, evidence.provenance
    views = {name: facts["query"] for name, facts in (provenance.get("views") or {}).items()}
    recomputed = None if line.score is None else _score(settings, loaded, line.features)
    notes = list(_notes(line, loaded, views, recomputed))
    return Traced(
        line=line,
        ages=_ages(line),
        run_id=loaded.run_id,
        dataset=dataset.fingerprint if dataset else "none",
        views=views,
        git=provenance.get("git") or (dataset.git if dataset else {}),
        flow={name.removeprefix("headrace."): value for name, value in run.tags.items() if "headrace.flow" in name},
        recomputed=recomputed,
        exact=recomputed == line.score,
        notes=notes,
    )


def _score(settings: Settings, loaded: registry.LoadedVersion, features: Mapping[str, Any]) -> float:
    """The bundle's score for logged features, null for missing ones, in the types of its reference rows."""
    import pandas as pd

    lacking = [name for name in loaded.features if name not in features]
    if lacking:
        raise PredictionError(
            f"The logged features have no '{lacking[0]}', which version {loaded.version} of '{loaded.model}' needs; "
            "the line was not written by this version's endpoint."
        )
    kept = registry.reference(settings, loaded.run_id)
    rows = pd.DataFrame([{name: features[name] for name in loaded.features}])
    rows = rows.astype({name: object if kept[name].dtype == object else "float64" for name in rows})
    return float(loaded.pipeline.predict_proba(rows)[0, 1])


def _notes(
    line: PredictionLine, loaded: registry.LoadedVersion, views: Mapping[str, str], recomputed: float | None
) -> Iterator[str]:
    if line.score is None:
        yield "The model abstained, so there is no score to recompute."
    elif recomputed != line.score:
        yield f"The bundle gives {recomputed!r} for the logged features, but {line.score!r} was logged."
    if line.threshold != loaded.threshold:
        yield f"The logged threshold is {line.threshold!r}, but the bundle has {loaded.threshold!r}."
    if line.score is not None and line.decision != (line.score >= line.threshold):
        yield "The logged decision does not follow from score and threshold."
    for view, served in (line.view_versions or {}).items():
        if served is not None and view in views and served != views[view]:
            yield f"View '{view}' was served by query {served[:8]}, and trained with {views[view][:8]}."


def _ages(line: PredictionLine) -> dict[str, float | None]:
    at = datetime.fromisoformat(line.as_of)
    return {
        view: None if event is None else (at - datetime.fromisoformat(event)).total_seconds()
        for view, event in line.event_times.items()
    }


def _lines(settings: Settings, model: str, containing: str) -> Iterator[PredictionLine]:
    """Lines of a model's log that contain a text; torn lines are left out."""
    needle = containing.encode()
    for path in sorted(predictions_folder(settings, model).glob("*/*.jsonl")):
        with path.open("rb") as file:
            for text in file:
                if needle in text and (line := parse_line(text)):
                    yield line
