"""Baselines of a training: simple models, fitted on Ray beside the model, and measured on the same held-out rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster.cluster.capacity import share
from ray_cluster.cluster.connection import wait
from ray_cluster.training.data import TrainingData
from ray_cluster.training.families import preprocessing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["baseline_scores", "start_baselines"]

#: Maximum of categories per column; the rarest ones share a category.
_CATEGORIES = 32


def start_baselines(spec: ModelSpec, data: TrainingData, calendar: list[str]) -> dict[str, Any]:
    """Start fitting the baselines on the rows before the held-out period; returns name -> reference to its scores on
    the held-out rows, shape (held out,).

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
    encode = preprocessing(data.features, spec.inputs).fit(data.features[early])
    x, x_held_out = (encode.transform(data.features[mask]) for mask in (early, held_out))
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
