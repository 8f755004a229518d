"""The model families: one preprocessing for all, and how each is fitted step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model import InputRule

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

__all__ = ["assemble", "fit_steps", "preprocessing", "sample"]

#: Called with (iterations so far, a function that scores rows); returns True to stop.
Report = Callable[[int, Callable[[np.ndarray], np.ndarray]], bool]


def preprocessing(frame: pd.DataFrame, inputs: Mapping[str, InputRule] | None = None) -> ColumnTransformer:
    """Text columns become ordinal codes, numbers pass through: float in, float out; not fitted yet.

    Columns with a rule in ``inputs`` are cleaned by it first (:func:`ray_cluster.training.inputs.cleaning`), and come
    after the other texts; their indicators come next, and the other numbers last.

    A text that ``frame`` does not have becomes -1. A missing one (None) is a value like any other: the last code where
    ``frame`` has it, else -1. Missing numbers stay NaN.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    def encoder() -> OrdinalEncoder:
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=np.nan)

    rules = dict(inputs or {})
    texts = [column for column in frame if frame[column].dtype == object]
    steps: list[tuple[str, Any, list[str]]] = [("codes", encoder(), [name for name in texts if name not in rules])]
    if rules:
        from ray_cluster.training.inputs import WasMissing, cleaning

        for number, (name, rule) in enumerate(rules.items()):
            cleaned = cleaning(rule, text=name in texts)
            codes = [encoder()] if name in texts else []
            steps.append((f"input_{number}", make_pipeline(*(cleaned + codes or ["passthrough"])), [name]))
        if marked := [name for name, rule in rules.items() if rule.indicator]:
            steps.append(("missing", WasMissing(), marked))
    return ColumnTransformer(steps, remainder="passthrough", verbose_feature_names_out=False)


def sample(space: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """Draw one point of a search space (see :class:`configs.model.Family`)."""
    point: dict[str, Any] = {}
    for name, dimension in space.items():
        if not isinstance(dimension, dict):
            point[name] = dimension
        elif "choices" in dimension:
            point[name] = dimension["choices"][int(generator.integers(len(dimension["choices"])))]
        else:
            low, high = dimension["low"], dimension["high"]
            if dimension.get("log"):
                value = float(np.exp(generator.uniform(np.log(low), np.log(high))))
            else:
                value = float(generator.uniform(low, high + (1 if dimension.get("integer") else 0)))
            point[name] = min(int(value), int(high)) if dimension.get("integer") else value
    return point


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
) -> Any:
    """Fit one family for at most ``iterations`` boosting rounds; ``report`` is called every ``every`` rounds.

    Returns the fitted scikit-learn classifier.
    """
    if family == "xgboost":
        return _xgboost(params, x, y, iterations, seed, threads, every, report, device)
    return _hist_gradient_boosting(params, x, y, iterations, seed, every, report)


def _xgboost(
    params: dict[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    iterations: int,
    seed: int,
    threads: int,
    every: int,
    report: Report | None,
    device: str,
) -> Any:
    import xgboost

    class Reporting(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            done = epoch + 1
            if report is None or not every or (done % every and done != iterations):
                return False
            return report(done, model.inplace_predict)

    classifier = xgboost.XGBClassifier(
        **params,
        n_estimators=iterations,
        tree_method="hist",
        device=device,
        n_jobs=threads,
        random_state=seed,
        callbacks=[Reporting()],
    )
    classifier.fit(x, y)
    classifier.set_params(callbacks=None)
    return classifier


def _hist_gradient_boosting(
    params: dict[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    iterations: int,
    seed: int,
    every: int,
    report: Report | None,
) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(**params, warm_start=True, early_stopping=False, random_state=seed)
    step = every if report is not None and every else iterations
    done = 0
    while done < iterations:
        done = min(done + step, iterations)
        classifier.set_params(max_iter=done)
        classifier.fit(x, y)
        if report is not None and report(done, lambda rows: classifier.predict_proba(rows)[:, 1]):
            break
    return classifier


def assemble(transformer: ColumnTransformer, classifier: Any) -> Pipeline:
    """The fitted preprocessing and classifier as one scikit-learn pipeline."""
    from sklearn.pipeline import Pipeline

    return Pipeline([("preprocessing", transformer), ("classifier", classifier)])
