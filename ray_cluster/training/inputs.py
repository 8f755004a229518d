"""Cleaning of a model's inputs as its file declares it; its parameters are fitted on the same rows as the model.

scikit-learn imputes, but it has no transformer that clips at quantiles, and its ``MissingIndicator`` rejects a text
column that contains both None and NaN, so these two are defined here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.utils.validation import check_is_fitted

from configs.errors import HeadraceError
from configs.model import Constant, InputRule
from configs.reading import nearest

__all__ = ["InputEncoder", "InputsError", "QuantileClip", "WasMissing", "check_inputs", "cleaning", "learned"]

Values = np.ndarray[Any, Any]


class InputsError(HeadraceError, ValueError):
    """A rule does not fit the features; the message has the rule, the feature and what was expected."""


class InputEncoder(ColumnTransformer):  # type: ignore[misc]
    """Transforms columns to float32, so that a bundle scores the same numbers that its classifier was fitted on.

    Some classifiers of scikit-learn (HistGradientBoosting) decide differently for a float64 near a split.
    """

    def fit_transform(self, x: pd.DataFrame, y: object = None, **params: Any) -> Values:
        """Fit and transform, shape (rows, encoded columns)."""
        return np.asarray(super().fit_transform(x, y, **params), dtype="float32")

    def transform(self, x: pd.DataFrame, **params: Any) -> Values:
        """Transform, shape (rows, encoded columns)."""
        return np.asarray(super().transform(x, **params), dtype="float32")


class QuantileClip(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Clip values at two quantiles of the fitted rows; missing values stay missing.

    Attributes:
        bounds_: (2, columns), from ``numpy.nanquantile``.
    """

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        self.low = low
        self.high = high

    def fit(self, x: pd.DataFrame, y: object = None) -> QuantileClip:
        """Learn the bounds of each column of ``x``, shape (rows, columns)."""
        self.feature_names_in_ = np.asarray(x.columns, dtype=object)
        self.n_features_in_ = x.shape[1]
        self.bounds_ = np.nanquantile(np.asarray(x, dtype=float), [self.low, self.high], axis=0)
        return self

    def transform(self, x: pd.DataFrame) -> Values:
        """Clip, shape (rows, columns)."""
        check_is_fitted(self)
        clipped: Values = np.clip(np.asarray(x, dtype=float), self.bounds_[0], self.bounds_[1])
        return clipped


class WasMissing(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """1.0 where a value is missing (None or NaN), else 0.0; column ``x`` becomes ``x_missing``."""

    def fit(self, x: pd.DataFrame, y: object = None) -> WasMissing:
        """Store the names of the columns."""
        self.feature_names_in_ = np.asarray(x.columns, dtype=object)
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x: pd.DataFrame) -> Values:
        """Shape (rows, columns)."""
        check_is_fitted(self)
        return np.asarray(pd.isna(x), dtype=float)

    def get_feature_names_out(self, input_features: object = None) -> Values:
        """Names of the columns that :meth:`transform` returns."""
        return np.asarray([f"{name}_missing" for name in self.feature_names_in_], dtype=object)


def cleaning(rule: InputRule, text: bool) -> list[Any]:
    """The transformers of one rule for one column, not fitted yet: clip, then impute; empty for an indicator alone."""
    from sklearn.impute import SimpleImputer

    steps: list[Any] = []
    if rule.clip is not None:
        steps.append(QuantileClip(*rule.clip))
    if rule.impute is not None:
        constant = isinstance(rule.impute, Constant)
        given = rule.impute.constant if isinstance(rule.impute, Constant) else None
        steps.append(
            SimpleImputer(
                missing_values=pd.NA if text else np.nan,
                strategy="constant" if constant else rule.impute,
                fill_value=given if text or given is None else float(given),
                keep_empty_features=constant,  # otherwise a column with no value would be dropped, not filled
            )
        )
    return steps


def check_inputs(model: str, rules: Mapping[str, InputRule], frame: pd.DataFrame) -> None:
    """Check that every rule names a feature of ``frame``, the training rows, and fits its type.

    Raises:
        InputsError: the feature does not exist (the message has the nearest name), the rule is for another type, or
            there is no value to fit on.
    """
    for name, rule in rules.items():
        where = f"Model '{model}', inputs.{name}"
        if name not in frame:
            known = [str(column) for column in frame]
            near = nearest(name, known)
            raise InputsError(f"{where}: the feature service has no feature '{name}'.{near} Known: {', '.join(known)}.")
        if f"{name}_missing" in frame and rule.indicator:
            raise InputsError(f"{where}: the indicator would be named '{name}_missing', which is a feature already.")
        text = frame[name].dtype == object
        given = rule.impute.constant if isinstance(rule.impute, Constant) else None
        if text and rule.clip is not None:
            raise InputsError(f"{where}: clip = {list(rule.clip)} is for numbers, but the feature is text; omit clip.")
        if text and rule.impute in ("mean", "median"):
            raise InputsError(
                f"{where}: impute = '{rule.impute}' is for numbers, but the feature is text; use most_frequent."
            )
        if given is not None and isinstance(given, str) != text:
            kind = "text" if text else "a number"
            raise InputsError(f"{where}: constant = {given!r}, but the feature is {kind}; set a value of that type.")
        learns = rule.clip is not None or (rule.impute is not None and given is None)
        if learns and not frame[name].notna().any():
            raise InputsError(
                f"{where}: none of the {len(frame):,} training rows has a value to fit on; use {{constant: …}}, "
                "or train as of a later time."
            )


def learned(encode: ColumnTransformer, rules: Mapping[str, InputRule]) -> dict[str, dict[str, Any]]:
    """The fitted parameters of each rule, for the evidence: ``{feature: {"clip": [low, high], "impute": value}}``."""
    found: dict[str, dict[str, Any]] = {}
    for _, steps, columns in encode.transformers_:
        if len(columns) != 1 or columns[0] not in rules or isinstance(steps, WasMissing):
            continue
        values = found.setdefault(columns[0], {})
        for step in steps.named_steps.values():
            if isinstance(step, QuantileClip):
                values["clip"] = [float(bound) for bound in step.bounds_[:, 0]]
            elif hasattr(step, "statistics_"):
                value = step.statistics_[0]
                values["impute"] = value if isinstance(value, str) else float(value)
    return found
