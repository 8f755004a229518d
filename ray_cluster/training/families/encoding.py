"""Model inputs in the encoding of each family: categories for boosted trees, codes for other trees; one-hot, imputed
and standardised for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model import InputRule, ModelSpec
from ray_cluster.training.families.family import fit_class
from ray_cluster.training.families.fit_steps import Columns

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.compose import ColumnTransformer

    from ray_cluster.training.data import TrainingData

__all__ = ["SearchRows", "columns_of", "encoded", "preprocessing"]

#: Encoding of a family -> rows to fit on, and rows to validate on: x float32 (n, d), y (n,) and the columns of x.
SearchRows = dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]

#: Maximum of one-hot columns per text feature, and of its categories, for which ``benchmarks/categories.py`` tries it;
#: rarer values share one.
CATEGORIES = 32


def preprocessing(
    frame: pd.DataFrame, inputs: Mapping[str, InputRule] | None = None, family: str = "xgboost"
) -> ColumnTransformer:
    """The encoding of ``family``, with float32 output; not fitted yet.

    Columns with a rule in ``inputs`` are cleaned by it first (:func:`ray_cluster.training.inputs.cleaning`), and come
    after the other texts; their indicators come next, and the other numbers last.

    For boosted trees, text columns become codes of categories (:class:`ray_cluster.training.inputs.CategoryCodes`), and
    so do numbers whose rule has ``categories``; other numbers do not change, and missing values stay NaN. Which columns
    are categories, :func:`columns_of` tells the fit.

    For other trees, and for a text whose rule has ``categories: 0``, codes are numbers: a text that is not in the
    fitted rows becomes -1. A missing text (None) has the last code if those rows have missing texts, else -1.

    For the others, a text column becomes at most :data:`CATEGORIES` columns of 0 and 1, all 0 for a text that is not in
    ``frame``; a number is standardised, and a missing one is replaced by the median, with an indicator column.
    """
    from sklearn.pipeline import make_pipeline

    from ray_cluster.training.inputs import (
        CategoryCodes,
        InputEncoder,
        WasMissing,
        cleaning,
    )

    encoding = fit_class(family).encoding
    number = _standardised if encoding == "one_hot" else _passed
    rules = dict(inputs or {})

    def text(rule: InputRule | None = None) -> Any:
        most = CATEGORIES if rule is None or rule.categories is None else rule.categories
        if encoding == "categories" and most:
            return CategoryCodes(most)
        return _one_hot() if encoding == "one_hot" else _codes()

    texts = [column for column in frame if frame[column].dtype == object]
    steps: list[tuple[str, Any, list[str]]] = [("codes", text(), [name for name in texts if name not in rules])]
    for place, (name, rule) in enumerate(rules.items()):
        encoded = text(rule) if name in texts or (rule.categories and encoding != "ordinal") else number()
        steps.append((f"input_{place}", make_pipeline(*cleaning(rule, text=name in texts), encoded), [name]))
    if marked := [name for name, rule in rules.items() if rule.indicator]:
        steps.append(("missing", WasMissing(), marked))
    return InputEncoder(steps, remainder=number(), verbose_feature_names_out=False)


def columns_of(encode: ColumnTransformer, directions: Mapping[str, int] | None = None) -> Columns:
    """The columns that a fitted encoding returns.

    Args:
        directions: feature -> 1 or -1, as :attr:`configs.model.ModelSpec.directions`; they do not apply to categories.
    """
    from sklearn.pipeline import Pipeline

    from ray_cluster.training.inputs import CategoryCodes

    sizes: dict[str, int] = {}
    for _, step, names in encode.transformers_:
        last = step[-1] if isinstance(step, Pipeline) else step
        if isinstance(last, CategoryCodes) and len(names):  # a step without columns is not fitted
            sizes |= dict(zip(names, last.sizes_, strict=True))
    names = [str(name) for name in encode.get_feature_names_out()]
    given = {name: sign for name, sign in (directions or {}).items() if name not in sizes}
    return Columns(tuple(sizes.get(name, 0) for name in names), tuple(given.get(name, 0) for name in names))


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
    train = np.flatnonzero(data.periods.train)[-spec.tuning.most_rows :]
    validation = data.periods.validation
    rows: SearchRows = {}
    for family in spec.tuning.families:
        encoding = fit_class(family.key).encoding
        if encoding in rows:
            continue
        encode = preprocessing(data.features, spec.inputs, family.key).fit(data.features.iloc[train])
        x, x_validation = (encode.transform(part) for part in (data.features.iloc[train], data.features[validation]))
        columns = columns_of(encode, spec.directions)
        rows[encoding] = (x, data.y[train], columns), (x_validation, data.y[validation], columns)
    return rows
