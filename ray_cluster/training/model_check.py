"""Check a model's file against tables, definitions and families, before any work: all problems at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.definitions.checks import model_problems, service_problems
from feature_repo.frames.expired_values import check_model
from feature_repo.online.service import Service
from ray_cluster.training.evaluate import check_evaluation
from ray_cluster.training.families import check_family
from ray_cluster.training.inputs import check_inputs

__all__ = ["ModelFileError", "problems", "require_usable"]


class ModelFileError(HeadraceError, ValueError):
    """A model's file does not fit the tables, the definitions or the families; the message has a sentence for each
    fault."""


def problems(settings: Settings, spec: ModelSpec) -> list[str]:
    """A sentence for each thing of the model's file that would fail in a training."""
    found = list(model_problems(settings, spec))
    service, faults = service_problems(settings, spec)
    found += faults
    checks: list[Callable[[], None]] = [
        partial(check_family, each.key, list(each.space)) for each in spec.tuning.families
    ]
    if service is not None:
        checks += [partial(_check_columns, spec, service), partial(check_model, settings, spec)]
    for check in checks:
        try:
            check()
        except HeadraceError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def require_usable(settings: Settings, spec: ModelSpec) -> None:
    """Refuse a model's file that has :func:`problems`.

    Raises:
        ModelFileError: with all of them.
    """
    if found := problems(settings, spec):
        raise ModelFileError(" ".join(found))


def _check_columns(spec: ModelSpec, service: Service) -> None:
    """Slices, groups, behavioural tests and input rules name columns of the training frame, and fit their types."""
    import pandas as pd

    kinds = {name: kind for layout in service.views.values() for name, kind in layout.served.items()}
    kinds |= {name: kind for view in service.on_demand for name, kind in view.outputs.items()}
    features = pd.DataFrame({name: ["a"] if kinds[name] in ("string", "other") else [1.0] for name in service.features})
    rows = pd.DataFrame(columns=[spec.requests.id, *spec.requests.inputs, "prediction_time", "label"])
    check_evaluation(spec, rows, features)
    check_inputs(spec.name, spec.inputs, features)
