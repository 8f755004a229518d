"""Measure a new version and the champion on the same held-out rows and in the same process."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.evaluation.intervals import MIN_DAYS, paired_gain
from ray_cluster.evaluation.metrics import metrics
from ray_cluster.evaluation.slices import slice_changes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["challenge", "latency"]

#: Number of single rows that each bundle scores, alternating between the bundles.
_REQUESTS = 60


def challenge(
    settings: Settings, spec: ModelSpec, run_id: str, challenger: int, champion: int | None
) -> tuple[dict[str, float], dict[str, float] | None, dict[str, Any]]:
    """Load both bundles and measure them on the held-out rows of the challenger's run that neither was fitted on.

    Returns the challenger's metrics, the champion's (None without one, empty if too few rows are later than those that
    it was fitted on), and other inputs of the gates: ``gain``, ``slices``, ``latency_ms``, ``size_mb``, ``behaviour``,
    ``fairness``, ``failures`` and, if rows were left out, ``overlap``: ``until``, and of the later rows ``rows`` and
    ``days``.

    Raises:
        RegistryError: a bundle is not complete, or the champion needs a feature that the rows no longer have.
    """
    rows = registry.reference(settings, run_id)
    evidence = registry.evidence(settings, run_id)
    evaluation = evidence.evaluation
    new = registry.load_version(settings, spec.name, challenger)
    old = registry.load_version(settings, spec.name, champion) if champion is not None else None
    overlap = None
    if old:
        _check_features(spec, old, rows)
        until = _fitted_until(settings, old)
        later = rows[rows["prediction_time"] >= until]
        if len(later) < len(rows):
            overlap = {"until": until.isoformat(), "rows": len(later), "of": len(rows), "days": len(set(_days(later)))}
            comparable = overlap["days"] >= MIN_DAYS and later["label"].nunique() > 1
            old, rows = (old, later) if comparable else (None, rows)
    y = rows["label"].to_numpy()
    scores = new.pipeline.predict_proba(rows[new.features])[:, 1]
    before = old.pipeline.predict_proba(rows[old.features])[:, 1] if old else None
    names = {"challenger": new, **({"champion": old} if old else {})}
    measured: dict[str, Any] = {
        "latency_ms": latency(names, rows),
        "size_mb": {name: loaded.size / 1e6 for name, loaded in names.items()},
        "behaviour": evaluation.behaviour if evaluation else None,
        "fairness": evaluation.fairness if evaluation else None,
        "failures": evidence.failures,
        **({"overlap": overlap} if overlap else {}),
    }
    if old is None or before is None:
        return metrics(y, scores, new.threshold), {} if overlap else None, measured
    days, gate = _days(rows), spec.gate
    gain = paired_gain(y, before, scores, days, gate.metric, level=gate.confidence)
    measured["gain"] = {
        "metric": gate.metric,
        "confidence": gate.confidence,
        "mean": gain.gain,
        "low": None if gain.low != gain.low else gain.low,
        "high": None if gain.high != gain.high else gain.high,
        "share": None if gain.share != gain.share else gain.share,
        "why": gain.why,
        "days": len(set(days)),
        "rows": len(rows),
    }
    measured["slices"] = slice_changes(rows, [name for name in spec.slices if name in rows], y, scores, before)
    return metrics(y, scores, new.threshold), metrics(y, before, old.threshold), measured


def latency(loaded: dict[str, registry.LoadedVersion], rows: pd.DataFrame, requests: int = _REQUESTS) -> dict[str, Any]:
    """95th percentile of the milliseconds per bundle to score one row; the bundles alternate, so that a slow period of
    the machine affects all of them."""
    import numpy as np

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


def _days(rows: pd.DataFrame) -> list[int]:
    """The day of each row's prediction, as a number."""
    return rows["prediction_time"].dt.floor("D").astype("int64").tolist()  # type: ignore[no-any-return]


def _fitted_until(settings: Settings, champion: registry.LoadedVersion) -> pd.Timestamp:
    """The start of the champion's held-out period: it was fitted on all rows before."""
    import pandas as pd

    evaluation = registry.evidence(settings, champion.run_id).evaluation
    start = evaluation.periods["held_out"]["start"] if evaluation else 0
    return pd.to_datetime(start, utc=True)


def _check_features(spec: ModelSpec, champion: registry.LoadedVersion, rows: pd.DataFrame) -> None:
    missing = [name for name in champion.features if name not in rows]
    if missing:
        raise registry.RegistryError(
            f"The champion of '{spec.name}' (version {champion.version}) needs feature '{missing[0]}', which feature "
            f"service '{spec.feature_service}' no longer has; restore it, or remove the alias with "
            f"`headrace models alias {spec.name} champion --remove`."
        )
