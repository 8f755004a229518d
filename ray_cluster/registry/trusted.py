"""Which types a bundle may hold: skops loads no other."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from configs.model import load_model, model_names
from configs.settings import Settings
from ray_cluster.registry.connection import RegistryError
from ray_cluster.training.families.custom import class_path

__all__ = ["TRUSTED", "check_types", "trusted_for"]


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


def trusted_for(settings: Settings, model: str, held: Collection[str]) -> list[str]:
    """:data:`TRUSTED`, and of the types that are ``held`` the classes of a package that ``model`` takes an estimator
    from: whoever names ``lightgbm:LGBMClassifier`` in a model's file today trusts the classes of lightgbm."""
    if model not in model_names():
        return TRUSTED
    families = load_model(model, str(settings.folder)).tuning.families
    packages = {class_path(each.estimator).partition(".")[0] for each in families if each.estimator is not None}
    return [*TRUSTED, *(name for name in held if name.partition(".")[0] in packages and _is_class(name))]


def check_types(settings: Settings, model: str, pipeline: Any) -> list[str]:
    """The types that ``pipeline`` may hold when it is loaded.

    Raises:
        RegistryError: it holds another one, and could never be loaded.
    """
    from skops import io

    held = io.get_untrusted_types(data=io.dumps(pipeline))
    trusted = trusted_for(settings, model, held)
    if refused := sorted(set(held) - set(trusted)):
        raise RegistryError(
            f"Model '{model}' cannot be kept: it holds {', '.join(refused)}, and expected are types of scikit-learn, "
            "XGBoost, numpy and the packages of its own estimators; keep no other objects in the fitted estimator."
        )
    return trusted


def _is_class(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        return isinstance(getattr(import_module(module), attribute, None), type)
    except ImportError:
        return False
