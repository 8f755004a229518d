"""A small search on a Ray cluster that is up: its rows, its model and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from configs.model import ModelSpec, load_model
from configs.settings import Settings, load_settings
from configs.tuning import Tuning
from ray_cluster.training.families.fit_steps import NUMBERS
from ray_cluster.training.search import Search, tune_families


def rows(count: int = 900) -> dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Encoded rows for all encodings; two thirds to fit on."""
    random = np.random.default_rng(3)
    x = random.normal(size=(count, 5)).astype("float32")
    y = (x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=count) > 0.7).astype(int)
    cut = count * 2 // 3
    parts = (x[:cut], y[:cut], NUMBERS), (x[cut:], y[cut:], NUMBERS)
    return {"categories": parts, "ordinal": parts, "one_hot": parts}


def spec_of(budget: dict[str, Any], families: list[dict[str, Any]] | None = None, **more: Any) -> ModelSpec:
    tuning = {"rows": 1000, "budget": budget, "report_every": 4, "grace_iterations": 8, "reduction_factor": 2}
    tuning["scheduler"] = "asha"
    default = [
        {
            "family": "xgboost",
            "iterations": 32,
            "space": {"learning_rate": {"low": 0.01, "high": 0.5, "log": True}, "max_depth": 3, "subsample": 0.7},
        },
        {"family": "logistic_regression", "space": {"C": {"low": 0.01, "high": 10.0, "log": True}}},
    ]
    given = Tuning.model_validate({**tuning, "families": families or default, **more})
    return load_model("flight_delay", "local").model_copy(update={"tuning": given})


def settings_at(home: Path) -> Settings:
    return load_settings("local", {"HEADRACE_HOME": str(home)})


def search(home: Path, spec: ModelSpec) -> Search:
    return tune_families(settings_at(home), spec, "key", rows)


def facts(found: Search) -> list[Any]:
    """What must be the same whatever was killed in between."""
    return sorted([trial.trial, trial.family, trial.params, trial.status, trial.history] for trial in found.trials)
