"""Fit one family: the interface to the families for the search, the final fit and the baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.reading import nearest
from ray_cluster.training.families.fit_steps import Columns, FamilyError, Fit, Rows

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

__all__ = ["Report", "assemble", "check_family", "fit_class", "fit_steps", "start"]

#: Called with (iterations so far, a function that scores rows); returns True to stop.
Report = Callable[[int, Callable[[np.ndarray], np.ndarray]], bool]


def fit_class(family: str) -> type[Fit]:
    """The fit of ``family``: one of :class:`configs.tuning.Family`, or the import path of a user's estimator.

    Raises:
        FamilyError: there is no such family, or the estimator cannot be used.
    """
    from ray_cluster.training.families.custom import custom_fit
    from ray_cluster.training.families.scikit_learn import (
        HistGradientBoostingFit,
        LogisticRegressionFit,
        MLPFit,
        RandomForestFit,
    )
    from ray_cluster.training.families.xgboost import XGBoostFit

    if ":" in family:
        return custom_fit(family)
    known: dict[str, type[Fit]] = {
        "xgboost": XGBoostFit,
        "hist_gradient_boosting": HistGradientBoostingFit,
        "random_forest": RandomForestFit,
        "logistic_regression": LogisticRegressionFit,
        "mlp": MLPFit,
    }
    if family not in known:
        raise FamilyError(
            f"There is no model family '{family}'.{nearest(family, list(known))} Known: {', '.join(known)}, or "
            "package.module:Class."
        )
    return known[family]


def check_family(family: str, params: list[str]) -> None:
    """Check that ``family`` can be used and has parameters of these names.

    Raises:
        FamilyError: the family cannot be used, or has no such parameter.
    """
    known = fit_class(family).known()
    for name in params:
        if known is not None and name not in known and name != "class_weight":
            raise FamilyError(
                f"Family {family} has no parameter '{name}'.{nearest(name, sorted(known))} "
                f"Known: {', '.join(sorted(known))}."
            )


def start(
    family: str,
    params: dict[str, Any],
    rows: Rows,
    seed: int,
    threads: int = 1,
    device: str = "cpu",
    checkpoint: bytes | None = None,
) -> Fit:
    """Start a fit, or continue from ``checkpoint``.

    ``class_weight`` in ``params`` becomes row weights, and the fit's scores are corrected for the change of the prior.
    """
    from ray_cluster.training.families.prior import PriorCorrectedFit, weight_shift

    own = {name: value for name, value in params.items() if name != "class_weight"}
    weighted = rows.weighted(params.get("class_weight"))
    fit = fit_class(family)(own, weighted, seed, threads, device, checkpoint)
    shift = weight_shift(rows.y, weighted.weights, rows.weights)
    return PriorCorrectedFit(fit, shift) if shift else fit


def fit_steps(
    family: str,
    params: dict[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    iterations: int,
    seed: int,
    threads: int = 1,
    every: int = 0,
    report: Report | None = None,
    device: str = "cpu",
    weights: np.ndarray | None = None,
    *,
    columns: Columns,
) -> Any:
    """Fit one family for at most ``iterations``; ``report`` is called after each ``every`` iterations, and at the end.

    Args:
        family, params: of a trial; every family accepts ``class_weight``.
        x, y, weights: float32 (n, d); 0 or 1, (n,); one weight per row, (n,), or None.
        threads: number of threads of the fit.
        device: cpu or cuda, for XGBoost.
        columns: which columns are categories, and which have a direction; only boosted trees use it.

    Returns:
        The fitted scikit-learn classifier.

    Raises:
        FamilyError: the family cannot be used, or accepts no weights.
    """
    from threadpoolctl import threadpool_limits

    fit = start(family, params, Rows(x, y, weights, columns=columns), seed, threads, device)
    with threadpool_limits(threads):
        while fit.done < iterations:
            fit.advance(min(fit.done + every, iterations) if report and every else iterations, lambda: False)
            if report is not None and every and report(fit.done, fit.predict):
                break
    return fit.classifier


def assemble(transformer: ColumnTransformer, classifier: Any) -> Pipeline:
    """The fitted preprocessing and classifier as one scikit-learn pipeline."""
    from sklearn.pipeline import Pipeline

    return Pipeline([("preprocessing", transformer), ("classifier", classifier)])
