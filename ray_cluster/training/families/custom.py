"""A user's own estimator: any classifier with scikit-learn's interface, by its import path."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from configs.reading import nearest
from ray_cluster.training.families.fit_steps import Encoding, FamilyError
from ray_cluster.training.families.scikit_learn import ScikitFit

__all__ = ["custom_fit"]


def custom_fit(path: str) -> type[ScikitFit]:
    """The fit of the class at ``package.module:Class``.

    A class whose tags say that it accepts NaN gets the inputs of trees; any other class gets imputed, standardised and
    one-hot encoded inputs.

    Raises:
        FamilyError: it cannot be imported, or is not a classifier.
    """
    found, takes = _load(path)

    class CustomFit(ScikitFit):
        encoding: Encoding = _encoding(found)  # type: ignore[misc]

        @classmethod
        def estimator(cls) -> Any:
            return found

        def fixed(self) -> dict[str, Any]:
            offered = {"random_state": self.seed, "n_jobs": self.threads}
            return {name: value for name, value in offered.items() if name in (self.known() or ())}

        @classmethod
        def known(cls) -> set[str] | None:
            try:
                return super().known()
            except TypeError:  # a class that needs arguments
                return None

        def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
            if self.rows.weights is not None and not takes:
                raise FamilyError(
                    f"{path} takes no sample_weight in fit, and the rows have weights; add that argument to fit, or "
                    "remove the estimator from tuning.families."
                )
            weights = {} if self.rows.weights is None else {"sample_weight": self.rows.weights}
            self.model.fit(self.rows.x, self.rows.y, **weights)
            self.done = iterations

    return CustomFit


def _load(path: str) -> tuple[Any, bool]:
    """The class, and whether its ``fit`` takes ``sample_weight``."""
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise FamilyError(
            f"estimator = '{path}': importing {module_name} failed ({type(error).__name__}: {error}); expected "
            "package.module:Class of a package that is installed here and on the Ray workers."
        ) from None
    classes = [each for each, value in vars(module).items() if inspect.isclass(value) and hasattr(value, "fit")]
    found: Any = getattr(module, name, None)
    if found is None:
        raise FamilyError(
            f"estimator = '{path}': {module_name} has no '{name}'.{nearest(name, classes)} "
            f"Classes with fit there: {', '.join(classes[:8]) or 'none'}."
        )
    a_class = isinstance(found, type)
    missing = [each for each in ("fit", "predict_proba", "get_params") if not hasattr(found, each)]
    if missing or not a_class:
        fault = f"has no {', '.join(missing)}" if a_class else "is not a class"
        raise FamilyError(
            f"estimator = '{path}': {name} {fault}; expected a classifier with scikit-learn's interface: "
            "fit, predict_proba and get_params."
        )
    return found, "sample_weight" in inspect.signature(found.fit).parameters


def _encoding(estimator: Any) -> Encoding:
    """Ordinal if scikit-learn's tags say that the estimator accepts missing values."""
    try:
        return "ordinal" if estimator().__sklearn_tags__().input_tags.allow_nan else "one_hot"
    except (AttributeError, TypeError):
        return "one_hot"
