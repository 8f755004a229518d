"""Measurements of a period of the prediction log: drift per feature, drift of the score, and performance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from configs.evaluation import CostThreshold
from configs.model import ModelSpec, Monitoring
from feature_repo.frames.request_ids import id_texts
from ray_cluster.decisions.monitoring_rules import beyond, natural_bound
from ray_cluster.evaluation.column_profile import MonitoringError, profile_column
from ray_cluster.monitoring.binning import Bins, Integers
from ray_cluster.monitoring.broken_features import broken_feature
from ray_cluster.monitoring.day_variation import Period, ShortReferenceError, index_variation, reference_days, utc_days
from ray_cluster.monitoring.drift import column_drift
from ray_cluster.monitoring.performance import Decided, HeldOut, Scored, performance

__all__ = ["expand_features", "feature_columns", "known_at", "measure", "scored", "with_outcomes"]

#: Columns of a reference that are not features, in addition to the request's id.
RESERVED = ("id", "score", "label", "prediction_time")


def measure(
    spec: ModelSpec, predictions: pd.DataFrame, outcomes: pd.DataFrame, reference: pd.DataFrame, as_of: pd.Timestamp
) -> dict[str, Any]:
    """Measure logged predictions against the held-out rows of the version that made them.

    Args:
        spec: the model; ``monitoring.ignore`` marks features that are measured but not judged.
        predictions: rows of the prediction log, ``features`` as a column of dicts or expanded to ``features.*``.
        outcomes: ``id``, ``label`` (0 or 1) and optionally ``known_at``.
        reference: feature columns, ``score``, ``label`` and ``prediction_time`` of the held-out rows.
        as_of: rows served or known later are ignored.

    Returns:
        JSON: ``model``, ``as_of``, ``rows`` (those with a score; only these are measured), ``abstained`` (logged
        rows without a score, because the model abstained), ``first``, ``last``, ``versions`` (version -> rows),
        ``features`` (one object per feature, see :class:`ray_cluster.monitoring.drift.Drift`, with ``variation``
        (``variance``, ``chance``, ``freedom`` and ``dimensions``, see
        :class:`ray_cluster.monitoring.day_variation.Variation`), ``expected_unseen_share`` (of reference rows whose
        value comes and goes), ``natural`` (the PSI that the days of the reference explain), ``drifted`` and
        ``ignored``), ``prediction`` (the same of the score),
        ``variation`` (``days`` of the reference, or ``unknown``: why ``natural`` is not known), ``broken`` (features,
        see :func:`ray_cluster.monitoring.broken_features.broken_feature`), ``performance`` (None before the first
        outcome) and ``unmatched`` (features that only one side has).

    Raises:
        MonitoringError: a column is missing, or no logged feature is one of the reference's.
    """
    _need(predictions, ["as_of", "score"], "prediction log")
    _need(reference, ["score", "label"], "reference")
    _need(outcomes, ["id", "label"], "outcomes")
    predictions = known_at(predictions, "as_of", as_of)
    logged = len(predictions)
    predictions = scored(predictions)
    features = expand_features(predictions)
    names = feature_columns(spec, reference)
    shared = [name for name in names if name in features]
    if len(predictions) and not shared:
        raise MonitoringError(
            f"None of the features in the prediction log ({', '.join(map(str, features.columns[:5])) or 'none'}, ...) "
            f"is a column of the reference ({', '.join(names[:5])}, ...); expected predictions of the same model."
        )
    times = pd.to_datetime(predictions["as_of"], utc=True)
    days, facts = _days(reference)
    period = Period.of(utc_days(times), _after(reference, times))
    policy = spec.monitoring

    def drift(name: str, before: pd.Series[Any], now: pd.Series[Any], share: float) -> dict[str, Any]:
        found = _drift(name, before, now, days, period)
        return found | {"natural": natural_bound(found, policy.model_dump(), share)}

    versions = predictions["version"].value_counts().sort_index() if "version" in predictions else pd.Series(dtype=int)
    return {
        "model": spec.name,
        "as_of": as_of.isoformat(),
        "rows": len(predictions),
        "abstained": logged - len(predictions),
        "reference_rows": len(reference),
        "first": times.min().isoformat() if len(times) else None,
        "last": times.max().isoformat() if len(times) else None,
        "versions": {str(version): int(rows) for version, rows in versions.items()},
        "features": [
            _feature(policy, drift(name, reference[name], features[name], policy.drifted_share)) for name in shared
        ],
        "prediction": _prediction(
            policy,
            drift("score", reference["score"], predictions["score"], 1.0),
            reference["score"],
            predictions["score"],
        ),
        "variation": facts,
        "broken": _broken(reference, features.loc[times.sort_values(kind="stable").index], shared),
        "performance": _performance(spec, predictions, outcomes, reference, as_of),
        "unmatched": {
            "only_in_reference": [name for name in names if name not in features] if len(predictions) else [],
            "only_in_log": [str(name) for name in features.columns if name not in names],
        },
    }


def feature_columns(spec: ModelSpec, reference: pd.DataFrame) -> list[str]:
    """Names of the reference's feature columns: all but the id, score, label and prediction time."""
    return [str(name) for name in reference.columns if name not in (*RESERVED, spec.requests.id)]


