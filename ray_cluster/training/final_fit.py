"""The final fit: the chosen point on all rows before the held-out period, and the baselines, on Ray."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster.cluster.capacity import share
from ray_cluster.cluster.connection import wait
from ray_cluster.training.data import TrainingData
from ray_cluster.training.distributed.devices import Device, gpus_of
from ray_cluster.training.distributed.out_of_core import encoder_of_parts, shares_on_disk
from ray_cluster.training.distributed.shares import ArrayShare, deal
from ray_cluster.training.distributed.workers import fit_by_workers
from ray_cluster.training.families import Rows, assemble, columns_of, fit_steps, preprocessing
from ray_cluster.training.families.family import fit_class
from ray_cluster.training.families.prior import PriorCorrected, weight_shift
from ray_cluster.training.sampling.prior import prior_shift
from ray_cluster.training.sampling.sampler_selection import resample
from ray_cluster.training.search import TrialResult

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = [
    "baseline_scores",
    "start_baselines",
    "fit_final",
    "for_all_rows",
]

#: Maximum of categories per column; the rarest ones share a category.
_CATEGORIES = 32

#: Exponent by which boosting rounds increase with rows, from ``benchmarks/rounds.py``.
_GROWTH = 0.7


def start_baselines(data: TrainingData, encode: Any, calendar: list[str]) -> dict[str, Any]:
    """Start fitting the baselines; returns name -> reference to its scores on the held-out rows, shape (held out,).

    ``calendar``: features that need only the request; if there are none, their baseline is left out.
    """
    import ray

    early, held_out = data.early, data.periods.held_out
    cpus, plain = share(1), data.features.loc[:, calendar]
    started = {}
    if calendar:
        started["logistic regression, calendar only"] = (
            ray.remote(_logistic).options(num_cpus=cpus).remote(plain[early], data.y[early], plain[held_out])
        )
    x = encode.transform(data.features[early])
    x_held_out = encode.transform(data.features[held_out])
    started["XGBoost defaults, all features"] = (
        ray.remote(_defaults).options(num_cpus=cpus).remote(x, data.y[early], x_held_out)
    )
    return started


def baseline_scores(
    data: TrainingData, started: dict[str, Any], failures: list[Failure] | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Scores of the started baselines, after those of the base rate, shape (held out,) each.

    A baseline that fails is left out and added to ``failures``.
    """
    import numpy as np

    found = {"base rate": np.full(int(data.periods.held_out.sum()), data.y[data.early].mean())}
    for name, reference in started.items():
        with secondary(f"baseline {name}", failures):
            found[name] = wait([reference])[0]
    return found


def _defaults(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], x_held_out: np.ndarray[Any, Any]) -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_jobs=1).fit(x, y).predict_proba(x_held_out)[:, 1]


def _logistic(frame: pd.DataFrame, y: np.ndarray[Any, Any], held_out: pd.DataFrame) -> Any:
    """Logistic regression: text and numbers with few values one-hot, other numbers imputed and standardised.

    A missing category is a category; a missing or infinite number becomes the median, with an indicator.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame, held_out = _plain(frame), _plain(held_out)
    few = [name for name in frame if frame[name].dtype == object or frame[name].nunique() < _CATEGORIES]
    encode = ColumnTransformer(
        [
            ("few", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=_CATEGORIES), few),
            (
                "many",
                make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()),
                [name for name in frame if name not in few],
            ),
        ]
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=200))
    return model.fit(frame, y).predict_proba(held_out)[:, 1]


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers and booleans as float64, infinite values as missing; the rest as text, missing values as "missing"."""
    import numpy as np
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    columns = {}
    for name, column in frame.items():
        if is_numeric_dtype(column):
            columns[name] = column.astype("float64").replace([np.inf, -np.inf], np.nan)
        else:
            columns[name] = column.astype(object).where(column.notna(), "missing").map(str)
    return pd.DataFrame(columns, index=frame.index)


