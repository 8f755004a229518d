"""Which types a bundle may hold: skops loads no other."""

from __future__ import annotations

from configs.model import load_model, model_names
from configs.settings import Settings
from ray_cluster.training.families.custom import class_path

__all__ = ["TRUSTED", "trusted_for"]


#: What a bundle may hold beside what skops trusts by itself: the classifiers of the model families, their calibration,
#: and what cleaning learned (numpy's and pandas' own types are attributes of scikit-learn's imputer).
TRUSTED = [
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "ray_cluster.training.inputs.QuantileClip",
    "ray_cluster.training.inputs.WasMissing",
    "ray_cluster.training.sampling.prior.PriorCorrected",
    "ray_cluster.training.calibration.Calibrated",
    "ray_cluster.training.calibration.Isotonic",
    "ray_cluster.training.calibration.Sigmoid",
    "numpy.dtype",
    "pandas._libs.missing.NAType",
]


def trusted_for(settings: Settings, model: str) -> list[str]:
    """:data:`TRUSTED`, and the user's own estimators that the file of ``model`` names today."""
    if model not in model_names():
        return TRUSTED
    named = [family.estimator for family in load_model(model, str(settings.folder)).tuning.families]
    return [*TRUSTED, *(class_path(path) for path in named if path is not None)]
