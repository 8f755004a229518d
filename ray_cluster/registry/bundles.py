"""Bundles: one MLflow model with everything needed for scoring, and the evidence for it.

In addition to the pipeline (preprocessing, estimator, calibration; skops, no pickle) the model's folder has, under
``extra_files/``: ``bundle.json`` (threshold, features, feature service, data fingerprint, libraries),
``reference.json`` (a quantile profile of each feature and of the score on the held-out rows, for monitoring),
one JSON document per part of the evidence, and an XGBoost classifier also as ``classifier.ubj``, the format that
XGBoost keeps stable between its versions and reads in every language.

MLflow's own loader reads the list of types that may be loaded from the model itself, so a forged model could allow
anything; :func:`load_version` uses the list in this module, and the estimators that the model's YAML file names.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.model import load_model, model_names
from configs.settings import Settings
from ray_cluster.registry.mlflow_client import RegistryError, connect
from ray_cluster.registry.versions import VersionFacts, champion, version

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = [
    "TRUSTED",
    "check_types",
    "trusted_for",
    "LoadedVersion",
    "explain",
    "load_version",
    "write_bundle",
]

#: Types that a bundle may contain in addition to those that skops trusts: the classifiers of the model families, their
#: calibration, and fitted cleaning (numpy's and pandas' types are attributes of scikit-learn's imputer).
TRUSTED = [
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "functools.partial",  # a function within it is a type of its own, and the only one is the next
    "sklearn.utils.validation.check_array",  # HistGradientBoosting calls it before it codes categories
    "ray_cluster.training.inputs.CategoryCodes",
    "ray_cluster.training.inputs.InputEncoder",
    "ray_cluster.training.inputs.QuantileClip",
    "ray_cluster.training.inputs.WasMissing",
    "ray_cluster.training.families.blend.Blend",
    "ray_cluster.training.families.prior.PriorCorrected",
    "ray_cluster.training.sampling.prior.PriorCorrected",  # its name in bundles of earlier versions
    "ray_cluster.training.calibration.Calibrated",
    "ray_cluster.training.calibration.Isotonic",
    "ray_cluster.training.calibration.Sigmoid",
    "numpy.dtype",
    "pandas._libs.missing.NAType",
]


def trusted_for(settings: Settings, model: str, held: Collection[str]) -> list[str]:
    """:data:`TRUSTED`, and of the types in ``held`` those of the packages of ``model``'s own estimators: a model's file
    with ``lightgbm:LGBMClassifier`` makes the classes of lightgbm trusted."""
    if model not in model_names():
        return TRUSTED
    families = load_model(model, str(settings.folder)).tuning.families
    packages = {_package(each.estimator) for each in families if each.estimator is not None}
    return [*TRUSTED, *(name for name in held if name.partition(".")[0] in packages and _is_class(name))]


def check_types(settings: Settings, model: str, pipeline: Any) -> list[str]:
    """The types that ``pipeline`` may contain when it is loaded.

    Raises:
        RegistryError: it contains another type, and could never be loaded.
    """
    from skops import io

    held = io.get_untrusted_types(data=io.dumps(pipeline))
    trusted = trusted_for(settings, model, held)
    if refused := sorted(set(held) - set(trusted)):
        raise RegistryError(
            f"Model '{model}' cannot be stored: it contains {', '.join(refused)}; expected types of scikit-learn, "
            "XGBoost, numpy and the packages of its own estimators; store no other objects in the fitted estimator."
        )
    return trusted


def _package(estimator: str) -> str:
    """The package that defines the class at ``package.module:Class``."""
    module, _, name = estimator.partition(":")
    try:
        return str(getattr(import_module(module), name).__module__).partition(".")[0]
    except (ImportError, AttributeError) as error:
        raise RegistryError(
            f"estimator = '{estimator}' cannot be loaded ({type(error).__name__}: {error}); install the package that "
            "the model was trained with, or correct tuning.families in the model's file."
        ) from None


def _is_class(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        return isinstance(getattr(import_module(module), attribute, None), type)
    except ImportError:
        return False


_FOLDER = "extra_files"


@dataclass(frozen=True)
class LoadedVersion:
    """A version ready to score: ``pipeline.predict_proba(frame[features])[:, 1] >= threshold``. ``size`` in bytes."""

    model: str
    version: int
    run_id: str
    pipeline: Pipeline
    threshold: float
    features: list[str]
    facts: dict[str, Any] = field(default_factory=dict)
    size: int = 0


def write_bundle(
    folder: Path,
    pipeline: Any,
    example: pd.DataFrame,
    profiles: Mapping[str, Any],
    documents: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> list[str]:
    """Write the files that accompany a pipeline in its MLflow model; returns their paths.

    Args:
        example: a few input rows of the pipeline.
        profiles: of each feature and the score on the held-out rows, JSON values by name.
        documents: the evidence, each a JSON value.
    """
    contents = {
        "bundle": {**metadata, "evidence": sorted(documents)},
        "example": example.to_dict("records"),
        "reference": dict(profiles),
        **documents,
    }
    paths = []
    for name, content in contents.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
        paths.append(str(path))
    if booster := _booster(pipeline):
        path = folder / "classifier.ubj"
        booster.save_model(path)
        paths.append(str(path))
    return paths


def explain(path: Path) -> dict[str, Any]:
    """All JSON documents of a bundle's folder, by name: ``bundle``, ``reference``, the evidence.

    Raises:
        RegistryError: a file of a complete bundle is missing.
    """
    found = {
        file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted((path / _FOLDER).glob("*.json"))
    }
    evidence = (found.get("bundle") or {}).get("evidence") or ["evaluation"]
    lacking = [name for name in ("bundle", "reference", *evidence) if name not in found]
    if lacking:
        raise RegistryError(f"it has no {', '.join(f'{_FOLDER}/{name}.json' for name in lacking)}")
    return found


def load_version(settings: Settings, model: str, number: int | None = None) -> LoadedVersion:
    """Load a version's bundle; without a number, the champion.

    Raises:
        RegistryError: there is no such version, or it is not complete: its run did not finish, its evidence is missing,
            or its files were removed when it was retired.
    """
    if number is None:
        facts = champion(settings, model)
        if facts is None:
            raise RegistryError(
                f"Model '{model}' has no champion; run `headrace run train` and `headrace run register`."
            )
    else:
        facts = version(settings, model, number)
    _check_whole(settings, facts)
    import mlflow
    import skops.io

    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(f"models:/{model}/{facts.version}", dst_path=folder)
        try:
            explain(Path(path))
        except RegistryError as error:
            raise _not_whole(facts, str(error)) from None
        file = Path(path) / "model.skops"
        held = skops.io.get_untrusted_types(file=file)
        pipeline = skops.io.load(file, trusted=trusted_for(settings, model, held))
        metadata = mlflow.models.get_model_info(path).metadata or {}
        size = sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
    return LoadedVersion(
        model=model,
        version=facts.version,
        run_id=facts.run_id,
        pipeline=pipeline,
        threshold=float(metadata["threshold"]),
        features=list(metadata["features"]),
        facts=dict(metadata),
        size=size,
    )


def _check_whole(settings: Settings, facts: VersionFacts) -> None:
    if "headrace.deleted_at" in facts.tags:
        raise RegistryError(
            f"Version {facts.version} of '{facts.model}' was retired and its model files were removed on "
            f"{facts.tags['headrace.deleted_at'][:10]}; choose another one: `headrace models list {facts.model}`."
        )
    status = connect(settings).get_run(facts.run_id).info.status
    if status != "FINISHED":
        raise _not_whole(facts, f"its run {facts.run_id} is {status.lower()}, not finished")


def _not_whole(facts: VersionFacts, why: str) -> RegistryError:
    return RegistryError(
        f"Version {facts.version} of '{facts.model}' is incomplete and is not loaded: {why}; train and register again."
    )


def _booster(pipeline: Any) -> Any:
    """The XGBoost classifier at the end of a pipeline, also inside a calibrator that wraps it; None for others."""
    found = pipeline[-1] if hasattr(pipeline, "__getitem__") else pipeline
    while found is not None and not hasattr(found, "get_booster"):
        found = getattr(found, "classifier", None) or getattr(found, "estimator", None)
    return found