def for_all_rows(spec: ModelSpec, best: TrialResult, data: TrainingData) -> TrialResult:
    """The trial for the final fit: its boosting rounds, chosen on the search's rows, increase with the number of rows
    to the power of :data:`_GROWTH`."""
    if not fit_class(best.family).boosts:
        return best
    searched = min(data.row_counts["train"], spec.tuning.rows)
    grown = (data.row_counts["train"] + data.row_counts["validation"]) / searched
    return replace(best, iterations=max(1, round(best.iterations * grown**_GROWTH)))


def fit_final(
    spec: ModelSpec,
    best: TrialResult,
    data: TrainingData,
    calendar: list[str],
    device: Device = "cpu",
    sampler: str = "none",
    failures: list[Failure] | None = None,
) -> tuple[Pipeline, dict[str, np.ndarray[Any, Any]]]:
    """Fit ``best`` and the baselines in parallel on the cluster.

    ``best`` is fitted :func:`for_all_rows`, on those that ``sampler`` returns, and its scores are corrected for the
    share of added positives; encoding and cleaning are fitted on the real rows, and so are the baselines.

    Returns the fitted pipeline (preprocessing, classifier), and each baseline's scores on the held-out rows; a baseline
    that fails is left out and added to ``failures``.
    """
    baselines: dict[str, Any] = {}
    best = for_all_rows(spec, best, data)
    if data.parts is not None:  # unchanged: rows on disk are not sampled
        encode = encoder_of_parts(spec, data, data.parts)
        with secondary("baselines", failures):
            baselines = start_baselines(data, encode, calendar)
        with shares_on_disk(spec, best.params, data, data.parts, encode, paged=device == "cpu") as shares:
            columns = columns_of(encode, spec.directions)
            fitted: Any = fit_by_workers(spec, best.params, best.iterations, shares, device, columns)
            if weights := shares[0].class_weights:
                fitted = PriorCorrected(fitted, math.log(weights[1] / weights[0]))
    else:
        early = data.early
        encode = preprocessing(data.features, spec.inputs, best.family).fit(data.features[early])
        columns, ids = columns_of(encode, spec.directions), data.rows[spec.requests.id].to_numpy()[early]
        sampled = resample(sampler, data.features[early], data.y[early], ids, spec.sampling.ratio, spec.tuning.seed)
        rows = Rows(encode.transform(sampled.features), sampled.y, sampled.fit_weights, columns=columns)
        with secondary("baselines", failures):
            trees = preprocessing(data.features, spec.inputs).fit(data.features[early])
            baselines = start_baselines(data, trees, calendar)
        fitted = (_by_workers if spec.fit.workers > 1 else _alone)(spec, best, rows, device)
        if shift := prior_shift(sampled, data.y[early]):
            fitted = PriorCorrected(fitted, shift)
    return assemble(encode, fitted), baseline_scores(data, baselines, failures)


def _alone(spec: ModelSpec, best: TrialResult, rows: Rows, device: Device) -> Any:
    """Fit in one Ray task."""
    import ray

    tuning = spec.tuning
    fit = ray.remote(num_cpus=share(tuning.cpus_per_trial), num_gpus=gpus_of(spec, device))(fit_steps)
    return wait(
        [
            fit.remote(
                best.family,
                best.params,
                ray.put(rows.x),
                ray.put(rows.y),
                best.iterations,
                tuning.seed,
                threads=max(1, int(tuning.cpus_per_trial)),
                device=device,
                weights=rows.weights,
                columns=rows.columns,
            )
        ]
    )[0]


def _by_workers(spec: ModelSpec, best: TrialResult, rows: Rows, device: Device) -> Any:
    """Fit with several workers, each with a share of the rows."""
    import ray

    workers = spec.fit.workers
    weights = rows.weighted(best.params.get("class_weight")).weights
    arrays = (rows.x, rows.y) if weights is None else (rows.x, rows.y, weights)
    shares = [ray.put(ArrayShare(*deal(rank, workers, *arrays))) for rank in range(workers)]
    fitted = fit_by_workers(spec, best.params, best.iterations, shares, device, rows.columns)
    shift = weight_shift(rows.y, weights, rows.weights)
    return PriorCorrected(fitted, shift) if shift else fitted