def expand_features(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the served feature values, one column each, on the index of ``predictions``.

    >>> log = pd.DataFrame({"features": [{"wind": 3.0}, {"wind": None}]})
    >>> expand_features(log)["wind"].tolist()
    [3.0, nan]
    """
    if "features" in predictions:
        return pd.DataFrame(predictions["features"].tolist(), index=predictions.index)
    prefixed = [name for name in predictions.columns if str(name).startswith("features.")]
    return predictions[prefixed].rename(columns=lambda name: str(name).removeprefix("features."))


def scored(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions that have a score: a row for which the model abstained was not scored."""
    return predictions[predictions["score"].notna()]


def known_at(rows: pd.DataFrame, column: str, as_of: pd.Timestamp) -> pd.DataFrame:
    """Rows whose ``column`` is a time up to ``as_of``; all rows if there is no such column."""
    if column not in rows:
        return rows
    return rows[pd.to_datetime(rows[column], utc=True) <= as_of]


def with_outcomes(predictions: pd.DataFrame, outcomes: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Join outcomes known at ``as_of`` to the last prediction of each id: the prediction columns and ``label``."""
    if "id" not in predictions:
        return predictions.head(0).assign(label=pd.Series(dtype="int64"))
    last = predictions.dropna(subset=["id"]).sort_values("as_of", kind="stable").drop_duplicates("id", keep="last")
    labels = known_at(outcomes, "known_at", as_of)[["id", "label"]].dropna().drop_duplicates("id", keep="last")
    joined = last.assign(id=id_texts(last["id"])).merge(labels.assign(id=id_texts(labels["id"])), on="id")
    return joined.assign(label=joined["label"].astype("int64"))


def _days(reference: pd.DataFrame) -> tuple[Integers | None, dict[str, Any]]:
    """The day of each reference row, and the facts about them; or None and the reason."""
    try:
        days = reference_days(reference.get("prediction_time"))
    except ShortReferenceError as error:
        return None, {"unknown": str(error)}
    return days, {"days": int(days.max()) + 1}


def _after(reference: pd.DataFrame, times: pd.Series[Any]) -> float:
    """Days from the last reference row to the first of ``times``; 0 if one of them is unknown."""
    if "prediction_time" not in reference or not len(times):
        return 0.0
    apart = times.min() - pd.to_datetime(reference["prediction_time"], utc=True).max()
    return 0.0 if pd.isna(apart) else max(0.0, apart / pd.Timedelta(days=1))


def _drift(
    name: str, reference: pd.Series[Any], current: pd.Series[Any], days: Integers | None, period: Period
) -> dict[str, Any]:
    profile = profile_column(reference, name)
    bins = Bins.of(profile, len(current))
    if days is None:
        return column_drift(name, profile, current, bins).to_dict() | {"variation": None}
    codes = bins.codes(reference, name)
    brief = bins.brief(codes, days, period.days)
    drift = column_drift(name, profile, current, bins, brief)
    found = index_variation(bins.pooled(codes, bins.count(bins.codes(current, name)), brief), days)
    variation = {
        "variance": found.variance(period),
        "chance": found.chance(period),
        "freedom": found.freedom,
        "dimensions": found.dimensions,
    }
    unseen = float(brief[codes].mean()) if profile.kind == "categorical" else 0.0
    return drift.to_dict() | {"variation": variation, "expected_unseen_share": unseen}


def _feature(policy: Monitoring, drift: dict[str, Any]) -> dict[str, Any]:
    ignored = drift["feature"] in policy.ignore
    return drift | {
        "ignored": ignored,
        "drifted": not ignored and beyond(drift, policy.feature_psi, drift["natural"]),
    }


def _prediction(
    policy: Monitoring, drift: dict[str, Any], reference: pd.Series[Any], current: pd.Series[Any]
) -> dict[str, Any]:
    means = {"mean": current.mean() if len(current) else None, "reference_mean": reference.mean()}
    return (
        drift
        | {"drifted": beyond(drift, policy.prediction_psi, drift["natural"])}
        | {name: None if value is None else float(value) for name, value in means.items()}
    )


def _broken(reference: pd.DataFrame, features: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """The broken features; ``features`` are in time order."""
    if "prediction_time" in reference:
        reference = reference.sort_values("prediction_time", kind="stable")
    found = (broken_feature(name, reference[name], features[name]) for name in names)
    return [each for each in found if each]


def _performance(
    spec: ModelSpec, predictions: pd.DataFrame, outcomes: pd.DataFrame, reference: pd.DataFrame, as_of: pd.Timestamp
) -> dict[str, Any] | None:
    joined = with_outcomes(predictions, outcomes, as_of)
    if not len(joined):
        return None
    decided = None
    if isinstance(spec.threshold, CostThreshold) and "threshold" in joined:
        decided = Decided(spec.threshold.costs, float(joined["threshold"].iloc[-1]))
    held_out = _scored(reference.dropna(subset=["label"]), "prediction_time")
    return performance(_scored(joined, "as_of"), HeldOut.of(held_out, decided) if held_out.judgeable else None)


def _scored(rows: pd.DataFrame, time: str) -> Scored:
    days = utc_days(rows[time]) if time in rows else None
    return Scored(rows["label"].to_numpy(dtype=np.float64), rows["score"].to_numpy(dtype=np.float64), days)


def _need(frame: pd.DataFrame, columns: list[str], what: str) -> None:
    missing = [name for name in columns if name not in frame]
    if missing:
        raise MonitoringError(
            f"The {what} has no column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns[:12])) or 'none'}."
        )
