"""Model inputs in the encoding of each family: ordinal for trees; one-hot, imputed and standardised for the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model import InputRule, ModelSpec
from ray_cluster.training.families.family import fit_class

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.compose import ColumnTransformer

    from ray_cluster.training.data import TrainingData

__all__ = ["SearchRows", "encoded", "preprocessing"]

#: Encoding of a family -> rows to fit on, and rows to validate on: (x float32 (n, d), y (n,)) and, if the rows have
#: weights, the weights, (n,).
SearchRows = dict[str, tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]

#: Maximum of one-hot columns per text feature; its rarer values share one column.
CATEGORIES = 32


def preprocessing(
    frame: pd.DataFrame, inputs: Mapping[str, InputRule] | None = None, family: str = "xgboost"
) -> ColumnTransformer:
    """The encoding of ``family``, with float32 output; not fitted yet.

    Columns with a rule in ``inputs`` are cleaned by it first (:func:`ray_cluster.training.inputs.cleaning`), and come
    after the other texts; their indicators come next, and the other numbers last.

    For trees, text columns become ordinal codes and numbers do not change. A text that is not in ``frame`` becomes -1.
    A missing text (None) is a category: it has the last code if ``frame`` has missing texts, else -1. Missing numbers
    stay NaN.

    For the others, a text column becomes at most :data:`CATEGORIES` columns of 0 and 1, all 0 for a text that is not in
    ``frame``; a number is standardised, and a missing one is replaced by the median, with an indicator column.
    """
    from sklearn.pipeline import make_pipeline

    from ray_cluster.training.inputs import InputEncoder, WasMissing, cleaning

    trees = fit_class(family).encoding == "ordinal"
    text, number = (_codes, _passed) if trees else (_one_hot, _standardised)
    rules = dict(inputs or {})
    texts = [column for column in frame if frame[column].dtype == object]
    steps: list[tuple[str, Any, list[str]]] = [("codes", text(), [name for name in texts if name not in rules])]
    for place, (name, rule) in enumerate(rules.items()):
        encoded = text() if name in texts else number()
        steps.append((f"input_{place}", make_pipeline(*cleaning(rule, text=name in texts), encoded), [name]))
    if marked := [name for name, rule in rules.items() if rule.indicator]:
        steps.append(("missing", WasMissing(), marked))
    return InputEncoder(steps, remainder=number(), verbose_feature_names_out=False)


def _codes() -> Any:
    from sklearn.preprocessing import OrdinalEncoder

    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=np.nan)


def _passed() -> Any:
    return "passthrough"


def _one_hot() -> Any:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=CATEGORIES, sparse_output=False)


def _standardised() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(filled, StandardScaler())


def encoded(spec: ModelSpec, data: TrainingData) -> SearchRows:
    """The rows of the search in each encoding that a family uses, fitted on the training rows alone."""
    train = np.flatnonzero(data.periods.train)[-spec.tuning.rows :]
    validation = data.periods.validation
    rows: SearchRows = {}
    for family in spec.tuning.families:
        encoding = fit_class(family.key).encoding
        if encoding in rows:
            continue
        encode = preprocessing(data.features, spec.inputs, family.key).fit(data.features.iloc[train])
        x, x_validation = (encode.transform(part) for part in (data.features.iloc[train], data.features[validation]))
        rows[encoding] = (x, data.y[train]), (x_validation, data.y[validation])
    return rows
