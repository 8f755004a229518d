"""What is searched: the rows, the space, and the points that are drawn from it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from configs import load_model, load_settings
from configs.model import ModelSpec
from configs.tuning import Tuning

SPACE = {
    "learning_rate": {"low": 0.05, "high": 0.3, "log": True},
    "max_depth": {"low": 3, "high": 8, "integer": True},
    "min_child_weight": {"low": 1, "high": 60, "log": True},
    "subsample": {"low": 0.6, "high": 1.0},
    "colsample_bytree": {"low": 0.5, "high": 1.0},
}


def synthetic(rows: int) -> dict[str, np.ndarray]:
    """Seeded rows with a rare outcome; the last fifth is for validation."""
    random = np.random.default_rng(11)
    x = random.normal(size=(rows, 20)).astype("float32")
    score = x[:, 0] + x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3]) + 0.5 * x[:, 4] * (x[:, 5] > 0)
    y = (score + 1.5 * random.normal(size=rows) > 2.5).astype(int)
    cut = rows * 4 // 5
    return {"x": x[:cut], "y": y[:cut], "x_validation": x[cut:], "y_validation": y[cut:]}


def flights(home: str) -> dict[str, np.ndarray]:
    """The encoded rows that a training of flight_delay searches on."""
    from ray_cluster.training.data import prepare
    from ray_cluster.training.families import preprocessing

    settings = load_settings(None, {"HEADRACE_HOME": home})
    os.environ.update(settings.variables())
    spec = load_model("flight_delay")
    data = prepare(settings, spec, settings.demo.as_of)
    train, validation = np.flatnonzero(data.periods.train), data.periods.validation
    encode = preprocessing(data.features, spec.inputs).fit(data.features.iloc[train])
    x, x_validation = (encode.transform(part) for part in (data.features.iloc[train], data.features[validation]))
    return {"x": x, "y": data.y[train], "x_validation": x_validation, "y_validation": data.y[validation]}


def spec_of(trials: int, iterations: int, seed: int, families: list[dict[str, Any]] | None = None) -> ModelSpec:
    """flight_delay with one family and this budget."""
    family = {"family": "xgboost", "iterations": iterations, "space": SPACE}
    tuning = {"rows": 1000, "budget": {"trials": trials}, "report_every": 10, "grace_iterations": 20, "seed": seed}
    given = Tuning.model_validate({**tuning, "families": families or [family]})
    return load_model("flight_delay", "local").model_copy(update={"tuning": given})


def points(spec: ModelSpec, trials: int) -> list[dict[str, Any]]:
    """The parameters that the searcher draws from the seed."""
    from ray_cluster.training.search.searcher import SeededSearch

    searcher, [family] = SeededSearch(spec.tuning), spec.tuning.families
    return [family.parameters(searcher.suggest(str(number)) or {}) for number in range(trials)]
