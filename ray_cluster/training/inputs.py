"""Cleaning of a model's inputs as its file declares it, and categories; fitted on the same rows as the model.

scikit-learn imputes, but it has no transformer that clips at quantiles, its ``MissingIndicator`` rejects a text column
that contains both None and NaN, and its ``OrdinalEncoder`` never gives an unseen text the code of the rare ones, so
these three are defined here.
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

__all__ = [
    "CategoryCodes",
    "InputEncoder",
    "InputsError",
    "QuantileClip",
    "WasMissing",
    "check_inputs",
    "cleaning",
    "learned",
]

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


class CategoryCodes(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Codes 0, 1, … of categories; a missing value (None or NaN) stays missing.

    The ``most`` most frequent categories of a column have a code each, in their own order; of equally frequent ones the
    first is kept. All others share the next code. A category that was not in the fitted rows has that code too, as it
    is at least as rare; if there is no such code, it is missing.

    The codes of 254 categories and of the others are as many as HistGradientBoosting accepts.

    Attributes:
        kept_: per column the categories that have a code of their own, sorted.
        pooled_: per column the number of the others.
    """

    def __init__(self, most: int = 254) -> None:
        self.most = most

    def fit(self, x: Any, y: object = None) -> CategoryCodes:
        """Count the categories of each column of ``x``, text or float, shape (rows, columns)."""
        if isinstance(x, pd.DataFrame):
            self.feature_names_in_ = np.asarray(x.columns, dtype=object)
        self.n_features_in_ = np.shape(x)[1]
        self.kept_, self.pooled_ = [], []
        for column in _columns(x):
            found, counts = np.unique(column[~pd.isna(column)], return_counts=True)
            most_frequent = np.argsort(-counts, kind="stable")[: self.most]
            self.kept_.append(found[np.sort(most_frequent)])
            self.pooled_.append(max(len(found) - self.most, 0))
        return self

    def transform(self, x: Any) -> Values:
        """Codes, float32, shape (rows, columns)."""
        check_is_fitted(self)
        codes = np.full(np.shape(x), np.nan, dtype="float32")
        for place, (column, kept, pooled) in enumerate(zip(_columns(x), self.kept_, self.pooled_, strict=True)):
            code = pd.Index(kept).get_indexer(column).astype("float32")
            code[code < 0] = len(kept) if pooled else np.nan
            codes[:, place] = np.where(pd.isna(column), np.nan, code)
        return codes

    @property
    def sizes_(self) -> list[int]:
        """Number of codes of each column."""
        return [len(kept) + bool(pooled) for kept, pooled in zip(self.kept_, self.pooled_, strict=True)]


def _columns(x: Any) -> list[Values]:
    """The columns of a frame or array."""
    return [x[name].to_numpy() for name in x] if isinstance(x, pd.DataFrame) else list(np.asarray(x).T)


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
        if not text and rule.categories == 0:
            raise InputsError(f"{where}: categories = 0, but the feature is a number already; omit categories.")
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
