"""Sampler selection: fit each sampler, compare them on real validation rows, and keep one only if it helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.model import InputRule, ModelSpec
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster.cluster.capacity import share
from ray_cluster.cluster.connection import wait
from ray_cluster.decisions.decision import Decision, sampling_verdict
from ray_cluster.evaluation.intervals import intervals, paired_gain
from ray_cluster.evaluation.metrics import f1_threshold
from ray_cluster.registry.evidence import SamplingResult
from ray_cluster.training.data import TrainingData
from ray_cluster.training.families import columns_of, fit_steps, preprocessing
from ray_cluster.training.families.blend import blended
from ray_cluster.training.families.prior import corrected
from ray_cluster.training.sampling.copula import copula
from ray_cluster.training.sampling.prior import prior_shift
from ray_cluster.training.sampling.sampled_rows import Sampled, SamplingError, as_they_are, class_weight, undersample
from ray_cluster.training.sampling.smote import adasyn, numbers, smote, smotenc
from ray_cluster.training.sampling.synthetic_rows import check_rows
from ray_cluster.training.search import Search, TrialResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "resample",
    "SamplerSelection",
    "try_sampler",
    "contender_scores",
    "select_sampler",
]

_SAMPLERS = {
    "class_weight": class_weight,
    "undersample": undersample,
    "smote": smote,
    "smotenc": smotenc,
    "adasyn": adasyn,
    "copula": copula,
}


def resample(
    method: str, features: pd.DataFrame, y: Any, ids: Any, ratio: float, seed: int, inputs: Mapping[str, InputRule]
) -> Sampled:
    """Rows to fit on instead of the given training rows; the same arguments give exactly the same rows.

    Args:
        method: "none", "threshold" (the rows unchanged) or a sampler of :mod:`configs.training`.
        features, y, ids: training rows only: model inputs (text or float64), labels 0 or 1, and the id of each row.
        ratio: positives per negative after sampling; if there are as many already, nothing is done.
        inputs: the rules of the model's file; a number with ``categories`` is sampled like a text, so that no category
            is made that is between two others.

    Raises:
        SamplingError: the sampler cannot work on these rows.
    """
    if method in ("none", "threshold"):
        return as_they_are(features, y, ids)
    categories = [name for name in numbers(features) if name in inputs and inputs[name].categories]
    texts = {name: features[name].map(repr, na_action="ignore").astype(object) for name in categories}
    found = _SAMPLERS[method](features.assign(**texts), y, ids, ratio, seed)
    return replace(found, features=found.features.astype(features.dtypes[categories].to_dict()))


Values = npt.NDArray[Any]


@dataclass(frozen=True)
class SamplerSelection:
    """The chosen treatment of rare positives in the final fit.

    Attributes:
        method: "none", or the sampler that is kept.
        validation_scores: of the kept sampler's fit, corrected for its prior shift, shape (validation rows,); None
            if no sampler was tried, or none is kept: then the search's validation scores are used.
        result: the evidence ``sampling``; None if the model's file requests no sampling.
        failures: of checks of rows; those checks are None in the result.
    """

    method: str
    validation_scores: Values | None = None
    result: SamplingResult | None = None
    failures: tuple[Failure, ...] = ()

    def applied(self, search: Search) -> Search:
        """The search with the validation scores of the final treatment; the threshold is chosen on them."""
        return search if self.validation_scores is None else replace(search, validation_scores=self.validation_scores)


def select_sampler(spec: ModelSpec, trial: TrialResult, data: TrainingData) -> SamplerSelection:
    """Try the methods of ``spec.sampling``, as Ray tasks, with the point of ``trial``; the data are placed once.

    Each is fitted on the same latest ``tuning.rows`` of the training period as the search. The intervals of all
    contenders together have ``sampling.confidence`` (Bonferroni), by a paired t interval over days.
    """
    asked = spec.sampling
    if asked.method == "none":
        return SamplerSelection("none")
    names = asked.contenders if asked.method == "select" else ("threshold", asked.method)
    results = _contended(spec, trial, data, [name for name in ("none", *names) if name != "threshold"])
    if "threshold" in names:
        results["threshold"] = {**results["none"], "seconds": 0.0}
    decision, table = _measure(spec, data, ["none", *names], results)
    kept = str(decision.evidence["kept"])
    return SamplerSelection(
        kept,
        None if kept == "none" else np.asarray(results[kept]["validation"]),
        SamplingResult(decision=decision.to_dict(), kept=kept, trial=trial.trial, contenders=table),
        tuple(failure for result in results.values() for failure in result.get("failures", [])),
    )


def contender_scores(spec: ModelSpec, trial: TrialResult, data: TrainingData, method: str) -> Values:
    """Compute the validation scores of one contender again, shape (validation rows,)."""
    return np.asarray(_contended(spec, trial, data, [method])[method]["validation"])


def _contended(
    spec: ModelSpec, trial: TrialResult, data: TrainingData, methods: list[str]
) -> dict[str, dict[str, Any]]:
    """Results of :func:`try_sampler` for each method, as Ray tasks on data that are placed once."""
    import ray

    tuning, periods = spec.tuning, data.periods
    train = np.flatnonzero(periods.train)[-tuning.most_rows :]
    fold = ray.put(
        {
            "x": data.features.iloc[train],
            "y": data.y[train],
            "ids": data.rows[spec.requests.id].to_numpy()[train],
            "validation": data.features[periods.validation],
            "validation_y": data.y[periods.validation],
            "held_out": data.features[periods.held_out],
            "inputs": spec.inputs,
            "directions": spec.directions,
        }
    )
    task = ray.remote(num_cpus=share(tuning.cpus_per_trial))(try_sampler)
    threads = max(1, int(tuning.cpus_per_trial))
    found = wait([task.remote(name, trial, fold, spec.sampling.ratio, tuning.seed, threads) for name in methods])
    return dict(zip(methods, found, strict=True))


@dataclass(frozen=True)
class _SampledFit:
    """A fit on the rows that a sampler returned, with the shift of its log-odds by them."""

    sampled: Sampled
    shift: float
    scores: Callable[[pd.DataFrame], Values]


def _sampled_fit(
    method: str, trial: TrialResult, fold: dict[str, Any], ratio: float, seed: int, threads: int
) -> _SampledFit:
    encode = preprocessing(fold["x"], fold["inputs"], trial.family).fit(fold["x"])
    latest = slice(-trial.rows if trial.rows else None, None)
    x, y = fold["x"][latest], fold["y"][latest]
    sampled = resample(method, x, y, fold["ids"][latest], ratio, seed, fold["inputs"])
    fitted = fit_steps(
        trial.family,
        trial.params,
        encode.transform(sampled.features),
        sampled.y,
        trial.iterations,
        seed,
        threads=threads,
        weights=sampled.fit_weights,
        columns=columns_of(encode, fold["directions"]),
    )
    shift = prior_shift(sampled, y)

    def scores(rows: pd.DataFrame) -> Values:
        found = fitted.predict_proba(encode.transform(rows))[:, 1]
        return corrected(found, shift) if shift else np.asarray(found)

    return _SampledFit(sampled, shift, scores)


def try_sampler(
    method: str, trial: TrialResult, fold: dict[str, Any], ratio: float, seed: int, threads: int
) -> dict[str, Any]:
    """Sample, fit and score one contender; ``fold`` is passed as a Ray object.

    Only the training rows are used: the sampler, and encoding and cleaning of the real rows, are fitted on them.

    Returns:
        ``validation`` and ``held_out`` scores, ``seconds``, ``rows``, ``positives``, ``synthetic``, ``shift``, ``note``
        ``checks`` and ``failures``; or ``error``, a sentence.
    """
    started = perf_counter()
    try:
        fits = [_sampled_fit(method, part, fold, ratio, seed, threads) for part in trial.parts]
    except SamplingError as error:
        return {"error": str(error), "seconds": perf_counter() - started}

    def scores(rows: pd.DataFrame) -> Values:
        found = [fit.scores(rows) for fit in fits]
        return (blended(found, trial.weights) if trial.members else found[0]).astype("float32")

    sampled, shift, x, y = fits[0].sampled, fits[0].shift, fold["x"], fold["y"]
    found: dict[str, Any] = {name: scores(fold[name]) for name in ("validation", "held_out")}
    new = sampled.synthetic
    seconds = perf_counter() - started
    checks, failures = None, list[Failure]()
    if new.any():
        held_back = fold["validation"][fold["validation_y"] == 1]
        with secondary(f"checks of the rows of {method}", failures):
            checks = check_rows(x[y == 1], sampled.features[new], held_back, seed)
    return {
        **found,
        "seconds": seconds,
        "rows": len(sampled.y),
        "positives": int(sampled.y.sum()),
        "synthetic": int(new.sum()),
        "shift": shift,
        "note": sampled.note,
        "checks": checks,
        "failures": failures,
    }


def _measure(
    spec: ModelSpec, data: TrainingData, names: list[str], results: dict[str, dict[str, Any]]
) -> tuple[Decision, list[dict[str, Any]]]:
    """The decision, based on validation rows alone, and the table of all contenders with their held-out figures."""
    metric, periods = spec.tuning.metric, data.periods
    y, held_out_y = data.y[periods.validation], data.y[periods.held_out]
    days, held_out_days = (data.days[mask] for mask in (periods.validation, periods.held_out))
    compared = [name for name in names if name not in ("none", "threshold")]
    level = 1 - (1 - spec.sampling.confidence) / max(len(compared), 1)
    plain = results["none"]
    judged, table = [], []
    for name in names:
        result = results[name]
        row: dict[str, Any] = {"contender": name, "error": result.get("error")}
        if not row["error"]:
            gain = _gain(y, plain["validation"], result["validation"], days, metric, level, name)
            row |= {"value": _metric(metric, y, result["validation"]), **gain}
        judged.append(row)
        table.append({**row, "seconds": result["seconds"]})
        if row["error"]:
            continue
        threshold = 0.5 if name == "none" else f1_threshold(y, result["validation"])
        table[-1] |= {name: result[name] for name in ("rows", "positives", "synthetic", "shift", "note", "checks")}
        table[-1] |= {
            "threshold": threshold,
            "f1": _f1(y, result["validation"], threshold),
            "held_out": {
                metric: _metric(metric, held_out_y, result["held_out"]),
                "interval": intervals(held_out_y, result["held_out"], held_out_days, ranking_only=True).get(metric),
                "f1": _f1(held_out_y, result["held_out"], threshold),
                **_gain(held_out_y, plain["held_out"], result["held_out"], held_out_days, metric, 0.95, name),
            },
        }
    evidence = {
        "metric": metric,
        "level": level,
        "rows": len(y),
        "positives": int(y.sum()),
        "days": len(np.unique(days)),
        "contenders": judged,
    }
    return sampling_verdict(evidence, spec.sampling), table


def _gain(
    y: Values, plain: Values, scores: Values, days: Values, metric: str, level: float, name: str
) -> dict[str, float | str | None]:
    if name in ("none", "threshold") or np.array_equal(plain, scores):
        return {"gain": 0.0, "low": 0.0, "high": 0.0}
    found = paired_gain(y, plain, scores, days, metric, level=level)
    if found.why:
        return {"gain": found.gain, "low": None, "high": None, "why": found.why}
    return {"gain": found.gain, "low": found.low, "high": found.high}


def _metric(metric: str, y: Values, scores: Values) -> float:
    from ray_cluster.evaluation.metrics import ranking

    return ranking(y, scores)[metric]


def _f1(y: Values, scores: Values, threshold: float) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(y, scores >= threshold, zero_division=0))
