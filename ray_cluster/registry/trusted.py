"""Which types a bundle may hold: skops loads no other."""

from __future__ import annotations

__all__ = ["TRUSTED"]


#: What a bundle may hold beside what skops trusts by itself: the classifiers of the model families, and what
#: cleaning learned (numpy's and pandas' own types are attributes of scikit-learn's imputer).
TRUSTED = [
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "ray_cluster.training.inputs.QuantileClip",
    "ray_cluster.training.inputs.WasMissing",
    "numpy.dtype",
    "pandas._libs.missing.NAType",
]
