"""Search the model families together, on rows that are encoded and placed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.storage.files import locked
from ray_cluster.training.data import TrainingData
from ray_cluster.training.families import check_family, preprocessing
from ray_cluster.training.families.family import fit_class
from ray_cluster.training.search.budget import check_budget
from ray_cluster.training.search.driver import Driver
from ray_cluster.training.search.pool import Pool
from ray_cluster.training.search.results import Search
from ray_cluster.training.search.study import SearchCheckpoint

__all__ = ["SearchRows", "encoded", "search_points", "tune_families"]

#: Encoding that a family wants -> rows to fit on, and rows to validate on: (x float32 (n, d), y (n,)) and, where rows
#: have weights, those, (n,).
SearchRows = dict[str, tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]


def search_points(settings: Settings, spec: ModelSpec, key: str, data: TrainingData) -> Search:
    """Search on the latest ``tuning.rows`` of the training period, measured on the validation period."""
    return tune_families(settings, spec, key, lambda: encoded(spec, data))


def encoded(spec: ModelSpec, data: TrainingData) -> SearchRows:
    """The rows of the search, in each encoding that a family wants; it is learned from the training rows alone."""
    train = np.flatnonzero(data.periods.train)[-spec.tuning.rows :]
    validation = data.periods.validation
    rows: SearchRows = {}
    for family in spec.tuning.families:
        encoding = fit_class(family.key).encoding
        if encoding in rows:
            continue
        encode = preprocessing(data.features, spec.inputs, family.key).fit(data.features.iloc[train])
        x, x_validation = (
            encode.transform(part).astype("float32") for part in (data.features.iloc[train], data.features[validation])
        )
        rows[encoding] = (x, data.y[train]), (x_validation, data.y[validation])
    return rows


def tune_families(settings: Settings, spec: ModelSpec, key: str, rows: Callable[[], SearchRows]) -> Search:
    """Run the search of ``spec.tuning``; a search of the same ``key`` that was cut off goes on.

    Args:
        rows: called while the workers start.

    Raises:
        FamilyError, ResourcesError, BudgetError: a family, the cluster or the budget does not allow it.
        SearchError: no trial came to a metric.
    """
    for family in spec.tuning.families:
        check_family(family.key, list(family.space))
    check_budget(spec.tuning.budget, settings.prices, spec.tuning, spec.name)
    with locked(settings.home, f"tune-{key}"):
        pool = Pool(spec.tuning, spec.name)
        try:
            pool.load(_placed(rows()))
            keeping = SearchCheckpoint(settings.home / "tune" / key)
            found = Driver(settings, spec, pool, keeping).run()
        finally:
            pool.close()
        keeping.remove()
    return found


def _placed(rows: SearchRows) -> dict[str, list[list[Any]]]:
    """References to each array, put into the object store once."""
    import ray

    return {encoding: [[ray.put(array) for array in part] for part in parts] for encoding, parts in rows.items()}
