"""Compare a new version with the champion on the same held-out rows, and the time that both take, in one process."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from configs.model import ModelSpec
from configs.promotion import Gate
from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.evaluation.intervals import MIN_DAYS, local_days, paired_gain
from ray_cluster.evaluation.metrics import metrics
from ray_cluster.evaluation.slices import slice_changes
from ray_cluster.registry.evidence import Evaluation

__all__ = ["challenge", "gain_evidence", "latency"]

#: Number of single rows that each bundle scores, alternating between the bundles.
_REQUESTS = 60


def challenge(
    settings: Settings,
    spec: ModelSpec,
    challenger: registry.VersionFacts,
    evidence: registry.Evidence,
    champion: int | None,
    attempt: int = 1,
) -> tuple[dict[str, float], dict[str, float] | None, dict[str, Any]]:
    """Compare both versions on the held-out rows of the challenger's run, by scores of fits that had not seen them.

    The challenger's scores are those of its training. The champion's are those of the served fit where the rows are
    later than those it was fitted on, and those of its own training where they were its held-out rows too; other rows
    are left out.

    Args:
        evidence: of the challenger's run. champion: number of its version.
        attempt: number of the comparison on these rows (:func:`gain_evidence`).

    Returns the challenger's metrics, the champion's (None without one, empty if too few rows can be compared), and
    other inputs of the gates: ``gain``, ``slices``, ``latency_ms``, ``size_mb``, ``behaviour``, ``fairness``,
    ``failures``; with a champion ``fresher``, the days by which the challenger's served fit knows more; and, if rows
    were left out, ``overlap``: ``until``, and of the compared rows ``rows`` and ``days``.

    Raises:
        RegistryError: a bundle is not complete, or the champion needs a feature that the rows no longer have.
    """
    rows, evaluation = registry.reference(settings, challenger.run_id), evidence.evaluation
    new = registry.load_version(settings, spec.name, challenger.version)
    old = registry.load_version(settings, spec.name, champion) if champion is not None else None
    if old:
        _check_features(spec, old, rows)
    threshold = evaluation.threshold if evaluation else new.threshold
    names = {"challenger": new, **({"champion": old} if old else {})}
    measured: dict[str, Any] = {
        "latency_ms": latency(names, rows),
        "size_mb": {name: loaded.size / 1e6 for name, loaded in names.items()},
        "behaviour": evaluation.behaviour if evaluation else None,
        "fairness": evaluation.fairness if evaluation else None,
        "failures": evidence.failures,
    }
    if old is None:
        return metrics(rows["label"].to_numpy(), rows["score"].to_numpy(), threshold), None, measured
    before = registry.evidence(settings, old.run_id).evaluation
    until = pd.to_datetime(before.fitted_until if before else 0, utc=True)
    if evaluation:
        measured["fresher"] = (pd.to_datetime(evaluation.fitted_until, utc=True) - until) / pd.Timedelta(days=1)
    past = _unseen_scores(spec, old, registry.reference(settings, old.run_id), rows, until)
    days, seen = local_days(rows["prediction_time"], spec.timezone), past.isna().to_numpy()
    if seen.any():
        both = rows[~seen]
        days = days[~seen]
        overlap = {"until": until.isoformat(), "rows": len(both), "of": len(rows), "days": len(np.unique(days))}
        measured["overlap"] = overlap
        if overlap["days"] < MIN_DAYS or both["label"].nunique() < 2:
            return metrics(rows["label"].to_numpy(), rows["score"].to_numpy(), threshold), {}, measured
        rows, past = both, past[~seen]
    y, scores, scores_before = rows["label"].to_numpy(), rows["score"].to_numpy(), past.to_numpy()
    noise = [_seed_noise(each, spec.gate.metric) for each in (evaluation, before)]
    measured["gain"] = gain_evidence(spec.gate, y, scores_before, scores, days, noise, attempt)
    measured["slices"] = slice_changes(rows, [name for name in spec.slices if name in rows], y, scores, scores_before)
    old_threshold = before.threshold if before else old.threshold
    return metrics(y, scores, threshold), metrics(y, scores_before, old_threshold), measured


def latency(loaded: dict[str, registry.LoadedVersion], rows: pd.DataFrame, requests: int = _REQUESTS) -> dict[str, Any]:
    """95th percentile of the milliseconds per bundle to score one row; the bundles alternate, so that a slow period of
    the machine affects all of them."""
    taken: dict[str, list[float]] = {name: [] for name in loaded}
    for number in range(-5, requests):  # the first ones warm up
        place = number % len(rows)
        for name, version in loaded.items():
            row = rows.iloc[place : place + 1][version.features]
            started = perf_counter()
            version.pipeline.predict_proba(row)
            if number >= 0:
                taken[name].append((perf_counter() - started) * 1000)
    return {name: float(np.quantile(each, 0.95)) for name, each in taken.items()}


def gain_evidence(
    gate: Gate, y: Any, before: Any, after: Any, days: Any, noise: Sequence[tuple[float, float]], attempt: int = 1
) -> dict[str, Any]:
    """The gain of ``after`` over ``before`` as evidence of the gates.

    Several versions are compared on the same rows one after the other, and the best of them would be promoted by
    chance; so the first comparison may be wrong with half of the probability (1 - confidence) / 2, the second with a
    sixth of it, the k-th with 1 / (k (k + 1)), which sums to one (alpha spending: D. Foster and R. Stine,
    Alpha-investing, JRSS B 70, 2008).

    Args:
        y: labels 0 or 1, shape (rows,). before, after: scores of both versions, shape (rows,).
        days: the day of each row, shape (rows,).
        noise: of each version, the standard error of its metric because of its seed, and the degrees of freedom.
        attempt: number of the comparison on these rows, k.
    """
    gain = paired_gain(y, before, after, days, gate.metric, level=gate.confidence, noise=noise)
    alpha = (1 - gate.confidence) / 2 / (attempt * (attempt + 1))
    return {
        "metric": gate.metric,
        "confidence": gate.confidence,
        "mean": gain.gain,
        "low": _number(gain.low),
        "high": _number(gain.high),
        "share": _number(gain.share),
        "why": gain.why,
        "attempt": attempt,
        "alpha": alpha,
        "at_least": _number(gain.at_least(alpha)),
        "seed_noise": [error for error, _ in noise],
        "days": len(np.unique(days)),
        "rows": len(y),
    }


def _number(value: float) -> float | None:
    """None for NaN, which is no JSON."""
    return None if isnan(value) else value


def _seed_noise(evaluation: Evaluation | None, metric: str) -> tuple[float, float]:
    """Standard error of a version's metric because of its seed, and its degrees of freedom; 0 if it was not measured,
    as in a notebook."""
    found = ((evaluation.folds if evaluation else None) or {}).get("seed_noise")
    return (found[metric], found["freedom"]) if found else (0.0, 1.0)


def _unseen_scores(
    spec: ModelSpec, champion: registry.LoadedVersion, measured: pd.DataFrame, rows: pd.DataFrame, until: pd.Timestamp
) -> pd.Series[float]:
    """The champion's score of each row by a fit that had not seen it, NaN where there is none, shape (rows,).

    ``measured``: the held-out rows of the champion's own training. ``until``: the time of the newest rows that it was
    fitted on.
    """
    known = measured.set_index(spec.requests.id)["score"]
    scores = rows[spec.requests.id].map(known[~known.index.duplicated()]).astype("float64")
    later = (rows["prediction_time"] >= until).to_numpy()
    if later.any():
        scores[later] = champion.pipeline.predict_proba(rows.loc[later, champion.features])[:, 1]
    return scores


def _check_features(spec: ModelSpec, champion: registry.LoadedVersion, rows: pd.DataFrame) -> None:
    missing = [name for name in champion.features if name not in rows]
    if missing:
        raise registry.RegistryError(
            f"The champion of '{spec.name}' (version {champion.version}) needs feature '{missing[0]}', which feature "
            f"service '{spec.feature_service}' no longer has; restore it, or remove the alias with "
            f"`headrace models alias {spec.name} champion --remove`."
        )
