"""Compare runs of one model: their settings, their results, and whether data and code were the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from configs.errors import HeadraceError
from configs.settings import Settings
from ray_cluster import registry

__all__ = ["CompareError", "Compared", "Comparison", "compare"]

#: Number of runs that are compared by default, and the maximum.
_NEWEST, _MOST = 4, 8


class CompareError(HeadraceError, ValueError):
    """The runs cannot be compared; the message is one sentence."""


@dataclass(frozen=True)
class Compared:
    """One run.

    Attributes:
        period: the period of ``metrics``, held_out or validation.
        intervals: metric -> [low, high] of 95 %, if the evidence has them.
        dataset, code, commit: fingerprint of the frame, of all code files, and the commit (with ``, dirty``).
    """

    title: str
    run_id: str
    kind: str
    started: str
    note: str
    params: dict[str, Any]
    period: str
    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    dataset: str
    rows: int | None
    as_of: str
    code: str
    commit: str
    libraries: dict[str, str]
    model_digest: str
    curves: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Runs in the given order. Name -> value per run: ``params`` and ``libraries`` are those that differ."""

    model: str
    runs: list[Compared]
    params: dict[str, list[Any]]
    metrics: dict[str, list[float | None]]
    libraries: dict[str, list[str | None]]

    def best(self, metric: str) -> int | None:
        """Index of the best run in a metric; None if periods or frames differ and the runs cannot be ranked."""
        values = self.metrics[metric]
        comparable = len({(run.period, run.dataset) for run in self.runs}) == 1
        if not comparable or any(value is None for value in values) or len(set(values)) == 1:
            return None
        least = metric in ("brier", "log_loss", "ece")
        known = [value for value in values if value is not None]
        return values.index(min(known) if least else max(known))

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the curves."""
        found = asdict(self)
        for run in found["runs"]:
            del run["curves"]
        return found


def compare(settings: Settings, model: str, which: Sequence[str] = ()) -> Comparison:
    """Compare runs or versions of a model, named by number or id; by default the newest four runs of any kind.

    Raises:
        RegistryError: there is no such version or run.
        CompareError: there are fewer than two runs, or more than the page can show.
    """
    named = list(which) or [run.run_id for run in registry.runs_of(settings, model, _NEWEST)]
    if not 2 <= len(named) <= _MOST:
        found = f"{len(named)} were given" if which else f"model '{model}' has {len(named)} finished"
        raise CompareError(f"Expected 2 to {_MOST} runs to compare; {found}. Choose versions or runs of the model.")
    subjects = [registry.find(settings, model, each) for each in named]
    twice = next((each.title for each in subjects if [s.run.run_id for s in subjects].count(each.run.run_id) > 1), None)
    if twice:
        raise CompareError(f"{twice.capitalize()} of '{model}' was given twice; give each run once.")
    runs = [_compared(settings, subject) for subject in subjects]
    params = _beside([run.params for run in runs])
    libraries = _beside([run.libraries for run in runs])
    return Comparison(model, runs, _differing(params), _beside([run.metrics for run in runs]), _differing(libraries))


def _differing(values: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: found for name, found in values.items() if len(set(map(str, found))) > 1}


def _compared(settings: Settings, subject: registry.Subject) -> Compared:
    run, evidence = subject.run, registry.evidence(settings, subject.run.run_id)
    evaluation, dataset, provenance = evidence.evaluation, evidence.dataset, evidence.provenance
    git = provenance.get("git") or (dataset.git if dataset else {})
    code = sorted((provenance.get("code") or {}).items())
    tuning = evidence.model.get("tuning") or {}
    chosen = {"family": evaluation.family, **evaluation.params} if evaluation else {"family": None}
    return Compared(
        title=subject.title,
        run_id=run.run_id,
        kind=run.kind,
        started=f"{run.started:%Y-%m-%d %H:%M}",
        note=run.tags.get("mlflow.note.content", ""),
        params={**chosen, "seed": tuning.get("seed")},
        period=evaluation.period if evaluation else "held_out",
        metrics=evaluation.metrics if evaluation else {},
        intervals=(evaluation.intervals if evaluation else None) or {},
        dataset=dataset.fingerprint if dataset else "unknown",
        rows=dataset.rows if dataset else None,
        as_of=dataset.as_of if dataset else "unknown",
        code=_digest(str(code)) if code else "unknown",
        commit=f"{str(git.get('commit', 'unknown'))[:10]}{', dirty' if git.get('dirty') else ''}",
        libraries=provenance.get("libraries") or (dataset.libraries if dataset else {}),
        model_digest=str((provenance.get("model_digest") or {}).get("model", "unknown")),
        curves=(evaluation.curves if evaluation else None) or {},
    )


def _digest(text: str) -> str:
    from hashlib import blake2b

    return blake2b(text.encode(), digest_size=8).hexdigest()


def _beside(each: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for one in each for name in one))
    return {name: [one.get(name) for one in each] for name in names}
