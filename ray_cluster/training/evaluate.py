"""All measurements on the held-out rows, made once and after every choice: the evidence ``evaluation``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.errors import HeadraceError
from configs.evaluation import CostThreshold
from configs.model import ModelSpec
from configs.reading import nearest
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster.evaluation.behaviour import check_behaviour, run_behaviour
from ray_cluster.evaluation.fairness import fairness
from ray_cluster.evaluation.importance import permutation_importance, shap_importance
from ray_cluster.evaluation.intervals import intervals
from ray_cluster.evaluation.metrics import cost_evidence, curves, metrics, ranking, reliability
from ray_cluster.evaluation.slices import slices, worst_slice
from ray_cluster.registry.evidence import Evaluation
from ray_cluster.training.calibration import calibrated
from ray_cluster.training.data import Fold, TrainingData
from ray_cluster.training.families.prior import PriorCorrected
from ray_cluster.training.final_fit import FinalFit, Fitted
from ray_cluster.training.finalists import Chosen
from ray_cluster.training.inputs import learned

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EvaluationError", "check_evaluation", "evaluate"]

Values = np.ndarray[Any, Any]


class EvaluationError(HeadraceError, ValueError):
    """The rows have no such slice or group; the message is one sentence with the nearest name."""


def check_evaluation(spec: ModelSpec, rows: pd.DataFrame, features: pd.DataFrame) -> None:
    """Check that slices, groups and behavioural tests name existing columns, before anything is fitted.

    Raises:
        EvaluationError, BehaviourError: a column does not exist.
    """
    known = [str(column) for column in {**dict.fromkeys(rows), **dict.fromkeys(features)}]
    groups = spec.fairness.groups if spec.fairness else []
    for where, names in (("slices", spec.slices), ("fairness.groups", groups)):
        for name in names:
            if name not in known:
                raise EvaluationError(
                    f"Model '{spec.name}', {where}: there is no column '{name}' in the training rows."
                    f"{nearest(name, known)} Known: {', '.join(known)}."
                )
    check_behaviour(spec.name, spec.behaviour, features)


def evaluate(
    spec: ModelSpec,
    data: TrainingData,
    chosen: Chosen,
    final: FinalFit,
    baselines: dict[str, Values],
    failures: list[Failure] | None = None,
) -> Evaluation:
    """Measure the fits before the held-out windows on those windows; the served fit has seen these rows.

    Behavioural tests and importance need one fit: they are of the newest of these, on its window. If a part of the
    evidence that decides nothing fails, such as importance, it is left out and added to ``failures``. If fairness
    fails, the fairness gate is not passed.
    """
    held_out, threshold = data.periods.held_out, final.measured.threshold
    features, y = data.features[held_out], data.y[held_out]
    rows = data.rows[held_out].assign(**features)
    days, raw, scores = data.days[held_out], final.raw, final.scores
    window = data.periods.origins[-1].validation
    newest, seen, seen_y = (
        calibrated(final.origins[-1].pipeline, final.measured.calibrator),
        data.features[window],
        data.y[window],
    )

    def score(frame: pd.DataFrame) -> Values:
        found: Values = newest.predict_proba(frame)[:, 1]
        return found

    encode, classifier = _one(final.origins[-1], chosen)
    measured = metrics(y, scores, threshold)
    main = Evaluation(
        periods=data.periods.describe(data.rows["label"]),
        folds=chosen.evidence,
        origins=[
            _origin(data, fold, fitted, scores[fold.validation[held_out]])
            for fold, fitted in zip(data.periods.origins, final.origins, strict=True)
        ],
        served={
            "until": data.periods.served.start.isoformat(),
            **_size(final.last),
            "threshold": final.served.threshold,
            "calibration": final.served.evidence,
        },
        family=chosen.trial.family,
        params=final.last.trial.described,
        threshold=threshold,
        metrics=measured,
        calibration={
            **final.measured.evidence,
            "ece_before": metrics(y, raw, threshold)["ece"],
            "ece_after": measured["ece"],
        },
        behaviour=run_behaviour(
            spec.behaviour, seen, data.rows[window][spec.requests.id].tolist(), seen_y, score, threshold
        ),
        inputs=learned(_one(final.last, chosen)[0], spec.inputs),
    )
    measured_baselines: dict[str, dict[str, float]] = {}
    for name, values in baselines.items():
        with secondary(f"metrics of the baseline {name}", failures):
            measured_baselines[name] = ranking(y, values)
    found: dict[str, Any] = {"baselines": measured_baselines}
    beside: dict[str, Callable[[], Any]] = {
        "intervals": lambda: {
            name: list(ends) for name, ends in intervals(y, scores, days, threshold).items() if name in measured
        },
        "curves": lambda: {**curves(y, scores), "calibration_before": reliability(y, raw)},
        "slices": lambda: slices(rows, spec.slices, y, scores, days),
        "worst_slice": lambda: worst_slice(found.get("slices", [])),
        "importance": lambda: permutation_importance(score, seen, seen_y, spec.tuning.metric),
        "shap": lambda: shap_importance(encode, classifier, seen),
    }
    if isinstance(spec.threshold, CostThreshold):
        costs = spec.threshold.costs
        beside["costs"] = lambda: cost_evidence(y, scores, threshold, costs, days)
    if spec.fairness:
        declared = spec.fairness
        beside["fairness"] = lambda: fairness(rows, declared, y, scores, threshold, days)
    for name, measure in beside.items():
        with secondary(name, failures):
            found[name] = measure()
    return replace(main, **found)


def _one(fitted: Fitted, chosen: Chosen) -> tuple[Any, Any]:
    """Preprocessing and classifier of a fit; of a blend, those of its member with the best validation metric."""
    members, trials = getattr(fitted.pipeline[-1], "members", [fitted.pipeline]), chosen.trial.parts
    encode, classifier = members[max(range(len(members)), key=lambda at: trials[at].metric or 0.0)]
    while isinstance(classifier, PriorCorrected):
        classifier = classifier.classifier
    return encode, classifier


def _origin(data: TrainingData, fold: Fold, fitted: Fitted, scores: Values) -> dict[str, Any]:
    y, size = data.y[fold.validation], _size(fitted)
    return {
        "start": fold.start.isoformat(),
        "end": fold.end.isoformat(),
        "rows": len(y),
        "positives": int(y.sum()),
        "train_rows": size["rows"],
        "iterations": size["iterations"],
        "metrics": ranking(y, scores) if 0 < y.sum() < len(y) else {},
    }


def _size(fitted: Fitted) -> dict[str, int]:
    """Rows and iterations; of a blend, the iterations of all its members."""
    return {"rows": fitted.rows, "iterations": sum(part.iterations for part in fitted.trial.parts)}
