"""What a model must beat: plain models fitted on the same rows, as Ray tasks beside the final fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray_cluster.room import share
from ray_cluster.training.data import TrainingData

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["baseline_scores", "start_baselines"]


def start_baselines(data: TrainingData, encode: Any, calendar: list[str]) -> dict[str, Any]:
    """Start fitting the baselines; name -> reference to its scores on the held-out rows, shape (held out,)."""
    import ray

    early, held_out = data.early, data.periods.held_out
    x = encode.transform(data.features[early]).astype("float32")
    x_held_out = encode.transform(data.features[held_out]).astype("float32")
    cpus, plain = share(1), data.features.loc[:, calendar]
    return {
        "logistic regression, calendar only": ray.remote(_logistic)
        .options(num_cpus=cpus)
        .remote(plain[early], data.y[early], plain[held_out]),
        "XGBoost defaults, all features": ray.remote(_defaults)
        .options(num_cpus=cpus)
        .remote(x, data.y[early], x_held_out),
    }


def baseline_scores(data: TrainingData, found: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """The fitted baselines' scores with the base rate in front of them."""
    import numpy as np

    return {"base rate": np.full(int(data.periods.held_out.sum()), data.y[data.early].mean()), **found}


def _defaults(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], x_held_out: np.ndarray[Any, Any]) -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_jobs=1).fit(x, y).predict_proba(x_held_out)[:, 1]


def _logistic(frame: pd.DataFrame, y: np.ndarray[Any, Any], held_out: pd.DataFrame) -> Any:
    """Logistic regression with whole-number columns of few values one-hot and the rest standardised."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    few = [name for name in frame if frame[name].nunique() <= 31]
    encode = ColumnTransformer(
        [
            ("few", OneHotEncoder(handle_unknown="ignore"), few),
            ("many", StandardScaler(), [name for name in frame if name not in few]),
        ]
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=200))
    return model.fit(frame, y).predict_proba(held_out)[:, 1]
